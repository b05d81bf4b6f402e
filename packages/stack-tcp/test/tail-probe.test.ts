// What a tail probe tells, and what came only late. RFC 8985 section 7.4, RFC 6298 section 5, RFC 2883 section 4.
import { FLAG, type TcpOptions, type TcpPacket } from '@nekit/core/ip';
import t from 'tap';
import { offsets, SACK } from './support/sending.js';
import { Client, type SegmentFields, tcp, Wire } from './support/wire.js';

const MS = 40;

/** A client that is 40 ms away, to which 50 segments at once may be sent. */
class Warm extends Client {
  #trip = MS;

  override send(fields: SegmentFields = {}): TcpPacket[] {
    this.wire.time += this.#trip;
    return super.send(fields);
  }

  static async open(options: TcpOptions, congestion: 'reno' | 'cubic' = 'reno'): Promise<Warm> {
    const client = new Warm(new Wire({ settings: { congestion } }));
    await client.connect(options);
    client.#trip = 0;
    client.window = options.windowScale === undefined ? 60_000 : 60_000 >> options.windowScale;
    client.send();
    for (let round = 0; round < 4; round++) {
      let sent = client.write(20);
      while (sent.length > 0) {
        client.wire.time += MS;
        client.take(sent);
        sent = client.send();
      }
    }
    return client;
  }

  /** What is sent at once of so many segments. */
  write(segments: number): TcpPacket[] {
    this.stream.write([new Uint8Array(segments * 1_000)]).catch(() => {});
    return tcp(this.wire.flush());
  }

  /** The ACK of everything, with a D-SACK of the last segment. */
  sayTwice(): TcpPacket[] {
    return this.send(this.sack([-1_000, 0]));
  }

  /** Blocks, counted from what is acknowledged. */
  sack(...ranges: [number, number][]): SegmentFields {
    return { options: { sack: ranges.map(([left, right]): [number, number] => [(this.ack + left) >>> 0, (this.ack + right) >>> 0]) } };
  }

  counter(name: 'tailProbes' | 'timeouts' | 'fastRecoveries' | 'retransmitted'): number {
    return this.wire.stack.counters.get(name);
  }
}

for (const segments of [1, 20])
  t.test(`a tail probe of ${segments} segments that was only too early leaves the window as it is, however its copy is told of`, async (t) => {
    for (const told of ['with', 'behind', 'bare']) {
      const client = await Warm.open(SACK);
      const sent = client.write(segments);
      t.equal(tcp(client.wire.advance(segments === 1 ? 135 : 85)).length, 1);
      t.equal(client.counter('tailProbes'), 1);
      client.take(sent);
      if (told !== 'with') {
        client.send();
        client.wire.time += 1;
      }
      if (told === 'bare') client.send();
      else client.sayTwice();
      t.equal(client.write(100).length, 50, told);
      t.equal(client.counter('timeouts'), 0);
    }
  });

t.test('a tail that a probe has repaired is a loss of what was in flight, once something behind it is acknowledged', async (t) => {
  const client = await Warm.open(SACK);
  const sent = client.write(20);
  client.wire.time += MS;
  client.take(sent.slice(0, 19));
  client.send();
  t.equal(offsets(client, tcp(client.wire.advance(140))).length, 1);
  client.wire.time += MS;
  client.take(sent.slice(19));
  client.send();
  const next = client.write(20);
  client.wire.time += MS;
  client.take(next.slice(0, 1));
  const more = client.send();
  t.equal(client.counter('timeouts') + client.counter('fastRecoveries'), 0);
  client.wire.time += MS;
  client.take([...next.slice(1), ...more]);
  client.send();
  const { length } = client.write(100);
  t.ok(length >= 2 && length <= 4, `half of the probe's flight of one segment, at least two: ${length}`);
});

t.test('an ACK that comes in the batch in which the timer is due has stopped it: RFC 6298 sections 5.2 and 5.3', async (t) => {
  for (const options of [SACK, { mss: 1_000 }]) {
    const client = await Warm.open(options);
    const open = client.write(20);
    client.wire.time += 400; // nobody has run for so long
    client.take(open);
    client.send();
    t.equal(client.counter('timeouts') + client.counter('tailProbes'), 0, 'everything is acknowledged');
    const half = client.write(20);
    client.wire.time += 400;
    client.take(half.slice(0, 10));
    t.strictSame(offsets(client, client.send()), [], 'a half of it is');
    t.equal(client.counter('timeouts') + client.counter('tailProbes') + client.counter('retransmitted'), 0);
    t.ok(tcp(client.wire.advance(1_000)).length > 0, 'and it runs on for the rest');
  }
});

t.test('the ACK of a SYN-ACK that comes when the client would be given up', async (t) => {
  const wire = new Wire();
  const client = new Client(wire);
  client.syn({ mss: 1_000 });
  const opening = wire.requests[0]?.accept();
  t.ok(opening);
  const [synAck] = tcp(wire.flush());
  client.seq = (client.seq + 1) >>> 0;
  client.ack = ((synAck?.sequence ?? 0) + 1) >>> 0;
  for (let i = 0; i < 5; i++) {
    wire.time = Math.max(wire.time, wire.stack.nextDeadline());
    t.match(tcp(wire.flush()), [{ flags: FLAG.syn | FLAG.ack }]);
  }
  wire.time = wire.stack.nextDeadline();
  t.strictSame(client.send(), []);
  t.ok(await opening);
  t.match(wire.stack.info, { connections: 1, halfOpen: 0 });
});

t.test('an ACK that was overtaken tells of nothing that came twice: RFC 2883 section 4', async (t) => {
  const client = await Warm.open(SACK);
  for (let i = 0; i < 4; i++) {
    const sent = client.write(2);
    client.wire.time += MS;
    const old = client.segment(client.sack([1_000, 2_000]));
    client.take(sent);
    client.wire.raw(client.segment());
    client.wire.raw(old);
  }
  client.write(2);
  client.wire.time += MS;
  client.send(client.sack([1_000, 2_000]));
  tcp(client.wire.advance(12));
  t.equal(client.counter('fastRecoveries'), 1, 'a hole is lost after a quarter of the round trip, as ever');
});

t.test('the window closes and opens between the two ACKs after a timeout: no burst (RFC 5682 section 2.1, step 3 a)', async (t) => {
  const client = await Warm.open(SACK);
  const sent = client.write(300);
  t.ok(sent.length >= 40);
  client.wire.advance(600);
  const { window } = client;
  client.ack = (client.ack + 1_000) >>> 0;
  client.send();
  client.window = 0;
  client.send();
  client.window = window;
  client.wire.time += 5;
  client.send();
  client.wire.time += MS;
  client.ack = (client.ack + 1_000) >>> 0;
  t.ok(client.send().length <= 4);
});

t.test("without SACK: a timeout's copies bring duplicate ACKs of the whole flight, which are no loss (RFC 6582 section 3.2, step 1)", async (t) => {
  const client = await Warm.open({ mss: 1_000 });
  const sent = client.write(10);
  t.equal(sent.length, 10);
  client.wire.advance(1_200);
  t.ok(client.counter('timeouts') > 0);
  client.wire.time += MS;
  client.take(sent.slice(0, 4));
  client.send();
  client.wire.time += MS;
  client.take(sent.slice(4));
  client.send();
  t.ok(client.write(100).length > 0);
  const again = client.counter('retransmitted');
  for (let i = 0; i < 4; i++) client.send();
  t.equal(client.counter('retransmitted'), again);
  t.equal(client.counter('fastRecoveries'), 0);
});

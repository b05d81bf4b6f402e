// What comes in: order, ACKs, windows, SACK. RFC 9293 sections 3.8.6, 3.10.7.4; RFC 5681 section 4.2; RFC 2018; RFC 2883.
import { NetError } from '@nekit/core';
import { FLAG, SeededRandom, type TcpPacket } from '@nekit/core/ip';
import t from 'tap';
import { Client, tcp, Wire } from './support/wire.js';

const _error = (thrown: unknown): unknown => thrown;
const SACK = { mss: 1_000, sackPermitted: true };

t.test('ACKs: delayed by 40 ms, at once for the second full segment, one per batch', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect({ mss: 1_000 });
  t.strictSame(client.text('small'), []);
  t.strictSame(wire.advance(39), []);
  t.match(wire.advance(2), [{ flags: FLAG.ack, acknowledgment: client.seq }]);
  t.strictSame(client.text(new Uint8Array(1_000)), []);
  t.equal(client.text(new Uint8Array(1_000)).length, 1, 'RFC 5681 section 4.2');
  const burst = Array.from({ length: 20 }, (_, i) => client.segment({ sequence: client.seq + i * 1_000, payload: new Uint8Array(1_000) }));
  t.match(wire.raw(...burst), [{ flags: FLAG.ack, acknowledgment: client.seq + 20_000 }]);
  client.seq += 20_000;
  client.text('question');
  await client.stream.write([Buffer.from('answer')]);
  t.match(wire.flush(), [{ acknowledgment: client.seq, payload: Buffer.from('answer') }], 'text carries it');
  t.strictSame(
    tcp(wire.advance(60)).filter((packet) => packet.payload.length === 0),
    [],
  );
});

t.test('a delayed ACK waits for 40 ms from the first text on, whatever else comes: RFC 9293, MUST-40', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect({ mss: 1_000 });
  for (let i = 0; i < 3; i++) {
    t.strictSame(client.text('tick'), []);
    t.strictSame(wire.advance(13), []);
  }
  t.match(wire.advance(2), [{ flags: FLAG.ack, acknowledgment: client.seq }]);
});

for (const lends of [true, false])
  t.test(lends ? 'much is acknowledged in the middle of a batch' : 'one ACK per batch, where nothing can leave earlier', async (t) => {
    const wire = new Wire({ lends });
    const client = await new Client(wire).connect({ mss: 1_460, windowScale: 8 });
    client.text(new Uint8Array(3_000)); // the ACK of it opens the whole window
    const parts = Array.from({ length: 4 }, (_, i) => client.segment({ sequence: client.seq + i * 40_000, payload: new Uint8Array(40_000) }));
    wire.feed(...parts.slice(0, 3));
    t.strictSame(wire.drain(), []);
    wire.feed(...parts.slice(3));
    t.match(wire.drain(), lends ? [{ flags: FLAG.ack, acknowledgment: client.seq + 160_000 }] : []);
    wire.feed(client.segment({ sequence: client.seq + 160_000, payload: new Uint8Array(20_000) }));
    t.match(wire.flush(), [{ flags: FLAG.ack, acknowledgment: client.seq + 180_000 }]);
  });

t.test('segments that the device has joined to more than a packet holds: in order, out of order, beyond the window', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect({ mss: 1_000, windowScale: 8, sackPermitted: true });
  client.text(new Uint8Array(3_000)); // the ACK of it opens the whole window
  await client.read();
  const text = new SeededRandom(1).bytes(400_000).map((byte) => byte & 127);
  const base = client.seq;
  const joined = (from: number, to: number): TcpPacket[] =>
    tcp(wire.joined(client.segment({ sequence: base + from, payload: text.subarray(from, from + 1_000) }), text.subarray(from + 1_000, to)));
  const windowOf = (packet: TcpPacket | undefined): number => (packet?.window ?? 0) << (client.synAck?.options?.windowScale ?? 0);
  const [first] = joined(0, 100_000);
  t.equal(first?.acknowledgment, base + 100_000);
  const room = windowOf(first);
  t.ok(room > 100_000, `a window of ${room}`);
  const [early] = joined(110_000, 180_000);
  t.equal(early?.acknowledgment, base + 100_000);
  t.strictSame(early?.options?.sack, [[base + 110_000, base + 180_000]]);
  const [filled] = joined(100_000, 110_000);
  t.equal(filled?.acknowledgment, base + 180_000);
  const edge = 180_000 + windowOf(filled);
  const [cut] = joined(170_000, edge + 50_000);
  t.equal(cut?.acknowledgment, base + edge, 'not a byte beyond the window');
  let got = '';
  for (let next = await client.readNow(); next !== '' && next !== null; next = await client.readNow()) got += next;
  t.ok(got === Buffer.from(text.subarray(0, edge)).toString(), `all ${edge} bytes, in order`);
  t.strictSame(joined(0, 100_000)[0]?.options?.sack, [[base, base + 100_000]], 'old ones are told (RFC 2883)');
});

t.test('of segments that the device has joined as much is kept as there is memory for', async (t) => {
  const wire = new Wire({ arenaBytes: 128 * 1024 });
  const client = await new Client(wire).connect({ mss: 1_000, windowScale: 8 });
  client.text(new Uint8Array(3_000)); // the ACK of it opens the whole window
  await client.read();
  const text = new SeededRandom(1).bytes(150_000).map((byte) => byte & 127);
  const [ack] = tcp(wire.joined(client.segment({ payload: text.subarray(0, 1_000) }), text.subarray(1_000)));
  const kept = (ack?.acknowledgment ?? 0) - client.seq;
  t.ok(kept >= 64 * 1024 && kept < text.length, `${kept} bytes`);
  t.equal(wire.stack.counters.get('dropMemory'), 1);
  t.ok((await client.readNow()) === Buffer.from(text.subarray(0, kept)).toString());
});

t.test('out of order: an ACK at once for each, SACK blocks with the newest first, an ACK at once for what fills the gap', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect(SACK);
  const base = client.seq;
  const at = (offset: number, length = 100): TcpPacket[] => client.send({ sequence: base + offset, payload: new Uint8Array(length).fill(offset & 255) });
  const blocks = (packets: TcpPacket[]): number[][] | undefined => packets[0]?.options?.sack?.map(([left, right]) => [left - base, right - base]);
  t.strictSame(blocks(at(200)), [[200, 300]]);
  t.strictSame(blocks(at(600)), [
    [600, 700],
    [200, 300],
  ]);
  t.strictSame(blocks(at(400)), [
    [400, 500],
    [600, 700],
    [200, 300],
  ]);
  t.strictSame(
    blocks(at(300)),
    [
      [200, 500],
      [600, 700],
    ],
    'two islands grow together',
  );
  t.strictSame(blocks(at(800)), [
    [800, 900],
    [200, 500],
    [600, 700],
  ]);
  t.strictSame(
    blocks(at(1_000)),
    [
      [1_000, 1_100],
      [800, 900],
      [200, 500],
      [600, 700],
    ],
    'four without timestamps',
  );
  const filled = at(0, 250);
  t.equal(filled[0]?.acknowledgment, base + 500);
  t.strictSame(blocks(filled), [
    [200, 250],
    [1_000, 1_100],
    [800, 900],
    [600, 700],
  ]);
  t.equal((await client.readNow())?.length, 500);
});

t.test('what came twice is reported once: RFC 2883', async (t) => {
  const client = await new Client(new Wire()).connect(SACK);
  const base = client.seq;
  client.text('abcdef');
  const [report] = client.send({ sequence: base, payload: Buffer.from('abc') });
  t.strictSame(report?.options?.sack, [[base, base + 3]]);
  const [next] = client.send({ sequence: base - 1 });
  t.equal(next?.options?.sack, undefined);
});

t.test('what came twice behind a hole is reported with the island that has it, the first part of it if there are several: RFC 2883 section 4', async (t) => {
  const client = await new Client(new Wire()).connect(SACK);
  const base = client.seq;
  const blocks = (offset: number, length: number): number[][] | undefined =>
    client.send({ sequence: base + offset, payload: new Uint8Array(length) })[0]?.options?.sack?.map(([left, right]) => [left - base, right - base]);
  blocks(100, 100);
  blocks(300, 100);
  t.strictSame(blocks(120, 20), [
    [120, 140],
    [100, 200],
    [300, 400],
  ]);
  t.strictSame(
    blocks(350, 100),
    [
      [350, 400],
      [300, 450],
      [100, 200],
    ],
    'half of it is new',
  );
  t.strictSame(blocks(150, 200), [
    [150, 200],
    [100, 450],
  ]);
  t.strictSame(blocks(0, 500), [[100, 450]], 'in order, over all of it');
});

t.test('islands are bounded (CVE-2018-5390), and text that could not be kept is taken when it comes again', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect(SACK);
  const base = client.seq;
  for (let i = 1; i < 2_000; i++) client.send({ sequence: base + i * 2, payload: Uint8Array.of(i) });
  t.equal(wire.stack.counters.get('dropMemory'), 1_999 - 32);
  t.ok(wire.stack.info.memory <= 8_192);
  for (let i = 0; i < 4_000; i += 400) client.text(new Uint8Array(400).fill(1));
  t.equal((await client.readNow())?.length, 4_000);
  t.equal(wire.stack.info.memory, 0, 'an empty buffer is given back');
});

t.test('text that overlaps: what is acknowledged stays, behind a hole the last bytes count', async (t) => {
  const client = await new Client(new Wire()).connect();
  client.text('hello ');
  client.send({ sequence: client.seq - 3, payload: Buffer.from('XXXworld') });
  client.seq += 5;
  client.send({ sequence: client.seq + 2, payload: Buffer.from('aaaa') });
  client.send({ sequence: client.seq + 4, payload: Buffer.from('bbbb') });
  client.text(', c');
  t.equal(await client.readNow(), 'hello world, cabbbb');
});

t.test('the window: what is not read closes it; the edge never retreats; it opens by segments, not by bytes', async (t) => {
  const wire = new Wire({ settings: { initialWindow: 8_192, maxWindow: 8_192 } });
  const client = await new Client(wire).connect({ mss: 1_024 });
  let edge = 0;
  let last: TcpPacket | undefined;
  for (let i = 0; i < 8; i++) {
    [last] = client.text(new Uint8Array(1_024)).concat(tcp(wire.advance(50)));
    const right = (last?.acknowledgment ?? 0) + (last?.window ?? 0);
    t.ok(right >= edge, 'the edge stays');
    edge = right;
  }
  t.equal(last?.window, 0);
  t.equal(wire.stack.info.memory, 8_192);
  t.equal((await client.readNow())?.length, 8_192);
  t.match(wire.flush(), [{ window: 8_192 }], 'the reader has taken it all');
});

t.test('a window that is not used grows not; one that is taken within a round trip does', async (t) => {
  const wire = new Wire({ settings: { initialWindow: 16_384, maxWindow: 262_144, windowBudget: 1 << 20 } });
  const client = await new Client(wire).connect({ mss: 1_460, windowScale: 7, sackPermitted: true });
  let window = 0;
  for (let i = 0; i < 200; i++) {
    const reading = client.read();
    for (const packet of client.text(new Uint8Array(1_460))) window = Math.max(window, packet.window << 3);
    await reading;
    for (const packet of tcp(wire.flush())) window = Math.max(window, packet.window << 3);
  }
  t.equal(window, 262_144 & ~7);
});

t.test('the budget of windows: one that is idle gives back what it had grown', async (t) => {
  const wire = new Wire({ settings: { initialWindow: 16_384, maxWindow: 131_072, windowBudget: 150_000 } });
  const grow = async (client: Client): Promise<number> => {
    let window = 0;
    for (let i = 0; i < 100; i++) {
      const reading = client.read();
      for (const packet of client.text(new Uint8Array(1_460))) window = Math.max(window, packet.window << 2);
      await reading;
      for (const packet of tcp(wire.flush())) window = Math.max(window, packet.window << 2);
    }
    return window;
  };
  const options = { mss: 1_460, windowScale: 7, sackPermitted: true };
  const one = await new Client(wire, 1, 1_001).connect(options);
  const two = await new Client(wire, 1, 1_002).connect(options);
  t.ok((await grow(one)) > 120_000);
  t.ok((await grow(two)) < 64_000, 'the budget is spent');
  wire.time += 5_000;
  await grow(two);
  t.ok((await grow(two)) > 120_000, 'the other was idle');
  one.send({ flags: FLAG.rst });
  two.send({ flags: FLAG.rst });
  t.equal(wire.stack.info.connections, 0);
});

t.test('a peer without SACK is told as often as it has to hear it, whatever one batch brings', async (t) => {
  const wire = new Wire();
  for (const [options, expected] of [
    [{ mss: 1_460 }, [1, 2, 3, 3]],
    [{ mss: 1_460, sackPermitted: true }, [1, 1, 1, 1]],
  ] as const) {
    const client = await new Client(wire, 1_000, 40_000 + expected.length + options.mss + ('sackPermitted' in options ? 1 : 0)).connect(options);
    for (const [i, count] of [1, 2, 3, 10].entries()) {
      wire.feed(
        ...Array.from({ length: count }, (_, at) => client.segment({ sequence: client.seq + 1_000 * (20 * i + at + 1), payload: Buffer.alloc(1_000) })),
      );
      const answers = tcp(wire.flush());
      t.strictSame(
        answers.map(({ acknowledgment }) => acknowledgment),
        Array.from({ length: expected[i] ?? 0 }, () => client.seq),
      );
    }
    // Of one that the device has joined out of five, too.
    const five = client.segment({ sequence: client.seq + 45_000, payload: Buffer.alloc(1_000) });
    t.equal(tcp(wire.joined(five, new Uint8Array(4_000))).length, expected[3]);
  }
});

t.test('while there is a gap, text of ours says so where it has room; a reset has timestamps where they were agreed on', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect({ mss: 1_460, sackPermitted: true, timestamps: { value: 7, echo: 0 } });
  client.options = { timestamps: { value: 8, echo: 0 } };
  const { seq } = client;
  client.send({ sequence: seq + 100, payload: Buffer.from('abc') });
  await client.stream.write([Buffer.from('hello')]);
  const [small] = tcp(wire.flush());
  t.match(small, { payload: Buffer.from('hello'), options: { sack: [[seq + 100, seq + 103]], timestamps: { echo: 8 } } });
  client.take([small as TcpPacket]);
  client.send();
  await client.stream.write([new Uint8Array(1_448 - 8)]);
  const [full] = tcp(wire.flush());
  t.match(full, { payload: { length: 1_440 } });
  t.equal(full?.options?.sack, undefined, 'one that fills its packet has none');
  client.stream.abort(new NetError('aborted', 'enough'));
  t.match(tcp(wire.flush()), [{ flags: FLAG.rst | FLAG.ack, options: { timestamps: { echo: 8 } } }]);
});

t.test('IPv6 carries the same', async (t) => {
  const wire = new Wire({ isIPv6: true });
  const client = await new Client(wire).connect({ mss: 1_440, windowScale: 7, sackPermitted: true });
  client.text('over six', { flags: FLAG.ack | FLAG.fin });
  client.seq++;
  t.equal(await client.readNow(), 'over six');
  await client.stream.write([Buffer.alloc(3_000, 'down ')]);
  await client.stream.closeWrite();
  const sent = tcp(wire.flush());
  t.equal(client.take(sent).length, 3_000);
  client.send();
  t.equal(wire.stack.info.connections, 0);
});

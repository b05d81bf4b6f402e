// What is lost and sent again: duplicate ACKs, SACK, RACK, tail probes, the timeout. RFC 5681, 6298, 6582, 6675, 8985.
import { FLAG, type TcpPacket } from '@nekit/core/ip';
import t from 'tap';
import { offsets, sending, total } from './support/sending.js';
import { Client, tcp, Wire } from './support/wire.js';

const error = (thrown: unknown): unknown => thrown;

t.test('fast retransmit on the third duplicate ACK, not on the second (no SACK), and NewReno goes on from hole to hole', async (t) => {
  const { client, sent, wire } = await sending(20_000, {}, { mss: 1_000 }, 60_000);
  t.equal(sent.length, 10);
  client.ack = (client.ack + 1_000) >>> 0; // the second and the fifth are lost
  const fresh = client.send();
  t.equal(fresh.length, 2);
  t.equal(offsets(client, client.send()).includes(1_000), false);
  t.equal(offsets(client, client.send()).includes(1_000), false);
  t.strictSame(offsets(client, client.send()).slice(0, 1), [1_000], 'the third');
  t.equal(wire.stack.counters.get('fastRecoveries'), 1);
  for (let i = 0; i < 4; i++) t.equal(offsets(client, client.send()).includes(1_000), false, 'once');
  client.ack = (client.ack + 3_000) >>> 0;
  t.ok(offsets(client, client.send()).includes(4_000), 'a partial ACK shows the next hole');
  client.ack = (client.ack + 9_000) >>> 0;
  client.send();
  t.equal(wire.stack.counters.get('timeouts'), 0);
});

t.test('SACK: exactly the holes are sent again, two in one round trip, without a timeout', async (t) => {
  const { client, sent, wire } = await sending(30_000);
  wire.time += 40;
  client.take(sent.slice(0, 1));
  const fresh = client.send();
  client.take([]);
  const base = client.iss + 1;
  const sack = (...blocks: [number, number][]): TcpPacket[] =>
    client.send({ options: { sack: blocks.map(([left, right]): [number, number] => [(base + left) >>> 0, (base + right) >>> 0]) } });
  wire.time += 40;
  const answers = [...sack([2_000, 3_000]), ...sack([2_000, 4_000]), ...sack([5_000, 6_000], [2_000, 4_000]), ...sack([5_000, 11_000], [2_000, 4_000])];
  const again = offsets(client, answers).filter((offset) => offset < 10_000);
  t.strictSame(
    [...new Set(again)].sort((a, b) => a - b),
    [1_000, 4_000],
  );
  t.equal(again.length, 2, 'each once');
  t.equal(fresh.length, 2);
  t.match(wire.stack.info.counters, { fastRecoveries: 1, retransmitted: 2 });
  t.notOk('timeouts' in wire.stack.info.counters);
});

t.test('SACK: all four blocks of the only ACK that gets through count', async (t) => {
  const { client, wire } = await sending(10_000);
  const base = client.iss + 1;
  wire.time += 40;
  const blocks = [7_000, 5_000, 3_000, 1_000].map((at): [number, number] => [(base + at) >>> 0, (base + at + 1_000) >>> 0]);
  const again = [...client.send({ options: { sack: blocks } }), ...tcp(wire.advance(15))];
  t.strictSame(offsets(client, again), [0, 2_000, 4_000], 'half of ten segments may be in flight, and two are');
  client.ack = (client.ack + 10_000) >>> 0;
  client.send();
  t.match(wire.stack.info.counters, { fastRecoveries: 1, retransmitted: 3 });
});

t.test('a lost retransmission is found without a timeout (RACK)', async (t) => {
  const { client, sent, wire } = await sending(60_000);
  t.equal(sent.length, 10);
  const base = client.iss + 1;
  const sack = (right: number): TcpPacket[] => client.send({ options: { sack: [[(base + 1_000) >>> 0, (base + right) >>> 0]] } });
  wire.time += 40;
  const first = sack(10_000);
  t.ok(offsets(client, first).includes(0), 'sent again');
  const beyond = Math.max(...first.map((packet) => packet.sequence - base + packet.payload.length));
  wire.time += 40;
  const second = sack(beyond);
  const third = [...second, ...tcp(wire.advance(15))];
  t.ok(offsets(client, third).includes(0), 'what was sent after it has arrived, it has not: once more');
  t.notOk('timeouts' in wire.stack.info.counters);
});

t.test('reordering is no loss: a segment that comes a little late stops the search', async (t) => {
  const { client, wire } = await sending(20_000);
  const base = client.iss + 1;
  wire.time += 80;
  const early = client.send({ options: { sack: [[(base + 1_000) >>> 0, (base + 2_000) >>> 0]] } });
  t.notOk(offsets(client, early).includes(0));
  wire.time += 5;
  client.ack = (client.ack + 2_000) >>> 0;
  client.send();
  wire.advance(30);
  t.equal(wire.stack.counters.get('retransmitted'), 0);
});

t.test('the tail: a probe comes long before the timeout (RFC 8985 section 7)', async (t) => {
  const { client, sent, wire } = await sending(3_000);
  wire.time += 20;
  client.take(sent);
  client.send();
  await client.stream.write([new Uint8Array(3_000)]);
  const lost = tcp(wire.flush());
  t.equal(lost.length, 3);
  const probe = tcp(wire.advance(60));
  t.strictSame(offsets(client, probe), [5_000], 'the last segment, after two round trips');
  t.match(wire.stack.info.counters, { tailProbes: 1 });
  const base = client.iss + 1;
  wire.time += 20;
  const rest = client.send({ options: { sack: [[(base + 5_000) >>> 0, (base + 6_000) >>> 0]] } });
  t.strictSame(offsets(client, [...rest, ...tcp(wire.advance(30))]), [3_000, 4_000], 'and its SACK shows the others');
  t.notOk('timeouts' in wire.stack.info.counters);
});

t.test('a full segment with the FIN is one packet when it goes again, as a probe and at the timeout', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect({ mss: 1_000, sackPermitted: true });
  await client.stream.write([new Uint8Array(1_000)]);
  await client.stream.closeWrite();
  const first = tcp(wire.flush());
  t.match(first, [{ flags: FLAG.ack | FLAG.psh | FLAG.fin, payload: { length: 1_000 } }]);
  const again = tcp(wire.advance(5_000));
  t.ok(again.length > 1);
  for (const packet of again) t.match(packet, { flags: FLAG.ack | FLAG.psh | FLAG.fin, sequence: first[0]?.sequence, payload: { length: 1_000 } });
  t.match(wire.stack.info.counters, { tailProbes: 1, retransmitted: again.length - 1 });
  client.ack = (client.ack + 1_001) >>> 0;
  client.send();
  t.strictSame(tcp(wire.advance(5_000)), []);
});

t.test('no probe behind a window that the peer has taken back: it would drop it', async (t) => {
  for (const left of [0, 1_500, 3_000]) {
    const { client, sent, wire } = await sending(3_000, {}, { mss: 1_000, sackPermitted: true });
    wire.time += 20;
    client.take(sent);
    client.send();
    await client.stream.write([new Uint8Array(3_000)]);
    t.equal(tcp(wire.flush()).length, 3);
    client.window = left;
    client.send();
    const base = client.ack;
    const probes = tcp(wire.advance(150));
    t.strictSame(
      probes.map(({ sequence }) => (sequence - base) >>> 0),
      left === 3_000 ? [2_000] : [],
      `${left} bytes left`,
    );
  }
});

t.test('an echo from before the last timeout is not a round trip', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect({ mss: 1_000, timestamps: { value: 1, echo: 0 } });
  const write = async (): Promise<TcpPacket[]> => {
    await client.stream.write([new Uint8Array(100)]);
    return tcp(wire.flush());
  };
  const answer = (echo: number): void => void client.send({ options: { timestamps: { value: 2, echo } } });
  const stampOf = (packets: readonly TcpPacket[]): number => packets.at(-1)?.options?.timestamps?.value ?? 0;
  const exchange = async (): Promise<void> => {
    const sent = await write();
    wire.time += 20;
    client.take(sent);
    answer(stampOf(sent));
  };
  await exchange();
  // An ACK that is lost, and a peer that goes on echoing the first copy: what comes in the end is 12.7 s old, and that was the timer.
  const first = await write();
  const copies = tcp(wire.advance(12_700));
  t.equal(copies.length, 6, '200, 400, ... ms');
  client.take(first);
  answer(stampOf(first));
  const next = await write();
  t.equal(wire.advance(10_000).length, 0, 'the next timeout stays as long as it is (Karn)');
  client.take(next);
  answer(stampOf(next));
  for (let i = 0; i < 30; i++) await exchange();
  const lost = await write();
  t.equal(total(lost), 100);
  t.equal(total(tcp(wire.advance(2_500))), 300);
});

t.test('the timeout: doubled each time, one segment in flight, and everything again in slow start', async (t) => {
  const { client, sent, wire } = await sending(10_000, {}, { mss: 1_000 }, 60_000);
  t.equal(sent.length, 10);
  const times: number[] = [];
  for (let ms = 0; ms < 40_000; ms += 10) if (tcp(wire.advance(10)).length > 0) times.push(wire.time);
  const gaps = times.slice(1).map((time, i) => time - (times[i] ?? 0));
  for (let i = 1; i < gaps.length; i++) t.ok(Math.abs((gaps[i] ?? 0) - 2 * (gaps[i - 1] ?? 0)) <= 20, `${gaps[i - 1]} then ${gaps[i]}`);
  t.ok(times.length >= 5);
  client.ack = (client.ack + 1_000) >>> 0;
  t.equal(client.send().length, 2, 'slow start');
});

t.test('a window that changes with each ACK does not put off the timeout of what is in flight: RFC 6298 section 5', async (t) => {
  const { client, sent, wire } = await sending(4_000, {}, { mss: 1_000 }, 60_000);
  t.equal(sent.length, 4);
  for (let i = 0; i < 15; i++) {
    wire.advance(100);
    client.window += 100;
    client.send();
  }
  t.equal(wire.stack.counters.get('timeouts'), 3, 'after 200, 600 and 1,400 ms');
});

t.test('an ACK that comes after a timeout tells of the timer, not of the path', async (t) => {
  const { client, sent, wire } = await sending(4_000, {}, { mss: 1_000, sackPermitted: true }, 60_000);
  t.equal(sent.length, 4);
  wire.time += 10;
  client.ack = (client.ack + 1_000) >>> 0;
  client.send(); // a round trip of 10 ms; the ACKs of what follows are lost
  wire.advance(25_000);
  const timeouts = wire.stack.counters.get('timeouts');
  t.ok(timeouts >= 5, `${timeouts} timeouts`);
  const base = client.ack;
  // The first was sent again and arrives; of the third, which arrived long ago, is told only now.
  client.ack = (base + 1_000) >>> 0;
  client.send({ options: { sack: [[(base + 2_000) >>> 0, (base + 3_000) >>> 0]] } });
  const before = wire.stack.counters.get('timeouts');
  wire.advance(13_000);
  t.equal(wire.stack.counters.get('timeouts'), before + 1, 'the next timeout is as long as the last one, 12.8 s, and not the longest there is');
});

for (const [name, options] of [
  ['without SACK', { mss: 1_000 }],
  ['with SACK', { mss: 1_000, sackPermitted: true }],
] as const)
  t.test(`a path that becomes slower than the timeout, no timestamps, ${name}: it stays backed off until something is measured (Karn)`, async (t) => {
    const wire = new Wire();
    const client = await new Client(wire).connect(options);
    /** How many copies of 500 bytes are sent until their ACK comes. */
    const exchange = async (trip: number): Promise<number> => {
      await client.stream.write([new Uint8Array(500)]);
      const sent = tcp(wire.flush());
      const again = tcp(wire.advance(trip));
      client.take(sent);
      client.send();
      wire.advance(20);
      return (total(sent) + total(again)) / 500;
    };
    for (let i = 0; i < 10; i++) t.equal(await exchange(5), 1);
    const copies: number[] = [];
    for (let i = 0; i < 30; i++) copies.push(await exchange(600));
    t.ok((copies[0] ?? 0) > 1);
    t.strictSame(copies.slice(-5), [1, 1, 1, 1, 1], copies.join(' '));
    t.ok(wire.stack.counters.get('timeouts') <= 3);
  });

t.test('a peer that never answers is given up after five minutes, with a RST', async (t) => {
  const { client, wire, written } = await sending(1_000);
  await written;
  const reading = client.stream.read().catch(error);
  const all = tcp(wire.advance(700_000));
  t.match(await reading, { code: 'ETIMEDOUT', failure: 'timeout' });
  t.equal(all.at(-1)?.flags, FLAG.rst | FLAG.ack);
  t.match(wire.stack.info, { connections: 0, memory: 0, timers: 0, counters: { timedOut: 1 } });
});

t.test('a peer that forgets what it has reported (SACK reneging) gets it again', async (t) => {
  const { client, wire } = await sending(4_000);
  const base = client.iss + 1;
  client.send({ options: { sack: [[(base + 1_000) >>> 0, (base + 4_000) >>> 0]] } });
  client.ack = (client.ack + 1_000) >>> 0;
  client.send();
  const again = tcp(wire.advance(5_000));
  t.ok(offsets(client, again).includes(1_000));
});

t.test('SACK blocks of what was never sent, of nothing, or too many of them, change nothing', async (t) => {
  const { client, wire } = await sending(10_000);
  const base = client.iss + 1;
  for (const [left, right] of [
    [20_000, 21_000],
    [500, 500],
    [900, 100],
    [-5_000, -4_000],
    [9_000, 20_000],
  ] as const) {
    client.send({ options: { sack: [[(base + left) >>> 0, (base + right) >>> 0]] } });
  }
  t.equal(wire.stack.counters.get('retransmitted'), 0);
  // Every other byte (CVE-2019-11477): bounded.
  for (let i = 1; i < 9_990; i += 8) {
    client.send({ options: { sack: [0, 2, 4, 6].map((at): [number, number] => [(base + i + at) >>> 0, (base + i + at + 1) >>> 0]) } });
  }
  t.equal(wire.stack.info.connections, 1);
});

t.test('a peer that cuts what is in flight into crumbs (CVE-2019-11477, 11478): a bounded number of segments, and all of it in the end', async (t) => {
  const { client, sent, wire } = await sending(300_000, {}, { mss: 536, windowScale: 7, sackPermitted: true });
  let got = client.take(sent).length;
  let flight: TcpPacket[] = [];
  for (let i = 0; i < 4; i++) {
    wire.time += 20;
    got += client.take(flight).length;
    flight = client.send();
  }
  const end = client.ack + total(flight);
  t.ok(total(flight) > 40_000);
  wire.time += 20;
  const blocks = [0, 2, 4, 6];
  for (let at = end - 2_400; at < end - 8; at += 8)
    client.send({ options: { sack: blocks.map((o): [number, number] => [(at + o) >>> 0, (at + o + 1) >>> 0]) } });
  const again = tcp(wire.advance(1_000)).length + wire.stack.counters.get('retransmitted');
  t.ok(again < 4_000, `${again} segments in a second`);
  for (let i = 0; i < 5_000 && got < 300_000; i++) {
    wire.time += 20;
    got += client.take(client.send().concat(tcp(wire.advance(20)))).length;
  }
  t.equal(got, 300_000);
  t.equal(wire.stack.counters.get('sinkFull'), 0);
});

// Bytes that stay in the remote's socket until the client has acknowledged them (SendBuffer.held).
import { NetError } from '@nekit/core';
import { FLAG, SeededRandom, type TcpPacket } from '@nekit/core/ip';
import t from 'tap';
import { HeldConn, type Spliced, splicedWith } from './support/spliced.js';
import { tcp, Wire } from './support/wire.js';

const runs = process.env.NEKIT_FULL === undefined ? 60 : 3_000;

/** The client is a program of this host, which gets large packets. */
const hostWire = (): Wire => new Wire({ largest: 65_535, lends: true, networks: ['10.0.0.2/30'] });

/** Everything that the client is sent: each flight is acknowledged as a whole, but for what `loses` picks. */
function download({ wire, client }: Spliced, length: number, loses: (packet: TcpPacket) => boolean = () => false, each: () => void = () => {}): Buffer {
  const got: Uint8Array[] = [];
  let sum = 0;
  for (let round = 0; round < 5_000 && sum < length; round++) {
    each();
    wire.time += 1;
    let pieces = client.send();
    if (pieces.length === 0) pieces = tcp(wire.advance(300));
    const taken = client.take(pieces.filter((packet) => !loses(packet)));
    got.push(taken);
    sum += taken.length;
  }
  return Buffer.concat(got);
}

async function bulk(): Promise<Spliced<HeldConn>> {
  const all = await splicedWith(new HeldConn(), { idleMs: 3_600_000 }, hostWire()); // this client repeats no ACK, so after a loss or two a timeout takes a minute
  all.client.window = 4_000; // of 128 bytes: what the device of these tests has room for
  return all;
}

t.test('a download by itself: sent out of the socket, let go as it is acknowledged, and nearly nothing is copied', async (t) => {
  const all = await bulk();
  const { wire, conn, client, done } = all;
  const data = new SeededRandom(1).bytes(6_000_000);
  conn.give(data);
  t.equal(Buffer.compare(download(all, data.length), data), 0);
  client.send();
  t.ok(wire.lending.peeked > 4_000_000, `${wire.lending.peeked} bytes out of the socket`);
  t.ok(conn.received < 2_000_000, `${conn.received} bytes were copied`);
  t.equal(conn.received + wire.lending.peeked, data.length, 'none of them twice');
  conn.end();
  client.take(client.send());
  client.text('', { flags: FLAG.fin | FLAG.ack });
  t.strictSame(await done, { up: 0, down: data.length, error: null });
  t.equal(wire.stack.info.memory, 0);
});

t.test('the end comes behind what is held', async (t) => {
  const all = await bulk();
  const { wire, conn, client, done } = all;
  const data = new SeededRandom(2).bytes(3_000_000);
  conn.give(data);
  conn.end();
  const got = download(all, data.length);
  t.equal(Buffer.compare(got, data), 0);
  t.ok(wire.lending.peeked > 500_000);
  wire.time += 10;
  const last = tcp(wire.advance(1_000));
  client.take(last);
  client.text('', { flags: FLAG.fin | FLAG.ack });
  t.strictSame(await done, { up: 0, down: data.length, error: null });
  t.equal(wire.stack.info.memory, 0);
});

t.test('loss: what is sent again is what was sent, in whichever of the two places it lies', async (t) => {
  const seed = Number(process.env.NEKIT_SEED ?? 77);
  t.comment(`NEKIT_SEED=${seed}`);
  const random = new SeededRandom(seed);
  let peeked = 0;
  for (let run = 0; run < runs; run++) {
    const all = await bulk();
    const { wire, conn, signal, done } = all;
    const data = random.bytes(1_500_000 + random.below(1_500_000));
    const rate = random.below(3) / 200;
    let given = 0;
    const give = (): void => {
      if (given === data.length || !random.chance(0.7)) return;
      const end = Math.min(data.length, given + random.below(1_000_000));
      conn.give(data.subarray(given, end));
      given = end;
      if (random.chance(0.02)) conn.mayHold = !conn.mayHold;
      if (random.chance(0.02)) wire.lending.refusesHeld = !wire.lending.refusesHeld;
    };
    const got = download(all, data.length, () => random.chance(rate), give);
    if (Buffer.compare(got, data) !== 0) t.fail(`run ${run}: ${got.length} of ${data.length} bytes, or others`);
    peeked += wire.lending.peeked;
    signal.cancel(new NetError('aborted', 'the test is over'));
    await done;
    wire.flush();
    if (wire.stack.info.memory !== 0) t.fail(`run ${run}: memory is left`);
  }
  t.ok(peeked > runs * 300_000, `${peeked} bytes out of sockets`);
});

t.test('two downloads at a time are received as they come', async (t) => {
  const wire = hostWire();
  const all = [await splicedWith(new HeldConn(), {}, wire, 40_000), await splicedWith(new HeldConn(), {}, wire, 40_001)];
  const data = new SeededRandom(3).bytes(4_000_000);
  for (const { client, conn } of all) {
    client.window = 4_000;
    conn.give(data);
  }
  const got = all.map((): Uint8Array[] => []);
  for (let round = 0; round < 500; round++) {
    wire.time += 1;
    for (const { client } of all) wire.feed(client.segment());
    const pieces = tcp(wire.flush());
    for (const [i, { client }] of all.entries()) got[i]?.push(client.take(pieces.filter(({ destinationPort }) => destinationPort === client.port)));
  }
  for (const parts of got) t.equal(Buffer.compare(Buffer.concat(parts), data), 0);
  t.ok(wire.lending.peeked < data.length / 2, `${wire.lending.peeked} bytes of ${2 * data.length} out of sockets`);
  for (const { signal, done } of all) {
    signal.cancel(new NetError('aborted', 'the test is over'));
    await done;
  }
});

t.test('a socket that fails with bytes in it cuts the client off, and a sink that takes none of them gets copies', async (t) => {
  const all = await bulk();
  const { wire, conn, client, done } = all;
  conn.give(new SeededRandom(4).bytes(4_000_000));
  download(all, 2_000_000);
  const { peeked } = wire.lending;
  t.ok(peeked > 0);
  wire.lending.refusesHeld = true;
  const before = conn.received;
  download(all, 500_000);
  t.ok(conn.received > before);
  t.equal(wire.lending.peeked, peeked);
  const error = new NetError('aborted', 'the server is gone', { code: 'ECONNRESET' });
  conn.listener?.closed(error);
  t.ok(client.send().some(({ flags }) => (flags & FLAG.rst) !== 0));
  t.equal((await done).error, error);
  t.equal(wire.stack.info.memory, 0);
});

// What is kept while memory is short: what comes in order before islands, and windows that neither grow nor are taken back. RFC 9293 section 3.8.6.2; RFC 2018 section 8.
import type { TcpPacket } from '@nekit/core/ip';
import t from 'tap';
import { Client, tcp, Wire } from './support/wire.js';

t.test('memory: at its end text is dropped, not the connection; it comes again', async (t) => {
  const wire = new Wire({ arenaBytes: 16 * 4_096 });
  const clients: Client[] = [];
  for (let i = 0; i < 20; i++) clients.push(await new Client(wire, 1_000, 2_000 + i).connect());
  for (const client of clients) client.send({ payload: new Uint8Array(1_000).fill(7) });
  t.equal(wire.stack.counters.get('dropMemory'), 4);
  t.ok(wire.stack.info.memory <= wire.arena.size);
  for (const client of clients) await client.readNow();
  wire.flush();
  for (const client of clients) {
    client.text(new Uint8Array(1_000).fill(7));
    await client.readNow();
  }
  t.match(wire.stack.info, { memory: 0, connections: 20 });
});

t.test('memory: islands do not fill it: two bytes per connection, one of them at the far end of the window', async (t) => {
  const wire = new Wire({ arenaBytes: 4 << 20 });
  const options = { mss: 1_460, windowScale: 7, sackPermitted: true };
  const older = await new Client(wire, 1_000, 1_001).connect(options);
  for (let i = 0; i < 40; i++) {
    const hostile = await new Client(wire, 1_000, 2_000 + i).connect(options);
    hostile.text('x');
    await hostile.read();
    wire.advance(50);
    hostile.send({ sequence: hostile.seq + 60_000 + 1, payload: Buffer.from('y') });
    hostile.send({ sequence: hostile.seq + 200_000, payload: Buffer.from('y') });
  }
  t.ok(wire.stack.info.memory < wire.arena.size / 2, `${wire.stack.info.memory} of ${wire.arena.size}`);
  t.ok(wire.stack.counters.get('dropMemory') > 20);
  for (const client of [older, await new Client(wire, 1_000, 1_002).connect(options)]) {
    // One segment is missing: what follows it is kept all the same, it is worth its memory.
    const base = client.seq;
    for (let i = 1; i < 6; i++) client.send({ sequence: base + i * 1_460, payload: new Uint8Array(1_460) });
    t.match(client.send({ sequence: base, payload: new Uint8Array(1_460) }), [{ acknowledgment: base + 6 * 1_460 }]);
  }
});

t.test('memory: islands that are held give way to what comes in order, the oldest first', async (t) => {
  const wire = new Wire({ arenaBytes: 64 * 4_096 });
  const options = { mss: 1_000, sackPermitted: true };
  const islands: Client[] = [];
  for (let i = 0; i < 20; i++) {
    const client = await new Client(wire, 1_000, 1_001 + i).connect(options);
    client.send({ sequence: client.seq + 1_000, payload: new Uint8Array(1_000).fill(2) });
    islands.push(client);
  }
  const partly = await new Client(wire, 1_000, 1_100).connect(options);
  partly.text('unread');
  partly.send({ sequence: partly.seq + 10_000, payload: new Uint8Array(1_000) });
  t.equal(wire.stack.info.memory, 20 * 4_096 + 16_384, 'as long as there is enough');
  for (let i = 0; wire.stack.info.memory < wire.arena.size * 0.89; i++) (await new Client(wire, 1_000, 2_000 + i).connect(options)).text('x');
  t.equal(wire.stack.counters.get('dropMemory'), 0);
  const first = islands[0];
  const last = islands.at(-1);
  if (first === undefined || last === undefined) throw new Error('there are twenty');
  const late = await new Client(wire, 1_000, 3_000).connect(options);
  late.text('x');
  wire.flush();
  t.ok(wire.stack.info.memory < wire.arena.size * 0.75, `${wire.stack.info.memory} of ${wire.arena.size}`);
  wire.advance(50);
  first.send({ payload: new Uint8Array(1_000).fill(1) });
  t.match(wire.advance(50), [{ acknowledgment: first.seq + 1_000 }], 'to be sent again');
  t.match(last.send({ payload: new Uint8Array(1_000).fill(1) }), [{ acknowledgment: last.seq + 2_000 }], 'it was not needed');
  first.seq += 1_000;
  first.text(new Uint8Array(1_000).fill(2));
  t.equal((await first.readNow())?.length, 2_000);
  t.equal(await partly.readNow(), 'unread');
});

t.test('memory: when it becomes scarce windows do not grow, and none is taken back: RFC 9293, SHLD-14', async (t) => {
  const wire = new Wire({ arenaBytes: 16 * 4_096, settings: { initialWindow: 32_768, maxWindow: 32_768 } });
  const client = await new Client(wire, 1_000, 1_001).connect({ mss: 1_000 });
  const edgeOf = (packet: TcpPacket | undefined): number => (packet?.acknowledgment ?? 0) + (packet?.window ?? 0);
  const before = edgeOf(tcp([...client.text('x'), ...wire.advance(50)]).at(-1));
  await client.readNow();
  for (const [port, bytes] of [
    [1_002, 32_000],
    [1_003, 16_000],
    [1_004, 8_000],
  ] as const) {
    const other = await new Client(wire, 1, port).connect({ mss: 1_000 });
    for (let sent = 0; sent < bytes; sent += 1_000) other.text(new Uint8Array(1_000));
  }
  t.ok(wire.stack.info.memory > wire.arena.size * 0.85, `${wire.stack.info.memory} of ${wire.arena.size}`);
  const after = edgeOf(tcp([...client.text('y'), ...wire.advance(50)]).at(-1));
  t.equal(before, 1_001 + 32_768);
  t.equal(after, before);
});

t.test('a window of less than a segment is opened where memory is short: RFC 9293 section 3.8.6.2.2', async (t) => {
  for (const mtu of [1_500, 9_000]) {
    const wire = new Wire({ mtu, arenaBytes: 2 << 20 });
    const client = await new Client(wire).connect({ mss: mtu - 40, windowScale: 7, sackPermitted: true });
    const window = 256 * 1024;
    for (let left = window; left > 0; left -= Math.min(left, mtu - 40)) {
      client.text(new Uint8Array(Math.min(left, mtu - 40)));
      wire.advance(50);
    }
    t.match(tcp(wire.advance(10_000)).at(-1) ?? client.send({ sequence: client.seq - 1 })[0], { acknowledgment: client.seq, window: 0 });
    while (wire.arena.used < wire.arena.size * 0.97 && wire.arena.allocate(4_096) !== -1);
    wire.advance(10);
    for (let got = 0; got < window; wire.advance(50)) got += Buffer.concat((await client.read()) ?? []).length;
    while (wire.arena.used < wire.arena.size * 0.93 && wire.arena.allocate(4_096) !== -1);
    wire.advance(5_000);
    const [answer] = client.send({ sequence: client.seq - 1 });
    t.ok((answer?.window ?? 0) > 0, `MTU ${mtu}`);
  }
});

t.test('memory: the fuller it is the less a window and a send buffer may take', async (t) => {
  for (const [full, window, written] of [
    [0.4, 512 * 1024, 65_536],
    [0.6, 256 * 1024, 65_536],
    [0.8, 65_536, 65_536],
    [0.95, 65_536, 8_192],
  ] as const) {
    const wire = new Wire({ arenaBytes: 4 << 20, settings: { initialWindow: 512 * 1024 } });
    while (wire.arena.used < wire.arena.size * full) wire.arena.allocate(4_096);
    const client = await new Client(wire).connect({ mss: 1_000, windowScale: 7, sackPermitted: true });
    const [ack] = [...client.text('x'), ...tcp(wire.advance(50))];
    const offered = ((ack?.window ?? 0) << (client.synAck?.options?.windowScale ?? 0)) + 1;
    t.ok(offered <= window && offered > window - 64, `${full}: a window of ${offered}`);
    await client.readNow();
    wire.flush();
    const before = wire.arena.used;
    client.stream.write([new Uint8Array(200_000)]).catch(() => {});
    t.equal(wire.arena.used - before, written, `${full}: written`);
  }
});

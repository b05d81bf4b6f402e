// A client's connection joined with a kernel socket: one in memory that takes and gives as the test will. (With real ones: splice-sockets.test.ts.)
import { CancelSource, NetError } from '@nekit/core';
import { FLAG, SeededRandom } from '@nekit/core/ip';
import t from 'tap';
import { MemoryConn, type Spliced, spliced } from './support/spliced.js';
import { Client, tcp, Wire } from './support/wire.js';

const runs = process.env.NEKIT_FULL === undefined ? 100 : 5_000;

t.test('a flush takes so much out of sockets, and the next one goes on with those that got nothing', async (t) => {
  for (const [lends, most] of [
    [false, 512 * 1024],
    [true, 1024 * 1024],
  ] as const) {
    const wire = new Wire({ lends, largest: 65_535 });
    const all: Spliced[] = [];
    for (let i = 0; i < 40; i++) all.push(await spliced({}, wire, 40_000 + i));
    const left = (): number => all.reduce((sum, { conn }) => sum + conn.left, 0);
    for (const { conn } of all) conn.give(new Uint8Array(60_000));
    let before = left();
    t.equal(before, 40 * 60_000);
    for (let flushes = 0; before > 0; flushes++) {
      t.ok(flushes < 10);
      wire.flush();
      const taken = before - left();
      t.ok(taken === Math.min(before, most), `${taken} bytes, ${lends ? 'large packets' : 'segments'}`);
      before = left();
      t.ok(before === 0 || wire.wakes > 0, 'another flush is asked for');
      wire.wakes = 0;
    }
    for (const { signal } of all) signal.cancel(new NetError('aborted', 'the test is over'));
    await Promise.all(all.map(({ done }) => done));
  }
});

t.test('bytes both ways, counted; one send per batch; both FINs; nothing is left', async (t) => {
  const { wire, client, conn, options, done } = await spliced();
  wire.feed(...[0, 1, 2, 3].map((i) => client.segment({ sequence: client.seq + i * 5, payload: Buffer.from(`part${i}`) })));
  client.seq += 20;
  wire.flush();
  t.equal(conn.text, 'part0part1part2part3');
  t.equal(conn.sends, 1, 'small segments are gathered');
  conn.give(Buffer.from('answer'));
  t.ok(wire.wakes > 0);
  t.equal(Buffer.from(client.take(tcp(wire.flush()))).toString(), 'answer');
  client.text('', { flags: FLAG.fin | FLAG.ack });
  client.seq++;
  t.equal(conn.isFinSent, true);
  conn.give(Buffer.from('after your FIN'));
  conn.end();
  t.equal(Buffer.from(client.take(tcp(wire.flush()))).toString(), 'after your FIN');
  client.send();
  t.strictSame(await done, { up: 20, down: 20, error: null });
  t.strictSame([...options.counters], [0, 0, 20, 20]);
  t.match(wire.stack.info, { connections: 0, memory: 0, timers: 0 });
  t.equal(conn.aborted, null);
});

t.test('a large payload goes from the packet to the socket, and only the rest is kept', async (t) => {
  const { client, conn, wire } = await spliced({}, new Wire({ mtu: 65_535 }));
  conn.room = 20_000;
  client.text(new Uint8Array(30_000).fill(7));
  t.equal(conn.taken[0]?.length, 20_000);
  t.equal(wire.stack.info.memory, 16_384);
  conn.drain();
  wire.flush();
  t.equal(Buffer.concat(conn.taken).length, 30_000);
  t.equal(wire.stack.info.memory, 0);
});

t.test('a full socket closes the window; when it is writable again the window opens', async (t) => {
  const { wire, client, conn } = await spliced({}, new Wire({ settings: { initialWindow: 16_384, maxWindow: 16_384 } }));
  conn.room = 0;
  let last = client.text(new Uint8Array(1_460));
  for (let i = 0; i < 11; i++) last = [...last, ...client.text(new Uint8Array(1_460))];
  last = [...last, ...tcp(wire.advance(100))];
  t.ok((last.at(-1)?.window ?? 0) << 1 < 1_460, 'closed');
  conn.drain();
  const [update] = tcp(wire.flush());
  t.ok((update?.window ?? 0) >= 16_000 >> 1, 'open');
});

t.test('silly windows: a socket that takes little by little opens the window by a segment, and nothing less is announced', async (t) => {
  const { wire, client, conn } = await spliced({}, new Wire({ settings: { initialWindow: 16_384, maxWindow: 16_384 } }));
  conn.room = 0;
  for (let sent = 0; sent < 16_384; sent += 1_024) client.text(new Uint8Array(1_024));
  wire.advance(100);
  const seen: number[] = [];
  for (let taken = 0; taken < 4_000; taken += 100) {
    conn.room = 100;
    conn.listener?.writable();
    const updates = tcp(wire.flush());
    if (taken < 900) t.strictSame(updates, [], 'nothing worth an ACK');
    const probed = client.send({ sequence: client.seq - 1 }); // asks what the window is
    for (const { window } of [...updates, ...probed]) seen.push(window);
    wire.time += 600;
  }
  t.ok(seen.length >= 40, `${seen.length} answers`);
  t.strictSame(
    seen.filter((window) => window > 0 && window < 1_024),
    [],
  );
  t.ok((seen.at(-1) ?? 0) >= 2_000, 'and it does open');
});

t.test('FIN waits for what the socket has taken and not sent', async (t) => {
  const { wire, client, conn } = await spliced();
  client.text('the end');
  conn.pending = 7;
  client.text('', { flags: FLAG.fin | FLAG.ack });
  client.seq++;
  t.equal(conn.text, 'the end');
  t.equal(conn.isFinSent, false);
  conn.pending = 0;
  conn.drain();
  wire.flush();
  t.equal(conn.isFinSent, true);
});

t.test('a large segment behind a short one goes to the socket from its packet, and after it', async (t) => {
  const random = new SeededRandom(5);
  const short = Buffer.from(random.bytes(3_000));
  const large = Buffer.from(random.bytes(20_000));
  const batch = (client: Client) => [client.segment({ payload: short }), client.segment({ sequence: client.seq + short.length, payload: large })];
  t.test('a socket with room', async (t) => {
    const { wire, client, conn } = await spliced();
    wire.feed(...batch(client));
    t.same(
      conn.taken.map(({ length }) => length),
      [3_000, 20_000],
      'before the end of the batch',
    );
    t.equal(wire.stack.info.memory, 0, 'no ring is left');
    wire.flush();
    t.same(Buffer.concat(conn.taken), Buffer.concat([short, large]));
  });
  for (const room of [0, 1_000, 3_000, 10_000])
    t.test(`one with room for ${room} bytes`, async (t) => {
      const { wire, client, conn } = await spliced();
      conn.room = room;
      wire.feed(...batch(client));
      wire.flush();
      t.same(Buffer.concat(conn.taken), Buffer.concat([short, large]).subarray(0, room));
      conn.drain();
      wire.flush();
      t.same(Buffer.concat(conn.taken), Buffer.concat([short, large]));
      t.equal(wire.stack.info.memory, 0);
    });
});

t.test('segments of any size, batches of any length, a socket that takes what it likes: every byte, in order', async (t) => {
  let right = 0;
  for (let seed = 1; seed <= runs; seed++) {
    const random = new SeededRandom(seed);
    const { wire, client, conn } = await spliced();
    const sent: Uint8Array[] = [];
    for (let batch = 0; batch < 20; batch++) {
      conn.room = random.chance(0.5) ? Number.POSITIVE_INFINITY : random.below(30_000);
      if (conn.room > 0) conn.listener?.writable();
      let at = client.seq;
      const segments = Array.from({ length: 1 + random.below(4) }, () => {
        const payload = random.bytes(random.chance(0.5) ? 1 + random.below(8_000) : 8_192 + random.below(6_000));
        sent.push(payload);
        const segment = client.segment({ sequence: at, payload });
        at = (at + payload.length) >>> 0;
        return segment;
      });
      client.seq = at;
      wire.feed(...segments);
      wire.flush();
      conn.drain();
      wire.flush();
    }
    if (Buffer.compare(Buffer.concat(conn.taken), Buffer.concat(sent)) !== 0) t.fail(`seed ${seed}`);
    else if (wire.stack.info.memory !== 0) t.fail(`seed ${seed}: memory is left`);
    else right++;
  }
  t.equal(right, runs);
});

t.test('a socket that turns out to be broken when it is sent to: nothing of the segment is kept', async (t) => {
  for (const inFront of [0, 3_000]) {
    const { wire, client, conn, done } = await spliced();
    conn.breaks = new NetError('aborted', 'broken', { code: 'EPIPE' });
    const short = client.segment({ payload: Buffer.alloc(inFront, 1) });
    const large = client.segment({ sequence: client.seq + inFront, payload: Buffer.alloc(20_000, 2) });
    wire.feed(...(inFront === 0 ? [large] : [short, large]));
    wire.flush();
    t.match(await done, { error: { code: 'EPIPE' } });
    wire.flush();
    t.match(wire.stack.info, { connections: 0, memory: 0 }, `${inFront} bytes in front`);
  }
});

t.test('both ends have ended, and the socket takes no more: what is left is forgotten with the relay', async (t) => {
  const failed = new NetError('aborted', 'broken', { code: 'EPIPE' });
  const endings: Record<string, (s: Spliced) => void> = {
    silence: ({ wire }) => {
      wire.time += 20_000;
    },
    signal: ({ signal }) => signal.cancel(failed),
    socket: ({ conn }) => conn.listener?.closed(failed),
  };
  for (const [name, end] of Object.entries(endings)) {
    const all = await spliced();
    const { wire, client, conn, done } = all;
    conn.room = 0;
    client.text('nobody takes it', { flags: FLAG.fin | FLAG.ack });
    client.seq++;
    conn.end();
    client.take(tcp(wire.flush()));
    client.send();
    t.match(wire.stack.info, { connections: 0, memory: 4_096 }, `${name}: it waits for the socket`);
    end(all);
    wire.flush();
    t.ok((await done)?.error, name);
    wire.flush();
    t.equal(wire.stack.info.memory, 0, name);
  }
});

t.test('a full ring leaves the rest in the socket', async (t) => {
  const { wire, client, conn } = await spliced();
  conn.give(new Uint8Array(3_000_000));
  let got = 0;
  for (let i = 0; i < 3_000 && got < 3_000_000; i++) {
    wire.time += 1;
    got += client.take(tcp(wire.flush())).length;
    got += client.take(client.send()).length;
    t.ok(wire.stack.info.memory <= 1 << 20) || t.bailout('unbounded');
  }
  t.equal(got, 3_000_000);
});

t.test('memory in small pieces is memory', async (t) => {
  const wire = new Wire({ arenaBytes: 4 << 20 });
  const { client, conn } = await spliced({}, wire);
  const pieces: number[] = [];
  for (let at = wire.arena.allocate(65_536); at !== -1; at = wire.arena.allocate(65_536)) pieces.push(at);
  for (const at of pieces.filter((_, index) => index % 2 === 0)) wire.arena.release(at, 65_536);
  conn.give(new Uint8Array(2_000_000));
  let got = 0;
  for (let i = 0; i < 2_000 && got < 2_000_000; i++) got += client.take(client.send()).length; // no time passes, in which it could try again
  t.equal(got, 2_000_000);
});

t.test('a ring that is full asks for no flush, however often its socket says that there is more', async (t) => {
  // As much as one flush takes out of sockets at most: it is through with that just when all rings are full.
  const wire = new Wire({ settings: { maxSendBuffer: 65_536 } });
  const all: Spliced[] = [];
  for (let i = 0; i < 8; i++) all.push(await spliced({}, wire, 40_000 + i));
  for (const { conn } of all) conn.give(new Uint8Array(200_000));
  wire.flush();
  t.ok(all.every(({ conn }) => conn.left === 200_000 - 65_536));
  wire.wakes = 0;
  wire.flush();
  for (const { conn } of all) conn.give(new Uint8Array(1_000));
  t.equal(wire.wakes, 0);
  let got = 0;
  for (let i = 0; i < 1_000 && got < 8 * 201_000; i++) {
    wire.time += 1;
    const sent = tcp(wire.flush());
    for (const { client } of all) got += client.take(sent.filter((packet) => packet.destinationPort === client.port)).length;
    for (const { client } of all) got += client.take(client.send().filter((packet) => packet.destinationPort === client.port)).length;
  }
  t.equal(got, 8 * 201_000, 'the ACKs are enough');
  for (const { signal } of all) signal.cancel(new NetError('aborted', 'the test is over'));
  await Promise.all(all.map(({ done }) => done));
});

t.test('a client that resets, a socket that fails, the signal, silence: both ends are cut off', async (t) => {
  t.test('reset', async (t) => {
    const { client, conn, done } = await spliced();
    client.send({ flags: FLAG.rst });
    t.match(await done, { error: { code: 'ECONNRESET' } });
    t.match(conn.aborted, { code: 'ECONNRESET' });
  });
  t.test('socket', async (t) => {
    const { wire, client, conn, done } = await spliced();
    conn.listener?.closed(new NetError('aborted', 'reset by peer', { code: 'ECONNRESET' }));
    t.match(await done, { error: { message: 'reset by peer' } });
    t.match(tcp(wire.flush()), [{ flags: FLAG.rst | FLAG.ack, sequence: client.ack }], 'a RST: a truncated download must not look complete');
    t.match(wire.stack.info, { connections: 0, memory: 0, timers: 0 });
  });
  t.test('signal', async (t) => {
    const { wire, conn, signal, done } = await spliced();
    signal.cancel(new NetError('aborted', 'the kernel stops', { code: 'STOPPED' }));
    t.match(await done, { error: { code: 'STOPPED' } });
    t.ok(conn.aborted);
    t.equal(tcp(wire.flush()).length, 1);
  });
  t.test('a signal that had fired', async (t) => {
    const signal = new CancelSource();
    signal.cancel(new NetError('aborted', 'too late', { code: 'STOPPED' }));
    t.match(await (await spliced({ signal })).done, { error: { code: 'STOPPED' } });
  });
  t.test('silence, postponed by every byte; shorter after a FIN', async (t) => {
    const { wire, client, done } = await spliced();
    wire.advance(50_000);
    client.text('x');
    wire.advance(50_000);
    t.equal(wire.stack.info.connections, 1);
    client.text('', { flags: FLAG.fin | FLAG.ack });
    wire.advance(10_100);
    t.match(await done, { error: { code: 'IDLE_TIMEOUT', failure: 'timeout' } });
    t.equal(wire.stack.info.connections, 0);
  });
  t.test('silence is not that of a server that goes on taking what the socket has, be it slowly', async (t) => {
    const { wire, client, conn, done } = await spliced();
    conn.unsent = 100;
    client.text('x', { flags: FLAG.fin | FLAG.ack });
    for (let i = 0; i < 20; i++) {
      wire.advance(10_000);
      t.equal(wire.stack.info.connections, 1);
      conn.unsent -= 5;
    }
    t.equal(conn.unsent, 0);
    wire.advance(20_100); // it had all, and is given the whole time for an answer
    t.match(await done, { error: { code: 'IDLE_TIMEOUT' } });

    const twice = await spliced({}, new Wire(), 40_002);
    twice.conn.unsent = 10;
    twice.wire.advance(60_000);
    twice.conn.unsent = 100; // more has come meanwhile
    twice.client.text('x', { flags: FLAG.fin | FLAG.ack });
    for (let i = 0; i < 5; i++) {
      twice.wire.advance(10_000);
      t.equal(twice.wire.stack.info.connections, 1);
      twice.conn.unsent -= 5;
    }
    twice.signal.cancel(new NetError('aborted', 'the test is over'));

    const stuck = await spliced({}, new Wire(), 40_001);
    stuck.conn.unsent = 100;
    stuck.client.text('x', { flags: FLAG.fin | FLAG.ack });
    stuck.wire.advance(14_900);
    t.equal(stuck.wire.stack.info.connections, 1, 'looked at twice');
    stuck.wire.advance(200);
    t.match(await stuck.done, { error: { code: 'IDLE_TIMEOUT' } });
  });
  t.test('silence is not that of a client that goes on acknowledging', async (t) => {
    const { wire, client, conn, done } = await spliced();
    client.window = 12; // 1,536 bytes, for it is shifted
    client.send();
    conn.give(new Uint8Array(50_000));
    conn.end();
    const begin = wire.time;
    let got = 0;
    for (let i = 0; i < 100 && got < 50_000; i++) got += client.take([...tcp(wire.advance(1_000)), ...client.send()]).length;
    t.equal(got, 50_000);
    t.ok(wire.time - begin > 11_000, 'in more than the ten seconds of a half-closed one');
    t.equal(conn.aborted, null);
    wire.advance(10_100);
    t.match(await done, { error: { code: 'IDLE_TIMEOUT' } });
  });
});

t.test('a stream that was ended before it is spliced waits for the other direction only', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect({ mss: 1_460 });
  client.stream.closeWrite();
  client.take(tcp(wire.flush()));
  client.send();
  const conn = new MemoryConn();
  conn.give(new Uint8Array(10));
  const done = client.stream.splice?.(conn, { signal: new CancelSource(), idleMs: 60_000, halfCloseMs: 10_000, counters: new Float64Array(4), slot: 0 });
  wire.wakes = 0;
  wire.advance(1_000);
  t.equal(wire.stack.nextDeadline() > wire.time + 1_000, true, 'it does not try again and again');
  client.text('the last', { flags: FLAG.fin | FLAG.ack });
  wire.flush();
  t.equal(conn.text, 'the last');
  t.match(await done, { up: 8, down: 0, error: null });
});

t.test('a spent stream says so', async (t) => {
  const { client } = await spliced();
  t.match(await client.stream.read().catch((error: unknown) => error), { code: 'SPENT' });
  t.match(await client.stream.write([]).catch((error: unknown) => error), { code: 'SPENT' });
  const again = new MemoryConn();
  t.match(await client.stream.splice?.(again, { signal: new CancelSource(), idleMs: 1, halfCloseMs: 1, counters: new Float64Array(2), slot: 0 }), {
    error: { code: 'SPENT' },
  });
  t.ok(again.aborted);
});

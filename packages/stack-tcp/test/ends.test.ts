// How a connection ends: FIN, half-close, TIME-WAIT, RST. RFC 9293 sections 3.6, 3.10.7.4; RFC 6191.
import { NetError } from '@nekit/core';
import { FLAG, type TcpPacket } from '@nekit/core/ip';
import t from 'tap';
import { Client, type SegmentFields, tcp, Wire } from './support/wire.js';

const error = (thrown: unknown): unknown => thrown;

t.test('FIN in order only: an early one waits, a second one that says otherwise is not believed', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect();
  const base = client.seq;
  t.match(client.send({ sequence: base + 3, flags: FLAG.fin | FLAG.ack }), [{ acknowledgment: base }]);
  t.equal(await client.readNow(), '');
  client.send({ sequence: base + 8, flags: FLAG.fin | FLAG.ack });
  const reading = client.read();
  t.match(client.send({ sequence: base, payload: Buffer.from('abc') }), [{ acknowledgment: base + 4 }]);
  t.equal(Buffer.concat((await reading) ?? []).toString(), 'abc');
  t.equal(await client.read(), null);
  t.equal(await client.read(), null, 'again and again');
  t.match(client.send({ sequence: base + 3, flags: FLAG.fin | FLAG.ack }), [{ acknowledgment: base + 4 }], 'the FIN again: an ACK again');
});

t.test('a FIN that text goes beyond is forgotten, wherever it came first: nothing that is cut off looks whole', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect();
  const base = client.seq;
  client.send({ sequence: base + 100, flags: FLAG.fin | FLAG.ack });
  client.text('a'.repeat(150));
  t.match(wire.advance(50), [{ acknowledgment: base + 150 }]);
  client.text('b'.repeat(50));
  t.match(wire.advance(50), [{ acknowledgment: base + 200 }]);
  t.match(client.send({ sequence: base + 300, payload: Buffer.from('d'.repeat(100)) }), [{ acknowledgment: base + 200 }]);
  t.match(client.send({ sequence: base + 250, flags: FLAG.fin | FLAG.ack }), [{ acknowledgment: base + 200 }], 'in front of what is there');
  t.match(client.text('c'.repeat(100)).at(-1), { acknowledgment: base + 400 });
  t.equal(await client.readNow(), `${'a'.repeat(150)}${'b'.repeat(50)}${'c'.repeat(100)}${'d'.repeat(100)}`);
  // One beyond a hole, of which text behind it tells.
  client.send({ sequence: base + 500, flags: FLAG.fin | FLAG.ack });
  t.match(client.send({ sequence: base + 600, payload: Buffer.from('f') }), [{ acknowledgment: base + 400 }], 'a duplicate ACK');
  client.seq = base + 400;
  client.text('e'.repeat(200));
  t.match(client.send({ sequence: base + 601, flags: FLAG.fin | FLAG.ack }), [{ acknowledgment: base + 602 }], 'its own, at last');
  t.equal(await client.readNow(), `${'e'.repeat(200)}f`);
  t.equal(await client.read(), null);
});

t.test('a FIN in order ends the stream, whatever somebody has sent as text behind it', async (t) => {
  for (const from of [100, 95]) {
    const client = await new Client(new Wire()).connect();
    const base = client.seq;
    client.send({ sequence: base + from, payload: Buffer.from('forged, all') });
    t.match(client.send({ payload: Buffer.from('a'.repeat(100)), flags: FLAG.ack | FLAG.fin }).at(-1), { acknowledgment: base + 101 });
    t.equal(await client.readNow(), 'a'.repeat(100));
    t.equal(await client.read(), null);
  }
});

t.test('what lies behind a FIN is nonsense, and is not kept', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect();
  client.send({ sequence: client.seq + 100, payload: Buffer.from('behind the end') });
  t.equal(wire.stack.info.memory, 4_096);
  client.text('', { flags: FLAG.ack | FLAG.fin });
  t.equal(await client.read(), null);
  t.equal(wire.stack.info.memory, 0);
});

t.test('half-close: the client has ended, we go on', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect();
  client.text('request', { flags: FLAG.ack | FLAG.fin });
  client.seq++;
  t.equal(await client.readNow(), 'request');
  t.equal(await client.read(), null);
  await client.stream.write([Buffer.from('a late answer')]);
  t.equal(Buffer.from(client.take(tcp(wire.flush()))).toString(), 'a late answer');
  client.send();
  await client.stream.closeWrite();
  const [fin] = tcp(wire.flush());
  t.equal(fin?.flags, FLAG.fin | FLAG.ack);
  client.take([fin as TcpPacket]);
  client.send();
  t.match(wire.stack.info, { connections: 0, timeWait: 0, memory: 0, timers: 0 }, 'LAST-ACK: nothing is left');
});

t.test('half-close the other way: we have ended, the client goes on; then TIME-WAIT', async (t) => {
  const wire = new Wire({ settings: { timeWaitMs: 10_000 } });
  const client = await new Client(wire).connect();
  await client.stream.closeWrite();
  client.take(tcp(wire.flush()));
  client.send();
  client.text('still here');
  t.equal(await client.readNow(), 'still here', 'FIN-WAIT-2');
  const end = client.read();
  t.match(client.send({ flags: FLAG.fin | FLAG.ack }), [{ flags: FLAG.ack, acknowledgment: client.seq + 1 }]);
  t.equal(await end, null);
  t.match(wire.stack.info, { connections: 0, timeWait: 1, memory: 0 });
  wire.time += 600;
  t.match(client.send({ flags: FLAG.fin | FLAG.ack }), [{ flags: FLAG.ack, acknowledgment: client.seq + 1 }], 'the FIN again');
  wire.advance(9_990);
  t.equal(wire.stack.info.timeWait, 1, 'and the wait began anew');
  wire.advance(1_000);
  t.equal(wire.stack.info.timeWait, 0);
});

t.test('both at once: CLOSING', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect();
  await client.stream.closeWrite();
  const fins = tcp(wire.flush());
  t.match(client.send({ flags: FLAG.fin | FLAG.ack }), [{ flags: FLAG.ack, acknowledgment: client.seq + 1 }]);
  t.equal(wire.stack.info.connections, 1);
  client.take(fins);
  client.seq++;
  client.send();
  t.match(wire.stack.info, { connections: 0, timeWait: 1 });
});

t.test('FIN with the ACK of ours: straight to TIME-WAIT; and our FIN is sent again when it was lost', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect();
  await client.stream.closeWrite();
  wire.flush();
  const again = tcp(wire.advance(1_500));
  t.ok(again.length >= 1 && again.every((packet) => (packet.flags & FLAG.fin) !== 0 && packet.sequence === client.ack), 'sent again');
  client.ack++;
  client.send({ flags: FLAG.fin | FLAG.ack });
  t.match(wire.stack.info, { connections: 0, timeWait: 1 });
});

t.test('TIME-WAIT: whatever is not the very next number is answered, and so is a FIN; an ACK in order is not', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect();
  await client.stream.closeWrite();
  client.take(tcp(wire.flush()));
  client.send({ flags: FLAG.fin | FLAG.ack });
  client.seq++;
  const answered = (fields: SegmentFields): number => {
    wire.time += 600;
    return client.send(fields).length;
  };
  t.equal(answered({}), 0, 'in order');
  t.equal(answered({ sequence: client.seq - 1 }), 1, 'a keep-alive probe');
  t.equal(answered({ sequence: client.seq + 100_000 }), 1, 'beyond the window');
  t.equal(answered({ flags: FLAG.fin | FLAG.ack }), 1, 'a FIN behind the FIN');
  t.equal(answered({ payload: Buffer.from('x') }), 1, 'text');
  t.equal(client.send({ sequence: client.seq - 1 }).length, 0, 'not so often');
});

t.test('text behind a FIN is ignored, and not worth an answer; what is sent again is', async (t) => {
  const client = await new Client(new Wire()).connect();
  client.send({ flags: FLAG.fin | FLAG.ack, payload: Buffer.from('end') });
  client.seq += 4;
  t.strictSame(client.send({ payload: Buffer.from('more') }), []);
  t.strictSame(client.send({ flags: FLAG.fin | FLAG.ack }), []);
  t.match(client.send({ flags: FLAG.fin | FLAG.ack, sequence: client.seq - 4, payload: Buffer.from('end') }), [{ acknowledgment: client.seq }]);
});

t.test('TIME-WAIT: a newer SYN takes the tuple, an older one does not; RST ends it only with the right number; it is bounded', async (t) => {
  const finished = async (wire: Wire, options = {}): Promise<Client> => {
    const client = await new Client(wire).connect({ mss: 1_460, ...options });
    await client.stream.closeWrite();
    client.take(tcp(wire.flush()));
    client.send({ flags: FLAG.fin | FLAG.ack });
    client.seq++;
    wire.requests.length = 0;
    return client;
  };
  const wire = new Wire();
  const client = await finished(wire);
  wire.time += 600;
  t.match(client.send({ flags: FLAG.syn, acknowledgment: 0, sequence: client.seq - 500, options: { mss: 1_460 } }), [{ flags: FLAG.ack }], 'an old duplicate');
  t.strictSame(client.send({ flags: FLAG.rst, sequence: client.seq + 1 }), []);
  t.equal(wire.stack.info.timeWait, 1);
  client.syn({ mss: 1_460 }, { sequence: client.seq + 1_000 });
  t.equal(wire.requests.length, 1, 'a new connection');
  t.match(wire.stack.info, { timeWait: 0, pending: 1 });

  const stamped = new Wire();
  const other = await finished(stamped, { timestamps: { value: 5_000, echo: 0 } });
  other.syn({ mss: 1_460, timestamps: { value: 9_000, echo: 0 } }, { sequence: other.seq - 100_000 });
  t.equal(stamped.requests.length, 1, 'RFC 6191: the timestamp says that it is newer');

  const reset = new Wire();
  const third = await finished(reset);
  third.send({ flags: FLAG.rst });
  t.equal(reset.stack.info.timeWait, 0);

  const many = new Wire({ settings: { maxTimeWait: 5 } });
  for (let port = 1; port <= 20; port++) {
    const each = await new Client(many, 1, port).connect();
    await each.stream.closeWrite();
    each.take(tcp(many.flush()));
    each.send({ flags: FLAG.fin | FLAG.ack });
  }
  t.match(many.stack.info, { timeWait: 5, counters: { evictedTimeWait: 15 } });
});

t.test('TIME-WAIT: the next connection of the tuple begins behind what this one has sent, and one that is not let in leaves it as it is', async (t) => {
  const bytes = 600_000; // in no time: the clock of initial numbers has not moved
  const finished = async (wire: Wire): Promise<Client> => {
    const client = await new Client(wire).connect({ mss: 1_460, windowScale: 7 });
    client.window = 60_000;
    client.send();
    const writing = client.stream.write([new Uint8Array(bytes)]);
    for (let got = 0; got < bytes; ) got += client.take(tcp(wire.flush()).concat(client.send())).length;
    client.send();
    await writing;
    await client.stream.closeWrite();
    client.take(tcp(wire.flush()));
    client.send({ flags: FLAG.fin | FLAG.ack });
    t.match(wire.stack.info, { connections: 0, timeWait: 1 });
    return client;
  };
  const wire = new Wire();
  const { seq, ack } = await finished(wire);
  const next = await new Client(wire, seq + 1_000).connect();
  const ahead = (next.iss - ack) | 0;
  t.ok(ahead > 0xffff && ahead < 0x2_0000, `${ahead} behind the last number`);
  t.match(wire.stack.info, { connections: 1, timeWait: 0 });
  const crowded = new Wire({ settings: { maxPending: 2 } });
  const client = await finished(crowded);
  new Client(crowded, 1, 999).syn();
  client.syn({ mss: 1_460 }, { sequence: client.seq + 1_000 });
  t.match(crowded.stack.info, { pending: 1, timeWait: 1, counters: { dropCrowd: 1 } });
});

t.test('what came before the end can be read after it, and is given back with the stack at the latest', async (t) => {
  const ended = async (): Promise<{ wire: Wire; client: Client }> => {
    const wire = new Wire();
    const client = await new Client(wire).connect();
    client.text('last words', { flags: FLAG.ack | FLAG.fin });
    client.seq++;
    await client.stream.closeWrite();
    client.take(tcp(wire.flush()));
    client.send();
    t.match(wire.stack.info, { connections: 0, memory: 4_096 });
    return { wire, client };
  };
  const read = await ended();
  t.equal(await read.client.readNow(), 'last words');
  t.equal(await read.client.stream.read(), null);
  read.wire.flush();
  t.equal(read.wire.stack.info.memory, 0);
  const aborted = await ended();
  aborted.client.stream.abort(new Error('not interested'));
  t.equal(aborted.wire.stack.info.memory, 0);
  const closed = await ended();
  closed.wire.stack.close();
  t.equal(closed.wire.stack.info.memory, 0);
  t.match(await closed.client.stream.read().catch(error), { failure: 'aborted' });
});

t.test('abort is RST, and what waits is told', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect();
  client.text('unread');
  await client.readNow();
  const reading = client.read().catch(error);
  client.stream.abort(new NetError('aborted', 'the target has gone', { code: 'ECONNRESET' }));
  client.stream.abort(new Error('again'));
  t.match(await reading, { message: 'the target has gone' });
  t.match(tcp(wire.flush()), [{ flags: FLAG.rst | FLAG.ack, sequence: client.ack, acknowledgment: client.seq }]);
  t.match(wire.stack.info, { connections: 0, memory: 0, timers: 0 });
  t.match(await client.stream.write([Buffer.from('x')]).catch(error), { message: 'the target has gone' });
  t.match(await client.stream.closeWrite().catch(error), { message: 'the target has gone' });
});

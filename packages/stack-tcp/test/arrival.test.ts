// What a segment must look like to be looked at: RFC 9293 section 3.10.7.4 (table 6 and the order of the checks), RFC 5961, RFC 7323 section 5.
import { FLAG, type TcpPacket } from '@nekit/core/ip';
import t from 'tap';
import { Client, type SegmentFields, Wire } from './support/wire.js';

const error = (thrown: unknown): unknown => thrown;
const WITH_TIMESTAMPS = { mss: 1_460, windowScale: 7, sackPermitted: true, timestamps: { value: 1_000_000, echo: 0 } };

t.test('the acceptability table', async (t) => {
  // offset from RCV.NXT, length; whether it is acceptable. The window is what the SYN-ACK has said.
  const window = 32_768;
  const rows: [string, number, number, boolean][] = [
    ['no text at RCV.NXT', 0, 0, true],
    ['no text inside', 1_000, 0, true],
    ['no text at the last byte', window - 1, 0, true],
    ['no text at the edge, which Linux takes, too', window, 0, true],
    ['no text behind the edge', window + 1, 0, false],
    ['no text before RCV.NXT (a keep-alive)', -1, 0, false],
    ['text at RCV.NXT', 0, 100, true],
    ['text inside', 5_000, 100, true],
    ['text across RCV.NXT', -50, 100, true],
    ['text that ends at RCV.NXT, which BSD takes, too: its ACK counts', -100, 100, true],
    ['text sent again, 64 KiB behind', -65_535, 100, true],
    ['text further behind', -65_536, 100, false],
    ['text across the edge', window - 50, 100, true],
    ['text at the edge', window, 100, false],
    ['text far away', 1_000_000, 1, false],
    ['text far behind', -1_000_000, 1, false],
  ];
  for (const [name, offset, length, isAcceptable] of rows) {
    const wire = new Wire({ settings: { initialWindow: window, maxWindow: window } });
    const client = await new Client(wire).connect({ mss: 1_460 });
    const answer = client.send({ sequence: (client.seq + offset) >>> 0, payload: new Uint8Array(length) });
    t.equal(wire.stack.counters.get('dropUnacceptable'), isAcceptable ? 0 : 1, name);
    if (!isAcceptable) t.match(answer, [{ flags: FLAG.ack, sequence: client.ack, acknowledgment: client.seq }], `${name}: answered with an ACK`);
  }
});

t.test(
  'what is not acceptable is answered: text and FIN each time, what carries nothing not more often than twice a second: RFC 9293 section 3.10.7.4',
  async (t) => {
    const old = { options: { timestamps: { value: 1, echo: 0 } } };
    for (const [name, offset, more] of [
      ['behind', -70_000, {}],
      ['beyond', 1_000_000, {}],
      ['dropped by PAWS', 0, old],
    ] as const) {
      const client = await new Client(new Wire()).connect(WITH_TIMESTAMPS);
      const say = (fields: SegmentFields): number => {
        client.wire.time += 1;
        return client.send({ sequence: (client.seq + offset) >>> 0, ...more, ...fields }).length;
      };
      t.strictSame([say({}), say({}), say({})], [1, 0, 0], `nothing, ${name}`);
      for (const fields of [{ payload: Buffer.from('x') }, { flags: FLAG.ack | FLAG.fin }])
        t.strictSame([say(fields), say(fields), say(fields)], [1, 1, 1], name);
      client.wire.time += 500;
      t.equal(say({}), 1, `half a second later, ${name}`);
    }
  },
);

t.test('a closed window: no text is taken, but the ACK of a probe counts, and is answered', async (t) => {
  const wire = new Wire({ settings: { initialWindow: 4_096, maxWindow: 4_096 } });
  const client = await new Client(wire).connect({ mss: 1_024 });
  for (let i = 0; i < 4; i++) client.text(new Uint8Array(1_024).fill(65 + i));
  await client.stream.write([Buffer.from('ours')]);
  wire.flush();
  const [probe] = client.send({ payload: Buffer.from('z'), acknowledgment: (client.ack + 4) >>> 0 });
  t.match(probe, { flags: FLAG.ack, acknowledgment: client.seq, window: 0 });
  t.equal(wire.advance(3_000).length, 0, 'what was acknowledged is not sent again');
  const chunks = await client.read();
  t.equal(Buffer.concat(chunks ?? []).length, 4_096);
  t.match(wire.flush(), [{ flags: FLAG.ack, window: 4_096 }], 'the window opens, and the peer hears of it');
});

t.test('text that we have and that comes again: its ACK counts, and its timestamp is echoed', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect(WITH_TIMESTAMPS);
  client.text('before', { options: { timestamps: { value: 1_000_010, echo: 0 } } });
  client.text('after', { options: { timestamps: { value: 1_000_020, echo: 0 } } });
  await client.stream.write([Buffer.from('ours')]);
  t.match(wire.flush(), [{ acknowledgment: client.seq, options: { timestamps: { echo: 1_000_010 } } }], 'of the first that it acknowledges');
  // That was lost; 'before' comes again, from a peer whose own ACKs do not get through.
  const again = { sequence: client.seq - 11, acknowledgment: (client.ack + 4) >>> 0, payload: Buffer.from('before') };
  t.match(client.send({ ...again, options: { timestamps: { value: 1_009_000, echo: 0 } } }), [
    { flags: FLAG.ack, acknowledgment: client.seq, options: { timestamps: { echo: 1_009_000 }, sack: [[client.seq - 11, client.seq - 5]] } },
  ]);
  t.equal(wire.advance(3_000).length, 0, 'ours was acknowledged: it is not sent again');
  t.equal(await client.readNow(), 'beforeafter');
});

t.test('no ACK bit: dropped, in silence', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect();
  t.strictSame(client.send({ flags: 0, payload: Buffer.from('x') }), []);
  t.strictSame(client.send({ flags: FLAG.psh, payload: Buffer.from('x') }), []);
  t.equal(wire.stack.counters.get('dropNoAck'), 2);
  t.equal(await client.readNow(), '');
});

t.test('an ACK of what was never sent: answered, and not believed, nor is its text', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect();
  const answer = client.send({ acknowledgment: (client.ack + 1_000) >>> 0, payload: Buffer.from('x') });
  t.match(answer, [{ flags: FLAG.ack, acknowledgment: client.seq }]);
  t.equal(wire.stack.counters.get('dropAckOfUnsent'), 1);
  t.equal(await client.readNow(), '');
});

t.test('an ancient ACK: RFC 5961 section 5', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect();
  const answer = client.send({ acknowledgment: (client.ack - 70_000) >>> 0, payload: Buffer.from('x') });
  t.match(answer, [{ flags: FLAG.ack, acknowledgment: client.seq }], 'a challenge');
  t.equal(wire.stack.counters.get('dropOldAck'), 1);
  t.equal(await client.readNow(), '');
  client.text('y', { acknowledgment: (client.ack - 1_000) >>> 0 });
  await new Promise(setImmediate);
  wire.advance(50);
  t.equal(wire.stack.counters.get('dropOldAck'), 1, 'one that may be a late copy is fine');
});

t.test('what comes in one batch with the end of its connection meets nobody: a SYN begins anew, an ACK is answered with RST', async (t) => {
  for (const isSyn of [true, false]) {
    const wire = new Wire();
    const client = await new Client(wire).connect({ mss: 1_460 });
    const { seq, ack } = client;
    const reset = client.segment({ flags: FLAG.rst, sequence: seq });
    const next = isSyn
      ? client.segment({ flags: FLAG.syn, sequence: seq + 1_000, acknowledgment: 0, options: { mss: 1_460 } })
      : client.segment({ flags: FLAG.ack, payload: new Uint8Array(10) });
    const answers = wire.raw(reset, next);
    t.match(await client.stream.read().catch((error: unknown) => error), { code: 'ECONNRESET' });
    t.match(wire.stack.info, { connections: 0, pending: isSyn ? 1 : 0, memory: 0 });
    if (isSyn) {
      t.strictSame(answers, []);
      t.equal(wire.requests.length, 1, 'asked for anew');
      void wire.requests[0]?.accept();
      t.match(wire.flush(), [{ flags: FLAG.syn | FLAG.ack, acknowledgment: seq + 1_001 }]);
    } else t.match(answers, [{ flags: FLAG.rst, sequence: ack }]);
  }
});

t.test('the same behind the last ACK of both ends', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect({ mss: 1_460 });
  client.send({ flags: FLAG.ack | FLAG.fin });
  client.seq++;
  wire.advance(100);
  await client.stream.closeWrite();
  t.match(wire.flush(), [{ flags: FLAG.ack | FLAG.fin }]);
  client.ack++;
  const last = client.segment({ flags: FLAG.ack });
  t.strictSame(wire.raw(last, client.segment({ flags: FLAG.syn, sequence: client.seq + 1_000, acknowledgment: 0, options: { mss: 1_460 } })), []);
  t.match(wire.stack.info, { connections: 0, pending: 1, timeWait: 0 });
  t.equal(wire.requests.length, 1);
});

t.test('RST: only the very next number; the rest of the window is challenged, what is outside is not worth an answer', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect();
  t.strictSame(client.send({ flags: FLAG.rst, sequence: client.seq - 1 }), []);
  t.strictSame(client.send({ flags: FLAG.rst, sequence: (client.seq + 1_000_000) >>> 0 }), []);
  t.match(client.send({ flags: FLAG.rst, sequence: client.seq + 1 }), [{ flags: FLAG.ack, sequence: client.ack, acknowledgment: client.seq }]);
  t.equal(wire.stack.info.connections, 1);
  const reading = client.read().catch(error);
  t.strictSame(client.send({ flags: FLAG.rst }), [], 'a reset is not answered');
  t.match(await reading, { code: 'ECONNRESET', failure: 'aborted' });
  t.match(wire.stack.info, { connections: 0, memory: 0, timers: 0 });
  t.match(client.send(), [{ flags: FLAG.rst }], 'the tuple is unknown from then on');
});

t.test('RST behind its own FIN, which it does not count', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect();
  client.text('', { flags: FLAG.fin | FLAG.ack });
  t.equal(await client.read(), null);
  t.strictSame(client.send({ flags: FLAG.rst, sequence: client.seq - 1 }), []);
  t.equal(wire.stack.info.connections, 1);
  t.strictSame(client.send({ flags: FLAG.rst }), []);
  t.match(wire.stack.info, { connections: 0, memory: 0, timers: 0 });
});

t.test('SYN in a connection that stands: a challenge, whatever its number', async (t) => {
  for (const offset of [0, 1, 1_000, -1_000, 5_000_000]) {
    const wire = new Wire();
    const client = await new Client(wire).connect();
    const answer = client.send({ flags: FLAG.syn, acknowledgment: 0, sequence: (client.seq + offset) >>> 0 });
    t.match(answer, [{ flags: FLAG.ack, sequence: client.ack, acknowledgment: client.seq }], String(offset));
    t.equal(wire.stack.info.connections, 1);
  }
});

t.test('challenges are throttled, per flow', async (t) => {
  const wire = new Wire();
  const one = await new Client(wire, 1_000, 1_001).connect();
  const two = await new Client(wire, 1_000, 1_002).connect();
  let answers = 0;
  for (let i = 0; i < 300; i++) answers += one.send({ flags: FLAG.syn }).length;
  t.equal(answers, 1, '300 SYNs, one answer');
  t.equal(two.send({ flags: FLAG.syn }).length, 1, 'another flow has its own');
  wire.time += 600;
  t.equal(one.send({ flags: FLAG.rst, sequence: one.seq + 5 }).length, 1, 'and after half a second there is one more');
  wire.time += 30 * 86_400_000;
  t.equal(one.send({ flags: FLAG.syn }).length, 1, 'and after 30 days, when the difference of two int32 times is negative');
});

t.test('a peer that sends again what we have gets an ACK each time: its own may have been lost', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect();
  client.text('abc');
  for (let i = 0; i < 5; i++) t.equal(client.send({ sequence: client.seq - 3, payload: Buffer.from('abc') }).length, 1);
  t.equal(await client.readNow(), 'abc');
});

t.test('PAWS', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect(WITH_TIMESTAMPS);
  const at = (value: number, fields = {}): TcpPacket[] => client.send({ options: { timestamps: { value, echo: 0 } }, ...fields });
  at(1_000_500, { payload: Buffer.from('one') });
  client.seq += 3;
  wire.advance(100);
  const [answer] = at(1_000_400, { payload: Buffer.from('old') });
  t.match(answer, { flags: FLAG.ack, acknowledgment: client.seq, options: { timestamps: { echo: 1_000_500 } } }, 'an older timestamp: dropped, answered');
  t.equal(wire.stack.counters.get('dropPaws'), 1);
  t.strictSame(client.send({ options: {}, payload: Buffer.from('none') }), [], 'none at all: dropped in silence');
  t.equal(wire.stack.counters.get('dropNoTimestamp'), 1);
  at(1_000_500, { payload: Buffer.from('two') });
  client.seq += 3;
  t.equal(await client.readNow(), 'onetwo');
  wire.advance(100);
  wire.time += 25 * 86_400_000;
  at(5, { payload: Buffer.from('three') });
  t.equal(await client.readNow(), 'three', 'after 24 days the old one says nothing');
  client.seq += 5;
  const far = at(2_000_000_000, { sequence: (client.seq + 1_000) >>> 0, payload: Buffer.from('early') });
  t.match(far, [{ options: { timestamps: { echo: 5 } } }], 'what is not in order does not become TS.Recent');
  const reading = client.read().catch(error);
  client.send({ flags: FLAG.rst, options: { timestamps: { value: 1, echo: 0 } } });
  t.match(await reading, { code: 'ECONNRESET' }, 'a RST is not subject to PAWS');
});

t.test("a segment whose ACK is nobody's does not become TS.Recent: RFC 5961 section 5", async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect(WITH_TIMESTAMPS);
  client.text('hello', { options: { timestamps: { value: 1_000_010, echo: 0 } } });
  wire.advance(100);
  const forged = { payload: Buffer.from('z'), options: { timestamps: { value: 1_000_010 + 2 ** 30, echo: 0 } } };
  for (const sequence of [client.seq - 3_000, client.seq])
    for (const offset of [0x4000_0000, -0x1000_0000]) client.send({ ...forged, sequence: sequence >>> 0, acknowledgment: (client.ack + offset) >>> 0 });
  t.match(wire.stack.info.counters, { dropAckOfUnsent: 2, dropOldAck: 2 });
  client.text(' world', { options: { timestamps: { value: 1_000_500, echo: 0 } } });
  t.match(wire.advance(50), [{ acknowledgment: client.seq, options: { timestamps: { echo: 1_000_500 } } }]);
  t.equal(await client.readNow(), 'hello world');
  t.equal(wire.stack.counters.get('dropPaws'), 0);
});

t.test('what came twice is reported up to RCV.NXT at most: RFC 2018 section 3', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect(WITH_TIMESTAMPS);
  const base = client.seq;
  client.text(new Uint8Array(500), { options: { timestamps: { value: 1_000_020, echo: 0 } } });
  wire.advance(50);
  const late = { sequence: base, payload: new Uint8Array(1_000), options: { timestamps: { value: 1_000_010, echo: 0 } } };
  t.match(client.send(late), [{ acknowledgment: base + 500, options: { sack: [[base, base + 500]] } }], 'dropped by PAWS');
  const ended = await new Client(wire, 1_000, 40_001).connect({ mss: 1_460, sackPermitted: true });
  ended.text('abc', { flags: FLAG.fin | FLAG.ack });
  wire.advance(50);
  t.match(ended.send({ sequence: ended.seq - 3, payload: new Uint8Array(10) }), [{ options: { sack: [[1_001, 1_004]] } }], 'a FIN is no byte');
});

t.test('timestamps wrap', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect({ mss: 1_460, timestamps: { value: 0xffff_fff0, echo: 0 } });
  client.text('a', { options: { timestamps: { value: 0xffff_fffe, echo: 0 } } });
  client.text('b', { options: { timestamps: { value: 3, echo: 0 } } });
  t.equal(await client.readNow(), 'ab');
  t.equal(wire.stack.counters.get('dropPaws'), 0);
});

t.test('the urgent pointer and unknown or broken options do no harm', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect();
  client.text('urgent', { flags: FLAG.ack | FLAG.urg, urgent: 3 });
  t.equal(await client.readNow(), 'urgent', 'in line');
  const packet = client.segment({ payload: Buffer.from('options') });
  for (const options of [
    [99, 4, 0, 0],
    [2, 0, 0, 0],
    [3, 99, 0, 0],
    [1, 1, 1, 8],
    [5, 2, 1, 1],
    [5, 3, 1, 1],
  ])
    wire.raw(withOptions(packet, options));
  client.seq += 7;
  t.equal(await client.readNow(), 'options');
});

/** The segment with four bytes of options, checksums right. */
function withOptions(packet: Uint8Array, options: readonly number[]): Uint8Array {
  const longer = new Uint8Array(packet.length + 4);
  longer.set(packet.subarray(0, 40));
  longer.set(options, 40);
  longer.set(packet.subarray(40), 44);
  const view = new DataView(longer.buffer);
  view.setUint16(2, longer.length);
  view.setUint16(10, 0);
  view.setUint16(10, sum(longer, 0, 20, 0));
  longer[32] = 6 << 4;
  view.setUint16(36, 0);
  view.setUint16(36, sum(longer, 12, longer.length, 6 + longer.length - 20));
  return longer;
}

function sum(bytes: Uint8Array, start: number, end: number, from: number): number {
  let all = from;
  for (let i = start; i < end; i += 2) all += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  while (all > 0xffff) all = (all & 0xffff) + (all >>> 16);
  return ~all & 0xffff;
}

t.test('sequence numbers wrap in the middle of everything', async (t) => {
  for (const start of [0xffff_ffff, 0xffff_ff00, 0x7fff_ff00, 0]) {
    const wire = new Wire();
    const client = await new Client(wire, start).connect({ mss: 1_460, sackPermitted: true });
    const bytes = Buffer.alloc(2_000, 'wrap around ');
    client.send({ sequence: (client.seq + 1_000) >>> 0, payload: bytes.subarray(1_000, 2_000) });
    const [sack] = client.send({ sequence: (client.seq + 500) >>> 0, payload: bytes.subarray(500, 600) });
    t.strictSame(sack?.options?.sack, [
      [(client.seq + 500) >>> 0, (client.seq + 600) >>> 0],
      [(client.seq + 1_000) >>> 0, (client.seq + 2_000) >>> 0],
    ]);
    client.text(bytes.subarray(0, 1_000));
    t.equal(await client.readNow(), bytes.toString(), String(start));
  }
});

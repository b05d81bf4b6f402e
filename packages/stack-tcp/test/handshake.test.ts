// Opening: SYN, what is refused. RFC 9293 sections 3.5, 3.7.1, 3.10.7.1, 3.10.7.2; RFC 7323; RFC 6528.
import { NetError } from '@nekit/core';
import { FLAG, type Packet, parsePacket, type TcpPacket } from '@nekit/core/ip';
import t from 'tap';
import { Client, flagsOf, icmp, tcp, Wire } from './support/wire.js';

const ALL = { mss: 1_460, windowScale: 7, sackPermitted: true, timestamps: { value: 5_000, echo: 0 } };

t.test('a SYN is a request first, and answered when the target was reached', async (t) => {
  const wire = new Wire();
  const client = new Client(wire);
  t.strictSame(client.syn(ALL), [], 'nothing yet');
  const [request] = wire.requests;
  t.match(request?.session, { network: 'tcp', source: { host: '10.0.0.2', port: 40_000 }, requested: { host: '192.0.2.1', port: 443 } });
  t.equal(wire.stack.info.pending, 1);
  const opening = request?.accept();
  const [synAck] = tcp(wire.flush());
  t.equal(synAck === undefined ? '' : flagsOf(synAck), 'SA');
  t.equal(synAck?.acknowledgment, 1_001);
  t.match(synAck?.options, { mss: 1_460, windowScale: 5, sackPermitted: true, timestamps: { echo: 5_000 } });
  t.equal(synAck?.hopLimit, 64);
  client.seq = 1_001;
  client.ack = ((synAck?.sequence ?? 0) + 1) >>> 0;
  client.options = { timestamps: { value: 5_001, echo: synAck?.options?.timestamps?.value ?? 0 } };
  t.strictSame(client.send(), [], 'an ACK is not answered');
  t.ok(await opening);
  t.match(wire.stack.info, { connections: 1, halfOpen: 0, pending: 0, counters: { accepted: 1 } });
});

t.test('options are answered only if they were offered', async (t) => {
  for (const [options, expected] of [
    [{}, { mss: 1_460 }],
    [{ mss: 1_460 }, { mss: 1_460 }],
    [{ windowScale: 2 }, { mss: 1_460, windowScale: 5 }],
    [{ sackPermitted: true }, { mss: 1_460, sackPermitted: true }],
  ] as const) {
    const client = await new Client(new Wire()).connect(options);
    t.strictSame(client.synAck?.options, expected, JSON.stringify(options));
    t.ok((client.synAck?.window ?? 0) <= 0xffff);
  }
});

t.test('the MSS: ours below the MTU, theirs kept, 536 and 1220 without one, never so small that we send headers only', async (t) => {
  const sizes = async (wire: Wire, options: object): Promise<number> => {
    const client = await new Client(wire).connect(options);
    await client.stream.write([new Uint8Array(6_000)]);
    return Math.max(...tcp(wire.flush()).map((packet) => packet.payload.length));
  };
  t.equal(await sizes(new Wire(), {}), 536);
  t.equal(await sizes(new Wire({ isIPv6: true }), {}), 1_220);
  t.equal(await sizes(new Wire(), { mss: 1_000 }), 1_000);
  t.equal(await sizes(new Wire(), { mss: 9_000 }), 1_460, 'not above the MTU');
  t.equal(await sizes(new Wire({ isIPv6: true }), { mss: 9_000 }), 1_440);
  t.equal(await sizes(new Wire(), { mss: 1_000, timestamps: { value: 1, echo: 0 } }), 988, 'options are taken off (RFC 6691)');
  t.equal(await sizes(new Wire(), { mss: 8 }), 48, 'CVE-2019-11479');
  const ours = await new Client(new Wire({ mtu: 1_280, isIPv6: true })).connect();
  t.equal(ours.synAck?.options?.mss, 1_220);
});

t.test('a shift above 14 is 14', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect({ mss: 1_460, windowScale: 200 });
  client.window = 1;
  client.send();
  await client.stream.write([new Uint8Array(60_000)]);
  const sent = (packets: readonly TcpPacket[]): number => packets.reduce((sum, packet) => sum + packet.payload.length, 0);
  const first = tcp(wire.flush());
  t.ok(sent(first) >= 10_000 && sent(first) <= 16_384, `${sent(first)} bytes in a window of 1 << 14`);
  client.take(first);
  t.ok(sent(client.send()) <= 16_384, 'nor more when the congestion window would let it');
});

t.test('refusals', async (t) => {
  for (const isIPv6 of [false, true]) {
    const refused = async (failure: NetError['failure']): Promise<{ wire: Wire; answer: ReturnType<Wire['flush']> }> => {
      const wire = new Wire({ isIPv6 });
      new Client(wire).syn();
      wire.requests[0]?.reject(new NetError(failure, 'no'));
      t.ok(wire.wakes > 0, 'a flush is asked for');
      return { wire, answer: wire.flush() };
    };
    const { answer, wire } = await refused('refused');
    const [reset] = tcp(answer);
    t.equal(reset === undefined ? '' : flagsOf(reset), 'RA');
    t.match(reset, { sequence: 0, acknowledgment: 1_001, window: 0 });
    t.match(wire.stack.info, { pending: 0, connections: 0, memory: 0 });
    for (const [failure, type, code] of isIPv6
      ? ([
          ['unreachable', 1, 0],
          ['timeout', 1, 3],
        ] as const)
      : ([
          ['unreachable', 3, 0],
          ['timeout', 3, 1],
        ] as const)) {
      const [message] = icmp((await refused(failure)).answer);
      t.match(message, { type, code, destination: isIPv6 ? 'fd00::2' : '10.0.0.2' }, failure);
      const quoted = Buffer.from(message?.payload ?? []);
      const ip = isIPv6 ? 40 : 20;
      t.strictSame([quoted.readUInt16BE(ip), quoted.readUInt16BE(ip + 2), quoted.readUInt32BE(ip + 4)], [40_000, 443, 1_000], 'quotes the SYN');
    }
  }
});

t.test('"unreachable" is said 50 times at once and 1,000 times a second; others are reset: RFC 4443 section 2.4 f', async (t) => {
  for (const isIPv6 of [false, true]) {
    const wire = new Wire({ isIPv6 });
    const refuse = (count: number, port: number): [told: number, reset: number] => {
      const answers: Packet[] = [];
      for (let i = 0; i < count; i++) {
        new Client(wire, 1_000, port + i).syn();
        wire.requests.pop()?.reject(new NetError('unreachable', 'no'));
        answers.push(...wire.flush());
      }
      t.ok(tcp(answers).every(({ flags, acknowledgment }) => flags === (FLAG.rst | FLAG.ack) && acknowledgment === 1_001));
      return [icmp(answers).length, tcp(answers).length];
    };
    t.strictSame(refuse(80, 1_000), [50, 30]);
    t.match(wire.stack.info.counters, { refused: 80, icmpSent: 50, icmpWithheld: 30, resetsSent: 30 });
    wire.time += 20;
    t.strictSame(refuse(80, 2_000), [20, 60]);
    wire.time += 60_000;
    t.strictSame(refuse(80, 3_000), [50, 30], 'no more is saved up than a burst');
  }
});

t.test('a refusal acknowledges the text that came with the SYN: RFC 9293 section 3.10.7.1', async (t) => {
  const wire = new Wire();
  new Client(wire).syn({ mss: 1_460 }, { payload: new Uint8Array(100) });
  wire.requests[0]?.reject(new NetError('refused', 'no'));
  t.match(tcp(wire.flush()), [{ sequence: 0, acknowledgment: 1_101 }]);
});

t.test('addresses that no honest client has are dropped, and counted', async (t) => {
  const odd4: [string, string][] = [
    ['10.0.0.2', '127.0.0.1'],
    ['10.0.0.2', '0.1.2.3'],
    ['10.0.0.2', '224.0.0.1'],
    ['10.0.0.2', '239.255.255.255'],
    ['10.0.0.2', '255.255.255.255'],
  ];
  const odd6: [string, string][] = [
    ['fd00::2', '::1'],
    ['fd00::2', '::'],
    ['fd00::2', 'ff02::1'],
    ['fd00::2', '::ffff:127.0.0.1'],
  ];
  for (const [source, destination] of [
    ...odd4,
    ...odd6,
    ...odd4.map(([a, b]): [string, string] => [b, a]),
    ...odd6.map(([a, b]): [string, string] => [b, a]),
    ['10.0.0.2', '10.0.0.2'] as const,
    ['fd00::2', 'fd00::2'] as const,
  ]) {
    if (destination.startsWith('::ffff') || source.startsWith('::ffff')) continue; // no text says it: see below
    const wire = new Wire({ isIPv6: source.includes(':') });
    t.strictSame(new Client(wire).syn({}, { source, destination }), [], `${source} -> ${destination}`);
    t.equal(wire.requests.length, 0);
    t.equal(wire.stack.counters.get('dropAddress'), 1, `${source} -> ${destination}`);
    t.strictSame(new Client(wire).send({ source, destination }), [], 'nor is a stray ACK worth a RST');
    t.equal(wire.stack.counters.get('dropAddress'), 2);
  }
  const mapped = new Wire({ isIPv6: true });
  const packet = new Client(mapped).segment({ flags: FLAG.syn, destination: '1::1' });
  packet.fill(0, 24, 40);
  packet.set([0xff, 0xff, 127, 0, 0, 1], 34);
  mapped.raw(rightAgain(packet));
  t.equal(mapped.stack.counters.get('dropAddress'), 1, 'IPv4-mapped');
  for (const fields of [{ sourcePort: 0 }, { destinationPort: 0 }]) {
    const wire = new Wire();
    new Client(wire).syn({}, fields);
    t.equal(wire.stack.counters.get('dropPort'), 1);
    t.strictSame(new Client(wire).send(fields), []);
    t.equal(wire.stack.counters.get('dropPort'), 2, 'SYN or not');
  }
  const legal = new Wire();
  new Client(legal).syn({}, { source: '172.16.9.9', destination: '10.0.0.2' });
  t.equal(legal.requests.length, 1, 'private ones are legal');
  new Client(legal).syn({}, { source: '240.0.0.7', destination: '255.255.255.254' });
  t.equal(legal.requests.length, 2, 'and 240/4, as in Linux');
  const near = new Wire({ isIPv6: true });
  for (const destination of ['fd01::2', 'fd00:0:1::2', 'fd00::1:0:2', 'fd00::3']) new Client(near).syn({}, { source: 'fd00::2', destination });
  t.equal(near.requests.length, 4, 'nor is one that is nearly the source refused');
});

/** Its TCP checksum made right again. */
function rightAgain(packet: Uint8Array): Uint8Array {
  let sum = 6 + packet.length - 40;
  packet[56] = 0;
  packet[57] = 0;
  for (let i = 8; i < packet.length; i += 2) sum += ((packet[i] ?? 0) << 8) | (packet[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  packet[56] = (~sum >>> 8) & 0xff;
  packet[57] = ~sum & 0xff;
  return packet;
}

t.test('a session that is refused at once is a RST', async (t) => {
  const wire = new Wire({ admits: () => false });
  t.equal(flagsOf(tcp(new Client(wire).syn())[0] as TcpPacket), 'RA');
  t.match(wire.stack.info, { pending: 0 });
});

t.test('strays: RFC 9293 section 3.10.7.1 and 3.10.7.2', async (t) => {
  const wire = new Wire();
  const client = new Client(wire);
  client.ack = 7_777;
  const [reset] = client.send();
  t.match(reset, { flags: FLAG.rst, sequence: 7_777 }, 'an ACK: RST with its number');
  t.equal(client.send({ flags: FLAG.syn | FLAG.ack })[0]?.flags, FLAG.rst, 'a SYN-ACK as well');
  t.strictSame(client.send({ flags: FLAG.rst }), [], 'a RST: silence');
  t.strictSame(client.send({ flags: FLAG.rst | FLAG.ack }), []);
  t.strictSame(client.send({ flags: 0, payload: Buffer.from('x') }), [], 'no flag at all (nmap -sN)');
  t.strictSame(client.send({ flags: FLAG.fin }), [], 'a FIN (nmap -sF)');
  t.strictSame(client.send({ flags: FLAG.fin | FLAG.psh | FLAG.urg }), [], 'nmap -sX');
  t.strictSame(client.send({ flags: FLAG.syn | FLAG.fin }), [], 'SYN and FIN');
  t.strictSame(client.send({ flags: FLAG.syn | FLAG.rst }), []);
  t.equal(wire.requests.length, 0);
  t.strictSame(client.syn({}, { flags: FLAG.syn | FLAG.ece | FLAG.cwr }), [], 'SYN with ECN bits is a SYN');
  t.equal(wire.requests.length, 1);
});

t.test('the client sends its SYN again, or leaves, while its target is dialled', async (t) => {
  const wire = new Wire();
  const client = new Client(wire);
  client.syn();
  client.syn();
  t.equal(wire.requests.length, 1, 'one request');
  const signal = wire.requests[0]?.session.signal;
  client.send({ flags: FLAG.rst, sequence: 5 });
  t.equal(signal?.reason, null, "a RST with another number is nobody's");
  client.send({ flags: FLAG.rst, sequence: 1_001 });
  t.match(signal?.reason, { code: 'ECONNRESET' });
  t.equal(wire.stack.info.pending, 0);
  t.match(await wire.requests[0]?.accept().catch((error: unknown) => error), { code: 'ECONNRESET' });
  wire.requests[0]?.reject(new NetError('refused', 'too late'));
  t.strictSame(wire.flush(), [], 'nothing is said to it any more');
});

t.test('the client begins anew from the same port while its target is dialled: its last SYN is answered', async (t) => {
  const wire = new Wire();
  const client = new Client(wire, 1_000);
  client.syn({ mss: 1_460 });
  client.seq = 5_000;
  client.syn({ mss: 700, sackPermitted: true });
  t.equal(wire.requests.length, 1);
  void wire.requests[0]?.accept();
  t.match(wire.flush(), [{ flags: FLAG.syn | FLAG.ack, acknowledgment: 5_001, options: { sackPermitted: true } }]);
});

t.test('a session hears of it when its connection fails, while its target is dialled behind our SYN-ACK, too', async (t) => {
  for (const acceptFirst of [false, true]) {
    const wire = new Wire({ settings: { acceptFirst } });
    const client = new Client(wire);
    const answers = client.syn();
    if (!acceptFirst) void wire.requests[0]?.accept();
    const [synAck] = tcp([...answers, ...wire.flush()]);
    client.seq++;
    client.ack = ((synAck?.sequence ?? 0) + 1) >>> 0;
    client.send();
    await new Promise(setImmediate);
    const signal = wire.requests[0]?.session.signal;
    t.equal(signal?.reason, null);
    client.send({ flags: FLAG.rst });
    t.match(signal?.reason, { code: 'ECONNRESET' });
  }
});

t.test('an ACK while the target is dialled is of nothing that we sent: RST with its number, and the dial goes on (RFC 9293 section 3.10.7.2)', async (t) => {
  for (const isIPv6 of [false, true]) {
    const wire = new Wire({ isIPv6 });
    const client = new Client(wire);
    client.syn();
    client.ack = 7_777;
    for (const flags of [FLAG.ack, FLAG.syn | FLAG.ack, FLAG.fin | FLAG.ack, FLAG.psh | FLAG.ack])
      t.match(client.send({ flags }), [{ flags: FLAG.rst, sequence: 7_777, acknowledgment: 0 }]);
    for (const flags of [0, FLAG.fin, FLAG.psh | FLAG.urg]) t.strictSame(client.send({ flags }), [], 'without an ACK: silence');
    t.match(wire.stack.info, { pending: 1, counters: { dropStray: 7, resetsSent: 4 } });
    t.equal(wire.requests[0]?.session.signal.reason, null);
    t.ok((await client.connect()).stream);
  }
});

t.test('SYN-ACK: sent again, with doubled gaps, and given up after 63 s', async (t) => {
  const wire = new Wire();
  const client = new Client(wire);
  client.syn();
  const opening = wire.requests[0]?.accept().catch((error: unknown) => error);
  const first = tcp(wire.flush());
  t.equal(first.length, 1);
  t.equal(tcp(wire.advance(990)).length, 0);
  t.equal(tcp(wire.advance(20)).length, 1, 'after 1 s');
  t.equal(tcp(wire.advance(1_950)).length, 0);
  t.equal(tcp(wire.advance(100)).length, 1, 'after 2 s more');
  const again = client.send({ flags: FLAG.syn, options: { mss: 1_460 } });
  t.equal(again[0]?.flags, FLAG.syn | FLAG.ack, 'and when the client asks again');
  t.equal(again[0]?.sequence, first[0]?.sequence, 'the same one');
  const last = tcp(wire.advance(70_000));
  t.match(await opening, { code: 'ETIMEDOUT', failure: 'timeout' });
  t.match(wire.stack.info, { connections: 0, halfOpen: 0, memory: 0, timers: 0 });
  t.ok(
    last.length > 0 && last.every(({ flags }) => flags === (FLAG.syn | FLAG.ack)),
    'no RST: it never answered, and may be somebody whose address was forged',
  );
});

t.test('a client that sends its SYN again, as it does, has its 63 s all the same', async (t) => {
  const wire = new Wire();
  const client = new Client(wire);
  client.syn();
  const opening = wire.requests[0]?.accept().catch((error: unknown) => error);
  wire.flush();
  for (const wait of [1_010, 2_000, 4_000, 8_000, 16_000]) {
    wire.advance(wait);
    client.send({ flags: FLAG.syn, options: { mss: 1_460 } });
  }
  t.match(wire.stack.info, { connections: 1, halfOpen: 1 }, 'after 31 s');
  wire.advance(33_000);
  t.match(await opening, { code: 'ETIMEDOUT' });
  t.match(wire.stack.info, { connections: 0, halfOpen: 0, memory: 0, timers: 0 });
});

t.test('SYN-RECEIVED: a wrong ACK is answered with RST and leaves it as it is; a RST ends it; a new SYN is challenged', async (t) => {
  const wire = new Wire();
  const client = new Client(wire);
  client.syn();
  const opening = wire.requests[0]?.accept();
  const [synAck] = tcp(wire.flush());
  client.seq = 1_001;
  client.ack = 99;
  t.match(client.send(), [{ flags: FLAG.rst, sequence: 99 }]);
  t.equal(wire.stack.info.halfOpen, 1);
  t.equal(client.send({ flags: FLAG.syn, sequence: 500_000 })[0]?.flags, FLAG.ack, 'a challenge');
  client.ack = ((synAck?.sequence ?? 0) + 1) >>> 0;
  client.send({ payload: Buffer.from('with the ACK') });
  const stream = await opening;
  t.equal(Buffer.concat((await stream?.read()) ?? []).toString(), 'with the ACK');

  const other = new Client(wire, 9_000, 41_000);
  other.syn();
  const failing = wire.requests[1]?.accept().catch((error: unknown) => error);
  wire.flush();
  other.send({ flags: FLAG.rst, sequence: 9_001 });
  t.match(await failing, { code: 'ECONNRESET' });
});

t.test('a FIN with the ACK of our SYN-ACK is the end of the stream, not lost (gVisor 6067)', async (t) => {
  for (const payload of ['', 'all at once']) {
    const wire = new Wire();
    const client = new Client(wire);
    client.syn();
    const opening = wire.requests[0]?.accept();
    const [synAck] = tcp(wire.flush());
    client.seq++;
    client.ack = ((synAck?.sequence ?? 0) + 1) >>> 0;
    t.match(client.send({ flags: FLAG.fin | FLAG.ack, payload: Buffer.from(payload) }), [{ flags: FLAG.ack, acknowledgment: client.seq + payload.length + 1 }]);
    const stream = await opening;
    if (payload !== '') t.equal(Buffer.concat((await stream?.read()) ?? []).toString(), payload);
    t.equal(await stream?.read(), null);
    await stream?.closeWrite();
    t.match(tcp(wire.flush()), [{ flags: FLAG.fin | FLAG.ack }]);
  }
});

t.test('initial sequence numbers: not the same for two tuples, higher for the same one later, unlike for another secret', async (t) => {
  const wire = new Wire();
  const numbers = new Set<number>();
  for (let port = 1_000; port < 1_100; port++) {
    const client = await new Client(wire, 1, port).connect();
    numbers.add(client.iss);
  }
  t.equal(numbers.size, 100);
  const again = async (wire: Wire): Promise<number> => {
    const client = await new Client(wire, 1, 2_000).connect();
    client.send({ flags: FLAG.rst });
    return client.iss;
  };
  const first = await again(wire);
  wire.time += 40;
  const gained = ((await again(wire)) - first) | 0;
  t.ok(gained >= 10_000 && gained < 11_000, `one per 4 us: ${gained}`);
});

t.test('accept-first: SYN-ACK at once, the request when the client has answered; a rejection is RST then', async (t) => {
  const wire = new Wire({ settings: { acceptFirst: true } });
  const client = new Client(wire);
  const [synAck] = tcp(client.syn());
  t.equal(synAck?.flags, FLAG.syn | FLAG.ack);
  t.equal(wire.requests.length, 0);
  client.seq = 1_001;
  client.ack = ((synAck?.sequence ?? 0) + 1) >>> 0;
  client.send();
  await new Promise(setImmediate);
  t.equal(wire.requests.length, 1);
  wire.requests[0]?.reject(new NetError('refused', 'nobody there'));
  t.match(tcp(wire.flush()), [{ flags: FLAG.rst | FLAG.ack, sequence: client.ack }]);
});

t.test('a handler that throws is answered for', async (t) => {
  const wire = new Wire({ handleStream: () => Promise.reject(new Error('a bug')) });
  new Client(wire).syn();
  await new Promise(setImmediate);
  t.match(tcp(wire.flush()), [{ flags: FLAG.rst | FLAG.ack }]);
  t.match(wire.stack.info, { pending: 0 });
});

for (const acceptFirst of [false, true])
  t.test(`so is one that throws later: its connection is reset (accept-first: ${acceptFirst})`, async (t) => {
    const wire = new Wire({
      settings: { acceptFirst },
      handleStream: async (request) => {
        await request.accept();
        throw new Error('a bug');
      },
    });
    const client = new Client(wire);
    const [synAck] = tcp(client.syn());
    client.seq += 1;
    client.ack = ((synAck?.sequence ?? 0) + 1) >>> 0;
    client.send();
    await new Promise(setImmediate);
    t.match(tcp(wire.flush()), [{ flags: FLAG.rst | FLAG.ack }]);
    t.match(wire.stack.info, { connections: 0, pending: 0 });
  });

t.test('packets with a wrong checksum are not there, whatever they say', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect();
  for (const flags of [FLAG.syn, FLAG.rst, FLAG.fin | FLAG.ack, FLAG.ack]) {
    const packet = client.segment({ flags, payload: Buffer.from('data') });
    packet[packet.length - 1] = (packet.at(-1) ?? 0) ^ 1;
    t.equal(parsePacket(packet), null);
    t.strictSame(wire.raw(packet), []);
  }
  const header = client.segment({ flags: FLAG.rst });
  header[8] = 63; // a TTL that the IP checksum does not know of
  t.strictSame(wire.raw(header), []);
  t.equal(wire.stack.info.connections, 1);
  t.equal(wire.drops[4], 5);
});

t.test('close: everything is reset, and nothing is left', async (t) => {
  const wire = new Wire();
  const client = await new Client(wire).connect();
  client.text('unread');
  new Client(wire, 1, 999).syn();
  const reading = client.stream.read();
  wire.stack.close();
  wire.stack.close();
  t.equal(tcp(wire.flush()).filter((packet) => (packet.flags & FLAG.rst) !== 0).length, 2);
  await reading;
  t.match(await client.stream.read().catch((error: unknown) => error), { failure: 'aborted' });
  t.match(wire.stack.info, { connections: 0, pending: 0, memory: 0, timers: 0 });
  t.strictSame(client.syn(), [], 'and it says no more');
});

import {
  CancelSource,
  type Datagram,
  type Endpoint,
  type InboundContext,
  NetError,
  type PacketConn,
  type PacketRequest,
  type Session,
  type Stream,
  type StreamDialer,
  type StreamRequest,
} from '@nekit/core';
import { dialOptions, eventually, FakeClock, pipePair, settle, testContext, testInboundContext, testSession, within } from '@nekit/core/testing';
import fc from 'fast-check';
import t from 'tap';
import { PeerTable } from '../dist/packet/peers.js';
import { dialUdpOverTcp } from '../dist/udp-over-tcp/client.js';
import { serveInside, serveUdpOverTcp } from '../dist/udp-over-tcp/server.js';
import { LONGEST_FRAME, readFrame, type UotVersion, uotDestination, uotVersionOf } from '../dist/udp-over-tcp/wire.js';
import { NAMED, PEER, SIXTH } from './packet-secrets.js';

const FULL = process.env.NEKIT_FULL !== undefined;
const hex = (text: string): Buffer => Buffer.from(text.replace(/ /g, ''), 'hex');

function fail(message: string): never {
  throw new Error(message);
}

/** Hands every datagram back. */
async function reflect(request: PacketRequest): Promise<void> {
  const conn = request.accept();
  for (let datagrams = await conn.receive(); datagrams !== null; datagrams = await conn.receive()) conn.send(datagrams);
}

interface Served {
  readonly done: Promise<unknown>;
  readonly sessions: Session[];
  readonly conns: PacketConn[];
}

function serve(stream: Stream, version: UotVersion, handle = reflect, clock = new FakeClock()): Served {
  const sessions: Session[] = [];
  const conns: PacketConn[] = [];
  const context: InboundContext = testInboundContext({
    get: testContext({ clock, timeouts: { udpIdle: 20_000, handshake: 5_000 } }).context.get,
    handlePackets: (request) => {
      sessions.push(request.session);
      return handle({
        ...request,
        accept: () => {
          const conn = request.accept();
          conns.push(conn);
          return conn;
        },
      });
    },
  });
  const request: StreamRequest = {
    session: testSession({ destination: uotDestination(version), user: 'ann' }),
    accept: () => Promise.resolve(stream),
    reject: () => {},
  };
  const done = serveUdpOverTcp(request, version, context).then(
    () => null,
    (error: unknown) => error,
  );
  return { done, sessions, conns };
}

interface Dialled {
  readonly conn: PacketConn & { readonly dropped?: number };
  readonly far: Stream;
  readonly asked: Endpoint[];
}

async function dial(version: UotVersion, clock = new FakeClock()): Promise<Dialled> {
  const [near, far] = pipePair();
  const asked: Endpoint[] = [];
  const dialer: StreamDialer = {
    dialStream: (destination) => {
      asked.push(destination);
      return Promise.resolve(near);
    },
  };
  const conn = await dialUdpOverTcp(dialer, version, testContext({ clock }).timers, dialOptions());
  return { conn, far, asked };
}

const datagram = (payload: string | Uint8Array, peer: Endpoint = PEER): Datagram => ({ bytes: Buffer.from(payload), peer });

async function take(conn: PacketConn, count: number): Promise<Datagram[]> {
  const all: Datagram[] = [];
  while (all.length < count) {
    for (const { bytes, peer } of (await within(conn.receive())) ?? fail('it has ended')) all.push({ bytes: Uint8Array.from(bytes), peer });
  }
  return all;
}

const plain = (datagrams: readonly Datagram[]): unknown[] => datagrams.map(({ bytes, peer }) => ({ text: Buffer.from(bytes).toString(), ...peer }));

t.test('names', (t) => {
  t.strictSame([uotVersionOf('sp.udp-over-tcp.arpa'), uotVersionOf('sp.v2.udp-over-tcp.arpa'), uotVersionOf('example.com')], [1, 2, null]);
  t.equal(uotVersionOf(uotDestination(1).host), 1);
  t.equal(uotVersionOf(uotDestination(2).host), 2);
  const context = testInboundContext({ get: testContext().context.get });
  const [stream] = pipePair();
  const request: StreamRequest = { session: testSession(), accept: () => Promise.resolve(stream), reject: () => {} };
  t.equal(serveInside(request, testSession({ destination: NAMED }), context), null);
  const served = serveInside(request, testSession({ destination: { host: 'sp.udp-over-tcp.arpa', port: 0 } }), context);
  t.ok(served instanceof Promise, 'any port');
  stream.abort(new NetError('aborted', 'enough'));
  served?.catch(() => {});
  t.end();
});

for (const version of [1, 2] as const) {
  t.test(`version ${version}: there and back, to any peer`, async (t) => {
    const { conn, far, asked } = await dial(version);
    const { done, sessions, conns } = serve(far, version);
    t.match(asked, [{ host: version === 1 ? 'sp.udp-over-tcp.arpa' : 'sp.v2.udp-over-tcp.arpa' }]);
    const sent = [datagram('one'), datagram('two', NAMED), datagram('', SIXTH), datagram('x'.repeat(65_000))];
    t.equal(conn.send(sent), 4);
    const answers = await take(conn, 4);
    t.strictSame(plain(answers), plain(sent));
    conn.send([datagram('again')]);
    const [again] = await take(conn, 1);
    t.equal(again?.peer, answers[0]?.peer, 'one object for each peer');
    t.equal(sessions.length, 1);
    t.match(sessions[0], { network: 'udp', destination: PEER, requested: PEER, user: 'ann' });
    conn.close();
    t.equal(await within(done), null);
    t.equal(conns[0]?.error, null);
    t.equal(await within(conn.receive()), null);
    t.equal(conn.send([datagram('late')]), 0);
  });

  t.test(`version ${version}: the server ends, or breaks`, async (t) => {
    for (const error of [null, new NetError('aborted', 'broken')]) {
      const { conn, far } = await dial(version);
      const receiving = conn.receive();
      if (error === null) await far.closeWrite();
      else far.abort(error);
      t.equal(await within(receiving), null);
      t.equal(conn.error === null, error === null);
    }
  });

  t.test(`version ${version}: what cannot be sent is dropped and counted`, async (t) => {
    const { conn, far } = await dial(version);
    t.equal(
      conn.send([
        datagram('x', { host: 'fe80::1%eth0', port: 1 }),
        datagram('x', { host: 'y'.repeat(254), port: 1 }),
        datagram(new Uint8Array(0x1_0000)),
        datagram('x'),
      ]),
      1,
    );
    t.equal(conn.dropped, 3);
    // Nobody reads: after what the stream took, so much waits and no more.
    let taken = 0;
    for (let i = 0; i < 100; i++) taken += conn.send([datagram(new Uint8Array(10_000))]);
    t.ok(taken > 25 && taken < 40, `${taken}`);
    far.abort(new NetError('aborted', 'enough'));
  });
}

t.test('frames as sing-box writes them', async (t) => {
  for (const version of [1, 2] as const) {
    const { conn, far } = await dial(version);
    conn.send([datagram('hi'), datagram('yo', NAMED)]);
    const wire = Buffer.concat((await far.read()) ?? []);
    const head = version === 2 ? '00 01 c0000207 1092' : '';
    t.equal(wire.toString('hex'), hex(`${head} 00 c0000207 1092 0002 6869  02 0b 6578616d706c652e636f6d 01bb 0002 796f`).toString('hex'));
    await far.write([hex('01 20010db8000000000000000000000007 0009 0001 61')]);
    t.strictSame(plain(await take(conn, 1)), [{ text: 'a', ...SIXTH }]);
  }
});

t.test('server: one peer, with short frames', async (t) => {
  const [near, far] = pipePair();
  const { done, sessions } = serve(far, 2);
  await near.write([hex('01 03 0b 6578616d706c652e636f6d 01bb 0002 6869'), hex('0001 61')]);
  const wire: Uint8Array[] = [];
  await eventually(async () => {
    wire.push(...((await near.read()) ?? []));
    return Buffer.concat(wire).length === 7;
  });
  t.equal(Buffer.concat(wire).toString('hex'), hex('0002 6869 0001 61').toString('hex'));
  t.match(sessions, [{ destination: { host: 'example.com', port: 443 } }]);
  await near.closeWrite();
  t.equal(await within(done), null);
});

t.test('server: one peer, and who may answer for it', async (t) => {
  const [other, elsewhere] = [Object.freeze({ host: '192.0.2.8', port: 4242 }), Object.freeze({ host: '192.0.2.7', port: 4243 })];
  const name = Object.freeze({ host: 'a.example', port: 4242 });
  for (const [head, answers] of [
    [
      '01 01 c0000207 1092',
      [
        [datagram('the same', { ...PEER }), 1],
        [datagram('another address', other), 0],
        [datagram('another port', elsewhere), 0],
        [{ ...datagram('said to be it', other), named: PEER }, 0],
      ],
    ],
    [
      '01 03 09 612e6578616d706c65 1092',
      [
        [datagram('the same', name), 1],
        [{ ...datagram('where it led', elsewhere), named: name }, 1],
        [{ ...datagram('where another led', other), named: NAMED }, 0],
        [datagram('from a proxy that does not know', other), 1],
        [datagram('another port', elsewhere), 0],
      ],
    ],
  ] as const) {
    const [near, far] = pipePair();
    const { done, conns } = serve(far, 2);
    await near.write([hex(head), hex('0001 61')]);
    await eventually(() => conns.length === 1);
    for (const [answer, taken] of answers) t.equal(conns[0]?.send([answer]), taken, `${Buffer.from(answer.bytes).toString()} (${head})`);
    await near.closeWrite();
    t.equal(await within(done), null);
  }
});

t.test('server: in any pieces', async () => {
  const frames = hex('00 c0000207 1092 0002 6869  02 0b 6578616d706c652e636f6d 01bb 0000  01 20010db8000000000000000000000007 0009 0001 61');
  for (const [version, wire] of [[1, frames] as const, [2, Buffer.concat([hex('00 01 c0000207 1092'), frames])] as const]) {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }), async (sizes) => {
        const [near, far] = pipePair();
        const got: unknown[] = [];
        const { done } = serve(far, version, async (request) => {
          const conn = request.accept();
          for (let datagrams = await conn.receive(); datagrams !== null; datagrams = await conn.receive()) got.push(...plain(datagrams));
        });
        for (let at = 0, i = 0; at < wire.length; i++) {
          const size = sizes[i % sizes.length] ?? 1;
          await near.write([Buffer.from(wire.subarray(at, at + size))]);
          at += size;
        }
        await near.closeWrite();
        if ((await within(done)) !== null) throw new Error('it failed');
        const expected = [
          { text: 'hi', ...PEER },
          { text: '', ...NAMED },
          { text: 'a', ...SIXTH },
        ];
        if (JSON.stringify(got) !== JSON.stringify(expected)) throw new Error(JSON.stringify(got));
      }),
      { numRuns: FULL ? 1000 : 40 },
    );
  }
});

t.test('server: what is no association', async (t) => {
  for (const [version, bytes] of [
    [2, '02 01 c0000207 1092'],
    [2, '00 07'],
    [2, '01 01 c0000207 0000'],
    [2, '01 03 00 0050'],
    [1, '03'],
    [1, '00 c0000207 1092 0002 6869 ff'],
  ] as const) {
    const [near, far] = pipePair();
    const { done } = serve(far, version);
    await near.write([hex(bytes)]);
    t.match(await within(done), { code: 'UOT_PROTOCOL' }, bytes);
    await t.rejects(async () => {
      while ((await near.read()) !== null);
    }, `${bytes}: reset`);
  }
  for (const bytes of ['', '00', '00 01 c0']) {
    const [near, far] = pipePair();
    const { done, sessions } = serve(far, 2);
    if (bytes !== '') await near.write([hex(bytes)]);
    await near.closeWrite();
    t.match(await within(done), { code: 'UNEXPECTED_END' }, 'cut off in the head');
    t.equal(sessions.length, 0);
  }
  const [near, far] = pipePair();
  const { done, sessions } = serve(far, 1);
  await near.closeWrite();
  t.equal(await within(done), null, 'an association without a datagram is none');
  t.equal(sessions.length, 0);
});

t.test('server: frames for no peer are passed over', async (t) => {
  const [near, far] = pipePair();
  const got: unknown[] = [];
  const { done, conns } = serve(far, 1, async (request) => {
    const conn = request.accept();
    for (let datagrams = await conn.receive(); datagrams !== null; datagrams = await conn.receive()) got.push(...plain(datagrams));
  });
  await near.write([hex('00 c0000207 0000 0001 61  02 03 612062 0001 0001 62  02 00 0001 0000  00 c0000207 1092 0001 63')]);
  await near.closeWrite();
  t.equal(await within(done), null);
  t.strictSame(got, [{ text: 'c', ...PEER }]);
  t.match(conns[0], { dropped: 3 });
});

t.test('server: waits are bounded', async (t) => {
  const clock = new FakeClock();
  const [near, far] = pipePair();
  const head = serve(far, 2, reflect, clock);
  await clock.advance(5_200);
  t.match(await within(head.done), { failure: 'timeout' });
  await t.rejects(near.read());
  const [quiet, served] = pipePair();
  const idle = serve(served, 1, reflect, clock);
  await quiet.write([hex('00 c0000207 1092 0001 61')]);
  await clock.advance(15_000);
  await quiet.write([hex('00 c0000207 1092 0001 61')]);
  await clock.advance(15_000);
  t.equal(idle.sessions.length, 1);
  t.ok(await within(quiet.read()), 'still there');
  await clock.advance(5_200);
  t.equal(await within(idle.done), null);
  t.equal(await within(quiet.read()), null, 'FIN');
  await clock.advance(2_200);
  await t.rejects(quiet.write([hex('00')]), 'RST for a client that does not answer FIN');
});

t.test('server: an error of the handler, and of the stream', async (t) => {
  const [near, far] = pipePair();
  const { done } = serve(far, 1, (request) => {
    request.reject(new NetError('denied', 'no', { code: 'NO' }));
    return Promise.resolve();
  });
  await near.write([hex('00 c0000207 1092 0001 61')]);
  t.match(await within(done), { code: 'NO' });
  await t.rejects(near.read());
  const [left, right] = pipePair();
  const broken = serve(right, 1);
  await left.write([hex('00 c0000207 1092 0001 61')]);
  await settle();
  left.abort(new NetError('aborted', 'left'));
  t.match(await within(broken.done), { code: 'ECONNRESET' });
});

t.test('client: closing leaves no timer and no read', async (t) => {
  const clock = new FakeClock();
  const { conn, far } = await dial(2, clock);
  conn.send([datagram('x')]);
  const receiving = conn.receive();
  conn.close();
  t.equal(await within(receiving), null);
  t.ok(await far.read(), 'what was taken still goes');
  t.equal(await within(far.read()), null);
  await far.closeWrite();
  await settle();
  t.equal(clock.pending, 0);
  // A dial that fails is the dialer's.
  const error = new NetError('refused', 'no');
  await t.rejects(
    dialUdpOverTcp({ dialStream: () => Promise.reject(error) }, 2, testContext({ clock }).timers, dialOptions(PEER, { signal: new CancelSource() })),
    { code: 'NET_REFUSED' },
  );
});

t.test('any bytes: nothing is thrown, and nothing read outside of a frame', (t) => {
  const peers = new PeerTable();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      const copy = Uint8Array.from(bytes);
      const frame = readFrame(copy, 0, copy.length, peers);
      if (frame && (frame.end > copy.length || frame.data.length > copy.length)) throw new Error('outside');
      if (Buffer.compare(copy, bytes) !== 0) throw new Error('changed');
    }),
    { numRuns: FULL ? 200_000 : 5_000 },
  );
  t.ok(LONGEST_FRAME > 65_535);
  t.end();
});

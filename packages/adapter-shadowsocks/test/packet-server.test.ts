import dgram from 'node:dgram';
import {
  type Adapter,
  CancelSource,
  type Ciphers,
  type Datagram,
  type Endpoint,
  isNetError,
  NetError,
  type PacketConn,
  type PacketRequest,
  type Session,
} from '@nekit/core';
import { allCiphers, allSockets, dialOptions, eventually, FakeClock, type TestContext, testContext, testInboundContext, within } from '@nekit/core/testing';
import t from 'tap';
import type { Secret } from '../dist/method.js';
import { clientPacketCodec } from '../dist/packet/client-codec.js';
import { ClientPackets, dialPackets } from '../dist/packet/client-packets.js';
import { type PacketUser, ServerPackets, type ServerPacketsOptions } from '../dist/packet/server-packets.js';
import { identitySecret, METHOD_NAMES, NAMES_2022, PEER, secretFor } from './packet-secrets.js';

const realTime = { monotonic: () => performance.now(), wall: Date.now };

function fail(message: string): never {
  throw new Error(message);
}

/** A plain UDP socket on loopback. */
class Udp {
  readonly received: { readonly bytes: Buffer; readonly port: number }[] = [];
  readonly socket: dgram.Socket;

  constructor(socket: dgram.Socket) {
    this.socket = socket;
    socket.on('message', (bytes, from) => this.received.push({ bytes, port: from.port }));
  }

  static open(host = '127.0.0.1'): Promise<Udp> {
    const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4');
    return new Promise((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(0, host, () => resolve(new Udp(socket)));
    });
  }

  get port(): number {
    return this.socket.address().port;
  }

  send(bytes: Uint8Array, port: number, host = '127.0.0.1'): Promise<void> {
    return new Promise((resolve, reject) => this.socket.send(bytes, port, host, (error) => (error === null ? resolve() : reject(error))));
  }
}

/** Answers with what came, in capitals. */
async function startEcho(): Promise<Udp> {
  const echo = await Udp.open();
  echo.socket.on('message', (bytes, from) => echo.socket.send(bytes.toString('latin1').toUpperCase(), from.port, from.address));
  return echo;
}

/** Hands every datagram back to its client, twice if it asks so. */
async function reflect(request: PacketRequest): Promise<void> {
  const conn = request.accept();
  for (let datagrams = await conn.receive(); datagrams !== null; datagrams = await conn.receive()) conn.send(datagrams);
}

interface Serving {
  readonly server: ServerPackets;
  readonly endpoint: Endpoint;
  readonly context: TestContext;
  readonly sessions: Session[];
  readonly ended: Session[];
}

interface ServeOptions extends ServerPacketsOptions {
  readonly users?: readonly PacketUser[];
  readonly handle?: (request: PacketRequest) => Promise<void>;
  readonly context?: TestContext;
  readonly admits?: (address: string) => boolean;
  readonly host?: string;
}

function serve(secret: Secret, options: ServeOptions = {}): Serving {
  const context = options.context ?? testContext();
  const sessions: Session[] = [];
  const ended: Session[] = [];
  const { handle = reflect } = options;
  const inbound = testInboundContext({
    get: context.context.get,
    admits: options.admits ?? (() => true),
    handlePackets: async (request) => {
      sessions.push(request.session);
      await handle(request);
      ended.push(request.session);
    },
  });
  const host = options.host ?? '127.0.0.1';
  const server = new ServerPackets(secret, options.users ?? [], { host, port: 0 }, inbound, options);
  server.start();
  t.teardown(() => server.stop());
  return { server, endpoint: { host, port: server.port }, context, sessions, ended };
}

/** Through DIRECT, as a kernel would. */
function direct({ context }: TestContext): (request: PacketRequest) => Promise<void> {
  return async (request) => {
    const client = request.accept();
    const remote = (await context.base.packet?.dialPacket(dialOptions())) ?? fail('no packets');
    const pump = async (from: PacketConn, to: PacketConn): Promise<void> => {
      for (let datagrams = await from.receive(); datagrams !== null; datagrams = await from.receive()) to.send(datagrams);
      to.close();
    };
    await Promise.all([pump(client, remote), pump(remote, client)]);
  };
}

async function dial(secret: Secret, server: Endpoint, ciphers: Ciphers, context = testContext(), base: Adapter = context.context.base): Promise<ClientPackets> {
  const conn = await dialPackets({ secret, server, ciphers, now: realTime }, base.packet ?? fail('no packets'), dialOptions());
  t.teardown(() => conn.close());
  if (!(conn instanceof ClientPackets)) fail('another conn');
  return conn;
}

const datagram = (payload: string | Uint8Array, peer: Endpoint = PEER): Datagram => ({ bytes: Buffer.from(payload), peer });

/** So many datagrams, as texts. */
async function texts(conn: PacketConn, count = 1): Promise<string[]> {
  const all: string[] = [];
  while (all.length < count) {
    const datagrams = (await within(conn.receive())) ?? fail('it has ended');
    all.push(...datagrams.map(({ bytes }) => Buffer.from(bytes).toString()));
  }
  return all;
}

/** A packet of a client of its own. */
function packetOf(secret: Secret, ciphers: Ciphers, payload: string, wall: () => number = Date.now): Uint8Array {
  const codec = clientPacketCodec(ciphers, secret, { monotonic: () => 0, wall });
  const out = new Uint8Array(codec.room(payload.length));
  return out.slice(0, codec.seal(PEER, Buffer.from(payload), out, 0));
}

for (const ciphers of allCiphers()) {
  for (const sockets of allSockets()) {
    t.test(`${ciphers.kind} ciphers, ${sockets.kind} sockets: client -> server -> echo, every method`, async (t) => {
      t.teardown(() => sockets.close());
      const context = testContext({ sockets, ciphers });
      const echo = await startEcho();
      t.teardown(() => echo.socket.close());
      for (const name of METHOD_NAMES) {
        const secret = secretFor(ciphers, name);
        const { server, endpoint, sessions } = serve(secret, { context, handle: direct(context) });
        const conn = await dial(secret, endpoint, ciphers, testContext({ sockets }));
        const peer = Object.freeze({ host: '127.0.0.1', port: echo.port });
        t.equal(conn.send(['a', 'b', 'x'.repeat(1400), 'y'.repeat(30_000)].map((payload) => datagram(payload, peer))), 4);
        const answers = await texts(conn, 4);
        t.strictSame([...answers].sort(), ['A', 'B', 'X'.repeat(1400), 'Y'.repeat(30_000)].sort(), name);
        t.equal(sessions.length, 1);
        t.match(sessions[0], { network: 'udp', inbound: 'in', inboundType: 'SHADOWSOCKS', inboundPort: endpoint.port, destination: peer, requested: peer });
        t.equal(context.own.includes('udp', '127.0.0.1', endpoint.port), true, 'our own endpoint');
        conn.close();
        server.stop();
        t.equal(context.own.includes('udp', '127.0.0.1', endpoint.port), false);
      }
    });
  }
}

const [ciphers] = allCiphers();
if (ciphers === undefined) fail('no ciphers');

t.test('full cone: any peer may answer, a name stays a name', async (t) => {
  for (const name of ['aes-256-gcm', '2022-blake3-aes-128-gcm', 'none']) {
    const secret = secretFor(ciphers, name);
    const stranger = Object.freeze({ host: '198.51.100.9', port: 999 });
    const peers: Endpoint[] = [];
    const { endpoint } = serve(secret, {
      handle: async (request) => {
        const conn = request.accept();
        for (let datagrams = await conn.receive(); datagrams !== null; datagrams = await conn.receive()) {
          for (const { peer } of datagrams) peers.push(peer);
          conn.send([datagram('from a stranger', stranger), datagram('again', stranger)]);
        }
      },
    });
    const conn = await dial(secret, endpoint, ciphers);
    conn.send([datagram('x', { host: 'example.com', port: 1 })]);
    const answers: Datagram[] = [];
    while (answers.length < 2)
      for (const { bytes, peer } of (await within(conn.receive())) ?? fail('ended')) answers.push({ bytes: Uint8Array.from(bytes), peer });
    t.match(answers[0]?.peer, stranger);
    t.equal(answers[0]?.peer, answers[1]?.peer, 'one object');
    t.match(peers, [{ host: 'example.com', port: 1 }]);
  }
});

t.test('nobody is told of what cannot be believed', async (t) => {
  for (const name of METHOD_NAMES.filter((method) => method.startsWith('2022') || method.endsWith('gcm') || method.endsWith('poly1305'))) {
    const secret = secretFor(ciphers, name);
    const { server, endpoint, sessions } = serve(secret);
    const prober = await Udp.open();
    t.teardown(() => prober.socket.close());
    const good = packetOf(secret, ciphers, 'good');
    const flipped = Uint8Array.from(good);
    flipped[flipped.length - 20] = (flipped[flipped.length - 20] ?? 0) ^ 1;
    const late = packetOf(secret, ciphers, 'late', () => Date.now() - 60_000);
    const bad = [
      new Uint8Array(0),
      new Uint8Array(1),
      new Uint8Array(50),
      new Uint8Array(1500),
      good.subarray(0, good.length - 1),
      flipped,
      packetOf(secretFor(ciphers, name, 2), ciphers, 'x'),
    ];
    if (name.startsWith('2022')) bad.push(late);
    for (const packet of bad) await prober.send(packet, endpoint.port);
    await eventually(() => server.dropped === bad.length);
    t.equal(sessions.length, 0);
    await prober.send(good, endpoint.port);
    await eventually(() => prober.received.length === 1);
    if (name.startsWith('2022')) {
      await prober.send(good, endpoint.port);
      await eventually(() => server.dropped === bad.length + 1);
    }
    t.equal(prober.received.length, 1, 'one answer, to the one that was good');
    t.equal(sessions.length, 1);
    server.stop();
  }
});

t.test('2022: a session goes on from another address', async (t) => {
  for (const name of NAMES_2022) {
    const secret = secretFor(ciphers, name);
    const { endpoint, sessions, server } = serve(secret);
    const codec = clientPacketCodec(ciphers, secret, realTime);
    const packet = (payload: string): Uint8Array => {
      const out = new Uint8Array(codec.room(payload.length));
      return out.slice(0, codec.seal(PEER, Buffer.from(payload), out, 0));
    };
    const open = (bytes: Buffer | undefined): string => {
      const out = new Uint8Array(2000);
      return bytes === undefined ? 'nothing' : Buffer.from(codec.open(bytes, out, 0)?.bytes ?? []).toString();
    };
    const home = await Udp.open();
    const cafe = await Udp.open();
    t.teardown(() => home.socket.close());
    t.teardown(() => cafe.socket.close());
    const first = packet('at home');
    await home.send(first, endpoint.port);
    await eventually(() => home.received.length === 1);
    await cafe.send(packet('in the cafe'), endpoint.port);
    await eventually(() => cafe.received.length === 1);
    t.equal(open(home.received[0]?.bytes), 'at home');
    t.equal(open(cafe.received[0]?.bytes), 'in the cafe');
    // Played back from elsewhere it moves nothing.
    const thief = await Udp.open();
    t.teardown(() => thief.socket.close());
    await thief.send(first, endpoint.port);
    await eventually(() => server.dropped === 1);
    await cafe.send(packet('still here'), endpoint.port);
    await eventually(() => cafe.received.length === 2);
    t.equal(thief.received.length, 0);
    t.equal(sessions.length, 1, 'one session');
    server.stop();
  }
});

t.test('other methods: an address is a client', async (t) => {
  const secret = secretFor(ciphers, 'chacha20-ietf-poly1305');
  const { endpoint, sessions, server } = serve(secret);
  const [a, b] = [await dial(secret, endpoint, ciphers), await dial(secret, endpoint, ciphers)];
  for (const payload of ['1', '2']) {
    a.send([datagram(`a${payload}`)]);
    b.send([datagram(`b${payload}`)]);
    t.strictSame([await texts(a), await texts(b)], [[`a${payload}`], [`b${payload}`]]);
  }
  t.equal(sessions.length, 2);
  t.equal(server.sessions, 2);
});

t.test('users have their names in their sessions', async (t) => {
  const name = '2022-blake3-aes-256-gcm';
  const user = (username: string, fill: number): PacketUser => ({ username, key: secretFor(ciphers, name, fill).keys[0] ?? fail('no key') });
  const { endpoint, sessions } = serve(secretFor(ciphers, name, 1), { users: [user('ann', 2), user('bob', 3)] });
  for (const fill of [3, 2]) {
    const conn = await dial(identitySecret(ciphers, name, 1, fill), endpoint, ciphers);
    conn.send([datagram(`${fill}`)]);
    t.strictSame(await texts(conn), [`${fill}`]);
  }
  t.strictSame(
    sessions.map((session) => session.user),
    ['bob', 'ann'],
  );
});

t.test('who may not use the listener gets nothing', async (t) => {
  const secret = secretFor(ciphers, 'aes-128-gcm');
  const { endpoint, server, sessions } = serve(secret, { admits: () => false });
  const conn = await dial(secret, endpoint, ciphers);
  conn.send([datagram('x')]);
  await eventually(() => server.dropped === 1);
  t.equal(sessions.length, 0);
});

t.test('sessions end when nothing has moved for long, and are not played back', async (t) => {
  for (const [name, idle] of [
    ['aes-256-gcm', 20_000],
    ['2022-blake3-aes-256-gcm', 60_000],
  ] as const) {
    const clock = new FakeClock();
    const context = testContext({ clock, timeouts: { udpIdle: 20_000 } });
    const secret = secretFor(ciphers, name);
    const { endpoint, server, ended, sessions } = serve(secret, { context });
    const socket = await Udp.open();
    t.teardown(() => socket.socket.close());
    await socket.send(packetOf(secret, ciphers, 'x'), endpoint.port);
    await eventually(() => socket.received.length === 1);
    await clock.advance(idle - 100);
    t.equal(server.sessions, 1);
    await clock.advance(200);
    t.equal(server.sessions, 0);
    await eventually(() => ended.length === 1);
    await socket.send(packetOf(secret, ciphers, 'y'), endpoint.port);
    await eventually(() => socket.received.length === 2);
    t.equal(sessions.length, 2, 'the next packet opens another');
    server.stop();
    await eventually(() => ended.length === 2);
    t.equal(context.timers.size, 0, 'no timer is left');
  }
});

t.test('so many sessions and no more: the one silent for longest goes', async (t) => {
  const clock = new FakeClock();
  const secret = secretFor(ciphers, '2022-blake3-aes-128-gcm');
  const { endpoint, server, ended } = serve(secret, { maxSessions: 3, context: testContext({ clock }) });
  const socket = await Udp.open();
  t.teardown(() => socket.socket.close());
  const codecs = Array.from({ length: 4 }, () => clientPacketCodec(ciphers, secret, realTime));
  let expected = 0;
  const say = async (index: number): Promise<Uint8Array> => {
    const codec = codecs[index] ?? fail('none');
    const out = new Uint8Array(codec.room(1));
    const packet = out.slice(0, codec.seal(PEER, Buffer.from(`${index}`), out, 0));
    await socket.send(packet, endpoint.port);
    expected++;
    await eventually(() => socket.received.length === expected);
    await clock.advance(1_000);
    return packet;
  };
  await say(0);
  const evicted = await say(1);
  await say(2);
  await say(0);
  await say(3);
  t.equal(server.sessions, 3);
  await eventually(() => ended.length === 1);
  await socket.send(evicted, endpoint.port);
  await eventually(() => server.dropped === 1, 5_000, 'what an evicted session had is not played back');
  await say(1);
  t.equal(server.sessions, 3);
  await eventually(() => ended.length === 2);
});

t.test('a handler that fails or refuses ends the session, and is told', async (t) => {
  const secret = secretFor(ciphers, 'aes-128-gcm');
  const context = testContext();
  const failed: string[] = [];
  context.events.on('request.failed', ({ code }) => failed.push(code));
  let times = 0;
  const { endpoint, server } = serve(secret, {
    context,
    handle: (request) => {
      if (times++ > 0) return Promise.reject(new NetError('denied', 'not here', { code: 'NOT_HERE' }));
      request.reject(new NetError('denied', 'no'));
      return Promise.resolve();
    },
  });
  const conn = await dial(secret, endpoint, ciphers);
  for (const count of [1, 2]) {
    conn.send([datagram('x')]);
    await eventually(() => times === count && server.sessions === 0);
  }
  t.strictSame(failed, ['NOT_HERE']);
});

t.test('a port that is taken', async (t) => {
  const secret = secretFor(ciphers, 'aes-128-gcm');
  const taken = await Udp.open();
  t.teardown(() => taken.socket.close());
  const context = testInboundContext({ get: testContext().context.get });
  const server = new ServerPackets(secret, [], { host: '127.0.0.1', port: taken.port }, context);
  t.throws(() => server.start(), { code: 'LISTEN_FAILED', message: /listener in cannot listen on 127\.0\.0\.1:\d+ for UDP: the port is in use/ });
  t.equal(server.port, 0);
});

t.test('all addresses, of both families', async (t) => {
  const secret = secretFor(ciphers, '2022-blake3-aes-256-gcm');
  const { server } = serve(secret, { host: '::' });
  for (const host of ['127.0.0.1', '::1']) {
    const conn = await dial(secret, { host, port: server.port }, ciphers);
    conn.send([datagram(host)]);
    t.strictSame(await texts(conn), [host]);
  }
});

t.test('a stopped server starts again', async (t) => {
  const secret = secretFor(ciphers, '2022-blake3-aes-256-gcm');
  const { server, ended, endpoint } = serve(secret);
  const conn = await dial(secret, endpoint, ciphers);
  conn.send([datagram('1')]);
  t.strictSame(await texts(conn), ['1']);
  server.stop();
  server.stop();
  await eventually(() => ended.length === 1);
  server.start(endpoint.port);
  conn.send([datagram('2')]);
  t.strictSame(await texts(conn), ['2'], 'the client does not notice');
});

t.test('client: what is too long, from elsewhere or garbage is dropped and counted', async (t) => {
  const secret = secretFor(ciphers, '2022-blake3-aes-256-gcm');
  const fake = await Udp.open();
  t.teardown(() => fake.socket.close());
  const { server, endpoint } = serve(secret);
  const conn = await dial(secret, { host: '127.0.0.1', port: fake.port }, ciphers);
  t.equal(conn.send([datagram(new Uint8Array(65_507)), datagram('x', { host: 'fe80::1%lo', port: 1 }), datagram('ok')]), 1);
  t.equal(conn.dropped, 2);
  const receiving = texts(conn);
  await eventually(() => fake.received.length === 1);
  const { port, bytes } = fake.received[0] ?? fail('nothing');
  for (const garbage of ['', 'x', 'y'.repeat(100), 'z'.repeat(1500)]) await fake.send(Buffer.from(garbage), port);
  const stranger = await Udp.open();
  t.teardown(() => stranger.socket.close());
  await eventually(() => conn.ignored === 4);
  // What the real server would answer, through the fake one; first from a port that is not the server's.
  await stranger.send(bytes, endpoint.port);
  await eventually(() => stranger.received.length === 1);
  const answer = stranger.received[0]?.bytes ?? fail('nothing');
  await stranger.send(answer, port);
  await eventually(() => conn.ignored === 5);
  await fake.send(answer, port);
  t.strictSame(await receiving, ['ok']);
  const largest = 65_507 - 32 - 11 - 7 - 16;
  t.equal(conn.send([datagram(new Uint8Array(largest + 16))]), 1, 'as long as a packet can be');
  t.equal(conn.send([datagram(new Uint8Array(largest + 17))]), 0);
  server.stop();
});

t.test('client: a server with a name is learned from what can be believed', async (t) => {
  const secret = secretFor(ciphers, 'aes-256-gcm');
  const { endpoint } = serve(secret);
  const conn = await dial(secret, { host: 'localhost', port: endpoint.port }, ciphers);
  for (const payload of ['1', '2']) {
    conn.send([datagram(payload)]);
    t.strictSame(await texts(conn), [payload]);
  }
});

t.test('client: ends with its socket, and its socket with it', async (t) => {
  const secret = secretFor(ciphers, 'aes-256-gcm');
  const error = new NetError('unreachable', 'gone');
  const end: { now: ((error: NetError | null) => void) | null } = { now: null };
  const base = (): PacketConn & { closed: boolean } => {
    const conn = {
      error: null as NetError | null,
      closed: false,
      receive: () =>
        new Promise<null>((resolve) => {
          end.now = (why) => {
            conn.error = why;
            resolve(null);
          };
        }),
      send: () => 0,
      close: () => {
        conn.closed = true;
        end.now?.(null);
      },
    };
    return conn;
  };
  const dialOn = (socket: PacketConn, signal = new CancelSource()): Promise<PacketConn> =>
    dialPackets({ secret, server: PEER, ciphers, now: realTime }, { dialPacket: () => Promise.resolve(socket) }, dialOptions(PEER, { signal }));
  const failing = base();
  const failed = await dialOn(failing);
  const receiving = failed.receive();
  end.now?.(error);
  t.equal(await within(receiving), null);
  t.equal(failed.error, error);
  t.ok(failing.closed);
  const closing = base();
  const closed = await dialOn(closing);
  const pending = closed.receive();
  closed.close();
  t.equal(await within(pending), null);
  t.equal(closed.error, null);
  t.equal(closed.send([datagram('x')]), 0);
  t.ok(closing.closed);
  const signal = new CancelSource();
  signal.cancel(new NetError('aborted', 'left'));
  const late = base();
  await t.rejects(dialOn(late, signal), { code: 'NET_ABORTED' });
  t.ok(late.closed);
  await t.rejects(
    dialPackets({ secret, server: PEER, ciphers, now: realTime }, { dialPacket: () => Promise.reject(error) }, dialOptions()).catch((thrown: unknown) => {
      t.ok(isNetError(thrown));
      throw thrown;
    }),
  );
});

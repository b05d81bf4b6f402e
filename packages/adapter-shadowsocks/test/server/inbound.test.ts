import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { CIPHERS, encodeSocksAddress, NetError, type Session, SOCKETS, type Stream, systemClock } from '@nekit/core';
import { allCiphers, allSockets, closedPort, collect, eventually, FakeClock, startEcho, startTarget, testContext, within } from '@nekit/core/testing';
import t from 'tap';
import { clientCodec } from '../../dist/method.js';
import { SealedStream } from '../../dist/sealed-stream.js';
import { inboundConfig } from '../../dist/server/config.js';
import type { PacketServer } from '../../dist/server/inbound.js';
import { request2022 } from './craft.js';
import { secretFor } from './listener.js';
import { makeServer, type Server, startServer } from './server.js';

const key = (length: number, fill: number): string => Buffer.alloc(length, fill).toString('base64');

const AEAD = { cipher: 'aes-256-gcm', password: 'secret' };
const USERS = [
  { username: 'ann', password: key(16, 2) },
  { username: 'bob', password: key(16, 3) },
];
const MULTI = { cipher: '2022-blake3-aes-128-gcm', password: key(16, 1), users: USERS };

const native = (): { sockets: ReturnType<typeof allSockets>[number]; ciphers: ReturnType<typeof allCiphers>[number] } => {
  const { context } = testContext();
  return { sockets: context.get(SOCKETS), ciphers: context.get(CIPHERS) };
};

/** A stream to `port` of this machine through the server. */
async function tunnel(server: Server, cipher: string, password: string, port: number, host = '127.0.0.1'): Promise<Stream> {
  const ciphers = server.context.get(CIPHERS);
  const codec = clientCodec(ciphers, secretFor(ciphers, cipher, password), encodeSocksAddress({ host, port }));
  return new SealedStream(await server.dial(), codec, { clock: systemClock, native: false, peer: 'server' });
}

void t.test('config', async (t) => {
  const problems = (entry: object): string[] =>
    (inboundConfig.safeParse({ port: 8388, ...entry }).error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`);

  await t.test('what may be left out', () => {
    assert.deepEqual(inboundConfig.parse({ port: 8388, ...AEAD }), {
      listen: '127.0.0.1',
      port: 8388,
      ...AEAD,
      users: [],
      udp: true,
      'allow-insecure-ciphers': false,
    });
    assert.deepEqual(problems({ cipher: 'none' }), []);
    assert.deepEqual(problems(MULTI), []);
    for (const listen of ['*', 'localhost', '::', '0.0.0.0', '192.0.2.1']) assert.deepEqual(problems({ ...AEAD, listen }), []);
    return Promise.resolve();
  });

  await t.test('errors stand at their keys and repeat no password', () => {
    const expected: readonly (readonly [object, RegExp])[] = [
      [{ ...AEAD, cipher: 'aes-265-gcm' }, /^cipher: .*Did you mean "aes-256-gcm"/],
      [{ ...AEAD, cipher: 'aes-256-cfb' }, /^cipher: .*allow-insecure-ciphers/],
      [{ ...AEAD, password: '' }, /^password: /],
      [{ ...AEAD, listen: 'example.com' }, /^listen: is no address/],
      [{ cipher: '2022-blake3-aes-256-gcm', password: key(16, 1) }, /^password: .*16 bytes.*32/],
      [{ cipher: '2022-blake3-aes-128-gcm', password: 'secret!' }, /^password: .*base64/],
      [{ cipher: '2022-blake3-aes-128-gcm', password: `${key(16, 1)}:${key(16, 2)}` }, /^password: must be one key/],
      [{ ...AEAD, users: USERS }, /^users: need a 2022 cipher/],
      [{ cipher: '2022-blake3-chacha20-poly1305', password: key(32, 1), users: [{ username: 'ann', password: key(32, 2) }] }, /^users: need a cipher with AES/],
      [{ ...MULTI, users: [{ username: 'ann', password: key(32, 2) }] }, /^users\.0\.password: .*32 bytes.*16/],
      [{ ...MULTI, users: [{ username: 'ann', password: `${key(16, 2)}:${key(16, 3)}` }] }, /^users\.0\.password: must be one key/],
      [{ ...MULTI, users: [...USERS, { username: 'ann', password: key(16, 4) }] }, /^users\.2\.username: "ann" is there twice/],
      [{ ...MULTI, users: [...USERS, { username: 'eve', password: key(16, 2) }] }, /^users\.2\.password: another user/],
      [{ ...MULTI, users: [{ username: 'eve', password: key(16, 1) }] }, /^users\.0\.password: another user, or the listener/],
      [{ ...MULTI, users: [{ username: '', password: key(16, 9) }] }, /^users\.0\.username: /],
    ];
    for (const [entry, pattern] of expected) {
      const found = problems(entry);
      assert.equal(found.length, 1, JSON.stringify(found));
      assert.match(found[0] ?? '', pattern);
      assert.doesNotMatch(found[0] ?? '', /secret|AQEB|AgIC|AwMD/);
    }
    return Promise.resolve();
  });

  await t.test('it can say what it takes', () => {
    const schema = JSON.stringify(inboundConfig.toJSONSchema());
    for (const name of ['listen', 'port', 'cipher', 'password', 'users', 'username', 'udp', 'allow-insecure-ciphers']) assert.ok(schema.includes(`"${name}"`));
    return Promise.resolve();
  });
});

void t.test('TCP and UDP have one port', async (t) => {
  interface Half extends PacketServer {
    readonly port: number;
  }
  const fake = (
    busy: number,
  ): { halves: Half[]; running: () => number; openPackets: (...given: [unknown, unknown, { readonly port: number }, unknown]) => PacketServer } => {
    const halves: Half[] = [];
    let running = 0;
    return {
      halves,
      running: () => running,
      openPackets: (_secret, _users, { port }) => {
        const half: Half = {
          port,
          start: () => {
            if (halves.length <= busy) throw Object.assign(new Error('in use'), { code: 'EADDRINUSE' });
            running++;
          },
          stop: () => running--,
        };
        halves.push(half);
        return half;
      },
    };
  };
  const serveInside = (): null => null;

  await t.test('any: another one if UDP has it already', async () => {
    const { openPackets, halves, running } = fake(2);
    const server = await startServer({ ...native(), entry: AEAD, parts: { openPackets, serveInside } });
    assert.equal(halves.length, 3);
    assert.equal(halves.at(-1)?.port, server.endpoint.port);
    assert.equal(running(), 1);
    for (const { port } of halves.slice(0, 2)) if (port !== server.endpoint.port) await assert.rejects(connectTo(port));
    await server.close();
    assert.equal(running(), 0);
  });

  await t.test('a given one: LISTEN_FAILED, and TCP does not listen either', async () => {
    const port = await closedPort();
    const { openPackets, halves } = fake(100);
    const server = makeServer({ ...native(), entry: { ...AEAD, port }, parts: { openPackets, serveInside } });
    await assert.rejects(server.start(), { code: 'LISTEN_FAILED', message: /ss-in cannot take UDP on 127\.0\.0\.1:\d+: in use/ });
    assert.equal(halves.length, 1);
    await assert.rejects(connectTo(port));
    await server.close();
  });

  await t.test('udp: false is TCP alone', async () => {
    const { openPackets, halves } = fake(0);
    const server = await startServer({ ...native(), entry: { ...AEAD, udp: false }, parts: { openPackets, serveInside } });
    assert.equal(halves.length, 0);
    await server.close();
  });

  await t.test('it can be stopped and started again', async () => {
    const echo = await startEcho();
    const port = await closedPort();
    const server = makeServer({ ...native(), entry: { ...AEAD, port } });
    for (let i = 0; i < 3; i++) {
      await server.start();
      const stream = await tunnel(server, AEAD.cipher, AEAD.password, echo.port);
      await stream.write([Buffer.from('again')]);
      await stream.closeWrite();
      assert.equal((await within(collect(stream))).toString(), 'again');
      await server.inbound.stop();
      await assert.rejects(connectTo(port));
    }
    await server.close();
    await echo.close();
  });
});

void t.test('requests', async (t) => {
  const echo = await startEcho();
  t.teardown(() => echo.close());

  await t.test('a session says who and how', async () => {
    const server = await startServer({ ...native(), entry: MULTI });
    for (const { username, password } of USERS) {
      const stream = await tunnel(server, MULTI.cipher, `${MULTI.password}:${password}`, echo.port, 'localhost');
      await stream.write([Buffer.from('x')]);
      await stream.closeWrite();
      assert.equal((await within(collect(stream))).toString(), 'x');
      const session = server.requests.at(-1)?.session;
      assert.deepEqual(
        { ...session, id: 0, source: session?.source.host, signal: null },
        {
          id: 0,
          network: 'tcp',
          inbound: 'ss-in',
          inboundType: 'SHADOWSOCKS',
          inboundPort: server.endpoint.port,
          source: '127.0.0.1',
          requested: { host: 'localhost', port: echo.port },
          destination: { host: 'localhost', port: echo.port },
          user: username,
          signal: null,
        },
      );
    }
    await server.close();
    assert.equal(server.timers.size, 0);
  });

  await t.test('a refused target is a reset', async () => {
    const server = await startServer({ ...native(), entry: AEAD });
    const stream = await tunnel(server, AEAD.cipher, AEAD.password, await closedPort());
    await stream.write([Buffer.from('anybody?')]);
    await assert.rejects(within(collect(stream)), { failure: 'aborted' });
    assert.equal(server.requests.length, 1);
    assert.equal(server.failed.length, 0); // no fault of the client's
    await server.close();
  });

  await t.test('a target that speaks first is heard, though the client says nothing', async () => {
    const target = await startTarget((socket) => socket.end('220 ready\r\n'));
    for (const [cipher, password, entry] of [
      [AEAD.cipher, AEAD.password, AEAD],
      ['2022-blake3-aes-256-gcm', key(32, 1), { cipher: '2022-blake3-aes-256-gcm', password: key(32, 1) }],
    ] as const) {
      const server = await startServer({ ...native(), entry });
      const stream = await tunnel(server, cipher, password, target.port);
      assert.equal((await within(collect(stream))).toString(), '220 ready\r\n');
      await stream.closeWrite();
      await server.close();
    }
    await target.close();
  });

  await t.test('a request in pieces is one', async () => {
    const { sockets, ciphers } = native();
    for (const entry of [AEAD, { cipher: '2022-blake3-aes-256-gcm', password: key(32, 1) }]) {
      const server = await startServer({ sockets, ciphers, entry });
      const codec = clientCodec(ciphers, secretFor(ciphers, entry.cipher, entry.password), encodeSocksAddress({ host: '127.0.0.1', port: echo.port }));
      const stream = await server.dial();
      for (const byte of codec.seal(Buffer.from('piecemeal'))) {
        await stream.write([Uint8Array.of(byte)]);
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
      let back = '';
      while (back.length < 9) back += Buffer.from(codec.open(Buffer.concat((await within(stream.read())) ?? []))).toString();
      assert.equal(back, 'piecemeal');
      stream.abort(new NetError('aborted', 'enough'));
      await server.inbound.stop();
      await eventually(() => server.open() === 0);
    }
    sockets.close();
  });

  await t.test('what is meant for UDP inside goes there', async () => {
    const inside: Session[] = [];
    const serveInside = (request: { readonly session: Session }, session: Session): Promise<void> | null => {
      if (session.destination.host !== 'sp.v2.udp-over-tcp.arpa') return null;
      inside.push(session);
      assert.equal(request.session, session);
      return Promise.reject(new NetError('protocol', 'not in this test', { code: 'UOT_PROTOCOL' }));
    };
    const openPackets = (): PacketServer => ({ start: () => {}, stop: () => {} });
    const server = await startServer({ ...native(), entry: AEAD, parts: { openPackets, serveInside } });
    const stream = await tunnel(server, AEAD.cipher, AEAD.password, 0, 'sp.v2.udp-over-tcp.arpa'); // the port of sing-box
    await stream.write([Buffer.from('x')]);
    await assert.rejects(within(collect(stream)), { failure: 'aborted' });
    assert.equal(inside.length, 1);
    assert.equal(server.requests.length, 0);
    await eventually(() => server.failed.length === 1);
    assert.equal(server.failed[0]?.code, 'UOT_PROTOCOL');
    await server.close();
  });

  await t.test('a kernel that stops resets what is open', async () => {
    const server = await startServer({ ...native(), entry: AEAD });
    const stream = await tunnel(server, AEAD.cipher, AEAD.password, echo.port);
    await stream.write([Buffer.from('x')]);
    assert.equal(Buffer.concat((await within(stream.read())) ?? []).toString(), 'x');
    const silent = await server.dial();
    await eventually(() => server.open() === 2);
    await server.inbound.stop();
    await assert.rejects(within(collect(silent)), { failure: 'aborted' }); // no request, and none will be taken
    assert.equal(server.open(), 1);
    server.stopKernel();
    await assert.rejects(within(collect(stream)), { failure: 'aborted' });
    await server.close();
    assert.equal(server.timers.size, 0);
  });
});

void t.test('on real sockets, too, all probes see the same', async (t) => {
  for (const ciphers of allCiphers()) {
    for (const sockets of allSockets()) {
      await t.test(`${sockets.kind} sockets, ${ciphers.kind} ciphers`, async () => {
        const echo = await startEcho();
        const clock = new FakeClock();
        const entry = { cipher: '2022-blake3-aes-256-gcm', password: key(32, 1) };
        const server = await startServer({ sockets, ciphers, entry, clock });
        const secret = secretFor(ciphers, entry.cipher, entry.password);
        const address = encodeSocksAddress({ host: '127.0.0.1', port: echo.port });
        const recorded = clientCodec(ciphers, secret, address).seal(Buffer.from('hello'));
        const good = new RawProbe(server.endpoint.port);
        await good.send(recorded);
        await eventually(() => good.bytes > 0);
        good.destroy();

        const flipped = Uint8Array.from(clientCodec(ciphers, secret, address).seal(Buffer.from('hello')));
        flipped[40] = (flipped[40] ?? 0) ^ 1;
        const probes = [
          ...[new Uint8Array(0), randomBytes(1), randomBytes(58), randomBytes(59), randomBytes(60), randomBytes(5_000), randomBytes(100_000)],
          ...[recorded, recorded.subarray(0, 40), Buffer.concat([recorded, randomBytes(3_000)]), flipped],
          ...[{ late: 31 + 5 }, { type: 1 }, { payload: new Uint8Array(0) }, { paddingLength: 9_000 }, { length: 0xffff }].map((request) =>
            request2022(ciphers, secret, request),
          ),
          Buffer.from('GET / HTTP/1.1\r\n\r\n'),
        ];
        const make = async (finish: boolean): Promise<RawProbe[]> =>
          Promise.all(
            probes.map(async (bytes) => {
              const probe = new RawProbe(server.endpoint.port);
              await probe.send(bytes);
              if (finish) probe.finish();
              return probe;
            }),
          );
        const finished = await make(true);
        await eventually(() => finished.every((probe) => probe.ended));
        for (const probe of finished) assert.deepEqual(probe.seen(), { bytes: 0, ended: true, reset: false });
        const waiting = await make(false);
        await eventually(() => server.open() === waiting.length);
        await clock.advance(59_000);
        await Promise.all(waiting.map((probe) => probe.send(randomBytes(10))));
        await clock.advance(0);
        for (const probe of waiting) assert.deepEqual(probe.seen(), { bytes: 0, ended: false, reset: false });
        await clock.advance(1_200);
        await eventually(() => waiting.every((probe) => probe.closed));
        for (const probe of waiting) assert.deepEqual(probe.seen(), { bytes: 0, ended: false, reset: true });
        await eventually(() => server.open() === 0);
        assert.equal(server.requests.length, 1);
        assert.equal(server.timers.size, 0);
        await server.close();
        await echo.close();
      });
    }
  }
});

async function connectTo(port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve();
    });
    socket.on('error', reject);
  });
}

/** A client of its own making, which sees FIN and RST apart. */
class RawProbe {
  readonly #socket: net.Socket;
  bytes = 0;
  ended = false;
  reset = false;
  closed = false;

  constructor(port: number) {
    this.#socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    this.#socket.on('data', (chunk) => (this.bytes += chunk.length));
    this.#socket.on('end', () => (this.ended = true));
    this.#socket.on('error', (error) => (this.reset ||= 'code' in error && error.code === 'ECONNRESET'));
    this.#socket.on('close', () => (this.closed = true));
  }

  /** Settles when the system has taken all. */
  async send(bytes: Uint8Array): Promise<void> {
    if (bytes.length > 0) await new Promise<void>((resolve) => this.#socket.write(bytes, () => resolve()));
    else if (this.#socket.connecting) await new Promise<void>((resolve) => this.#socket.once('connect', () => resolve()));
  }

  finish(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.resetAndDestroy();
  }

  seen(): { readonly bytes: number; readonly ended: boolean; readonly reset: boolean } {
    return { bytes: this.bytes, ended: this.ended, reset: this.reset };
  }
}

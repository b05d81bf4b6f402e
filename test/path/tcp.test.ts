// app -> socks5 -> direct -> target
// app -> socks4a -> direct -> target
// app -> http CONNECT -> direct -> target
// app -> socks5 -> http adapter -> http -> direct -> target
// app -> http CONNECT -> socks5 adapter with a password -> socks5 -> direct -> target
// app -> socks5 -> https adapter -> TLS -> http -> direct -> target
// app -> http CONNECT -> socks5 adapter -> TLS -> socks5 -> direct -> target
// app -> socks5 -> http adapter, dialled through a socks5 adapter -> socks5 -> http -> direct -> target
// app -> socks5 -> race of a dead proxy and direct -> target
import type { Stream } from '@nekit/core';
import { NetError } from '@nekit/core';
import { closedPort, collect, eventually, send, startEcho, type Target, within } from '@nekit/core/testing';
import t from 'tap';
import { makeCertificate } from '../../packages/adapter-socks5/dist-test/certificate.js';
import { type OpenThrough, throughConnect, throughSocks4, throughSocks5 } from '../helpers/apps.js';
import { startKernel, type TestKernel } from '../helpers/kernel.js';
import { bytesOf, rejection, sha256, startAnswerAfterEnd, startExchange, startResetter } from '../helpers/targets.js';
import { startTlsFront } from '../helpers/tls-front.js';

interface Path {
  readonly name: string;
  readonly app: OpenThrough;
  /** What the app hears when the target refuses. */
  readonly refusal: string;
  /** What the first kernel's session says then. */
  readonly code: string;
  /** The leaf that carried the session in the first kernel. */
  readonly leaf: string;
  /** Starts the kernels; the first is the one that the app talks to. */
  start(closers: (() => Promise<void>)[]): Promise<TestKernel>;
}

const login = { username: 'app', password: 'let me in' };
const certificate = makeCertificate('proxy.test');
const tlsKeys = { tls: true, sni: 'proxy.test', ca: certificate.cert };

/** A second kernel as upstream proxy, and optionally TLS in front of it; its port. */
async function startUpstream(
  closers: (() => Promise<void>)[],
  type: string,
  options: { readonly users?: boolean; readonly tls?: boolean } = {},
): Promise<number> {
  const upstream = await startKernel({ listeners: [{ name: 'up', type, port: 0, ...(options.users === true ? { users: [login] } : {}) }] });
  closers.unshift(() => upstream.stop());
  if (options.tls !== true) return upstream.port;
  const front = await startTlsFront(upstream.port, certificate);
  closers.unshift(() => front.close());
  return front.port;
}

const direct = (): Promise<TestKernel> => startKernel();

const server = '127.0.0.1';
const paths: readonly Path[] = [
  { name: 'socks5 -> direct', app: throughSocks5, refusal: 'REP 5', code: 'ECONNREFUSED', leaf: 'DIRECT', start: direct },
  { name: 'socks4a -> direct', app: throughSocks4, refusal: 'CD 91', code: 'ECONNREFUSED', leaf: 'DIRECT', start: direct },
  { name: 'http CONNECT -> direct', app: throughConnect, refusal: '502', code: 'ECONNREFUSED', leaf: 'DIRECT', start: direct },
  {
    name: 'socks5 -> http adapter -> http -> direct',
    app: throughSocks5,
    refusal: 'REP 3', // all that 502 says is "unreachable"
    code: 'HTTP_PROXY_STATUS',
    leaf: 'up',
    start: async (closers) => {
      const port = await startUpstream(closers, 'http');
      return startKernel({ proxies: [{ name: 'up', type: 'http', server, port }], rules: ['MATCH,up'] });
    },
  },
  {
    name: 'http CONNECT -> socks5 adapter with a password -> socks5 -> direct',
    app: throughConnect,
    refusal: '502',
    code: 'SOCKS5_REP_5',
    leaf: 'up',
    start: async (closers) => {
      const port = await startUpstream(closers, 'socks', { users: true });
      return startKernel({ proxies: [{ name: 'up', type: 'socks5', server, port, ...login }], rules: ['MATCH,up'] });
    },
  },
  {
    name: 'socks5 -> https adapter -> TLS -> http -> direct',
    app: throughSocks5,
    refusal: 'REP 3',
    code: 'HTTP_PROXY_STATUS',
    leaf: 'up',
    start: async (closers) => {
      const port = await startUpstream(closers, 'http', { tls: true });
      return startKernel({ proxies: [{ name: 'up', type: 'https', server, port, ...tlsKeys }], rules: ['MATCH,up'] });
    },
  },
  {
    name: 'http CONNECT -> socks5 adapter -> TLS -> socks5 -> direct',
    app: throughConnect,
    refusal: '502',
    code: 'SOCKS5_REP_5',
    leaf: 'up',
    start: async (closers) => {
      const port = await startUpstream(closers, 'socks', { tls: true });
      return startKernel({ proxies: [{ name: 'up', type: 'socks5', server, port, ...tlsKeys }], rules: ['MATCH,up'] });
    },
  },
  {
    name: 'socks5 -> http adapter, dialled through a socks5 adapter -> socks5 -> http -> direct',
    app: throughSocks5,
    refusal: 'REP 3',
    code: 'HTTP_PROXY_STATUS',
    leaf: 'last',
    start: async (closers) => {
      const [first, last] = [await startUpstream(closers, 'socks'), await startUpstream(closers, 'http')];
      return startKernel({
        proxies: [
          { name: 'last', type: 'http', server, port: last, 'dialer-proxy': 'first' },
          { name: 'first', type: 'socks5', server, port: first },
        ],
        rules: ['MATCH,last'],
      });
    },
  },
  {
    name: 'socks5 -> race of a dead proxy and direct',
    app: throughSocks5,
    refusal: 'REP 5',
    code: 'ECONNREFUSED',
    leaf: 'DIRECT',
    start: async () => {
      const port = await closedPort();
      return startKernel({
        proxies: [{ name: 'dead', type: 'socks5', server, port }],
        'proxy-groups': [{ name: 'fastest', type: 'race', proxies: ['dead', 'DIRECT'], delays: [0, 50] }],
        rules: ['MATCH,fastest'],
      });
    },
  },
];

const MB = 1_000_000;
const up = bytesOf(4 * MB + 3, 1);
const down = bytesOf(4 * MB + 5, 2);

for (const { name, app, refusal, code, leaf, start } of paths) {
  t.test(`app -> ${name} -> target`, async (t) => {
    const closers: (() => Promise<void>)[] = [];
    const entry = await start(closers);
    closers.unshift(() => entry.stop());
    t.teardown(async () => {
      for (const close of closers) await close();
    });
    const run = async (made: Promise<Target>, use: (open: () => Promise<Stream>, target: Target) => Promise<void>): Promise<void> => {
      const target = await made;
      try {
        const endpoint = { host: server, port: target.port };
        await within(
          use(() => app(entry.port, endpoint), target),
          20_000,
          name,
        );
      } finally {
        await target.close();
      }
    };

    await t.test('connects', (t) =>
      run(startEcho(), async (open, target) => {
        const stream = await open();
        await stream.write([Buffer.from('ping')]);
        t.equal(Buffer.concat((await stream.read()) ?? []).toString(), 'ping', 'the echo answers');
        t.equal(target.connections(), 1, 'over one connection');
        t.match(entry.kernel.sessions(), [{ destination: { host: server, port: target.port }, adapter: leaf }], 'the session is listed');
        await stream.closeWrite();
        t.equal(await stream.read(), null, 'FIN comes back');
        t.match(await entry.last(), { adapter: leaf, up: 4, down: 4, error: null }, 'the session ends without error');
      }),
    );

    await t.test('half-closes', (t) =>
      run(startAnswerAfterEnd(), async (open) => {
        const stream = await open();
        const [back] = await Promise.all([collect(stream), send(stream, Buffer.from('question'))]);
        t.equal(back.toString(), 'you said: question', 'the answer to an ended request arrives');
        t.equal((await entry.last()).error, null);
      }),
    );

    await t.test('moves data intact', (t) =>
      run(startExchange(down), async (open) => {
        const stream = await open();
        const [back] = await Promise.all([collect(stream), send(stream, up, 100_000)]);
        t.equal(back.length, down.length + 64, 'every byte came');
        t.equal(sha256(back.subarray(0, down.length)), sha256(down), 'downwards as they were sent');
        t.equal(back.subarray(down.length).toString(), sha256(up), 'upwards, too, at the same time');
        t.match(await entry.last(), { up: up.length, down: back.length, error: null }, 'and counted');
      }),
    );

    await t.test('reports a refused target', async (t) => {
      const endpoint = { host: server, port: await closedPort() };
      t.match(await rejection(app(entry.port, endpoint)), { answer: refusal }, 'the app hears so');
      t.match(await entry.last(), { error: { code } });
    });

    await t.test('reports a reset target', (t) =>
      run(startResetter(), async (open) => {
        const stream = await open();
        await stream.write([Buffer.from('reset me')]);
        t.match(await rejection(collect(stream)), { code: 'ECONNRESET' }, 'as RST, not as an end');
        t.match(await entry.last(), { error: { failure: 'aborted' } });
      }),
    );

    await t.test('passes a reset of the app on', (t) =>
      run(startEcho(), async (open, target) => {
        const stream = await open();
        await stream.write([Buffer.from('x')]);
        await stream.read();
        stream.abort(new NetError('aborted', 'enough'));
        await eventually(() => target.connections() === 0, 5_000, 'the end of the connection to the target');
        t.match(await entry.last(), { error: { failure: 'aborted' } });
      }),
    );
    t.same(entry.warned, [], 'no warning of the kernel');
  });
}

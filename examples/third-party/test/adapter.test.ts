// The suites of @nekit/core/testing say what every stream and every dialer promises. An author runs them and adds what is special.
import http2 from 'node:http2';
import type net from 'node:net';
import { type Adapter, CancelSource, NetError, type Stream, streamFromDuplex } from '@nekit/core';
import {
  closedPort,
  collect,
  dialerConformance,
  dialOptions,
  eventually,
  send,
  startEcho,
  startTarget,
  streamConformance,
  type TestContextOptions,
  testContext,
  within,
} from '@nekit/core/testing';
import t from 'tap';
import { H2cAdapter } from '../dist/h2c-adapter.js';
import { h2cConfig, parseH2cUri } from '../dist/h2c-config.js';
import { startH2cProxy } from './h2c-proxy.js';

function adapter(port: number, entry: Record<string, unknown> = {}, options: TestContextOptions = {}): H2cAdapter {
  return new H2cAdapter(h2cConfig.parse({ server: '127.0.0.1', port, ...entry }), testContext(options).context);
}

function dial({ stream }: Adapter, host: string, port: number, partial: Parameters<typeof dialOptions>[1] = {}): Promise<Stream> {
  if (stream === undefined) throw new Error('it has no stream dialer');
  return stream.dialStream({ host, port }, dialOptions({ host, port }, partial));
}

/** What the promise rejects with. */
async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('it did not reject');
}

t.test('a tunnel is a stream', async (t) => {
  streamConformance(
    (name, run) => t.test(name, run),
    async () => {
      let tell: (stream: Stream) => void;
      const other = new Promise<Stream>((resolve) => {
        tell = resolve;
      });
      const proxy = await startH2cProxy({
        intercept: (stream) => {
          stream.respond({ ':status': 200 });
          tell(streamFromDuplex(stream));
          return true;
        },
      });
      const a = await dial(adapter(proxy.port), 'example.com', 443);
      return { a, b: await other, close: () => proxy.close() };
    },
  );
});

t.test('the adapter is a dialer', async (t) => {
  dialerConformance(
    (name, run) => t.test(name, run),
    async () => {
      const proxy = await startH2cProxy();
      const { stream } = adapter(proxy.port);
      if (stream === undefined) throw new Error('it has no stream dialer');
      return { dialer: stream, close: () => proxy.close() };
    },
  );
});

t.test('chains: a tunnel through a tunnel', async (t) => {
  const [outer, inner, echo] = [await startH2cProxy(), await startH2cProxy(), await startEcho()];
  t.teardown(() => Promise.all([outer.close(), inner.close(), echo.close()]));
  const stream = await dial(adapter(inner.port, {}, { base: adapter(outer.port) }), '127.0.0.1', echo.port);
  const [back] = await Promise.all([collect(stream), send(stream, Buffer.from('through two'))]);
  t.equal(back.toString(), 'through two');
});

t.test('what the proxy is told', async (t) => {
  const seen: http2.IncomingHttpHeaders[] = [];
  const proxy = await startH2cProxy({
    intercept: (stream, headers) => {
      seen.push(headers);
      stream.respond({ ':status': 200 });
      return true;
    },
  });
  t.teardown(() => proxy.close());
  for (const [entry, host] of [
    [{}, '::1'],
    [{ username: 'Aladdin', password: 'open sesame' }, 'example.com'],
  ] as const) {
    (await dial(adapter(proxy.port, entry), host, 443)).abort(new NetError('aborted', 'enough'));
  }
  t.match(seen, [
    { ':method': 'CONNECT', ':authority': '[::1]:443' },
    { ':authority': 'example.com:443', 'proxy-authorization': 'Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==' },
  ]);
  t.notOk(seen[0] !== undefined && 'proxy-authorization' in seen[0]);
});

t.test('refusals become coded errors, and nothing stays open', async (t) => {
  const cases: [status: number, proxyStatus: string | undefined, expected: object][] = [
    [502, 'p; error=connection_refused', { failure: 'refused', code: 'H2C_REFUSED', message: /answered 502 \(connection_refused\)/ }],
    [502, 'p; error=dns_error; rcode=NXDOMAIN', { failure: 'name' }],
    [502, 'p; error=something_new', { failure: 'unreachable' }],
    [504, undefined, { failure: 'timeout', message: 'the HTTP/2 proxy answered 504' }],
    [403, undefined, { failure: 'denied' }],
    [407, undefined, { failure: 'auth', code: 'H2C_PROXY_AUTH' }],
    [405, 'p; error=constructor', { failure: 'protocol' }],
  ];
  for (const [status, proxyStatus, expected] of cases) {
    const proxy = await startH2cProxy({
      intercept: (stream) => {
        stream.respond({ ':status': status, ...(proxyStatus === undefined ? {} : { 'proxy-status': proxyStatus }) }, { endStream: true });
        return true;
      },
    });
    t.match(await rejection(dial(adapter(proxy.port), 'example.com', 443)), expected, `${status} ${proxyStatus ?? ''}`);
    await eventually(() => proxy.connections() === 0);
    await proxy.close();
  }
});

t.test('proxies that are none', async (t) => {
  t.match(await rejection(dial(adapter(await closedPort()), 'example.com', 443)), { failure: 'refused' }, 'nobody there');
  const talks = async (name: string, handle: (socket: net.Socket) => void, expected: object): Promise<void> => {
    const target = await startTarget(handle);
    t.match(await rejection(within(dial(adapter(target.port, {}, { timeouts: { handshake: 200 } }), 'example.com', 443))), expected, name);
    await eventually(() => target.connections() === 0);
    await target.close();
  };
  // libuv takes a reset right behind data for an end, so this server answers an end, too.
  const http1 = (socket: net.Socket): unknown =>
    socket
      .once('end', () => socket.end())
      .resume()
      .write('HTTP/1.1 400 Bad Request\r\n\r\n');
  await talks('an HTTP/1 server', http1, { name: 'NetError' });
  await talks('one that closes', (socket) => socket.once('data', () => socket.end()).resume(), { name: 'NetError' });
  await talks('one that resets', (socket) => socket.once('data', () => socket.resetAndDestroy()), { name: 'NetError' });
  await talks('one that says nothing', (socket) => socket.resume(), {
    failure: 'timeout',
    message: /CONNECT at the HTTP\/2 proxy 127\.0\.0\.1:\d+ took longer than 200 ms/,
  });
});

t.test('a client that leaves while the proxy thinks', async (t) => {
  const proxy = await startH2cProxy({ intercept: () => true });
  t.teardown(() => proxy.close());
  const signal = new CancelSource();
  const dialling = dial(adapter(proxy.port), 'example.com', 443, { signal });
  await eventually(() => proxy.connections() === 1);
  signal.cancel(new NetError('aborted', 'the client has left', { code: 'CLIENT_LEFT' }));
  t.match(await rejection(dialling), { code: 'CLIENT_LEFT' });
  await eventually(() => proxy.connections() === 0);
});

t.test('a tunnel that is cut is not an end', async (t) => {
  for (const cut of ['proxy dies', 'stream reset', 'stream cancelled'] as const) {
    const proxy = await startH2cProxy({
      intercept: (stream) => {
        stream.respond({ ':status': 200 });
        stream.write('half of i');
        if (cut === 'proxy dies') setImmediate(() => void proxy.close());
        else stream.close(cut === 'stream reset' ? http2.constants.NGHTTP2_CONNECT_ERROR : http2.constants.NGHTTP2_CANCEL);
        return true;
      },
    });
    t.match(await rejection(within(dial(adapter(proxy.port), 'example.com', 443).then(collect))), { name: 'NetError' }, cut);
    await proxy.close();
  }
});

t.test('ends: the connection to the proxy is closed when the tunnel is', async (t) => {
  const [proxy, echo] = [await startH2cProxy(), await startEcho()];
  t.teardown(() => Promise.all([proxy.close(), echo.close()]));
  const stream = await dial(adapter(proxy.port), '127.0.0.1', echo.port);
  await Promise.all([collect(stream), send(stream, Buffer.from('bye'))]);
  await eventually(() => proxy.connections() === 0);
  t.equal(proxy.connections(), 0);
});

t.test('config', async (t) => {
  for (const entry of [
    { server: 'a b', port: 1 },
    { server: 'proxy.example', port: 0 },
    { server: 'proxy.example', port: 1, username: 'a:b' },
    { server: 'proxy.example', port: 1, password: 'x' },
  ]) {
    t.throws(() => h2cConfig.parse(entry), JSON.stringify(entry));
  }
  t.match(h2cConfig.toJSONSchema(), { type: 'object', required: ['server', 'port'] });
  t.strictSame(parseH2cUri('h2c://al%40ice:p%3Aw@Proxy.example:8080'), {
    type: 'h2c',
    server: 'proxy.example',
    port: 8080,
    username: 'al@ice',
    password: 'p:w',
  });
  t.strictSame(h2cConfig.parse(parseH2cUri('h2c://[::1]:8080')).server, '::1');
  for (const uri of ['h2c://', 'h2c://host', 'h2c://host:0', 'nothing']) t.throws(() => parseH2cUri(uri), uri);
  const noStreams = testContext({ base: { tag: 'udp-only', type: 'x' } }).context;
  t.equal(new H2cAdapter(h2cConfig.parse({ server: 'proxy.example', port: 1 }), noStreams).stream, undefined);
});

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Adapter, CancelSource, type Endpoint, isNetError, type NativeEnd, NetError, type Stream, type StreamDialer } from '@nekit/core';
import { collect, dialerConformance, dialOptions, eventually, FakeClock, pipePair, startTarget, type Target, testContext, within } from '@nekit/core/testing';
import t, { type Test } from 'tap';
import { type HttpAdapterConfig, httpAdapterConfig } from '../dist/adapter/config.js';
import { HttpAdapter } from '../dist/adapter/http-adapter.js';
import { parseProxyUri } from '../dist/adapter/uri.js';
import { makeCertificate } from './support/certificate.js';
import { startConnectProxy } from './support/connect-proxy.js';

const certificate = makeCertificate('DNS:localhost,DNS:proxy.test,IP:127.0.0.1');
const GOAL: Endpoint = { host: 'goal.test', port: 443 };

function config(partial: Record<string, unknown>): HttpAdapterConfig {
  return httpAdapterConfig.parse({ server: '127.0.0.1', port: 1, ...partial });
}

/** A proxy that says what it is told to. */
async function scripted(t: Test, handle: (socket: Socket, head: string) => void): Promise<Target> {
  const target = await startTarget((socket) => {
    let head = '';
    socket.on('data', (chunk: Buffer) => {
      const complete = head.includes('\r\n\r\n');
      head += chunk.toString('latin1');
      if (!complete && head.includes('\r\n\r\n')) handle(socket, head);
    });
  });
  t.teardown(() => target.close());
  return target;
}

function answer(text: string): (socket: Socket) => void {
  return (socket) => socket.write(text);
}

async function failure(dialling: Promise<Stream>): Promise<NetError> {
  try {
    await within(dialling);
  } catch (error) {
    if (isNetError(error)) return error;
    throw error;
  }
  throw new Error('the dial should have failed');
}

t.test('an HTTP proxy is a dialer', async (t) => {
  dialerConformance(
    (name, run) => t.test(name, run),
    async () => {
      const proxy = await startConnectProxy();
      return { dialer: new HttpAdapter(config({ port: proxy.port }), testContext().context), close: () => proxy.close() };
    },
  );
});

t.test('an HTTPS proxy is a dialer', async (t) => {
  dialerConformance(
    (name, run) => t.test(name, run),
    async () => {
      const proxy = await startConnectProxy(certificate);
      return { dialer: new HttpAdapter(config({ port: proxy.port, tls: true, ca: certificate.cert }), testContext().context), close: () => proxy.close() };
    },
  );
});

t.test('two of them are a chain', async (t) => {
  const outer = await startConnectProxy(certificate);
  const inner = await startConnectProxy();
  t.teardown(() => Promise.all([outer.close(), inner.close()]));
  dialerConformance(
    (name, run) => t.test(name, run),
    async () => {
      const first = new HttpAdapter(config({ port: outer.port, tls: true, ca: certificate.cert }), testContext().context);
      return { dialer: new HttpAdapter(config({ port: inner.port }), testContext({ base: first }).context), close: () => undefined };
    },
  );
});

t.test('the request, byte for byte', async (t) => {
  const heads: string[] = [];
  const proxy = await scripted(t, (socket, head) => {
    heads.push(head);
    socket.write('HTTP/1.1 200 OK\r\n\r\n');
  });
  const dial = async (destination: Endpoint, partial: Record<string, unknown> = {}): Promise<string> => {
    const stream = await new HttpAdapter(config({ port: proxy.port, ...partial }), testContext().context).dialStream(destination, dialOptions(destination));
    stream.abort(new Error('seen enough'));
    return heads.at(-1) ?? '';
  };
  t.equal(await dial(GOAL), 'CONNECT goal.test:443 HTTP/1.1\r\nHost: goal.test:443\r\nVia: 1.1 nekit-test-instance\r\n\r\n');
  t.equal(await dial({ host: '2001:db8::1', port: 80 }), 'CONNECT [2001:db8::1]:80 HTTP/1.1\r\nHost: [2001:db8::1]:80\r\nVia: 1.1 nekit-test-instance\r\n\r\n');
  t.equal(
    await dial(GOAL, { username: 'änn', password: 's:crét', headers: { 'User-Agent': 'me', 'X-Own': '1' } }),
    `CONNECT goal.test:443 HTTP/1.1\r\nHost: goal.test:443\r\nProxy-Authorization: Basic ${Buffer.from('änn:s:crét').toString('base64')}\r\nUser-Agent: me\r\nX-Own: 1\r\nVia: 1.1 nekit-test-instance\r\n\r\n`,
  );
  t.match(
    await dial(GOAL, { headers: { host: 'front.test' } }),
    /^CONNECT goal\.test:443 HTTP\/1\.1\r\nhost: front\.test\r\nVia: [^\r]+\r\n\r\n$/,
    'a Host of the config replaces ours',
  );
});

t.test('goes out in one write, and never passes addresses on', async (t) => {
  const [near, far] = pipePair();
  const writes: number[] = [];
  const seen: unknown[] = [];
  const base = dialerOnly(async (destination, options) => {
    seen.push({ destination, addresses: options.addresses });
    const write: Stream['write'] = (chunks) => {
      writes.push(chunks.length);
      return near.write(chunks);
    };
    return { ...wrap(near), write };
  });
  const dialling = new HttpAdapter(config({ server: 'proxy.test', port: 3128, username: 'a' }), testContext({ base }).context).dialStream(GOAL, {
    ...dialOptions(GOAL),
    addresses: ['192.0.2.7'],
  });
  await far.read();
  await far.write([Buffer.from('HTTP/1.1 200 OK\r\n\r\n')]);
  await dialling;
  t.same(writes, [1], 'one write of one chunk');
  t.same(seen, [{ destination: { host: 'proxy.test', port: 3128 }, addresses: undefined }]);
});

t.test('a plain proxy gives the same native end back, with what was read too far', async (t) => {
  const [near, far] = pipePair();
  const detached: string[] = [];
  const native: NativeEnd = {
    detach: (unread) => {
      detached.push(Buffer.concat(unread).toString());
      return Promise.reject(new NetError('aborted', 'only looking'));
    },
  };
  const base = dialerOnly(async () => ({ ...wrap(near), native }));
  const dialling = new HttpAdapter(config({}), testContext({ base }).context).dialStream(GOAL, dialOptions(GOAL));
  await far.write([Buffer.from('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst bytes')]);
  const stream = await dialling;
  await t.rejects(async () => stream.native?.detach([]));
  t.same(detached, ['first bytes'], 'a Content-Length in a 200 means nothing (RFC 9110 section 9.3.6)');
});

t.test('answers', async (t) => {
  const cases: [name: string, response: string, failure: string, code: string][] = [
    ['407', 'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"\r\n\r\n', 'auth', 'HTTP_PROXY_AUTH'],
    ['403', 'HTTP/1.1 403 Forbidden\r\n\r\n', 'denied', 'HTTP_PROXY_STATUS'],
    ['502', 'HTTP/1.0 502 Bad Gateway\r\n\r\n', 'unreachable', 'HTTP_PROXY_STATUS'],
    ['503', 'HTTP/1.1 503 Busy\r\n\r\n', 'unreachable', 'HTTP_PROXY_STATUS'],
    ['504', 'HTTP/1.1 504 Slow\r\n\r\n', 'timeout', 'HTTP_PROXY_STATUS'],
    ['508', 'HTTP/1.1 508 Loop Detected\r\n\r\n', 'protocol', 'LOOP'],
    ['404', 'HTTP/1.1 404 Not Found\r\n\r\n', 'protocol', 'HTTP_PROXY_STATUS'],
    ['301', 'HTTP/1.1 301 Moved\r\nLocation: http://x/\r\n\r\n', 'protocol', 'HTTP_PROXY_STATUS'],
    ['101', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n', 'protocol', 'HTTP_PROXY_STATUS'],
    ['a status out of range', 'HTTP/1.1 99 Odd\r\n\r\n', 'protocol', ''],
    ['a greeting of another protocol', 'SSH-2.0-OpenSSH_9.2\r\n\r\n', 'protocol', 'HTTP_PROXY_PROTOCOL'],
    ['RTSP', 'RTSP/1.0 200 OK\r\n\r\n', 'protocol', 'HTTP_PROXY_PROTOCOL'],
    ['SOCKS', '\x05\xff\r\n\r\n', 'protocol', 'HTTP_PROXY_PROTOCOL'],
    ['a bare LF', 'HTTP/1.1 200 OK\nX: y\n\n', 'protocol', 'HTTP_BARE_LF'],
    ['a space before the colon', 'HTTP/1.1 200 OK\r\nX : y\r\n\r\n', 'protocol', 'HTTP_PROXY_PROTOCOL'],
    ['a folded field', 'HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n', 'protocol', 'HTTP_PROXY_PROTOCOL'],
    ['a NUL', 'HTTP/1.1 200 OK\r\nX: \0\r\n\r\n', 'protocol', 'HTTP_PROXY_PROTOCOL'],
    ['an endless head', `HTTP/1.1 200 OK\r\n${`X: ${'y'.repeat(1000)}\r\n`.repeat(70)}\r\n`, 'protocol', 'HTTP_HEAD_TOO_LONG'],
    ['interim responses for ever', 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(40), 'protocol', 'HTTP_PROXY_PROTOCOL'],
  ];
  for (const [name, response, expected, code] of cases) {
    await t.test(name, async (t) => {
      const proxy = await scripted(t, answer(response));
      const error = await failure(new HttpAdapter(config({ port: proxy.port }), testContext().context).dialStream(GOAL, dialOptions(GOAL)));
      t.equal(error.failure, expected);
      if (code !== '') t.equal(error.code, code);
      if (code === 'HTTP_PROXY_STATUS') t.match(error.message, /\b\d{3}\b/);
      await eventually(() => proxy.connections() === 0);
    });
  }
  for (const [name, bytes] of [
    ['closes without a word', ''],
    ['closes in the middle of its answer', 'HTTP/1.1 200 OK\r\nX: '],
  ] as const) {
    await t.test(`a proxy that ${name}`, async (t) => {
      const proxy = await scripted(t, (socket) => socket.end(bytes));
      const error = await failure(new HttpAdapter(config({ port: proxy.port }), testContext().context).dialStream(GOAL, dialOptions(GOAL)));
      t.equal(error.code, 'UNEXPECTED_END');
      await eventually(() => proxy.connections() === 0);
    });
  }
});

t.test('hosts that cannot be sent are refused before a byte is dialled', async (t) => {
  let dials = 0;
  const base = dialerOnly(() => {
    dials++;
    return Promise.reject(new NetError('refused', 'not expected'));
  });
  const adapter = new HttpAdapter(config({}), testContext({ base }).context);
  t.equal((await failure(adapter.dialStream({ host: 'a'.repeat(256), port: 1 }, dialOptions()))).code, 'HOST_TOO_LONG');
  t.equal((await failure(adapter.dialStream({ host: 'a\r\nX: y', port: 1 }, dialOptions()))).code, 'BAD_HOST');
  t.equal((await failure(adapter.dialStream({ host: 'fe80::1%eth0', port: 1 }, dialOptions()))).code, 'BAD_HOST');
  t.equal(dials, 0);
});

t.test('a base without streams is an error', async (t) => {
  const base: Adapter = { tag: 'udp-only', type: 'test' };
  const error = await failure(new HttpAdapter(config({}), testContext({ base }).context).dialStream(GOAL, dialOptions(GOAL)));
  t.equal(error.code, 'NOT_SUPPORTED');
});

t.test('time limits and cancelling, at every phase', async (t) => {
  for (const tls of [false, true]) {
    await t.test(tls ? 'a proxy that never shakes hands' : 'a proxy that never answers', async (t) => {
      const clock = new FakeClock();
      const proxy = await startTarget((socket) => socket.on('end', () => socket.end()).resume());
      t.teardown(() => proxy.close());
      const { context, timers } = testContext({ clock, timeouts: { handshake: 3_000 } });
      const dialling = failure(new HttpAdapter(config({ port: proxy.port, tls }), context).dialStream(GOAL, dialOptions(GOAL)));
      await eventually(() => proxy.connections() === 1);
      await eventually(() => clock.advance(1_000).then(() => proxy.connections() === 0));
      const error = await dialling;
      t.equal(error.failure, 'timeout');
      t.equal(timers.size, 0);
    });
    await t.test(`cancelled while ${tls ? 'TLS shakes hands' : 'the proxy thinks'}`, async (t) => {
      const proxy = await startTarget((socket) => socket.on('end', () => socket.end()).resume());
      t.teardown(() => proxy.close());
      const { context, timers } = testContext();
      const signal = new CancelSource();
      const dialling = failure(new HttpAdapter(config({ port: proxy.port, tls }), context).dialStream(GOAL, dialOptions(GOAL, { signal })));
      await eventually(() => proxy.connections() === 1);
      signal.cancel(new NetError('aborted', 'the client has left', { code: 'CLIENT_LEFT' }));
      t.equal((await dialling).code, 'CLIENT_LEFT');
      await eventually(() => proxy.connections() === 0);
      t.equal(timers.size, 0);
    });
  }
  await t.test('cancelling later touches nothing', async (t) => {
    const proxy = await scripted(t, answer('HTTP/1.1 200 OK\r\n\r\nhello'));
    const { context, timers } = testContext();
    const signal = new CancelSource();
    const stream = await new HttpAdapter(config({ port: proxy.port }), context).dialStream(GOAL, dialOptions(GOAL, { signal }));
    signal.cancel(new NetError('aborted', 'late'));
    t.equal(timers.size, 0);
    t.equal(Buffer.concat((await stream.read()) ?? []).toString(), 'hello');
    stream.abort(new Error('done'));
  });
});

t.test('certificates', async (t) => {
  const proxy = await startConnectProxy(certificate);
  t.teardown(() => proxy.close());
  const echo = await startTarget((socket) => socket.pipe(socket));
  t.teardown(() => echo.close());
  const folder = mkdtempSync(join(tmpdir(), 'nekit-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'ca.pem'), certificate.cert);
  const dial = (partial: Record<string, unknown>): Promise<Stream> => {
    const destination = { host: '127.0.0.1', port: echo.port };
    return new HttpAdapter(config({ port: proxy.port, tls: true, ...partial }), testContext().context).dialStream(destination, dialOptions(destination));
  };
  const works = async (partial: Record<string, unknown>): Promise<boolean> => {
    const stream = await dial(partial);
    await stream.write([Buffer.from('through TLS')]);
    await stream.closeWrite();
    return (await collect(stream)).toString() === 'through TLS';
  };
  t.equal((await failure(dial({}))).code, 'DEPTH_ZERO_SELF_SIGNED_CERT');
  t.equal((await failure(dial({}))).failure, 'protocol');
  t.equal((await failure(dial({ ca: certificate.cert, sni: 'other.test' }))).code, 'ERR_TLS_CERT_ALTNAME_INVALID');
  t.equal((await failure(dial({ fingerprint: '00'.repeat(32) }))).code, 'TLS_FINGERPRINT');
  t.equal(
    (await failure(dial({ fingerprint: '00'.repeat(32), 'skip-cert-verify': true }))).code,
    'TLS_FINGERPRINT',
    'skip-cert-verify does not take the pin away',
  );
  t.ok(await works({ ca: certificate.cert }));
  t.ok(await works({ ca: join(folder, 'ca.pem') }));
  t.ok(await works({ ca: certificate.cert, sni: 'proxy.test' }));
  t.ok(await works({ 'skip-cert-verify': true }));
  t.ok(await works({ fingerprint: certificate.fingerprint }));
  t.ok(await works({ fingerprint: certificate.fingerprint.replaceAll(':', '').toLowerCase() }));
  const plain = await scripted(t, answer('HTTP/1.1 400 this is no TLS\r\n\r\n'));
  const garbage = await startTarget((socket) => socket.end('HTTP/1.1 400 this is no TLS\r\n\r\n'));
  t.teardown(() => garbage.close());
  t.equal((await failure(dial({ port: garbage.port }))).failure, 'protocol', 'a proxy without TLS');
  t.equal(plain.accepted(), 0);
  await eventually(() => proxy.connections() === 0);
});

t.test('an expired certificate has OpenSSL’s code', async (t) => {
  const expired = makeCertificate('IP:127.0.0.1', 'expired');
  const proxy = await startConnectProxy(expired);
  t.teardown(() => proxy.close());
  const adapter = new HttpAdapter(config({ port: proxy.port, tls: true, ca: expired.cert }), testContext().context);
  t.equal((await failure(adapter.dialStream(GOAL, dialOptions(GOAL)))).code, 'CERT_HAS_EXPIRED');
});

t.test('configuration', async (t) => {
  const bad: [why: string, partial: Record<string, unknown>][] = [
    ['a colon in the user name', { username: 'a:b' }],
    ['a line break in the user name', { username: 'a\r\nb' }],
    ['a line break in the password', { password: 'a\nb' }],
    ['a line break in a field', { headers: { 'X-A': 'b\r\nX-C: d' } }],
    ['a field name that is none', { headers: { 'X A': 'b' } }],
    ['Content-Length', { headers: { 'content-length': '3' } }],
    ['Transfer-Encoding', { headers: { 'Transfer-Encoding': 'chunked' } }],
    ['Via', { headers: { Via: '1.1 me' } }],
    ['a short fingerprint', { fingerprint: 'abcd' }],
    ['port 0', { port: 0 }],
    ['a server with a port', { server: 'a.test:80' }],
    ['no server', { server: '' }],
  ];
  for (const [why, partial] of bad) t.throws(() => config(partial), why);
  t.throws(() => new HttpAdapter(config({ tls: true, ca: '/nowhere/ca.pem' }), testContext().context), { code: 'BAD_CA' });
  t.throws(() => new HttpAdapter(config({ tls: true, ca: '-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----' }), testContext().context), {
    code: 'BAD_CA',
  });
  const schema: unknown = httpAdapterConfig.toJSONSchema();
  t.match(schema, {
    properties: { server: { type: 'string' }, port: { type: 'integer' }, 'skip-cert-verify': { type: 'boolean' }, headers: { type: 'object' } },
  });
});

t.test('errors never hold the password', async (t) => {
  const secret = 'sw0rdfish';
  const texts: string[] = [];
  for (const response of ['HTTP/1.1 407 no\r\n\r\n', `HTTP/1.1 500 ${secret}\r\n\r\n`, 'junk\r\n\r\n']) {
    const proxy = await scripted(t, answer(response));
    const error = await failure(
      new HttpAdapter(config({ port: proxy.port, username: 'ann', password: secret }), testContext().context).dialStream(GOAL, dialOptions(GOAL)),
    );
    texts.push(`${error.message} ${error.stack ?? ''} ${String(error.cause)}`);
  }
  for (const uri of [
    `http://ann:${secret}@`,
    `http://ann:${secret}@host/path`,
    `http://ann:${secret}%zz@host:1`,
    `socks5://ann:${secret}@host`,
    `http://ann:${secret}@host?nope=1`,
  ]) {
    try {
      parseProxyUri(uri);
      t.fail(uri);
    } catch (error) {
      texts.push(error instanceof Error ? `${error.message} ${error.stack ?? ''} ${String(error.cause)}` : String(error));
    }
  }
  t.notOk(
    texts.some((text) => text.includes(secret)),
    texts.join('\n'),
  );
});

t.test('URIs', async (t) => {
  t.same(parseProxyUri('http://proxy.test:3128'), { type: 'http', server: 'proxy.test', port: 3128 });
  t.same(parseProxyUri('http://proxy.test'), { type: 'http', server: 'proxy.test', port: 80 });
  t.match(parseProxyUri('http://YW5uOnNlY3JldA%3D%3D@proxy.test#v2rayn'), { server: 'proxy.test', username: 'ann', password: 'secret' });
  t.same(parseProxyUri('https://ann:p%40ss%3Aword@proxy.test'), {
    type: 'http',
    server: 'proxy.test',
    port: 443,
    tls: true,
    username: 'ann',
    password: 'p@ss:word',
  });
  t.same(parseProxyUri('https://[2001:db8::1]:8443/?sni=a.test&skip-cert-verify#name'), {
    type: 'http',
    server: '2001:db8::1',
    port: 8443,
    tls: true,
    sni: 'a.test',
    'skip-cert-verify': true,
  });
  for (const uri of ['http://', 'http://host:99999', 'http://host/path', 'ftp://host', 'nonsense', 'http://host?skip-cert-verify=perhaps'])
    t.throws(() => parseProxyUri(uri), Error, uri);
  t.doesNotThrow(() => config(parseProxyUri('https://ann:x@[::1]:1')));
});

function dialerOnly(dialStream: StreamDialer['dialStream']): Adapter {
  return { tag: 'base', type: 'test', stream: { dialStream } };
}

function wrap(stream: Stream): Stream {
  return {
    read: () => stream.read(),
    write: (chunks) => stream.write(chunks),
    closeWrite: () => stream.closeWrite(),
    abort: (reason) => stream.abort(reason),
  };
}

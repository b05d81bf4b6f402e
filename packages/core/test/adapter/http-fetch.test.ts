import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import t from 'tap';
import { type Fetched, type FetchOptions, httpFetch } from '../../dist/adapter/http-fetch.js';
import { CancelSource, never } from '../../dist/net/cancel.js';
import { systemClock } from '../../dist/net/clock.js';
import { isNetError, NetError } from '../../dist/net/errors.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import { closedPort, eventually, FakeClock, pipePair, startSilent, startTarget, testSession, within } from '../../dist/testing.js';
import { makeCertificate } from '../support/certificate.js';
import { countingDialer, startOrigin } from '../support/origin.js';

const MIB = 1024 * 1024;
const timers = new TimerWheel(systemClock, 10);
const options = (over: Partial<FetchOptions> = {}): FetchOptions => ({
  dialer: countingDialer(),
  session: testSession(),
  signal: never,
  timers,
  timeoutMs: 5_000,
  maxBytes: MIB,
  ...over,
});
const fetchUrl = (url: string, over?: Partial<FetchOptions>): Promise<Fetched> => within(httpFetch(url, options(over)));
const fails =
  (code: string, failure?: string) =>
  (error: unknown): boolean => {
    assert.ok(isNetError(error), String(error));
    assert.equal(error.code, code, error.message);
    if (failure !== undefined) assert.equal(error.failure, failure);
    return true;
  };
const text = (fetched: Fetched): string => Buffer.from(fetched.body).toString();
/** Everything is given back: connections at the server, deadlines here. */
const quiet = (server: { connections(): number }): Promise<void> => eventually(() => server.connections() === 0 && timers.size === 0);

/** A server that answers these bytes to whatever comes, then does `after`. */
function raw(answer: string, after: 'end' | 'reset' | 'wait' = 'end') {
  return startTarget((socket) => {
    if (after === 'wait') socket.on('end', () => socket.end());
    socket.once('data', () => {
      socket.write(answer, () => {
        if (after === 'end') socket.end();
        else if (after === 'reset') socket.resetAndDestroy();
      });
    });
  });
}

void t.test('a document through an adapter', async () => {
  const origin = await startOrigin((request, response) => {
    response.setHeader('ETag', '"one"').setHeader('Set-Cookie', ['a=1', 'b=2']);
    response.end(`${request.method} ${request.url}`);
  });
  const dialer = countingDialer();
  const fetched = await fetchUrl(`${origin.url}/list.txt?token=secret#part`, { dialer, headers: { 'X-Own': 'yes', 'Accept-Encoding': 'br' } });
  assert.equal(fetched.status, 200);
  assert.equal(text(fetched), 'GET /list.txt?token=secret');
  assert.equal(fetched.headers.etag, '"one"');
  assert.equal(fetched.headers['set-cookie'], 'a=1, b=2');
  assert.deepEqual(dialer.dialled, [{ host: '127.0.0.1', port: Number(new URL(origin.url).port) }], 'through the dialer, with the server as destination');
  const sent = origin.requests[0]?.headers ?? {};
  assert.equal(sent.host, new URL(origin.url).host);
  assert.equal(sent['user-agent'], 'nekit-kernel');
  assert.equal(sent['x-own'], 'yes');
  assert.equal(sent['accept-encoding'], 'gzip', 'only what we can read');
  assert.equal(sent.connection, 'close');
  await quiet(origin);

  const named = await fetchUrl(`http://user:p%40ss@lists.example:${new URL(origin.url).port}/x`, { headers: { 'User-Agent': 'clash' } });
  assert.equal(named.status, 200);
  assert.equal(origin.requests[1]?.headers.host, `lists.example:${new URL(origin.url).port}`);
  assert.equal(origin.requests[1]?.headers['user-agent'], 'clash');
  assert.equal(origin.requests[1]?.headers.authorization, `Basic ${Buffer.from('user:p@ss').toString('base64')}`);
  await quiet(origin);
  await origin.close();
});

void t.test('every status is an answer, and HEAD waits for no body', async () => {
  const origin = await startOrigin((request, response) => {
    response.statusCode = Number(new URL(request.url ?? '', 'http://x').pathname.slice(1));
    if (request.method === 'HEAD') response.setHeader('Content-Length', 5_000_000);
    response.end(request.method === 'HEAD' || response.statusCode === 304 ? undefined : 'body');
  });
  for (const status of [200, 404, 500]) {
    const fetched = await fetchUrl(`${origin.url}/${status}`);
    assert.equal(fetched.status, status);
    assert.equal(text(fetched), 'body');
  }
  for (const status of [204, 304]) assert.equal((await fetchUrl(`${origin.url}/${status}`)).body.length, 0);
  const head = await fetchUrl(`${origin.url}/200`, { method: 'HEAD' });
  assert.equal(head.status, 200);
  assert.equal(head.body.length, 0);
  await quiet(origin);
  await origin.close();

  const slow = await raw('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n', 'wait');
  assert.equal((await fetchUrl(`http://127.0.0.1:${slow.port}/`, { method: 'HEAD', timeoutMs: 60_000 })).status, 200);
  await quiet(slow);
  await slow.close();
});

void t.test('redirects', async (t) => {
  const away = await startOrigin((request, response) => response.end(`away ${JSON.stringify(request.headers)}`));
  const origin = await startOrigin((request, response) => {
    const [, kind, argument = ''] = (request.url ?? '').split('/');
    if (kind === 'to') redirect(response, Number(argument), '/end');
    else if (kind === 'away') redirect(response, 302, `${away.url}/`);
    else if (kind === 'round') redirect(response, 301, `/round/${Number(argument) + 1}`);
    else if (kind === 'scheme') redirect(response, 302, 'ftp://127.0.0.1/');
    else if (kind === 'bad') redirect(response, 302, 'http://');
    else if (kind === 'none') {
      response.statusCode = 302;
      response.end('nowhere');
    } else response.end(`end ${String(request.headers['x-own'])}`);
  });
  for (const status of [301, 302, 303, 307, 308]) {
    const fetched = await fetchUrl(`${origin.url}/to/${status}`, { headers: { 'x-own': 'yes' } });
    assert.equal(text(fetched), 'end yes');
    assert.equal(fetched.url, `${origin.url}/end`);
  }
  await t.test('elsewhere goes nothing that was meant for here', async () => {
    const dialer = countingDialer();
    const fetched = await fetchUrl(`${origin.url}/away`, { dialer, headers: { authorization: 'Bearer x', 'x-own': 'yes', 'user-agent': 'me' } });
    assert.match(text(fetched), /"user-agent":"me"/);
    assert.doesNotMatch(text(fetched), /Bearer|x-own/);
    assert.equal(dialer.dialled.length, 2, 'each by the adapter');
  });
  await t.test('they are bounded, of known schemes, and may be refused', async () => {
    const dialer = countingDialer();
    await assert.rejects(fetchUrl(`${origin.url}/round/0`, { dialer }), fails('TOO_MANY_REDIRECTS', 'protocol'));
    assert.equal(dialer.dialled.length, 6);
    await assert.rejects(fetchUrl(`${origin.url}/scheme`), fails('BAD_URL'));
    await assert.rejects(fetchUrl(`${origin.url}/bad`), fails('BAD_URL'));
    assert.equal((await fetchUrl(`${origin.url}/to/302`, { redirects: 0 })).status, 302, 'asked for none: the redirect is the answer');
    assert.equal((await fetchUrl(`${origin.url}/none`)).status, 302, 'without a place to go to');
  });
  await quiet(origin);
  await quiet(away);
  await origin.close();
  await away.close();
});

function redirect(response: ServerResponse, status: number, location: string): void {
  response.writeHead(status, { location });
  response.end('moved');
}

const certificate = makeCertificate('IP:127.0.0.1,DNS:good.example');
void t.test('https', { skip: certificate === null && 'there is no openssl to make a certificate with' }, async () => {
  assert.ok(certificate !== null);
  const ca = certificate.cert;
  const plain = await startOrigin((_request, response) => response.end('plain'));
  const origin = await startOrigin((request, response) => {
    if (request.url === '/down') redirect(response, 302, plain.url);
    else response.end('secret');
  }, certificate);
  const port = new URL(origin.url).port;
  assert.equal(text(await fetchUrl(origin.url, { tls: { ca } })), 'secret');
  assert.equal(text(await fetchUrl(`https://good.example:${port}/`, { tls: { ca } })), 'secret', 'by its name');
  await assert.rejects(fetchUrl(origin.url), fails('DEPTH_ZERO_SELF_SIGNED_CERT', 'protocol'), 'certificates are checked');
  await assert.rejects(fetchUrl(`https://other.example:${port}/`, { tls: { ca } }), fails('ERR_TLS_CERT_ALTNAME_INVALID', 'protocol'), 'and their names');
  await assert.rejects(fetchUrl(`${origin.url}/down`, { tls: { ca } }), fails('BAD_REDIRECT', 'protocol'), 'never back to http');
  assert.equal(plain.requests.length, 0);
  await assert.rejects(fetchUrl(plain.url.replace('http:', 'https:')), isNetError, 'a server without TLS');
  await quiet(origin);
  await origin.close();
  await plain.close();
});

void t.test('sizes and codings', async () => {
  const body = Buffer.from('DOMAIN,www.example.com\n'.repeat(1_000));
  const bomb = gzipSync(Buffer.alloc(20 * MIB));
  const origin = await startOrigin((request, response) => {
    const zip = (bytes: Uint8Array): void => {
      response.setHeader('Content-Encoding', 'gzip');
      response.end(bytes);
    };
    if (request.url === '/gzip') zip(gzipSync(body));
    else if (request.url === '/bomb') zip(bomb);
    else if (request.url === '/half') zip(gzipSync(body).subarray(0, 40));
    else if (request.url === '/garbage') zip(Buffer.from('this is no gzip'));
    else if (request.url === '/brotli') {
      response.setHeader('Content-Encoding', 'br');
      response.end('x');
    } else if (request.url === '/declared') {
      response.setHeader('Content-Length', 2 * MIB);
      response.flushHeaders(); // and nothing more: what is declared is enough
    } else if (request.url === '/chunked') {
      response.on('close', () => clearInterval(more));
      const more = setInterval(() => response.write(Buffer.alloc(256 * 1024)), 1);
    } else response.end(Buffer.alloc(MIB));
  });
  const exact = await fetchUrl(`${origin.url}/exact`);
  assert.equal(exact.body.length, MIB, 'exactly what is allowed');
  assert.deepEqual(Buffer.from((await fetchUrl(`${origin.url}/gzip`)).body), body);
  for (const path of ['/declared', '/chunked', '/bomb']) await assert.rejects(fetchUrl(origin.url + path), fails('TOO_LARGE', 'denied'), path);
  for (const path of ['/half', '/garbage', '/brotli']) await assert.rejects(fetchUrl(origin.url + path), fails('BAD_ENCODING', 'protocol'), path);
  await quiet(origin);
  await origin.close();
});

void t.test('servers that fail', async (t) => {
  const broken: [name: string, answer: string, after: 'end' | 'reset', code: string][] = [
    ['a body that is cut off', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf', 'end', 'ECONNRESET'],
    ['a chunked body that is cut off', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n', 'end', 'ECONNRESET'],
    ['a reset in the middle', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf', 'reset', 'ECONNRESET'],
    ['no answer', '', 'end', 'ECONNRESET'],
    ['another protocol', 'SSH-2.0-OpenSSH_9.2p1\r\n', 'end', 'BAD_HTTP'],
    ['a head without an end', `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(100_000)}`, 'end', 'BAD_HTTP'],
    ['an upgrade that nobody asked for', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n', 'end', 'UNEXPECTED_END'],
  ];
  for (const [name, answer, after, code] of broken) {
    await t.test(name, async () => {
      const server = await raw(answer, after);
      await assert.rejects(fetchUrl(`http://127.0.0.1:${server.port}/?token=secret`), (error: unknown) => {
        assert.doesNotMatch(String(error), /secret/);
        return fails(code)(error);
      });
      await quiet(server);
      await server.close();
    });
  }
  const port = await closedPort();
  await assert.rejects(fetchUrl(`http://127.0.0.1:${port}/`), fails('ECONNREFUSED', 'refused'));
  for (const url of ['nonsense', 'ftp://127.0.0.1/', 'http://a..b/', 'file:///etc/passwd']) await assert.rejects(fetchUrl(url), fails('BAD_URL'), url);
  const silent = await startSilent();
  await assert.rejects(fetchUrl(`http://127.0.0.1:${silent.port}/`, { headers: { 'x-bad': 'a\nb' } }), isNetError, 'a header that cannot be one');
  await quiet(silent);
  await silent.close();
});

void t.test('time limits and cancellation', async (t) => {
  const silent = await startSilent();
  const dripping = await raw('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf', 'wait');
  await t.test('one limit for all of it', async () => {
    for (const server of [silent, dripping]) {
      await assert.rejects(fetchUrl(`http://127.0.0.1:${server.port}/`, { timeoutMs: 50 }), fails('NET_TIMEOUT', 'timeout'));
      await assert.rejects(fetchUrl(`https://127.0.0.1:${silent.port}/`, { timeoutMs: 50 }), fails('NET_TIMEOUT', 'timeout'), 'in the handshake of TLS');
      await quiet(server);
    }
  });
  await t.test('a dialer that never answers', async () => {
    const clock = new FakeClock();
    const wheel = new TimerWheel(clock);
    const [mine, theirs] = pipePair();
    let late = (): void => undefined;
    const dialStream = (): Promise<typeof mine> => new Promise((resolve) => (late = () => resolve(mine)));
    const fetching = assert.rejects(httpFetch('http://192.0.2.1/', options({ dialer: { dialStream }, timers: wheel })), fails('NET_TIMEOUT', 'timeout'));
    await clock.advance(5_200);
    await within(fetching);
    assert.equal(wheel.size, 0);
    late();
    await assert.rejects(within(theirs.read()), isNetError, 'a stream that comes too late is closed');
  });
  await t.test('the signal', async () => {
    const left = new NetError('aborted', 'the client left', { code: 'LEFT' });
    for (const server of [silent, dripping]) {
      const stop = new CancelSource();
      const fetching = fetchUrl(`http://127.0.0.1:${server.port}/`, { signal: stop });
      await eventually(() => server.connections() === 1);
      stop.cancel(left);
      await assert.rejects(fetching, (error) => error === left);
      await quiet(server);
      const dialer = countingDialer();
      await assert.rejects(fetchUrl(`http://127.0.0.1:${server.port}/`, { signal: stop, dialer }), (error) => error === left, 'before it began');
      assert.equal(dialer.dialled.length, 0);
    }
  });
  await silent.close();
  await dripping.close();
});

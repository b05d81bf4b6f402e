// app -> http, absolute form -> direct -> origin
// app -> http, absolute form -> socks5 adapter -> socks5 -> direct -> origin
// app -> http, absolute form -> http adapter -> http CONNECT -> direct -> origin
import { createHash } from 'node:crypto';
import http from 'node:http';
import { NetError, type Stream } from '@nekit/core';
import { closedPort, collect, eventually, startSilent, startTarget, within } from '@nekit/core/testing';
import t from 'tap';
import { connectTo } from '../helpers/apps.js';
import { startKernel, type TestKernel } from '../helpers/kernel.js';
import { bytesOf, rejection, sha256 } from '../helpers/targets.js';

interface Path {
  readonly name: string;
  /** The type of the adapter and of the second kernel's listener; null: no second kernel. */
  readonly upstream: { readonly adapter: string; readonly listener: string } | null;
  /** What the session says when the origin refuses. */
  readonly code: string;
}

const paths: readonly Path[] = [
  { name: 'direct', upstream: null, code: 'ECONNREFUSED' },
  { name: 'socks5 adapter -> socks5 -> direct', upstream: { adapter: 'socks5', listener: 'socks' }, code: 'SOCKS5_REP_5' },
  { name: 'http adapter -> http CONNECT -> direct', upstream: { adapter: 'http', listener: 'http' }, code: 'HTTP_PROXY_STATUS' },
];

const up = bytesOf(4_000_003, 3);
const down = bytesOf(4_000_005, 4);

interface Origin {
  readonly port: number;
  connections(): Promise<number>;
  close(): Promise<void>;
}

/** POST: answers with `down` while it reads, and with the hash of what it read as its trailer. GET: answers "hello". */
function startOrigin(): Promise<Origin> {
  const server = http.createServer((request, response) => {
    if (request.method === 'GET') {
      response.end(`hello from ${request.headers.host}${request.url}`);
      return;
    }
    const hash = createHash('sha256');
    response.writeHead(200, { Trailer: 'Digest' });
    response.write(down);
    request.on('data', (bytes: Buffer) => hash.update(bytes));
    request.on('end', () => {
      response.addTrailers({ Digest: hash.digest('hex') });
      response.end();
    });
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve({
        port: typeof address === 'object' && address !== null ? address.port : 0,
        connections: () => new Promise((count) => server.getConnections((_error, open) => count(open))),
        close: () =>
          new Promise((done) => {
            server.close(() => done());
            server.closeAllConnections();
          }),
      });
    });
  });
}

interface Answer {
  readonly status: number | undefined;
  readonly body: Buffer;
  readonly digest: string | undefined;
}

/** A request in absolute form to the proxy on `port`, by Node's own client. */
function ask(port: number, method: string, url: string, body?: Uint8Array, agent?: http.Agent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.request({
      host: '127.0.0.1',
      port,
      method,
      path: url,
      setHost: false,
      headers: { Host: new URL(url).host },
      ...(agent === undefined ? {} : { agent }),
    });
    request.on('error', reject);
    request.on('response', (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode, body: Buffer.concat(parts), digest: response.trailers.digest }));
    });
    if (body === undefined) request.end();
    else {
      request.write(body.subarray(0, 10)); // no length is known: chunked
      request.end(body.subarray(10));
    }
  });
}

async function say(port: number, text: string): Promise<Stream> {
  const stream = await connectTo(port);
  await stream.write([Buffer.from(text.replaceAll('\n', '\r\n'))]);
  return stream;
}

for (const { name, upstream, code } of paths) {
  t.test(`app -> http, absolute form -> ${name} -> origin`, async (t) => {
    const second: TestKernel | null = upstream === null ? null : await startKernel({ listeners: [{ name: 'up', type: upstream.listener, port: 0 }] });
    const entry = await startKernel(
      upstream === null || second === null
        ? {}
        : { proxies: [{ name: 'up', type: upstream.adapter, server: '127.0.0.1', port: second.port }], rules: ['MATCH,up'] },
    );
    const origin = await startOrigin();
    t.teardown(async () => {
      await entry.stop();
      await second?.stop();
      await origin.close();
    });
    const url = `http://127.0.0.1:${origin.port}`;
    const leaf = upstream === null ? 'DIRECT' : 'up';

    await t.test('connects; requests of one connection are sessions of their own', async (t) => {
      const other = await startOrigin();
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
      t.teardown(async () => {
        agent.destroy();
        await other.close();
      });
      const before = entry.closed.length;
      for (const { port } of [origin, other, origin]) {
        const answer = await ask(entry.port, 'GET', `http://127.0.0.1:${port}/a?b`, undefined, agent);
        t.equal(answer.body.toString(), `hello from 127.0.0.1:${port}/a?b`, 'from the right origin, in origin form');
      }
      await entry.last();
      t.match(
        entry.closed.slice(before).map(({ destination, adapter, error }) => ({ port: destination.port, adapter, error })),
        [origin, other, origin].map(({ port }) => ({ port, adapter: leaf, error: null })),
      );
      t.equal(await origin.connections(), 1, 'the second request took the first connection');
    });

    await t.test('half-closes: FIN behind a last request is no good-bye', async (t) => {
      const stream = await say(entry.port, `GET ${url}/x HTTP/1.1\nHost: a\nConnection: close\n\n`);
      await stream.closeWrite();
      const text = (await within(collect(stream), 5_000)).toString();
      t.match(text, /^HTTP\/1\.1 200 OK\r\n/);
      t.match(text, `hello from 127.0.0.1:${origin.port}/x`, 'and the target, not the Host field, decides');
      t.equal((await entry.last()).error, null);
    });

    await t.test('moves data intact, both ways at once', async (t) => {
      const answer = await within(ask(entry.port, 'POST', `${url}/`, up), 20_000);
      t.equal(answer.status, 200);
      t.equal(sha256(answer.body), sha256(down), 'downwards');
      t.equal(answer.digest, sha256(up), 'upwards');
      const { error, up: sent, down: received } = await entry.last();
      t.equal(error, null);
      t.ok(sent > up.length && received > down.length, 'and counted');
    });

    await t.test('reports a refused target', async (t) => {
      const answer = await ask(entry.port, 'GET', `http://127.0.0.1:${await closedPort()}/`);
      t.equal(answer.status, 502);
      t.match(answer.body.toString(), /^502 Bad Gateway: ./, 'in a sentence');
      t.match(await entry.last(), { error: { code } });
    });

    await t.test('reports a reset target: 502 before the response, a broken response in the middle of it', async (t) => {
      const rude = await startTarget((socket) => {
        socket.once('data', (bytes: Buffer) => {
          if (bytes.toString().startsWith('GET /early')) socket.resetAndDestroy();
          else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.', () => setImmediate(() => socket.resetAndDestroy()));
        });
      });
      t.teardown(() => rude.close());
      const early = await ask(entry.port, 'GET', `http://127.0.0.1:${rude.port}/early`);
      t.equal(early.status, 502);
      const late = await rejection(ask(entry.port, 'GET', `http://127.0.0.1:${rude.port}/late`));
      t.match(late, { code: 'ECONNRESET' }, 'not a short but complete response');
      t.match(await entry.last(), { error: { failure: 'aborted' } });
    });

    await t.test('passes a reset of the app on', async (t) => {
      const silent = await startSilent();
      t.teardown(() => silent.close());
      const stream = await say(entry.port, `GET http://127.0.0.1:${silent.port}/ HTTP/1.1\nHost: a\n\n`);
      await eventually(() => silent.connections() === 1, 5_000, 'the connection to the origin');
      stream.abort(new NetError('aborted', 'enough'));
      await eventually(() => silent.connections() === 0, 20_000, 'the end of the connection to the origin');
      t.match(await entry.last(), { error: { failure: 'aborted' } });
    });
    t.same(entry.warned, [], 'no warning of the kernel');
  });
}

import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createKernel, type Kernel, type SessionSummary } from '@nekit/core';
import { eventually, startTarget } from '@nekit/core/testing';
import t, { type Test } from 'tap';
import plugin from '../dist/plugin.js';
import { makeCertificate } from './support/certificate.js';
import { startConnectProxy } from './support/connect-proxy.js';
import { RawClient } from './support/raw-client.js';

const run = promisify(execFile);

async function curl(proxy: string, ...args: string[]): Promise<string> {
  const { stdout } = await run('curl', ['--silent', '--show-error', '--max-time', '10', '--proxy', proxy, '--noproxy', '', ...args], { encoding: 'latin1' });
  return stdout;
}

interface Running {
  readonly kernel: Kernel;
  readonly port: number;
  readonly closed: SessionSummary[];
}

async function start(t: Test, config: Parameters<typeof createKernel>[0] & object, type = 'mixed'): Promise<Running> {
  const kernel = createKernel({ listeners: [{ name: 'in', type, listen: '127.0.0.1', port: 0 }], ...config }, { plugins: [plugin], timeouts: { drain: 200 } });
  const closed: SessionSummary[] = [];
  kernel.on('session.closed', (event) => closed.push(event));
  await kernel.start();
  t.teardown(() => kernel.stop());
  return { kernel, port: kernel.listeners()[0]?.endpoint?.port ?? 0, closed };
}

/** What Node's own server hears, as JSON. */
async function startEchoServer(t: Test): Promise<string> {
  const server = http.createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () =>
      response.end(JSON.stringify({ method: request.method, url: request.url, fields: request.rawHeaders, length: Buffer.concat(parts).length })),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' ? (address?.port ?? 0) : 0}`;
}

t.test('curl through a kernel', async (t) => {
  const url = await startEchoServer(t);
  const folder = mkdtempSync(join(tmpdir(), 'nekit-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const big = join(folder, 'big');
  writeFileSync(big, 'x'.repeat(3_000_000));
  for (const type of ['mixed', 'http']) {
    const { port, closed } = await start(t, {}, type);
    const proxy = `http://127.0.0.1:${port}`;
    t.match(JSON.parse(await curl(proxy, `${url}/plain`)), { method: 'GET', url: '/plain' });
    t.match(JSON.parse(await curl(proxy, '--proxytunnel', `${url}/tunnel`)), { method: 'GET', url: '/tunnel' });
    t.match(JSON.parse(await curl(proxy, '--data-binary', `@${big}`, '-H', 'Expect: 100-continue', `${url}/big`)), {
      method: 'POST',
      length: 3_000_000,
    });
    t.match(await curl(proxy, '--head', `${url}/head`), /^HTTP\/1\.1 200 OK\r\n/);
    t.match(await curl(proxy, `${url}/1`, `${url}/2`, `${url}/3`), /\/1.*\/2.*\/3/);
    t.match(await curl(proxy, '--include', 'http://127.0.0.1:1/'), /^HTTP\/1\.1 502 /);
    await eventually(() => closed.length === 8);
    t.same(
      closed.map(({ inboundType }) => inboundType),
      ['HTTP', 'HTTPS', 'HTTP', 'HTTP', 'HTTP', 'HTTP', 'HTTP', 'HTTP'],
      'each request is a session',
    );
    t.equal(closed.at(-1)?.error?.code, 'ECONNREFUSED');
    t.ok((closed[2]?.up ?? 0) > 3_000_000);
  }
});

t.test('users, rules, and an upstream proxy with TLS', async (t) => {
  const url = await startEchoServer(t);
  const certificate = makeCertificate('IP:127.0.0.1');
  const upstream = await startConnectProxy(certificate);
  t.teardown(() => upstream.close());
  const { port } = await start(t, {
    authentication: ['ann:secret'],
    proxies: [{ name: 'up', type: 'https', server: '127.0.0.1', port: upstream.port, fingerprint: certificate.fingerprint, username: 'me', password: 'too' }],
    rules: ['DOMAIN,refused.test,REJECT', 'MATCH,up'],
  });
  const proxy = `http://ann:secret@127.0.0.1:${port}`;
  t.match(await curl(`http://127.0.0.1:${port}`, '--include', url), /^HTTP\/1\.1 407 /);
  t.match(JSON.parse(await curl(proxy, `${url}/a`)), { url: '/a' });
  t.match(JSON.parse(await curl(proxy, '--proxytunnel', `${url}/b`)), { url: '/b' });
  t.match(await curl(proxy, '--include', 'http://refused.test/'), /^HTTP\/1\.1 403 /);
  t.ok(upstream.heads.length >= 2);
  t.ok(
    upstream.heads.every(
      (head) => head.includes(`Proxy-Authorization: Basic ${Buffer.from('me:too').toString('base64')}\r\n`) && /\r\nVia: 1\.1 nekit-[0-9a-f]+\r\n/.test(head),
    ),
  );
});

t.test('a loop through another proxy is seen', async (t) => {
  const other = await start(t, {});
  const first = await start(t, { proxies: [{ name: 'other', type: 'http', server: '127.0.0.1', port: other.port }], rules: ['MATCH,other'] });
  await other.kernel.reload({
    listeners: [{ name: 'in', type: 'mixed', listen: '127.0.0.1', port: 0 }],
    proxies: [{ name: 'first', type: 'http', server: '127.0.0.1', port: first.port }],
    rules: ['MATCH,first'],
  });
  t.match(await curl(`http://127.0.0.1:${first.port}`, '--include', 'http://nowhere.test/'), /^HTTP\/1\.1 508 /);
  await eventually(() => first.closed.length > 0);
  t.equal(first.closed.length + other.closed.length, 2, 'it went round once');
});

t.test('a stopped kernel leaves nothing', async (t) => {
  const target = await startTarget((socket) => socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')));
  t.teardown(() => target.close());
  const { kernel, port } = await start(t, {});
  const clients = await Promise.all(Array.from({ length: 5 }, () => RawClient.say(port, `GET http://127.0.0.1:${target.port}/ HTTP/1.1\r\nHost: x\r\n\r\n`)));
  for (const client of clients) await client.until('ok');
  t.ok(target.connections() > 0, 'upstream connections wait');
  await kernel.stop();
  await eventually(() => target.connections() === 0);
  for (const client of clients) await client.all();
  t.equal(kernel.sessions().length, 0);
});

t.test('a plain request under way counts as a session that stop waits for', async (t) => {
  const sockets: (() => void)[] = [];
  const target = await startTarget((socket) => socket.on('data', () => sockets.push(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'))));
  t.teardown(() => target.close());
  const kernel = createKernel({ listeners: [{ name: 'in', type: 'http', listen: '127.0.0.1', port: 0 }] }, { plugins: [plugin], timeouts: { drain: 5_000 } });
  await kernel.start();
  const client = await RawClient.say(kernel.listeners()[0]?.endpoint?.port ?? 0, `GET http://127.0.0.1:${target.port}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
  await eventually(() => sockets.length === 1);
  t.equal(kernel.sessions().length, 1);
  const stopping = kernel.stop();
  sockets[0]?.();
  t.match(await client.until('ok'), /200 OK/);
  await stopping;
  await client.all();
});

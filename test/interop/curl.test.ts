// curl (Debian's) as the client, in every way it can use a proxy.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { closedPort } from '@nekit/core/testing';
import t, { type Test } from 'tap';
import { makeCertificate } from '../../packages/adapter-socks5/dist-test/certificate.js';
import { startKernel, type TestKernel } from '../helpers/kernel.js';
import { bigHash, type Origin, startOrigin } from '../helpers/origin.js';
import { makeFolder, type Outcome, run, unlessInstalled } from '../helpers/programs.js';
import { bytesOf, sha256 } from '../helpers/targets.js';

const hosts = { 'a.test': '127.0.0.1', 'b.test': '127.0.0.1', 'blocked.test': '127.0.0.1' };

/** stderr is kept for the exit code's reason; -q: no ~/.curlrc. */
const curl = (...args: readonly string[]): Promise<Outcome> => run('curl', ['-q', '-sS', '--max-time', '60', ...args]);
const curlWith = (stdin: Uint8Array, ...args: readonly string[]): Promise<Outcome> => run('curl', ['-q', '-sS', '--max-time', '60', ...args], { stdin });

interface Mode {
  readonly name: string;
  readonly args: (port: number) => readonly string[];
  /** curl itself resolves the name, so it needs an address. */
  readonly literal?: boolean;
}

const modes: readonly Mode[] = [
  { name: '-x http', args: (port) => ['-x', `http://127.0.0.1:${port}`] },
  { name: '-x http -p', args: (port) => ['-x', `http://127.0.0.1:${port}`, '-p'] },
  { name: '--proxy1.0 -p', args: (port) => ['--proxy1.0', `127.0.0.1:${port}`, '-p'] },
  { name: '--socks5', args: (port) => ['--socks5', `127.0.0.1:${port}`], literal: true },
  { name: '--socks5-hostname', args: (port) => ['--socks5-hostname', `127.0.0.1:${port}`] },
  { name: '--socks4', args: (port) => ['--socks4', `127.0.0.1:${port}`], literal: true },
  { name: '--socks4a', args: (port) => ['--socks4a', `127.0.0.1:${port}`] },
];

t.test('curl', { skip: unlessInstalled('curl') }, async (t) => {
  const certificate = makeCertificate('a.test');
  const folder = makeFolder();
  const authority = join(folder.path, 'ca.pem');
  writeFileSync(authority, certificate.cert);
  const [origin, other, secure] = [await startOrigin(), await startOrigin(), await startOrigin({ tls: certificate })];
  const entry = await startKernel({ hosts, rules: ['DOMAIN,blocked.test,REJECT', 'MATCH,DIRECT'] });
  t.teardown(async () => {
    await entry.stop();
    for (const server of [origin, other, secure]) await server.close();
    folder.remove();
  });
  const proxy = `http://127.0.0.1:${entry.port}`;
  const upload = bytesOf(3_000_001, 7);
  const received = `${upload.length} ${sha256(upload)}`;

  for (const { name, args, literal } of modes) {
    await t.test(name, async (t) => {
      const url = `http://${literal === true ? '127.0.0.1' : 'a.test'}:${origin.port}`;
      const through = args(entry.port);
      const text = async (...more: readonly string[]): Promise<string> => {
        const { code, stdout, stderr } = await curl(...through, ...more);
        return code === 0 ? stdout.toString() : `exit code ${code}: ${stderr}`;
      };
      t.equal(await text(`${url}/hello`), `hello from ${new URL(url).host}`, 'GET');
      t.match(
        await text('-I', `${url}/big/7`),
        /^(?:HTTP\/1\.\d 200 Connection established\r\n\r\n)?HTTP\/1\.1 200 OK\r\n(?:.*\r\n)*Content-Length: 7000000\r\n/i,
        'HEAD',
      );
      const posted = await curlWith(upload, ...through, '-H', 'Expect: 100-continue', '--data-binary', '@-', `${url}/upload`);
      t.equal(posted.stdout.toString(), received, 'POST with Expect: 100-continue');
      t.equal(origin.requests.at(-1)?.headers['content-length'], String(upload.length));
      const put = await curlWith(upload, ...through, '-T', '-', `${url}/upload`);
      t.equal(put.stdout.toString(), received, 'chunked upload');
      t.equal(origin.requests.at(-1)?.headers['transfer-encoding'], 'chunked');
      t.match(await entry.last(), { error: null });
    });
  }

  await t.test('large downloads', async (t) => {
    for (const [name, args, megabytes, query] of [
      ['by length', ['-x', proxy], 100, ''],
      ['in chunks', ['-x', proxy], 30, '?chunked'],
      ['SOCKS5', ['--socks5-hostname', `127.0.0.1:${entry.port}`], 100, ''],
    ] as const) {
      const { code, stdout } = await curl(...args, `http://a.test:${origin.port}/big/${megabytes}${query}`);
      t.same({ code, hash: sha256(stdout) }, { code: 0, hash: bigHash(megabytes) }, `${name}: ${megabytes} MB`);
    }
  });

  await t.test('https, with a certificate for the name', async (t) => {
    for (const args of [
      ['-x', proxy],
      ['--socks5-hostname', `127.0.0.1:${entry.port}`],
      ['--socks4a', `127.0.0.1:${entry.port}`],
    ]) {
      const { stdout, stderr } = await curl(...args, '--cacert', authority, '--http1.1', `https://a.test:${secure.port}/hello`);
      t.equal(stdout.toString(), `hello from a.test:${secure.port}`, `${args[0]} ${stderr}`);
    }
  });

  await t.test('one connection carries requests for two hosts', async (t) => {
    const before = [origin.requests.length, other.requests.length];
    const urls = [`http://a.test:${origin.port}/hello`, `http://b.test:${other.port}/hello`, `http://a.test:${origin.port}/hello?2`];
    const { stdout } = await curl('-x', proxy, '-w', ' %{num_connects}\n', ...urls);
    t.equal(stdout.toString(), `hello from a.test:${origin.port} 1\nhello from b.test:${other.port} 0\nhello from a.test:${origin.port} 0\n`);
    t.same([origin.requests.length, other.requests.length], [(before[0] ?? 0) + 2, (before[1] ?? 0) + 1]);
  });

  await t.test('40 transfers in parallel', async (t) => {
    const { code, stdout } = await curl(
      '-x',
      proxy,
      '-Z',
      '--parallel-max',
      '20',
      '-w',
      '%{http_code} ',
      '-o',
      '/dev/null',
      `http://a.test:${origin.port}/big/1?[1-40]`,
    );
    t.same({ code, answers: stdout.toString() }, { code: 0, answers: '200 '.repeat(40) });
  });

  await t.test('what concerns the proxy stays with the proxy', async (t) => {
    const secret = ['--proxy-user', 'app:secret', '--proxy-header', 'Proxy-Secret: x', '-H', 'Connection: X-Hop', '-H', 'X-Hop: 1', '-H', 'X-End: 2'];
    await curl('-x', proxy, ...secret, `http://a.test:${origin.port}/hello`);
    const { headers } = origin.requests.at(-1) ?? {};
    t.match(headers, { host: `a.test:${origin.port}`, 'x-end': '2', via: /^1\.1 / });
    for (const name of ['proxy-authorization', 'proxy-connection', 'proxy-secret', 'x-hop']) t.notOk(headers?.[name], `${name} is not passed on`);
    const tunnelled = await curl('-x', proxy, '-p', '--proxy-header', 'X-Proxy: 1', ...secret.slice(0, 4), `http://a.test:${origin.port}/hello`);
    t.equal(tunnelled.code, 0);
    t.match(origin.requests.at(-1)?.headers, { 'x-proxy': undefined, via: undefined });
  });

  await t.test('a password', (t) => passwords(t, origin));
  await t.test('refusals and failures', (t) => failures(t, entry, origin));
  await t.test('a loop through another proxy', loop);
  t.same(entry.warned, [], 'no warning of the kernel');
});

async function passwords(t: Test, origin: Origin): Promise<void> {
  const entry = await startKernel({ hosts, authentication: ['app:let me in'] });
  t.teardown(() => entry.stop());
  const url = `http://a.test:${origin.port}/hello`;
  const [proxy, socks] = [
    ['-x', `http://127.0.0.1:${entry.port}`],
    ['--socks5-hostname', `127.0.0.1:${entry.port}`],
  ];
  for (const args of [proxy, [...proxy, '-p'], socks]) {
    const name = args.join(' ').replace(/\S*\d\S*/, '');
    const right = await curl(...args, '--proxy-user', 'app:let me in', '-w', ' %{http_code}', url);
    t.match(right.stdout.toString(), / 200$/, `${name}: right`);
  }
  const any = await curl(...proxy, '--proxy-anyauth', '--proxy-user', 'app:let me in', '-w', ' %{http_code}', url);
  t.match(any.stdout.toString(), / 200$/, 'curl asks first, and is told that it is Basic');
  for (const user of [[], ['--proxy-user', 'app:wrong'], ['--proxy-user', 'nobody:let me in']]) {
    t.match((await curl(...proxy, ...user, '-o', '/dev/null', '-w', '%{http_code}', url)).stdout.toString(), '407');
    const tunnel = await curl(...proxy, '-p', ...user, '-w', '%{http_connect}', url);
    t.match({ code: tunnel.code, status: tunnel.stdout.toString() }, { code: 56, status: '407' });
    t.equal((await curl(...socks, ...user, url)).code, 97, 'CURLE_PROXY');
  }
  // SOCKS4 has no passwords: nobody gets in.
  t.equal((await curl('--socks4a', `127.0.0.1:${entry.port}`, url)).code, 97);
}

async function failures(t: Test, entry: TestKernel, origin: Origin): Promise<void> {
  const dead = await closedPort();
  const upstream = await startKernel({ listeners: [{ name: 'up', type: 'mixed', port: 0, users: [{ username: 'app', password: 'right' }] }] });
  const server = '127.0.0.1';
  const wrong = { server, port: upstream.port, username: 'app', password: 'wrong' };
  const chained = await startKernel({
    hosts,
    proxies: [
      { name: 'dead', type: 'http', server, port: dead },
      { name: 'wrong-http', type: 'http', ...wrong },
      { name: 'wrong-socks', type: 'socks5', ...wrong },
    ],
    rules: ['DST-PORT,1001,dead', 'DST-PORT,1002,wrong-http', 'DST-PORT,1003,wrong-socks', 'MATCH,DIRECT'],
  });
  t.teardown(async () => {
    await chained.stop();
    await upstream.stop();
  });
  /** What curl sees in the three ways: status of a plain request, status of CONNECT, SOCKS reply (in curl's message, in parentheses). */
  const seen = async (port: number, url: string): Promise<readonly (string | undefined)[]> => {
    const plain = await curl('-x', `http://127.0.0.1:${port}`, '-o', '/dev/null', '-w', '%{http_code}', url);
    const tunnel = await curl('-x', `http://127.0.0.1:${port}`, '-p', '-w', '%{http_connect}', url);
    const socks = await curl('--socks5-hostname', `127.0.0.1:${port}`, url);
    return [plain.stdout.toString(), tunnel.stdout.toString(), /\((\d+)\)\s*$/.exec(socks.stderr.trim())?.[1] ?? socks.stderr];
  };
  t.same(await seen(entry.port, `http://blocked.test:${origin.port}/`), ['403', '403', '2'], 'refused by a rule');
  t.same(await seen(entry.port, `http://127.0.0.1:${dead}/`), ['502', '502', '5'], 'nobody listens there');
  t.same(await seen(entry.port, `http://127.0.0.1:${entry.port}/`), ['508', '508', '2'], 'a loop to ourselves');
  t.same(await seen(entry.port, `http://a.test:${entry.port}/`), ['508', '508', '2'], 'the same by name');
  t.same(await seen(entry.port, 'http://no-such-name.invalid/'), ['502', '502', '4'], 'no such name');
  t.same(await seen(chained.port, 'http://a.test:1001/'), ['502', '502', '5'], 'a dead upstream');
  t.same(await seen(chained.port, 'http://a.test:1002/'), ['502', '502', '1'], 'the wrong password for an HTTP upstream');
  t.same(await seen(chained.port, 'http://a.test:1003/'), ['502', '502', '1'], 'the wrong password for a SOCKS5 upstream');
  t.same(
    chained.closed.slice(-6).map(({ error }) => error?.code),
    ['HTTP_PROXY_AUTH', 'HTTP_PROXY_AUTH', 'HTTP_PROXY_AUTH', 'SOCKS5_AUTH', 'SOCKS5_AUTH', 'SOCKS5_AUTH'],
  );
  const spoken = await curl('-x', `http://127.0.0.1:${entry.port}`, `http://blocked.test:${origin.port}/`);
  t.match(spoken.stdout.toString(), /^403 Forbidden: .+\n$/, 'the refusal says why');
}

/** Two kernels that send everything to each other: the first that sees its own name in Via says so. */
async function loop(t: Test): Promise<void> {
  const port = await closedPort();
  const server = '127.0.0.1';
  const one = await startKernel({ 'max-connections': 100, proxies: [{ name: 'other', type: 'http', server, port }], rules: ['MATCH,other'] });
  const other = await startKernel({
    'max-connections': 100,
    listeners: [{ name: 'in', type: 'mixed', port }],
    proxies: [{ name: 'one', type: 'http', server, port: one.port }],
    rules: ['MATCH,one'],
  });
  t.teardown(async () => {
    await one.stop();
    await other.stop();
  });
  for (const args of [
    ['-w', '%{http_code}', '-o', '/dev/null'],
    ['-p', '-w', '%{http_connect}'],
  ]) {
    const { stdout } = await curl('-x', `http://127.0.0.1:${one.port}`, ...args, 'http://x.test/');
    t.equal(stdout.toString(), '508', args.join(' '));
  }
  t.ok(one.closed.length + other.closed.length <= 6, 'without going round');
}

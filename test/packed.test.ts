// npm pack -> npm install somewhere else -> nekit-kernel --plugins example -> real traffic
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';
import { eventually } from '@nekit/core/testing';
import t, { type Test } from 'tap';
import { Namespace, unlessNamespaces } from './helpers/namespace.js';
import { Command } from './packed/command.js';
import { cleanEnvironment, npm, packAll, packNative, type Tarball, WORKSPACE } from './packed/npm.js';

t.setTimeout(600_000);

const root = await realpath(await mkdtemp(join(tmpdir(), 'nekit-packed-')));
t.teardown(() => rm(root, { recursive: true, force: true, maxRetries: 3 }));

/** The test server of the example, an HTTP/2 proxy in plain Node: what its adapter speaks to. */
const { startH2cProxy } = (await import(pathToFileURL(join(WORKSPACE, 'examples/third-party/dist-test/h2c-proxy.js')).href)) as {
  startH2cProxy(): Promise<{ readonly port: number; accepted(): number; close(): Promise<void> }>;
};
const proxy = await startH2cProxy();
t.teardown(() => proxy.close());

/** The web server at the far end. It says what it saw. */
const target = http.createServer((request, response) => {
  void text(request).then((body) => response.end(`${request.method ?? ''} ${request.url ?? ''} ${request.headers.host ?? ''} ${body}`));
});
await new Promise<void>((resolve) => target.listen(0, '127.0.0.1', resolve));
t.teardown(() => {
  target.closeAllConnections();
  target.close();
});
const targetPort = (target.address() as net.AddressInfo).port;

const packs = join(root, 'packs');
await mkdir(packs);
const tarballs = await packAll(packs);
/** The addon, where it can be built. */
const addon = await packNative(packs);
/** For the C++ from its published sources, in ms. */
const FULL_BUILD_MS = 240_000;
const INSTALL = ['install', '--no-audit', '--no-fund', '--prefer-offline'];

/** A request in absolute form, as to any HTTP proxy. */
function throughHttp(port: number, path: string, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port,
      method: 'POST',
      path: `http://127.0.0.1:${targetPort}${path}`,
      headers: { host: `127.0.0.1:${targetPort}` },
      agent: false,
    };
    http
      .request(options, (response) => void text(response).then(resolve, reject))
      .once('error', reject)
      .setTimeout(20_000, () => reject(new Error('no response')))
      .end(body);
  });
}

/** The same inside of a CONNECT tunnel. */
function throughConnect(port: number, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const connect = http.request({ host: '127.0.0.1', port, method: 'CONNECT', path: `127.0.0.1:${targetPort}`, agent: false });
    connect.once('error', reject).setTimeout(20_000, () => reject(new Error('no response')));
    connect.once('connect', (response, socket) => {
      if (response.statusCode !== 200) return reject(new Error(`CONNECT was answered ${response.statusCode ?? 0}`));
      const options = { host: '127.0.0.1', port: targetPort, path, createConnection: () => socket };
      http.get(options, (inner) => void text(inner).then(resolve, reject)).once('error', reject);
    });
    connect.end();
  });
}

/** SOCKS5 without authentication (RFC 1928), in one go. */
async function throughSocks(port: number, path: string): Promise<string> {
  const socket = net.connect({ host: '127.0.0.1', port });
  socket.setTimeout(20_000, () => socket.destroy(new Error('no response')));
  socket.write(Uint8Array.of(5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, targetPort >> 8, targetPort & 0xff));
  socket.write(`GET ${path} HTTP/1.0\r\nHost: socks.test\r\n\r\n`);
  const answer = await text(socket);
  return answer.slice(answer.indexOf('\r\n\r\n') + 4);
}

t.test('what is packed', async (t) => {
  t.strictSame(
    tarballs
      .map(({ name }) => name)
      .filter((name) => /^(?:nekit-kernel|nekit-plugin-example|@nekit\/(?:core|adapter-http|adapter-socks5|rule-geoip))$/.test(name)).length,
    6,
  );
  for (const { name, contents } of tarballs) {
    t.ok(contents.includes('package.json'), `${name} has its package.json`);
    t.ok(
      contents.some((path) => path.startsWith('dist/') && path.endsWith('.js')),
      `${name} was built`,
    );
    const stray = contents.filter((path) => /tsbuildinfo|^(?:test|dist-test|node_modules)\/|\.tgz$|tsconfig/.test(path));
    t.strictSame(stray, [], `${name} has nothing else`);
    const mapped = contents
      .filter((path) => path.endsWith('.map'))
      .map((path) => posix.join('src', path.slice('dist/'.length).replace(/(?:\.d\.ts|\.js)\.map$/, '.ts')));
    t.strictSame(
      mapped.filter((path) => !contents.includes(path)),
      [],
      `${name} has what its source maps point to`,
    );
  }
});

const CONFIG = `
listeners:
  - { name: entry, type: mixed, port: 0 }
  - { name: door, type: forward, port: 0, target: "127.0.0.1:${targetPort}" }
proxies:
  - { name: tunnel, type: h2c, server: 127.0.0.1, port: ${proxy.port} }
rules:
  - HOURS,00:00-24:00,tunnel
  - MATCH,REJECT
`;

/** Traffic of every kind through a command that runs with CONFIG. */
async function useIt(t: Test, command: Command): Promise<void> {
  const before = proxy.accepted();
  const entry = await command.listening('entry');
  const door = await command.listening('door');
  const host = `127.0.0.1:${targetPort}`;
  t.equal(await throughHttp(entry, '/a?b=c', 'a body'), `POST /a?b=c ${host} a body`, 'HTTP, absolute form');
  t.equal(await throughConnect(entry, '/tunnelled'), `GET /tunnelled ${host} `, 'CONNECT');
  t.equal(await throughSocks(entry, '/socks'), 'GET /socks socks.test ', 'SOCKS5');
  const direct = await fetch(`http://127.0.0.1:${door}/forwarded`, { headers: { connection: 'close' } });
  t.equal(await direct.text(), `GET /forwarded 127.0.0.1:${door} `, 'the example’s inbound');
  t.match(await command.session('door'), { rule: 'HOURS,00:00-24:00,tunnel', adapter: 'tunnel', error: null });
  t.ok(proxy.accepted() - before >= 4, 'all of it went through the example’s adapter');
}

t.test('installed in a project', async (t) => {
  const folder = join(root, 'project');
  await mkdir(folder);
  const native = typeof addon === 'string' ? [] : [addon.native, addon.platform];
  await npm([...INSTALL, ...tarballs.map(({ file }) => file), ...native], folder);
  const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { dependencies: object };
  const names = [...tarballs.map(({ name }) => name), ...(typeof addon === 'string' ? [] : ['@nekit/native', addon.platformName])];
  t.strictSame(Object.keys(manifest.dependencies).sort(), names.sort());
  const file = join(folder, 'node_modules', '.bin', 'nekit-kernel');
  await writeFile(join(folder, 'config.yaml'), CONFIG);

  t.test('runs with --plugins example', async (t) => {
    const command = new Command(file, ['--plugins', 'example', '-c', 'config.yaml'], folder);
    t.teardown(() => command.kill());
    await useIt(t, command);
    t.match(await command.stop(), { exitCode: 0 });
  });
  // Awaited: what follows takes the addon away.
  await t.test('its IP stack answers pings', { skip: typeof addon === 'string' ? addon : unlessNamespaces('ping') }, async (t) => {
    await writeFile(join(folder, 'tun.yaml'), 'plugins: [example]\ntun: { enable: true, device: tun7, stack: echo, icmp: drop }\n');
    const place = await Namespace.make();
    t.teardown(() => place.close());
    const kernel = place.spawn(file, ['-c', join(folder, 'tun.yaml')], cleanEnvironment());
    await eventually(async () => (await place.run('ip', ['link', 'show', 'tun7'])).stdout.includes('UP'), 60_000, 'a TUN');
    for (const address of ['198.18.0.2', 'fdfe:dcba:9876::2'])
      t.match((await place.run('ping', ['-c', '2', '-i', '0.2', '-w', '10', address])).stdout.toString(), '2 received');
    kernel.kill('SIGTERM');
  });
  await lists(t, file, folder, join(folder, 'node_modules'));
  await usesTheAddon(t, file, folder);
  t.test('a plugin that is not there', async (t) => {
    const { exitCode, stderr } = await new Command(file, ['--plugins', 'example,@nekit/nowhere', '-c', 'config.yaml'], folder).ended();
    t.equal(exitCode, 2);
    t.equal(stderr, 'nekit-kernel: plugin "@nekit/nowhere" is not installed; install it with: npm install @nekit/nowhere\n');
  });
});

t.test('installed globally, run from somewhere else', async (t) => {
  const prefix = join(root, 'prefix');
  const elsewhere = join(root, 'elsewhere');
  await mkdir(elsewhere);
  await npm([...INSTALL, '--global', '--prefix', prefix, ...tarballs.map(({ file }) => file)], root);
  const file = join(prefix, 'bin', 'nekit-kernel');
  t.strictSame(await readdir(elsewhere), [], 'an empty folder, without a package.json');

  t.test('runs with --plugins example and a config', async (t) => {
    await writeFile(join(elsewhere, 'config.yaml'), CONFIG);
    const command = new Command(file, ['run', '--plugins', 'example', '-c', './config.yaml'], elsewhere);
    t.teardown(() => command.kill());
    await useIt(t, command);
    t.match(await command.stop(), { exitCode: 0 });
  });
  t.test('runs without a config, with a scheme of the example', async (t) => {
    const before = proxy.accepted();
    const command = new Command(file, ['--plugins', 'example', '--proxy', `h2c://127.0.0.1:${proxy.port}`, '--mixed-port', '0'], elsewhere);
    t.teardown(() => command.kill());
    const port = await command.listening('mixed');
    t.equal(await throughHttp(port, '/', ''), `POST / 127.0.0.1:${targetPort} `);
    t.equal(proxy.accepted(), before + 1);
    t.match(await command.stop(), { exitCode: 0 });
  });
  await lists(t, file, elsewhere, join(prefix, 'lib', 'node_modules'));
  t.match(await versionOf(file, elsewhere), /\(native: none, TypeScript fallback: @nekit\/native: not installed\)$/, 'installed without the addon');
  t.test('a plugin that is not there', async (t) => {
    const { exitCode, stderr } = await new Command(file, ['--plugins', '@nekit/nowhere'], elsewhere).ended();
    t.equal(exitCode, 2);
    t.equal(stderr, `nekit-kernel: plugin "@nekit/nowhere" is not installed; install it with: npm install -g @nekit/nowhere --prefix ${prefix}\n`);
  });
});

/** The prebuilt platform package is found and nothing was compiled; without it the TypeScript fallback is used, and where it is switched off. */
async function usesTheAddon(t: Test, file: string, folder: string): Promise<void> {
  if (typeof addon === 'string') {
    t.pass('the addon', { skip: addon });
    return;
  }
  const { platformName } = addon;
  const modules = join(folder, 'node_modules');
  t.match(await versionOf(file, folder), new RegExp(`\\(native: ${platformName}\\)$`));
  t.notOk((await readdir(join(modules, '@nekit', 'native'))).includes('build'), 'the install script had nothing to build');
  t.match(await versionOf(file, folder, { NEKIT_NATIVE: 'off' }), /\(native: none, TypeScript fallback: NEKIT_NATIVE=off\)$/);

  await rm(join(modules, platformName), { recursive: true }); // as on a platform that has none
  t.match(await versionOf(file, folder), new RegExp(`\\(native: none, TypeScript fallback: ${platformName}: not installed\\)$`));
  if (process.env.NEKIT_FULL !== '1') return;
  const script = join(modules, '@nekit', 'native', 'scripts', 'install.mjs');
  t.equal((await new Command(process.execPath, [script], folder).ended(FULL_BUILD_MS)).stdout, '@nekit/native: built\n');
  t.match(await versionOf(file, folder), /\(native: node_modules\/@nekit\/native\/build\/Release\/nekit\.node\)$/, 'built from the published sources');
}

async function versionOf(file: string, folder: string, env?: NodeJS.ProcessEnv): Promise<string> {
  const { stdout, exitCode } = await new Command(file, ['--version'], folder, env).ended();
  return exitCode === 0 ? stdout.trimEnd() : `exit code ${exitCode ?? 'none'}`;
}

/** `nekit-kernel plugins` shows all of them, in this place and not in the workspace. */
async function lists(t: Test, file: string, folder: string, modules: string): Promise<void> {
  const { stdout, exitCode } = await new Command(file, ['plugins', '--json'], folder).ended();
  t.equal(exitCode, 0);
  const found = JSON.parse(stdout) as { name: string; version: string; path: string; problem: unknown }[];
  const plugins = tarballs.filter(isPlugin);
  t.strictSame(found.map(({ name }) => name).sort(), plugins.map(({ name }) => name).sort());
  for (const { name, path, problem } of found) {
    t.ok(path.startsWith(modules), `${name} is in ${modules}`);
    t.equal(problem, null, name);
  }
}

function isPlugin({ contents }: Tarball): boolean {
  return contents.includes('dist/plugin.js');
}

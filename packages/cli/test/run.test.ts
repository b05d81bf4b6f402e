// `run`: real connections through the real command, its log, its signals, and what it says when it cannot run.
import { execFile, spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, request } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import tap from 'tap';
import { BIN, Command, run, type SpawnOptions } from './command.js';

/** Each test starts the command several times, which takes seconds each when the machine is busy. */
const TIMEOUT_MS = 180_000;

/** script(1) of util-linux runs a command on a terminal of its own. */
const TERMINAL = 'script';

interface Scope {
  teardown(run: () => unknown): void;
}

async function webServer(t: Scope): Promise<number> {
  const server = createServer((_request, response) => response.end('hello'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

async function configFile(t: Scope, text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'nekit-cli-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'c.yaml');
  await writeFile(file, text);
  return file;
}

function start(t: Scope, args: readonly string[], options: SpawnOptions = {}): Command {
  const command = new Command(args, options);
  t.teardown(async () => {
    command.kill('SIGKILL');
    await command.ended;
  });
  return command;
}

/** A plain request in absolute form, as a browser sends it to an HTTP proxy. */
function getThrough(proxyPort: number, url: string, headers: Record<string, string> = {}): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const { host } = new URL(url);
    const sent = request({ host: '127.0.0.1', port: proxyPort, path: url, headers: { host, ...headers }, agent: false }, (response: IncomingMessage) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      response.on('error', reject);
    });
    sent
      .on('error', reject)
      .setTimeout(30_000, () => sent.destroy(new Error('no answer')))
      .end();
  });
}

/** SOCKS5 without authentication, CONNECT to 127.0.0.1:port. Resolves to the socket and REP. */
function socksConnect(proxyPort: number, port: number): Promise<{ socket: Socket; reply: number }> {
  return new Promise((resolve, reject) => {
    const socket = connect(proxyPort, '127.0.0.1');
    const greeting = Buffer.from([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, port >> 8, port & 0xff]);
    let received = Buffer.alloc(0);
    socket.on('error', reject);
    socket.setTimeout(30_000, () => socket.destroy(new Error('no answer')));
    socket.on('data', (bytes) => {
      received = Buffer.concat([received, bytes]);
      if (received.length >= 12) resolve({ socket, reply: received[3] ?? -1 });
    });
    socket.write(greeting);
  });
}

tap.test('without a config: HTTP and SOCKS, a log line per session, a clean end', { timeout: TIMEOUT_MS }, async (t) => {
  const web = await webServer(t);
  const command = start(t, ['--mixed-port', '0']);
  const port = await command.port('mixed');
  const [banner] = await command.until(/nekit-kernel runs[\s\S]*hostname.*\n/);
  t.same(banner.split('\n'), [
    'nekit-kernel runs: no config, everything direct',
    `  mixed    127.0.0.1:${port}  (mixed)`,
    `  try: curl -x http://127.0.0.1:${port} https://example.com/`,
    `  try: curl --socks5-hostname 127.0.0.1:${port} https://example.com/`,
    '',
  ]);
  t.same(await getThrough(port, `http://127.0.0.1:${web}/x`), { status: 200, body: 'hello' });
  const { socket, reply } = await socksConnect(port, web);
  t.equal(reply, 0);
  socket.end('GET / HTTP/1.0\r\n\r\n');
  await command.until(/"type":"SOCKS5".*\n/);
  const closed = await socksConnect(port, 1);
  t.equal(closed.reply, 5, 'refused');
  await command.until(/"error":"[A-Z_]*REFUSED.*\n/);

  command.kill('SIGHUP');
  await command.until(/no config file to read again/);
  const { code, stderr } = await command.stop();
  t.equal(code, 0);
  t.equal(stderr, banner, 'nothing else is said');
  const sessions = command.lines((line) => 'session' in line);
  t.match(sessions, [
    {
      level: 'info',
      network: 'tcp',
      inbound: 'mixed',
      type: 'HTTP',
      destination: `127.0.0.1:${web}`,
      rule: null,
      adapter: 'DIRECT',
      down: Number,
      up: Number,
      ms: Number,
      error: null,
    },
    { level: 'info', type: 'SOCKS5', source: /^127\.0\.0\.1:\d+$/, adapter: 'DIRECT', error: null, msg: /tcp .* -> .* no rule -> DIRECT/ },
    { level: 'warn', type: 'SOCKS5', destination: '127.0.0.1:1', error: /REFUSED/ },
  ]);
  t.equal(sessions.length, 3, 'one line per session');
  t.match(
    command.lines((line) => String(line.msg).startsWith('SIGTERM')),
    [{ level: 'info' }],
  );
});

tap.test('an addon that is not there is told of once, with what was tried; the fallback that was asked for is not', { timeout: TIMEOUT_MS }, async (t) => {
  const config = await configFile(t, 'listeners: [{ name: in, type: mixed, port: 0 }]\n');
  for (const [env, expected] of [
    [{ NEKIT_NATIVE: 'on', NEKIT_NATIVE_PATH: '/nowhere/nekit.node' }, ['warn']],
    [{ NEKIT_NATIVE: 'off' }, []],
  ] as const) {
    const command = start(t, ['-c', config], { env });
    await command.port('in');
    await command.until(/nekit-kernel runs/);
    command.kill('SIGTERM');
    t.equal((await command.ended).code, 0);
    const told = command.lines((line) => line.code === 'NATIVE_ABSENT');
    t.same(
      told.map(({ level }) => level),
      expected,
    );
    for (const { msg } of told) t.match(msg, 'Tried: /nowhere/nekit.node (not there).');
  }
});

tap.test('a second signal ends it at once, and what it cuts off does not look complete', { timeout: TIMEOUT_MS }, async (t) => {
  for (const native of ['on', 'off']) {
    const web = await webServer(t);
    const command = start(t, ['-c', await configFile(t, 'listeners: [{ name: in, type: mixed, port: 0 }]\n')], { env: { NEKIT_NATIVE: native } });
    const client = connect({ port: await command.port('in'), host: '127.0.0.1', allowHalfOpen: true });
    t.teardown(() => client.destroy());
    const cut = new Promise<string>((resolve) => {
      client.once('end', () => resolve('FIN')).once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
    });
    client.write(`CONNECT 127.0.0.1:${web} HTTP/1.1\r\nHost: x\r\n\r\n`);
    const answer = await new Promise<Buffer>((resolve) => client.once('data', resolve));
    t.match(String(answer), /^HTTP\/1\.1 200 /);
    command.kill('SIGTERM');
    await command.until(/SIGTERM: stopping/);
    command.kill('SIGTERM');
    t.equal(await cut, 'ECONNRESET', `native: ${native}`);
    t.equal((await command.ended).code, 1);
  }
});

tap.test('a port in use: one line, exit code 1', { timeout: TIMEOUT_MS }, async (t) => {
  const taken = createTcpServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  t.teardown(() => taken.close());
  const { port } = taken.address() as AddressInfo;
  const result = await run(['--mixed-port', String(port)]);
  t.same(result, { code: 1, stdout: '', stderr: `nekit-kernel: listener DEFAULT-MIXED cannot listen on 127.0.0.1:${port}: the port is in use\n` });

  // The port without any option is 7890: taken here, unless something else has taken it already.
  const usual = createTcpServer();
  await new Promise<void>((resolve) => usual.once('error', () => resolve()).listen(7890, '127.0.0.1', resolve));
  t.teardown(() => usual.close());
  t.match(await run([]), { code: 1, stderr: 'nekit-kernel: listener DEFAULT-MIXED cannot listen on 127.0.0.1:7890: the port is in use\n' });
});

tap.test('SIGHUP reads the config again, or keeps the old one', { timeout: TIMEOUT_MS }, async (t) => {
  const web = await webServer(t);
  const url = `http://127.0.0.1:${web}/`;
  const base = 'listeners: [{ name: in, type: mixed, port: 0 }]\nlog-level: info\n';
  const file = await configFile(t, `${base}rules: ["MATCH,DIRECT"]\n`);
  const command = start(t, ['-c', file, '--plugins', 'http']);
  const port = await command.port('in');
  t.equal((await getThrough(port, url)).status, 200);

  await writeFile(file, `${base}rules:\n  - DOMAIN-SUFIX,a.example,DIRECT\n`);
  command.kill('SIGHUP');
  await command.until(/c\.yaml:4:5 error: there is no rule kind.*\n[\s\S]*the old config stays in force/);
  t.equal((await getThrough(port, url)).status, 200);

  await writeFile(file, `${base}proxies: [{ name: no, type: reject, delay: 0 }]\nrules: ["MATCH,no"]\nfoo: 1\n`);
  command.kill('SIGHUP');
  await command.until(/"foo\\" is no key[\s\S]*the new config is in force/);
  t.equal((await getThrough(port, url)).status, 403);

  await writeFile(file, `${base}max-connections: 5\n`);
  command.kill('SIGHUP');
  await command.until(/restart needed: maxConnections|restart needed: max-connections/);
  t.equal((await getThrough(port, url)).status, 403, 'the old rules');
  await rm(file);
  command.kill('SIGHUP');
  await command.until(/the config file does not exist/);
  t.equal((await getThrough(port, url)).status, 403);
  t.equal((await command.stop()).code, 0);
});

tap.test('a signal tells a reload that the kernel stops, at once', { timeout: TIMEOUT_MS }, async (t) => {
  const file = await configFile(t, 'plugins: [./hold.mjs]\nlog-level: info\n');
  // Its section is loaded until the kernel stops, and says so if that comes well after the signal.
  const plugin = `
    const config = { parse: () => ({}), toJSONSchema: () => ({ type: 'object' }) };
    const load = (signal) => new Promise((_, reject) => {
      process.stderr.write('the section is being loaded\\n');
      process.once('SIGTERM', () => {
        const late = setTimeout(() => process.stderr.write('the kernel does not stop\\n'), 2_000);
        signal.onCancel((reason) => {
          clearTimeout(late);
          reject(reason);
        });
      });
    });
    const setup = (context) => context.section({ key: 'hold', config, create: () => ({ load, close() {} }) });
    export default { name: 'hold', api: 1, setup };`;
  await writeFile(join(dirname(file), 'hold.mjs'), plugin);
  const command = start(t, ['-c', file]);
  await command.until(/nekit-kernel/);
  await writeFile(file, 'plugins: [./hold.mjs]\nlog-level: info\nhold: {}\n');
  command.kill('SIGHUP');
  await command.until(/the section is being loaded/);
  const { code, stdout, stderr } = await command.stop();
  t.equal(code, 0);
  t.notMatch(stderr, /does not stop/);
  t.match(stdout, /the old config stays in force/);
});

tap.test('a second signal does not wait for sessions', { timeout: TIMEOUT_MS }, async (t) => {
  const silent = createTcpServer((socket) => socket.on('error', () => socket.destroy()));
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  t.teardown(() => silent.close());
  const file = await configFile(t, 'listeners: [{ name: in, type: socks, port: 0 }]\ntimeouts: { drain: 600000 }\n');
  const command = start(t, ['-c', file]);
  const { socket, reply } = await socksConnect(await command.port('in'), (silent.address() as AddressInfo).port);
  t.equal(reply, 0);
  socket.removeAllListeners('error').on('error', () => socket.destroy());
  command.kill('SIGINT');
  await command.until(/SIGINT: stopping/);
  command.kill('SIGINT');
  t.equal((await command.ended).code, 1);
});

tap.test('--proxy takes everything when there are no rules, and only then', { timeout: TIMEOUT_MS }, async (t) => {
  const web = await webServer(t);
  const secret = 'hunter2secret';
  const upstream = start(t, ['-c', await configFile(t, `listeners: [{ name: up, type: socks, port: 0, users: [{ username: me, password: ${secret} }] }]\n`)]);
  const uri = `socks5://me:${secret}@127.0.0.1:${await upstream.port('up')}#far`;
  const near = start(t, ['--proxy', uri, '--mixed-port', '0', '--log-level', 'debug']);
  t.same(await getThrough(await near.port('mixed'), `http://127.0.0.1:${web}/`), { status: 200, body: 'hello' });
  const ruled = start(t, ['-c', await configFile(t, 'rules: ["MATCH,DIRECT"]\n'), '--proxy', uri, '--mixed-port', '0']);
  t.equal((await getThrough(await ruled.port('mixed'), `http://127.0.0.1:${web}/`)).status, 200);
  await near.stop();
  await ruled.stop();
  const { stdout } = await upstream.stop();
  t.match(
    near.lines((line) => 'rule' in line),
    [{ adapter: 'far', rule: 'MATCH,far' }],
  );
  t.match(
    ruled.lines((line) => 'rule' in line),
    [{ adapter: 'DIRECT', rule: 'MATCH,DIRECT' }],
  );
  t.match(
    upstream.lines((line) => 'rule' in line),
    [{ user: 'me', type: 'SOCKS5' }],
    'one session came through',
  );
  t.notMatch(stdout + near.stdout + near.stderr, secret);
});

tap.test('log levels, and a config in which nothing listens', { timeout: TIMEOUT_MS }, async (t) => {
  const idle = start(t, ['-c', await configFile(t, 'mode: direct\n')]);
  await idle.until(/nothing listens: name a port/);
  t.match(await idle.stop(), { code: 0 });

  const web = await webServer(t);
  const port = await freePort();
  const silent = start(t, ['--mixed-port', String(port), '--log-level', 'silent']);
  t.same(await eventually(() => getThrough(port, `http://127.0.0.1:${web}/`)), { status: 200, body: 'hello' });
  t.same(await silent.stop(), { code: 0, stdout: '', stderr: '' });
});

async function freePort(): Promise<number> {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}

/** Until it does not reject any more, for a minute at most. */
async function eventually<T>(attempt: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

tap.test('a log that cannot be written (ENOSPC) ends nothing', { timeout: TIMEOUT_MS, skip: existsSync('/dev/full') ? false : 'no /dev/full' }, async (t) => {
  const web = await webServer(t);
  const port = await freePort();
  const file = await configFile(t, `mixed-port: ${port}\n`);
  const full = openSync('/dev/full', 'w');
  t.teardown(() => closeSync(full));
  const child = spawn(process.execPath, [BIN, '-c', file, '--log-level', 'debug'], { stdio: ['ignore', full, full] });
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  t.teardown(() => child.kill('SIGKILL'));
  await eventually(() => getThrough(port, `http://127.0.0.1:${web}/`));
  for (let i = 0; i < 20; i++) t.equal((await getThrough(port, `http://127.0.0.1:${web}/`)).body, 'hello');
  child.kill('SIGTERM');
  t.equal(await ended, 0);
});

const noPrlimit = spawnSync('prlimit', ['--version']).status === 0 ? false : 'not installed: prlimit (util-linux)';
tap.test('a process without descriptors lives on, whatever looks at it meanwhile, and serves again', { timeout: TIMEOUT_MS, skip: noPrlimit }, async (t) => {
  const web = await webServer(t);
  const port = await freePort();
  const child = spawn(process.execPath, [BIN, '--mixed-port', String(port)], { stdio: ['ignore', 'pipe', 'pipe'] });
  t.teardown(() => child.kill('SIGKILL'));
  let log = '';
  for (const output of [child.stdout, child.stderr]) output.setEncoding('utf8').on('data', (text: string) => (log += text));
  await eventually(() => getThrough(port, `http://127.0.0.1:${web}/`));
  t.equal(spawnSync('prlimit', ['--pid', String(child.pid), '--nofile=40:40']).status, 0);
  const clients = Array.from({ length: 60 }, () => connect({ host: '127.0.0.1', port }).on('error', () => {}));
  t.teardown(() => {
    for (const client of clients) client.destroy();
  });
  await eventually(() => (log.includes('EMFILE') ? Promise.resolve() : Promise.reject(new Error('nothing was told'))));
  await new Promise((resolve) => setTimeout(resolve, 2_500)); // the memory keeper looks each second
  t.equal(child.exitCode, null);
  for (const client of clients) client.destroy();
  await eventually(() => getThrough(port, `http://127.0.0.1:${web}/`));
});

tap.test('on a terminal the log is for people', { timeout: TIMEOUT_MS }, async (t) => {
  const bin = fileURLToPath(new URL('../bin/nekit-kernel.js', import.meta.url));
  // The shell in it stops the command as soon as it listens.
  const inside = `'${process.execPath}' '${bin}' --mixed-port 0 & pid=$!; for i in $(seq 400); do sleep 0.1; grep -q runs "$OUT" && break; done; kill -INT $pid; wait $pid`;
  const folder = await mkdtemp(join(tmpdir(), 'nekit-cli-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const out = join(folder, 'typescript');
  const output = await new Promise<string | null>((resolve, reject) => {
    execFile(TERMINAL, ['-qfec', inside, out], { env: { ...process.env, OUT: out, SHELL: '/bin/sh' }, timeout: 90_000 }, (error, stdout) => {
      if (error !== null && 'code' in error && error.code === 'ENOENT') resolve(null);
      else if (error !== null) reject(new Error(`${error.message}\n${stdout}`));
      else resolve(stdout);
    });
  });
  if (output === null) {
    t.comment('script(1) is not installed here');
    return;
  }
  t.match(output, /nekit-kernel runs: no config/);
  t.ok(output.includes('\u001b['), 'in colour');
  t.match(output, /INFO.*: .*listener mixed \(mixed\) on 127\.0\.0\.1:\d+/);
  t.notMatch(output, /"level"/);
});

tap.test('listeners of a plugin that do not stop as they should do not keep the process', { timeout: TIMEOUT_MS }, async (t) => {
  const file = await configFile(
    t,
    'plugins: [./stuck.mjs]\ntimeouts: { plugin: 300 }\nlisteners: [{ name: in, type: mixed, port: 0 }, { name: s, type: stuck, port: 1 }, { name: f, type: failing, port: 1 }]\n',
  );
  await writeFile(
    join(dirname(file), 'stuck.mjs'),
    `const config = { parse: (value) => value, toJSONSchema: () => ({}) };
    const inbound = (type, stop) => ({ type, config, create: () => ({ start: () => Promise.resolve(), stop }) });
    export default { name: 'stuck', api: 1, setup(context) {
      context.inbound(inbound('stuck', () => new Promise(() => {})));
      context.inbound(inbound('failing', () => Promise.reject(new Error('no way'))));
    } };`,
  );
  const command = start(t, ['-c', file]);
  await command.until(/nekit-kernel runs/);
  t.equal((await command.stop()).code, 0);
  t.same(
    command.lines(({ code }) => String(code).startsWith('STOP_')).map(({ msg }) => msg),
    ['stop of the listener "f" failed: no way', 'stop of the listener "s" took longer than 300 ms'],
  );
});

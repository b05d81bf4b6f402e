// SIP003 programs: a script of our own that does what programs do, and Debian's obfs-local.
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  CancelSource,
  EXEMPTIONS,
  type Exemption,
  Exemptions,
  isNetError,
  type KernelEvents,
  NetError,
  RESOLVER,
  type Resolver,
  type Stream,
  StreamReader,
  systemClock,
} from '@nekit/core';
import { dialOptions, eventually, FakeClock, pattern, startEcho, testContext, within } from '@nekit/core/testing';
import t, { type Test } from 'tap';
import { linkOf } from '../../dist/plugin/link.js';
import { deathWish } from '../../dist/plugin/process/die-with-us.js';
import { findProgram } from '../../dist/plugin/process/find-program.js';
import { OutputTail } from '../../dist/plugin/process/output-tail.js';
import { ProgramLink } from '../../dist/plugin/process/program-link.js';
import { ProgramRun } from '../../dist/plugin/process/program-run.js';
import { Programs } from '../../dist/plugin/process/programs.js';
import { secretsIn } from '../../dist/plugin/process/secrets.js';
import type { ServerLink } from '../../dist/server-link.js';
import { startProgram, unlessInstalled } from './support/programs.js';
import { isAlive, makeProgram } from './support/sip003-program.js';

const program = makeProgram();
t.teardown(() => program.remove());

const SERVER = { server: '192.0.2.7', port: 8388 };
const posix = { skip: process.platform === 'win32' && 'scripts need a shebang' };

interface Given {
  readonly SS_REMOTE_HOST: string;
  readonly SS_REMOTE_PORT: string;
  readonly SS_LOCAL_HOST: string;
  readonly SS_LOCAL_PORT: string;
  readonly SS_PLUGIN_OPTIONS: string;
  readonly pid: number;
  readonly args: readonly string[];
  readonly stdin: string;
}

function isGiven(value: unknown): value is Given {
  return typeof value === 'object' && value !== null && 'pid' in value;
}

/** What the program says that it was given. */
async function told(stream: Stream): Promise<Given> {
  const line = await within(new StreamReader(stream).until(Buffer.from('\n'), 4_096));
  const value: unknown = JSON.parse(Buffer.from(line).toString());
  if (!isGiven(value)) throw new Error('not what it was given');
  return value;
}

/** A dial, and an end for its stream. */
async function dialFor(t: Test, link: ServerLink): Promise<Stream> {
  const stream = await within(link.dial(dialOptions()), 10_000);
  t.teardown(() => stream.abort(new Error('the test is over')));
  return stream;
}

async function failure(promise: Promise<unknown>): Promise<NetError> {
  const error = await within(
    promise.then(
      () => 'it did not fail',
      (thrown: unknown) => thrown,
    ),
    20_000,
  );
  if (isNetError(error)) return error;
  throw error instanceof Error ? error : new Error(String(error));
}

type Warning = KernelEvents['kernel.warning'];

/** A link with a clock of its own, and what it warns of. */
function linkWith(t: Test, options: string, clock: FakeClock): { link: ProgramLink; warnings: Warning[] } {
  const { context, events } = testContext();
  const direct = context.base.stream;
  if (direct === undefined) throw new Error('DIRECT carries connections');
  const warnings: Warning[] = [];
  events.on('kernel.warning', (warning) => warnings.push(warning));
  const link = new ProgramLink(
    new Programs(),
    { name: 'plugin', program: program.path, options, secrets: secretsIn(options), server: { host: SERVER.server, port: SERVER.port } },
    { direct, clock, events, tag: 'home', random: () => 0.5, resolver: context.get(RESOLVER), exemptions: context.get(EXEMPTIONS) },
  );
  t.teardown(async () => {
    link.close();
    await clock.advance(2_000);
  });
  return { link, warnings };
}

/** Runs the clock until the promise settles; real processes need real time, too. */
async function whileTicking<T>(clock: FakeClock, promise: Promise<T>, stepMs = 20): Promise<T> {
  let settled = false;
  const done = promise.finally(() => {
    settled = true;
  });
  done.catch(() => undefined);
  await eventually(
    async () => {
      if (!settled) await clock.advance(stepMs);
      return settled;
    },
    20_000,
    'the promise',
  );
  return done;
}

void t.test('what a program is given: environment, no arguments, no stdin, no shell', posix, async (t) => {
  const { context } = testContext();
  const options = 'do=tell;text=$(touch /tmp/ss-plugins-shell) `id` "quoted"\\;still;flag';
  const link = linkOf({ ...SERVER, plugin: program.path, 'plugin-opts': options }, context);
  t.teardown(() => link.close?.());
  link.start?.();
  link.start?.();
  const streams = await Promise.all([dialFor(t, link), dialFor(t, link)]);
  const given = await Promise.all(streams.map(told));
  t.equal(given[0]?.pid, given[1]?.pid, 'one process for all');
  const [first] = given;
  t.match(first, { SS_REMOTE_HOST: '192.0.2.7', SS_REMOTE_PORT: '8388', SS_LOCAL_HOST: '127.0.0.1', SS_PLUGIN_OPTIONS: options, stdin: '' });
  t.same(first?.args, []);
  const [stream] = streams;
  await stream?.write([Buffer.from('echo')]);
  t.equal(Buffer.concat((await stream?.read()) ?? []).toString(), 'echo');
  const plain = await context.base.stream?.dialStream({ host: '127.0.0.1', port: Number(first?.SS_LOCAL_PORT) }, dialOptions());
  t.equal(stream?.native === undefined, plain?.native === undefined, 'the kernel socket itself');
  plain?.abort(new Error('done'));
  link.close?.();
  link.close?.();
  for (const stream of streams) stream.abort(new Error('done'));
  await eventually(() => !isAlive(first?.pid ?? 0));
  t.equal((await failure(link.dial(dialOptions()))).code, 'SS_PLUGIN_STOPPED');
});

void t.test('with auto-route its server is exempted, and given by address', posix, async (t) => {
  const changes: string[] = [];
  const exemptions = new Exemptions();
  const tell =
    (what: string) =>
    ({ endpoint, network }: Exemption): void => {
      changes.push(`${what} ${network} ${endpoint.host} ${endpoint.port}`);
    };
  exemptions.follow({ added: tell('added'), removed: tell('removed') });
  const asked: string[] = [];
  const resolver: Resolver = {
    resolve: (name) => {
      asked.push(name);
      return Promise.resolve(['192.0.2.9', '192.0.2.10']);
    },
  };
  const { context } = testContext({ resolver, values: new Map([[EXEMPTIONS, exemptions]]) });
  const link = linkOf({ server: 'Server.Example', port: 8388, plugin: program.path, 'plugin-opts': 'do=tell' }, context);
  t.teardown(() => link.close?.());
  const stream = await dialFor(t, link);
  t.equal((await told(stream)).SS_REMOTE_HOST, '192.0.2.9');
  t.same([asked, changes], [['server.example'], ['added tcp 192.0.2.9 8388']]);
  link.close?.();
  stream.abort(new Error('done'));
  await eventually(() => changes.at(-1) === 'removed tcp 192.0.2.9 8388');
  const { context: without } = testContext({ resolver });
  const other = linkOf({ server: 'server.example', port: 8388, plugin: program.path, 'plugin-opts': 'do=tell' }, without);
  t.teardown(() => other.close?.());
  t.equal((await told(await dialFor(t, other))).SS_REMOTE_HOST, 'server.example', 'without it the program asks');
});

void t.test('the first dial waits for a program that takes its time', posix, async (t) => {
  const { context } = testContext();
  const link = linkOf({ ...SERVER, plugin: program.path, 'plugin-opts': 'do=tell;late=400' }, context);
  t.teardown(() => link.close?.());
  t.ok((await told(await dialFor(t, link))).pid > 0);
});

void t.test('a program that dies is started again, later each time, and its death is told once', posix, async (t) => {
  const clock = new FakeClock();
  const pids = join(program.folder, 'dead');
  const { link, warnings } = linkWith(t, `do=die;password=hunter22;pids=${pids}`, clock);
  const starts = (): number => readFileSync(pids, 'utf8').split('\n').length - 1;
  writeFileSync(pids, '');
  link.start();
  await eventually(async () => {
    await clock.advance(1);
    return warnings.length === 1;
  }, 10_000);
  t.equal(warnings[0]?.code, 'SS_PLUGIN_EXIT');
  const message = warnings[0]?.message ?? '';
  t.match(message, /^home: the plugin "plugin" exited with code 3; its last words: /);
  t.match(message, /the password is \*\*\* \\u\{1b\}\[31mred/);
  t.match(message, /port true/);
  t.notOk(message.includes('hunter22') || message.includes('\u001b'));
  for (const [wait, count] of [
    [500, 2],
    [1_000, 3],
    [2_000, 4],
  ] as const) {
    await clock.advance(wait - 100);
    t.equal(starts(), count - 1, `not before ${wait} ms`);
    const before = clock.now();
    await eventually(async () => {
      await clock.advance(clock.now() - before < 100 ? 20 : 0);
      return starts() === count && clock.pending > 0;
    }, 10_000);
    await eventually(async () => {
      await clock.advance(0);
      return clock.pending === 1; // only the next start is left to wait for
    }, 10_000);
  }
  t.equal(warnings.length, 1, 'the same thing is not told again');
  const error = await failure(link.dial(dialOptions()));
  t.equal(error.code, 'SS_PLUGIN_EXIT', 'no dial waits for a start that is far away');
  t.equal(error.failure, 'refused');
  t.match(error.message, /exited with code 3/);
  link.close();
  await eventually(() => clock.pending === 0);
});

void t.test('a program that died once serves the dial that waited', posix, async (t) => {
  const clock = new FakeClock();
  const { link, warnings } = linkWith(t, `do=die-once;marker=${join(program.folder, 'marker')}`, clock);
  const stream = await whileTicking(clock, link.dial(dialOptions()), 5);
  t.ok((await told(stream)).pid > 0);
  t.equal(warnings.length, 1);
  stream.abort(new Error('done'));
});

void t.test('a program that never listens is ended, and its dial says so', posix, async (t) => {
  const clock = new FakeClock();
  const pids = join(program.folder, 'mute');
  const { link, warnings } = linkWith(t, `do=mute;pids=${pids}`, clock);
  writeFileSync(pids, '');
  link.start();
  await eventually(() => readFileSync(pids, 'utf8') !== '', 10_000);
  const error = await whileTicking(clock, failure(link.dial(dialOptions())), 500);
  t.equal(error.code, 'SS_PLUGIN_EXIT');
  t.match(error.message, /does not listen on the port it was told, for 10 s/);
  t.equal(warnings.length, 1);
  const pid = Number(readFileSync(pids, 'utf8').split('\n')[0]);
  await eventually(() => !isAlive(pid), 10_000);
});

void t.test('a dial leaves with its client', posix, async (t) => {
  const { context } = testContext();
  const link = linkOf({ ...SERVER, plugin: program.path, 'plugin-opts': 'do=mute' }, context);
  t.teardown(() => link.close?.());
  const source = new CancelSource();
  const dialling = failure(link.dial(dialOptions(undefined, { signal: source })));
  source.cancel(new NetError('aborted', 'the client has left', { code: 'CLIENT_LEFT' }));
  t.equal((await dialling).code, 'CLIENT_LEFT');
});

void t.test('a program that ignores SIGTERM is killed', posix, async (t) => {
  const clock = new FakeClock();
  const { link } = linkWith(t, 'do=stay', clock);
  const stream = await whileTicking(clock, dialFor(t, link));
  const { pid } = await told(stream);
  link.close();
  stream.abort(new Error('done'));
  await eventually(() => clock.pending === 1);
  await clock.advance(1_900);
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.ok(isAlive(pid), 'it has its time');
  await clock.advance(100);
  await eventually(() => !isAlive(pid));
  await eventually(() => clock.pending === 0);
});

void t.test('a program that cannot be started', posix, async (t) => {
  const clock = new FakeClock();
  const file = join(program.folder, 'no-interpreter');
  writeFileSync(file, '#!/nonexistent/interpreter\n', { mode: 0o755 });
  const { context } = testContext({ clock });
  const link = linkOf({ ...SERVER, plugin: file }, context);
  t.teardown(() => link.close?.());
  const error = await whileTicking(clock, failure(link.dial(dialOptions())));
  t.equal(error.code, 'SS_PLUGIN_EXIT');
});

/** A process that starts a program, says its pid, and is then killed, or ends by itself in the way of `text`. */
async function orphan(end: 'killed' | 'by itself', text: string): Promise<{ pid: number; ours: number }> {
  const head = `
    import { testContext, dialOptions } from '@nekit/core/testing';
    import { StreamReader } from '@nekit/core';
    import { linkOf } from '${new URL('../../dist/plugin/link.js', import.meta.url).href}';
    import { ProgramRun } from '${new URL('../../dist/plugin/process/program-run.js', import.meta.url).href}';
    const { context } = testContext();
    const SERVER = ${JSON.stringify({ ...SERVER, plugin: program.path, 'plugin-opts': 'do=stay' })};
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', head + text], { cwd: import.meta.dirname, stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (part: Buffer) => {
    output += part.toString();
  });
  await eventually(() => output.includes('\n') || child.exitCode !== null, 20_000);
  const pid = Number(output);
  if (!(pid > 0)) throw new Error(`no pid: ${output}`);
  if (end === 'killed') child.kill('SIGKILL');
  else await eventually(() => child.exitCode !== null, 20_000);
  return { pid, ours: child.pid ?? 0 };
}

void t.test('a program does not outlive us: killed without a word', { skip: (await deathWish()).length === 0 && 'no setpriv with --pdeathsig' }, async () => {
  const { pid } = await orphan(
    'killed',
    `
    const stream = await linkOf(SERVER, context).dial(dialOptions());
    const { pid } = JSON.parse(Buffer.from(await new StreamReader(stream).until(Buffer.from('\\n'), 4096)).toString());
    console.log(pid);
    setInterval(() => {}, 1000);
  `,
  );
  await eventually(() => !isAlive(pid));
});

void t.test('a program does not outlive us: process.exit, where the kernel does not help', posix, async () => {
  const { pid } = await orphan(
    'by itself',
    `
    import { systemClock } from '@nekit/core';
    const env = { SS_REMOTE_HOST: 'x', SS_REMOTE_PORT: '1', SS_LOCAL_HOST: '127.0.0.1', SS_LOCAL_PORT: '0', SS_PLUGIN_OPTIONS: 'do=stay' };
    const run = new ProgramRun(1, { command: SERVER.plugin, args: [], env, secrets: [], diesWithUs: false, clock: systemClock, ended() {} });
    process.stdout.write(run.pid + '\\n', () => process.exit(0));
  `,
  );
  await eventually(() => !isAlive(pid));
});

void t.test('programs without number leave no listeners on the process', posix, async (t) => {
  const [listeners, most] = [process.listenerCount('exit'), process.getMaxListeners()];
  const ends: string[] = [];
  const env = { SS_LOCAL_PORT: '0', SS_PLUGIN_OPTIONS: 'do=mute' };
  const options = { args: [], env, secrets: [], diesWithUs: false, clock: systemClock, ended: (what: string) => ends.push(what) };
  const runs = ['/nonexistent', program.path, program.path].map((command) => new ProgramRun(1, { ...options, command }));
  for (const run of runs) run.stop();
  await eventually(() => ends.length === 3, 10_000);
  t.equal(process.listenerCount('exit'), listeners);
  t.equal(process.getMaxListeners(), most);
  t.match(ends.sort()[0], /cannot be started: .*ENOENT/);
});

void t.test('behind another proxy a program cannot be', posix, (t) => {
  const { context } = testContext();
  const chained = { ...context, base: { tag: 'up', type: 'socks5' }, adapter: () => context.base };
  t.throws(() => linkOf({ ...SERVER, plugin: program.path }, chained), { code: 'SS_PLUGIN_CHAIN' });
  t.throws(() => linkOf({ ...SERVER, plugin: '/nonexistent/plugin' }, context), { code: 'SS_PLUGIN' });
  t.end();
});

void t.test('the end of its output, and what is not shown of it', (t) => {
  const tail = new OutputTail(secretsIn('key=se\\;cret;host=example.com;flag'));
  tail.add(Buffer.from('host example.com: bad key se;cret or se\\;cret\n\n'));
  t.equal(tail.text(), 'host example.com: bad key *** or ***');
  for (let i = 0; i < 100_000; i++) tail.add(Buffer.from(`line ${i}\n`));
  t.equal(tail.text(), 'line 99996 | line 99997 | line 99998 | line 99999');
  tail.add(Buffer.from(`\n${'x'.repeat(100_000)}`));
  t.ok(tail.text().length < 200);
  const cut = new OutputTail(['secret-word']);
  cut.add(Buffer.from(`secret-word${'y'.repeat(4 * 1024 - 4)}\nlast`));
  t.equal(cut.text(), 'last', 'half of a secret is not shown');
  t.equal(new OutputTail([]).text(), '');
  t.same(secretsIn('obfs=http;obfs-host=a.b'), []);
  t.end();
});

void t.test('where programs are', (t) => {
  t.equal(findProgram('plugin', `${program.folder}:/nonexistent`), program.path);
  t.equal(findProgram('plugin', '/nonexistent'), null);
  t.equal(findProgram('plugin', ''), null);
  t.equal(findProgram('.', program.folder), null, 'a folder is none');
  t.equal(findProgram(program.path, ''), program.path);
  t.equal(findProgram(`${program.path}\0x`), null);
  t.end();
});

void t.test('no setpriv, no death wish', async (t) => {
  t.same(await deathWish('/nonexistent/setpriv'), []);
  t.same(await deathWish('/bin/false'), []);
});

for (const mode of ['http', 'tls']) {
  void t.test(`Debian's obfs-local as a program (${mode})`, { skip: unlessInstalled('obfs-local', 'obfs-server') }, async (t) => {
    const echo = await startEcho();
    t.teardown(() => echo.close());
    const server = await startProgram('obfs-server', (port) => ['-s', '127.0.0.1', '-p', String(port), '-r', `127.0.0.1:${echo.port}`, '--obfs', mode]);
    t.teardown(() => server.stop());
    const { context } = testContext();
    const config = { server: '127.0.0.1', port: server.port, plugin: 'obfs-local', 'plugin-opts': `obfs=${mode};obfs-host=example.com` };
    const link = linkOf({ ...config, 'plugin-external': true }, context);
    t.teardown(() => link.close?.());
    for (const way of [link, linkOf(config, context)]) {
      const stream = await within(way.dial(dialOptions()), 10_000);
      const bytes = pattern(200_003, 9);
      const sending = (async () => {
        for (let at = 0; at < bytes.length; at += 20_000) await stream.write([Uint8Array.from(bytes.subarray(at, at + 20_000))]);
      })();
      t.ok(Buffer.from(await within(new StreamReader(stream).exactly(bytes.length), 10_000)).equals(bytes), way === link ? 'the program' : 'built in');
      await sending;
      stream.abort(new Error('done'));
    }
    await eventually(() => echo.connections() === 0);
  });
}

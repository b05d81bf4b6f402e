// How long a SIP003 program lives: reloads, the kernel's stop, and what its connections are told when it dies.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  CIPHERS,
  createKernel,
  EXEMPTIONS,
  encodeSocksAddress,
  errorCode,
  isNetError,
  type Kernel,
  type Resolver,
  type Session,
  type Stream,
  systemClock,
} from '@nekit/core';
import { dialOptions, eventually, FakeClock, settle, startEcho, testContext, within } from '@nekit/core/testing';
import t, { type Test } from 'tap';
import { clientCodec } from '../../dist/method.js';
import { ProgramLink } from '../../dist/plugin/process/program-link.js';
import { Programs } from '../../dist/plugin/process/programs.js';
import plugin from '../../dist/plugin.js';
import { SealedStream } from '../../dist/sealed-stream.js';
import { secretFor } from '../server/listener.js';
import { isAlive, makeProgram } from './support/sip003-program.js';

const program = makeProgram();
t.teardown(() => program.remove());

const posix = { skip: process.platform === 'win32' && 'scripts need a shebang' };
const SECRET = { cipher: 'aes-128-gcm', password: 'a password' };
const LOOPBACK = '127.0.0.1';

let files = 0;

/** A file that each process writes its pid to. */
function pidFile(): { path: string; pids(): number[] } {
  const path = join(program.folder, `pids-${files++}`);
  const pids = (): number[] => {
    try {
      return readFileSync(path, 'utf8').split('\n').filter(Boolean).map(Number);
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
      throw error;
    }
  };
  return { path, pids };
}

/** An echo behind a Shadowsocks server, and a kernel that goes there through the program: `options` are the program's. */
async function home(t: Test, native: boolean, options: string) {
  const echo = await startEcho();
  const far = createKernel({ listeners: [{ name: 'far', type: 'ss', port: 0, ...SECRET }], rules: ['MATCH,DIRECT'] }, { plugins: [plugin] });
  await far.start();
  const port = far.listeners()[0]?.endpoint?.port ?? assert.fail('it does not listen');
  const config = (options: string, ...rules: string[]) => ({
    listeners: [{ name: 'in', type: 'ss', port: 0, ...SECRET }],
    proxies: [{ name: 'p', type: 'ss', server: LOOPBACK, port, ...SECRET, plugin: program.path, 'plugin-opts': options }],
    rules: [...rules, 'MATCH,p'],
  });
  const kernel = createKernel(config(options), { plugins: [plugin], native, timeouts: { drain: 100 } });
  const errors: (string | null)[] = [];
  kernel.on('session.closed', ({ error }) => errors.push(error === null ? null : error.code));
  t.teardown(async () => {
    await kernel.stop();
    await far.stop();
    await echo.close();
  });
  await kernel.start();
  return { kernel, config, errors, connect: () => connect(t, kernel, echo.port) };
}

async function connect(t: Test, kernel: Kernel, port: number): Promise<Stream> {
  const server = kernel.listeners()[0]?.endpoint ?? assert.fail('it does not listen');
  const { context } = testContext();
  const base = (await context.base.stream?.dialStream(server, dialOptions(server))) ?? assert.fail('direct has streams');
  t.teardown(() => base.abort(new Error('the test is over')));
  const ciphers = context.get(CIPHERS);
  const codec = clientCodec(ciphers, secretFor(ciphers, SECRET.cipher, SECRET.password), encodeSocksAddress({ host: LOOPBACK, port }));
  return new SealedStream(base, codec, { clock: systemClock, native: false, peer: 'server' });
}

async function echoes(stream: Stream, text: string): Promise<void> {
  await stream.write([Buffer.from(text)]);
  let got = '';
  while (got.length < text.length) for (const chunk of (await within(stream.read(), 20_000)) ?? assert.fail('it ended')) got += Buffer.from(chunk).toString();
  assert.equal(got, text);
}

for (const native of [true, false]) {
  void t.test(`in a kernel, ${native ? 'with' : 'without'} the addon`, posix, async (t) => {
    await t.test('a reload leaves a program and its connections alone', async (t) => {
      const { path, pids } = pidFile();
      const options = `do=forward;pids=${path}`;
      const { kernel, config, errors, connect } = await home(t, native, options);
      const stream = await connect();
      await echoes(stream, 'before');
      for (const name of ['one.example', 'two.example']) {
        await kernel.reload(config(options, `DOMAIN,${name},DIRECT`));
        await echoes(stream, `behind the rule for ${name}`);
      }
      await echoes(await connect(), 'a new one');
      assert.equal(pids().length, 1, 'the same process for all');
      await kernel.stop();
      await eventually(() => !pids().some(isAlive), 10_000);
      assert.deepEqual(errors, ['STOPPED', 'STOPPED']);
    });

    await t.test('a program that the next config has not lives until its last connection has closed', async (t) => {
      const [old, next] = [pidFile(), pidFile()];
      const { kernel, config, connect } = await home(t, native, `do=forward;pids=${old.path}`);
      const streams = [await connect(), await connect()];
      for (const stream of streams) await echoes(stream, 'before');
      await kernel.reload(config(`do=forward;pids=${next.path}`));
      await echoes(await connect(), 'by the other one');
      for (const stream of streams) {
        await echoes(stream, 'after');
        assert.ok(old.pids().every(isAlive));
        stream.abort(new Error('enough'));
      }
      await eventually(() => !old.pids().some(isAlive), 10_000);
      assert.ok(next.pids().every(isAlive));
      assert.deepEqual([old.pids().length, next.pids().length], [1, 1]);
    });

    await t.test('no program outlives the kernel, also not one of an older config', async (t) => {
      const [old, next] = [pidFile(), pidFile()];
      const { kernel, config, connect } = await home(t, native, `do=forward;pids=${old.path}`);
      const stream = await connect();
      await echoes(stream, 'before');
      await kernel.reload(config(`do=forward;pids=${next.path}`));
      await echoes(stream, 'after');
      await kernel.stop();
      await eventually(() => ![...old.pids(), ...next.pids()].some(isAlive), 10_000);
    });

    await t.test('no program outlives the kernel, also not one with a connection that is of no session', async (t) => {
      const { path, pids } = pidFile();
      const { kernel } = await home(t, native, `do=forward;pids=${path}`);
      const adapter = kernel.adapters().find(({ tag }) => tag === 'p');
      const stream = (await adapter?.stream?.dialStream({ host: LOOPBACK, port: 9 }, dialOptions())) ?? assert.fail('it has streams');
      t.teardown(() => stream.abort(new Error('the test is over')));
      await kernel.stop();
      await eventually(() => !pids().some(isAlive), 10_000);
    });

    await t.test('a session says it when its program has died', async (t) => {
      const { path, pids } = pidFile();
      const { kernel, errors, connect } = await home(t, native, `do=forward;pids=${path}`);
      const told: string[] = [];
      kernel.on('kernel.warning', ({ code }) => told.push(code));
      const stream = await connect();
      await echoes(stream, 'before');
      process.kill(pids()[0] ?? assert.fail('no pid'), 'SIGKILL');
      await eventually(() => told.includes('SS_PLUGIN_EXIT'), 10_000);
      await stream.closeWrite().catch(() => undefined); // of a session that has ended already, or whose client has seen a FIN and says its own
      await eventually(() => errors.length === 1, 10_000);
      assert.deepEqual(errors, ['SS_PLUGIN_EXIT']);
    });
  });
}

/** Two configs' links for one entry. */
function links(options: string, host = '192.0.2.7', resolver: Resolver = { resolve: () => Promise.reject(new Error('asked')) }) {
  const clock = new FakeClock();
  const { context, events } = testContext();
  const direct = context.base.stream ?? assert.fail('direct has streams');
  const programs = new Programs();
  const link = (tag = 'home'): ProgramLink => {
    const around = { direct, clock, events, tag, random: () => 0.5, resolver, exemptions: context.get(EXEMPTIONS) };
    return new ProgramLink(programs, { name: 'plugin', program: program.path, options, secrets: [], server: { host, port: 8388 } }, around);
  };
  return { programs, link, clock, exemptions: context.get(EXEMPTIONS) };
}

async function dial(link: ProgramLink, clock: FakeClock, session: Partial<Session> = {}): Promise<Stream> {
  const state: { stream: Stream | null; error: unknown } = { stream: null, error: null };
  void link.dial(dialOptions(session.destination)).then(
    (stream) => {
      state.stream = stream;
    },
    (error: unknown) => {
      state.error = error;
    },
  );
  await eventually(async () => {
    if (state.stream === null) await clock.advance(20);
    return state.stream !== null || state.error !== null;
  }, 20_000);
  return state.stream ?? assert.fail(errorCode(state.error));
}

void t.test('a closed link refuses, and its program goes on with what it has', posix, async (t) => {
  const { path, pids } = pidFile();
  const { programs, link, clock } = links(`do=tell;pids=${path}`);
  t.teardown(() => programs.stop());
  const one = link();
  const stream = await dial(one, clock);
  const [pid = assert.fail('no pid')] = pids();
  one.close();
  one.close();
  one.start();
  await assert.rejects(one.dial(dialOptions()), (error) => isNetError(error) && error.code === 'SS_PLUGIN_STOPPED');
  await within(stream.read());
  await echoes(stream, 'it goes on');
  assert.ok(isAlive(pid));
  stream.abort(new Error('enough'));
  await eventually(() => !isAlive(pid), 10_000);
  assert.equal(pids().length, 1);
});

void t.test('the next link of an entry has its program, another entry has its own', posix, async (t) => {
  const { path, pids } = pidFile();
  const { programs, link, clock } = links(`do=tell;pids=${path}`);
  t.teardown(() => programs.stop());
  const [one, two, other] = [link(), link(), link('other')];
  one.start();
  await eventually(() => pids().length === 1, 10_000);
  one.close();
  two.start(); // as the kernel does, at once
  (await dial(two, clock)).abort(new Error('enough'));
  assert.equal(pids().length, 1);
  (await dial(other, clock)).abort(new Error('enough'));
  assert.equal(pids().length, 2);
  two.close();
  await eventually(() => pids().filter(isAlive).length === 1, 10_000);
  other.close();
  await eventually(() => !pids().some(isAlive), 10_000);
});

void t.test('what has to be given another address of its server is started anew, and goes on with what it has', posix, async (t) => {
  const { path, pids } = pidFile();
  const addresses = ['192.0.2.9'];
  const resolver = { resolve: () => Promise.resolve(addresses) };
  const { programs, link, clock, exemptions } = links(`do=tell;pids=${path}`, 'server.example', resolver);
  t.teardown(() => programs.stop());
  const hostOf = async (stream: Stream): Promise<string | undefined> =>
    /"SS_REMOTE_HOST":"([^"]*)"/.exec(Buffer.concat((await within(stream.read())) ?? []).toString())?.[1];
  const letOut = new Set<string>();
  const one = link();
  const first = await dial(one, clock);
  t.equal(await hostOf(first), 'server.example');
  exemptions.follow({ added: ({ endpoint }) => letOut.add(endpoint.host), removed: ({ endpoint }) => letOut.delete(endpoint.host) }); // auto-route is on now
  const reload = (before: ProgramLink): ProgramLink => {
    const after = link();
    before.close();
    after.start();
    return after;
  };
  const two = reload(one);
  await eventually(() => pids().length === 2, 10_000);
  const second = await dial(two, clock);
  t.equal(await hostOf(second), '192.0.2.9');
  t.same([...letOut], ['192.0.2.9']);
  await echoes(first, 'it goes on');
  first.abort(new Error('enough'));
  await eventually(() => pids().filter(isAlive).length === 1, 10_000);
  const three = reload(two);
  for (let i = 0; i < 5; i++) await settle();
  t.equal(pids().length, 2, 'nothing is new');
  addresses[0] = '192.0.2.10';
  const four = reload(three);
  await eventually(() => pids().length === 3, 10_000);
  t.equal(await hostOf(await dial(four, clock)), '192.0.2.10');
  t.same([...letOut], ['192.0.2.9', '192.0.2.10'], 'the old one still has a connection');
  programs.stop();
  await eventually(() => !pids().some(isAlive), 10_000);
  t.same([...letOut], []);
  await assert.rejects(link().dial(dialOptions()), { code: 'SS_PLUGIN_STOPPED' }, 'none comes after the end of the kernel');
});

void t.test('the end of the kernel waits for no connection', posix, async (t) => {
  const { path, pids } = pidFile();
  const { programs, link, clock } = links(`do=tell;pids=${path}`);
  const one = link();
  const stream = await dial(one, clock);
  t.teardown(() => stream.abort(new Error('enough')));
  one.close();
  programs.stop();
  programs.stop();
  await eventually(() => !pids().some(isAlive), 10_000);
});

void t.test('a program that dies while only connections keep it is not started again', posix, async (t) => {
  const { path, pids } = pidFile();
  const { programs, link, clock } = links(`do=tell;pids=${path}`);
  t.teardown(() => programs.stop());
  const one = link();
  const stream = await dial(one, clock);
  one.close();
  await within(stream.read());
  const reading = stream.read();
  process.kill(pids()[0] ?? assert.fail('no pid'), 'SIGKILL');
  await within(Promise.allSettled([reading]));
  await eventually(async () => {
    await clock.advance(100);
    return clock.pending === 0;
  }, 10_000);
  await clock.advance(120_000);
  assert.equal(pids().length, 1);
});

void t.test('a start does not wait for the time of the next try', posix, async (t) => {
  const { path, pids } = pidFile();
  const { programs, link, clock } = links(`do=die;pids=${path}`);
  t.teardown(() => programs.stop());
  const [one, two] = [link(), link()];
  await assert.rejects(dial(one, clock), /SS_PLUGIN_EXIT/); // it has failed, and the next try is far away
  const count = pids().length;
  one.close();
  two.start();
  await eventually(() => pids().length > count, 10_000);
  two.close();
});

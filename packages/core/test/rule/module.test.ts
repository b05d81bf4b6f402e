// MODULE rules: files that are run, and the many ways in which a file can be wrong.
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t, { type Test } from 'tap';
import { checkConfig } from '../../dist/config/check.js';
import { parseConfig } from '../../dist/config/load.js';
import type { Session } from '../../dist/net/session.js';
import { refuseUnsafe } from '../../dist/rule/module-file.js';
import { buildRule } from '../../dist/rule/parse.js';
import type { Facts, Rule, Verdict } from '../../dist/rule/rule.js';
import { ConfigRuleTools } from '../../dist/rule/tools.js';
import { eventually, FakeFacts, settle, testSession, within } from '../../dist/testing.js';
import { knownTypes } from '../config/known-types.js';
import { runChild } from '../support/child.js';
import { knownRules } from '../support/known-rules.js';

interface Bench {
  readonly folder: string;
  /** `CODE message`, without the file's path. */
  readonly warnings: string[];
  write(name: string, text: string): string;
  rule(payload: string, options?: Readonly<Record<string, unknown>>, ...parameters: string[]): Rule;
}

/** A folder for modules; closed and removed at the end. */
function bench(t: Test, checking = false): Bench {
  const folder = mkdtempSync(join(tmpdir(), 'nekit-module-'));
  const warnings: string[] = [];
  const tools = new ConfigRuleTools({ checking, folder, warn: (code, message) => warnings.push(`${code} ${message.replaceAll(`${folder}/`, '')}`) });
  t.teardown(() => {
    tools.close();
    rmSync(folder, { recursive: true });
  });
  return {
    folder,
    warnings,
    write(name, text) {
      const path = join(folder, name);
      writeFileSync(`${path}.tmp`, text);
      renameSync(`${path}.tmp`, path); // never half a file
      return path;
    },
    rule: (payload, options = {}, ...parameters) => buildRule('MODULE', payload, parameters, options, { ...knownRules(), tools }),
  };
}

async function ask(rule: Rule, session: Partial<Session> = {}, facts: Facts = new FakeFacts()): Promise<Verdict> {
  return await within(Promise.resolve(rule.match(testSession(session), facts)), 20_000, 'the verdict');
}

const to = (host: string): Partial<Session> => ({ destination: { host, port: 443 } });

/** In the kernel's thread, and in one of its own. Loading a thread takes long on a busy machine. */
const WAYS: readonly (readonly [way: string, options: Readonly<Record<string, unknown>>])[] = [
  ['local', { timeout: 10_000 }],
  ['worker', { timeout: 10_000, worker: true }],
];

for (const [way, options] of WAYS) {
  void t.test(`${way}: what a module may say`, async (t) => {
    const { folder, warnings, write, rule } = bench(t);
    write(
      'a.mjs',
      `export default (session, facts) => {
        switch (session.destination.host) {
          case 'yes': return true;
          case 'no': return false;
          case 'other': return 'Other Proxy';
          case 'later': return new Promise((resolve) => setTimeout(resolve, 5, true));
          case 'later.other': return Promise.resolve('Other');
          case 'nothing': return undefined;
          case 'null': return null;
          case 'number': return 1;
          case 'empty': return '';
          case 'long': return 'x'.repeat(1000);
          case 'object': return { to: 'x' };
          case 'function': return () => true;
          case 'throw': throw new TypeError('no\\n  such luck');
          case 'reject': return Promise.reject('plain text');
          case 'odd': throw { toString() { throw new Error('gotcha'); } };
          case 'thenable': return { then(resolve) { resolve(true); } };
          case 'getter': return { get then() { throw new Error('no then'); } };
        }
      };`,
    );
    const built = rule('./a.mjs', options);
    for (const [host, verdict] of [
      ['yes', true],
      ['no', false],
      ['other', { to: 'Other Proxy' }],
      ['later', true],
      ['later.other', { to: 'Other' }],
      ['thenable', true],
    ] as const)
      assert.deepEqual(await ask(built, to(host)), verdict, host);
    assert.deepEqual(warnings, []);
    const hosts = ['nothing', 'null', 'number', 'empty', 'long', 'object', 'function', 'throw', 'reject', 'odd', 'getter'];
    for (const host of [...hosts, ...hosts]) assert.equal(await ask(built, to(host)), false, host);
    const result = (what: string): string =>
      `MODULE_RESULT the rule module a.mjs gave back ${what}, which counts as no match: true, false or the name of a proxy or group is expected`;
    const failed = (what: string): string => `MODULE_FAILED the rule module a.mjs failed, which counts as no match: ${what}`;
    assert.deepEqual(warnings, [
      ...['nothing', 'null', 'a number', 'an empty text', 'a text of 1000 characters', 'an object', 'a function'].map(result),
      ...['TypeError: no such luck', 'plain text', 'an error that has no text (asking for it threw another)', 'no then'].map(failed),
    ]);
    assert.deepEqual(
      await ask(buildRule('AND', `((MODULE,${folder}/a.mjs),(NETWORK,TCP))`, [], {}, { ...knownRules() }), to('other')),
      true,
      'in another rule',
    );
  });

  void t.test(`${way}: what a module is told`, async (t) => {
    const { warnings, write, rule } = bench(t);
    write(
      'a.mjs',
      `export default async (session, facts) => {
        const frozen = [session, session.source, session.requested, session.destination, facts].every(Object.isFrozen);
        if (session.sniffed === 'addresses') return JSON.stringify([await facts.addresses(), await facts.addresses()]);
        if (session.sniffed === 'process') return JSON.stringify(await facts.process());
        const { id, network, inbound, inboundType, inboundPort, source, requested, destination, user, sniffed, ...more } = session;
        return JSON.stringify([frozen, id, network, inbound, inboundType, inboundPort, source, requested, destination, user, sniffed, more]).replaceAll('"', '');
      };`,
    );
    const built = rule('a.mjs', options);
    const session: Partial<Session> = { id: 7, user: 'alice', requested: { host: '198.18.0.1', port: 80 }, destination: { host: 'a.example', port: 80 } };
    assert.deepEqual(await ask(built, session), {
      to: '[true,7,tcp,test,SOCKS5,1080,{host:127.0.0.1,port:50000},{host:198.18.0.1,port:80},{host:a.example,port:80},alice,null,{}]',
    });
    const info = { name: 'curl', path: '/usr/bin/curl', uid: 1000 };
    const facts = new FakeFacts(null, ['192.0.2.1', '2001:db8::1'], info);
    assert.deepEqual(await ask(built, { sniffed: 'addresses' }, facts), { to: '[["192.0.2.1","2001:db8::1"],["192.0.2.1","2001:db8::1"]]' });
    assert.equal(facts.lookups, 1);
    assert.deepEqual(await ask(built, { sniffed: 'process' }, facts), { to: JSON.stringify(info) });
    assert.deepEqual(await ask(built, { sniffed: 'process' }), { to: 'null' });
    const many = Array.from({ length: 100 }, (_, i) => ask(built, { sniffed: 'addresses' }, new FakeFacts(null, [`192.0.2.${i}`])));
    for (const [i, verdict] of (await Promise.all(many)).entries()) assert.deepEqual(verdict, { to: `[["192.0.2.${i}"],["192.0.2.${i}"]]` });
    assert.deepEqual(warnings, []);
  });

  void t.test(`${way}: a changed file is taken over, the last good version stays`, async (t) => {
    const { folder, warnings, write, rule } = bench(t);
    const version = (text: string): string => `export default () => '${text}';`;
    write('a.mjs', version('one'));
    const built = rule('a.mjs', options);
    const says = (name: string) => async (): Promise<boolean> => {
      const verdict = await ask(built);
      return typeof verdict === 'object' && 'to' in verdict && verdict.to === name;
    };
    assert.ok(await says('one')());
    write('a.mjs', version('two'));
    await eventually(says('two'), 20_000);
    write('a.mjs', 'export default (');
    await eventually(() => warnings.length === 1, 20_000, 'the warning');
    assert.match(warnings[0] ?? '', /^MODULE_NOT_LOADED the rule module a\.mjs is not loaded, and its last version stays in force: SyntaxError: /);
    assert.ok(await says('two')());
    write('a.mjs', 'export default 7;');
    await eventually(() => warnings.length === 2, 20_000, 'the warning');
    assert.match(warnings[1] ?? '', /stays in force: its default export is no function: write export default \(session, facts\) => …$/);
    rmSync(join(folder, 'a.mjs'));
    write('b.txt', 'wakes the watcher');
    assert.ok(await says('two')(), 'no file, no change');
    writeFileSync(join(folder, 'a.mjs'), version('three'));
    await eventually(says('three'), 20_000);
    write('a.mjs', "export default () => { throw new Error('new'); };");
    await eventually(async () => (await ask(built)) === false, 20_000);
    assert.match(warnings.at(-1) ?? '', /counts as no match: new$/);
  });

  void t.test(`${way}: one that does not load matches nothing, until it does`, async (t) => {
    const { warnings, write, rule } = bench(t);
    write('a.mjs', "throw new Error('not today');");
    const built = rule('a.mjs', options);
    assert.equal(await ask(built), false);
    assert.deepEqual(warnings, ['MODULE_NOT_LOADED the rule module a.mjs is not loaded, and matches nothing: not today']);
    assert.equal(await ask(built), false);
    write('a.mjs', 'export default () => true;');
    await eventually(async () => (await ask(built)) === true, 20_000);
    assert.equal(warnings.length, 1);
  });

  void t.test(`${way}: CommonJS, and what compilers make of a default export`, async (t) => {
    const { warnings, write, rule } = bench(t);
    write('a.cjs', "module.exports = () => 'one';");
    write('b.js', 'exports.__esModule = true; exports.default = () => true;');
    write('package.json', '{}');
    assert.equal(await ask(rule('b.js', options)), true);
    const built = rule('a.cjs', options);
    assert.deepEqual(await ask(built), { to: 'one' });
    write('a.cjs', "module.exports = () => 'two';");
    await eventually(async () => JSON.stringify(await ask(built)) === '{"to":"two"}', 20_000, 'a new version of a CommonJS file');
    assert.deepEqual(warnings, []);
  });
}

void t.test('a synchronous answer of a loaded module is a synchronous verdict', async (t) => {
  const { write, rule } = bench(t);
  write('a.mjs', 'export default (session) => session.network === "udp";');
  const built = rule('a.mjs');
  await ask(built);
  assert.equal(built.match(testSession({ network: 'udp' }), new FakeFacts()), true);
  assert.equal(built.match(testSession(), new FakeFacts()), false);
});

void t.test('time limits in the kernel’s thread', async (t) => {
  const { warnings, write, rule } = bench(t);
  write(
    'a.mjs',
    `export default ({ destination: { host } }) => {
      if (host === 'never') return new Promise(() => {});
      if (host === 'late') return new Promise((resolve, reject) => process.once('module.test', () => reject(new Error('nobody hears this'))));
      const end = performance.now() + 30;
      while (performance.now() < end);
      return true;
    };`,
  );
  const built = rule('a.mjs', { timeout: '40' });
  await eventually(async () => (await ask(built, to('slow'))) === true);
  assert.equal(await ask(built, to('slow')), true);
  assert.equal(await ask(built, to('never')), false);
  assert.equal(await ask(built, to('late')), false);
  process.emit('module.test' as 'beforeExit', 0);
  await settle(); // the rejection comes, and is nobody's
  const told = warnings.map((warning) => warning.replace(/took [0-9]+ ms/, 'took N ms'));
  assert.deepEqual([...new Set(told)].sort(), [
    'MODULE_FAILED the rule module a.mjs failed, which counts as no match: it took longer than 40 ms',
    'MODULE_SLOW the rule module a.mjs took N ms in one call, and all connections wait meanwhile: do less, or let it run in a thread (worker)',
  ]);
  assert.equal(warnings.length, 2, 'once each');

  write('b.mjs', 'await new Promise((resolve) => setTimeout(resolve, 300)); export default () => true;');
  const loading = rule('b.mjs', { timeout: 50 });
  assert.equal(await ask(loading), false, 'it is not there in time');
  await eventually(async () => (await ask(loading)) === true, 20_000);
});

void t.test('only so many different failures are told', async (t) => {
  const { warnings, write, rule } = bench(t);
  write('a.mjs', 'export default (session) => { throw new Error(session.id); };');
  const built = rule('a.mjs');
  for (let id = 0; id < 100; id++) await ask(built, { id });
  assert.equal(warnings.length, 21);
  assert.equal(warnings.at(-1), 'MODULE_FAILED the rule module a.mjs fails in many ways: no more of them are told until it changes');
});

void t.test('a thread that does not answer is ended and made anew', async (t) => {
  const { warnings, write, rule } = bench(t);
  write(
    'a.mjs',
    `let calls = 0;
    export default async ({ destination: { host } }) => {
      if (host === 'loop') for (;;);
      if (host === 'never') await new Promise(() => {});
      if (host === 'exit') process.exit(3);
      if (host === 'stray') { Promise.reject(new Error('stray')); await new Promise(() => {}); }
      if (host === 'memory') { const all = []; for (;;) all.push(new Array(1e6).fill(all)); }
      if (host === 'env') return JSON.stringify(process.env);
      return String(++calls);
    };`,
  );
  const built = rule('a.mjs', { timeout: 1_000 }, 'worker');
  const alive = (): Promise<void> => eventually(async () => (await ask(built, to('count'))) !== false, 20_000);
  const quick: Facts = new FakeFacts();
  await alive();
  assert.deepEqual(await ask(built, to('count')), { to: '2' });
  assert.deepEqual(await ask(built, to('env')), { to: '{}' });
  for (const host of ['loop', 'never']) {
    const stuck = built.match(testSession(to(host)), quick);
    const behind = built.match(testSession(to(host === 'loop' ? 'count' : 'never')), quick);
    assert.equal(await within(Promise.resolve(stuck), 20_000), false, host);
    assert.equal(await within(Promise.resolve(behind), 20_000), false, 'calls in flight count as no match');
    await alive();
    assert.deepEqual(await ask(built, to('count')), { to: '2' }, 'a new one');
  }
  for (const host of ['exit', 'stray', 'memory']) {
    assert.equal(await ask(built, to(host)), false, host);
    await alive();
  }
  const failed = 'MODULE_FAILED the rule module a.mjs failed, which counts as no match: ';
  for (const reason of [
    'it took longer than 1000 ms',
    'its thread was ended, since another call took too long',
    'its thread ended',
    'its thread ended: stray',
  ]) {
    assert.ok(warnings.includes(failed + reason), `${reason} in ${warnings.join('\n')}`);
  }
});

void t.test('a thread that is not in use any more ends', async (t) => {
  const { write, rule } = bench(t);
  const beats = write('beats', ''); // in the watched folder, where something happens all the time then
  const module = (text: string): string => `
    import { appendFileSync } from 'node:fs';
    setInterval(() => appendFileSync(${JSON.stringify(beats)}, '${text}'), 2);
    export default ({ destination: { host } }) => (host === 'never' ? new Promise(() => {}) : '${text}');`;
  const heard = (text: string): number => readFileSync(beats, 'utf8').split(text).length;
  const stops = (text: string): Promise<void> =>
    eventually(
      async () => {
        const before = heard(text);
        await new Promise((resolve) => setTimeout(resolve, 50));
        return heard(text) === before;
      },
      20_000,
      `${text} is silent`,
    );
  write('a.mjs', module('a'));
  const built = rule('a.mjs', { timeout: 1_000 }, 'worker');
  await eventually(async () => (await ask(built)) !== false && heard('a') > 1, 20_000);
  write('a.mjs', module('b'));
  await eventually(async () => JSON.stringify(await ask(built)) === '{"to":"b"}', 20_000);
  await stops('a'); // replaced
  write('a.mjs', 'broken('); // what comes next is not there to beat
  await eventually(async () => (await ask(built, to('never'))) === false, 20_000);
  await stops('b'); // over its limit
});

void t.test('a thread has a bounded queue', async (t) => {
  const { warnings, write, rule } = bench(t);
  write('a.mjs', 'export default async (session, facts) => (await facts.addresses()).length > 0;');
  const built = rule('a.mjs', { timeout: 10_000, worker: true });
  await eventually(async () => (await ask(built, {}, new FakeFacts(['192.0.2.1']))) === true, 20_000);
  let found: (addresses: string[]) => void = () => undefined;
  const addresses = new Promise<string[]>((resolve) => {
    found = resolve;
  });
  const facts: Facts = { addresses: () => addresses, knownAddresses: () => null, process: async () => null, once: (_key, find) => find() };
  const verdicts = Array.from({ length: 300 }, () => ask(built, {}, facts));
  await eventually(() => warnings.length > 0);
  found(['192.0.2.1']);
  const all = await Promise.all(verdicts);
  assert.equal(all.filter((verdict) => verdict === true).length, 256);
  assert.deepEqual(warnings, ['MODULE_FAILED the rule module a.mjs failed, which counts as no match: it has 256 calls to answer already']);
});

void t.test('what is no local file is refused, with or without running it', async (t) => {
  for (const checking of [true, false]) {
    const { folder, write, rule } = bench(t, checking);
    write('a.mjs', 'export default () => true;');
    write('a.ts', '');
    mkdirSync(join(folder, 'folder.mjs'), { recursive: true });
    for (const [payload, message] of [
      ['', /^MODULE needs a file, as in MODULE,\.\/rules\/office\.mjs$/],
      ['https://example.com/a.mjs', /^"https:\/\/example\.com\/a\.mjs" is no local file: code comes from this machine only/],
      ['HTTP://example.com/a.mjs', /is no local file/],
      ['data:text/javascript,export default 1.mjs', /is no local file/],
      ['node:fs.js', /is no local file/],
      [pathToFileURL(join(folder, 'a.mjs')).href, /is no local file/],
      ['//server/share/a.mjs', /is no local file/],
      ['\\\\server\\share\\a.mjs', /is no local file/],
      ['lodash', /^"lodash" is no module: its name ends in \.js, \.mjs, \.cjs, as in/],
      ['./a.ts', /^"\.\/a\.ts" is no module/],
      ['./a.MJS', /is no module/],
      ['./a\0.mjs', /has no NUL/],
      ['./missing.mjs', new RegExp(`^there is no file ${folder}/missing\\.mjs$`)],
      ['./a.mjs/b.mjs', new RegExp(`^there is no file ${folder}/a\\.mjs/b\\.mjs$`)],
      ['./folder.mjs', new RegExp(`^${folder}/folder\\.mjs is no file$`)],
      [`./${'x'.repeat(5_000)}.mjs`, / cannot be read: ENAMETOOLONG$/],
    ] as const) {
      assert.throws(() => rule(payload), { message }, payload);
    }
    for (const timeout of [0, 10_001, 1.5, -1, Number.NaN, 'soon', '', null, true]) {
      assert.throws(() => rule('a.mjs', { timeout }), { message: /^timeout is how long a call may take: write milliseconds, 1 to 10000, as in timeout: 500$/ });
    }
    assert.throws(() => rule('a.mjs', { worker: 'yes' }), { message: /^worker is true or false/ });
    assert.throws(() => rule('a.mjs', {}, 'wroker'), { message: /did you mean worker\?/ });
  }
});

void t.test('in a config file', async (t) => {
  const { folder, write } = bench(t);
  write('a.mjs', 'this is no JavaScript, and nobody looks');
  const problemsOf = (rule: string): string[] =>
    checkConfig(parseConfig(`rules:\n  - ${rule}\n`, join(folder, 'c.yaml')), knownTypes()).problems.map(({ severity, message }) => `${severity}: ${message}`);
  for (const rule of ['MODULE,a.mjs,DIRECT', 'MODULE,./a.mjs,DIRECT,worker', '{ type: MODULE, value: a.mjs, to: DIRECT, worker: true, timeout: 200 }']) {
    assert.deepEqual(problemsOf(rule), [], rule);
  }
  assert.deepEqual(problemsOf('{ type: MODULE, value: a.mjs, to: DIRECT, timout: 200 }'), [
    'warning: "timout" is no key of a MODULE rule. Did you mean "timeout"?',
  ]);
  assert.deepEqual(problemsOf('MODULE,b.mjs,DIRECT'), [`error: there is no file ${folder}/b.mjs`]);
});

void t.test('nothing is run, watched or started by a check', async (t) => {
  const { folder, warnings, write, rule } = bench(t, true);
  write('a.mjs', `import { writeFileSync } from 'node:fs'; writeFileSync(${JSON.stringify(join(folder, 'proof'))}, '');`);
  write('b.mjs', 'this is no JavaScript');
  const resources = process.getActiveResourcesInfo().length;
  for (const name of ['a.mjs', 'b.mjs']) {
    for (const options of [{}, { worker: true }]) assert.equal(await ask(rule(name, options)), false);
  }
  assert.equal(process.getActiveResourcesInfo().length, resources);
  const running = bench(t);
  running.write('a.mjs', 'export default () => true;');
  assert.equal(await ask(running.rule('a.mjs', { timeout: 10_000, worker: true })), true); // what was begun before had its time
  assert.equal(readdirSync(folder).includes('proof'), false);
  assert.deepEqual(warnings, []);
});

type Owned = readonly [uid: number, mode: number];

void t.test('as root: a file that somebody else may change', async (t) => {
  const owners = (entries: Readonly<Record<string, Owned>>, uid: number | null = 0) => ({
    uid,
    command: '/opt/cli.js',
    realpath: (path: string) => (path === '/rules/link.mjs' ? '/home/real.mjs' : path),
    stat: (path: string) => {
      const found = path === '/' ? ([0, 0o755] as const) : entries[path];
      if (found === undefined) throw Object.assign(new Error(path), { code: 'ENOENT' });
      return { uid: found[0], mode: found[1] };
    },
  });
  const good: Readonly<Record<string, Owned>> = {
    '/rules': [0, 0o755],
    '/rules/a.mjs': [0, 0o644],
    '/rules/link.mjs': [0, 0o777],
    '/opt/cli.js': [0, 0o755],
  };
  refuseUnsafe('/rules/a.mjs', owners(good));
  for (const [path, entries, message] of [
    [
      '/rules/a.mjs',
      { '/rules/a.mjs': [1000, 0o644] },
      /^\/rules\/a\.mjs is not run as root: \/rules\/a\.mjs belongs to user 1000, who could change what runs; give it to root/,
    ],
    ['/rules/a.mjs', { '/rules/a.mjs': [0, 0o664] }, /\/rules\/a\.mjs may be written by others/],
    ['/rules/a.mjs', { '/rules/a.mjs': [0, 0o646] }, /\/rules\/a\.mjs may be written by others/],
    ['/rules/a.mjs', { '/rules': [0, 0o777] }, /: \/rules may be written by others/],
    ['/rules/link.mjs', { '/home': [1000, 0o755], '/home/real.mjs': [0, 0o644] }, /: \/home belongs to user 1000/],
    // Who owns a folder further up may put another in the place of all below it.
    [
      '/home/alice/rules/a.mjs',
      { '/home': [0, 0o755], '/home/alice': [1000, 0o755], '/home/alice/rules': [0, 0o755], '/home/alice/rules/a.mjs': [0, 0o644] },
      /: \/home\/alice belongs to user 1000/,
    ],
  ] as const) {
    const changed = { ...good, ...entries };
    assert.throws(() => refuseUnsafe(path, owners(changed)), { message }, path);
    refuseUnsafe(path, owners(changed, 1000));
    refuseUnsafe(path, owners(changed, null));
  }
  refuseUnsafe('/rules/a.mjs', owners({ ...good, '/rules/a.mjs': [1000, 0o644], '/opt/cli.js': [1000, 0o755] }));
  refuseUnsafe('/rules/a.mjs', owners({ '/rules': [0, 0o755], '/rules/a.mjs': [0, 0o644] }));
  refuseUnsafe('/tmp/a.mjs', owners({ '/tmp': [0, 0o1777], '/tmp/a.mjs': [0, 0o644] }));

  if (process.geteuid?.() !== 0) return;
  const { warnings, write, rule } = bench(t);
  const path = write('a.mjs', 'export default () => true;');
  chmodSync(path, 0o666);
  assert.throws(() => rule('a.mjs'), { message: /may be written by others/ });
  chmodSync(path, 0o644);
  const built = rule('a.mjs', { timeout: 10_000 });
  assert.equal(await ask(built), true);
  const next = write('next.mjs', "export default () => 'evil';");
  chownSync(next, 65_534, 65_534);
  renameSync(next, path);
  await eventually(() => warnings.length > 0, 20_000, 'the warning');
  assert.match(warnings[0] ?? '', /^MODULE_NOT_LOADED .* its last version stays in force: .* belongs to user 65534/);
  assert.equal(await ask(built), true);
});

void t.test('a link to a file elsewhere', async (t) => {
  const { folder, write, rule } = bench(t);
  mkdirSync(join(folder, 'v1'));
  mkdirSync(join(folder, 'v2'));
  write('v1/a.mjs', "export default () => 'one';");
  write('v2/a.mjs', "export default () => 'two';");
  symlinkSync('v1/a.mjs', join(folder, 'a.mjs'));
  const built = rule('a.mjs', { timeout: 10_000 });
  assert.deepEqual(await ask(built), { to: 'one' });
  symlinkSync('v2/a.mjs', join(folder, 'next'));
  renameSync(join(folder, 'next'), join(folder, 'a.mjs'));
  await eventually(async () => JSON.stringify(await ask(built)) === '{"to":"two"}', 20_000);
});

void t.test('a process ends by itself: with its rules closed, and with idle ones that are not', async (t) => {
  const { folder, write } = bench(t);
  write('a.mjs', 'export default async (session, facts) => { await facts.addresses(); return true; };');
  const dist = new URL('../../dist/', import.meta.url).href;
  for (const close of [true, false]) {
    for (const worker of [true, false]) {
      const ended = await runChild(
        `
        import { moduleRule } from '${dist}rule/module.js';
        import { FakeFacts, ruleContext, testSession } from '${dist}testing.js';
        const context = ruleContext({ parameters: new Set(${worker ? "['worker']" : ''}), options: { timeout: 10000 }, config: { folder: ${JSON.stringify(folder)} } });
        const rules = Array.from({ length: 3 }, () => moduleRule().create('a.mjs', context));
        const verdicts = await Promise.all(rules.map((rule) => rule.match(testSession(), new FakeFacts(['192.0.2.1']))));
        if (${close}) {
          const late = rules[0].match(testSession(), new FakeFacts(['192.0.2.1']));
          context.tools.close();
          verdicts.push(await late); // what was under way when the config was replaced is answered
        }
        sockets.close();
        console.log(JSON.stringify(verdicts));
      `,
        { ms: 30_000 },
      );
      assert.deepEqual([ended.code, ended.stdout.trim()], [0, JSON.stringify(Array.from({ length: close ? 4 : 3 }, () => true))], ended.stderr);
    }
  }
});

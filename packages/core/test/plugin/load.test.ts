/** Fixtures are packages written into a temporary folder: a project with a config, and a command with node_modules of its own. */
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t from 'tap';
import { installedPlugins } from '../../dist/plugin/list.js';
import { type LoadOptions, loadPlugins } from '../../dist/plugin/load.js';
import type { Guard } from '../../dist/plugin/ownership.js';
import { PluginError } from '../../dist/plugin/plugin-error.js';
import { FakeClock } from '../../dist/testing/fake-clock.js';
import { eventually } from '../../dist/testing/wait.js';

const root = await realpath(await mkdtemp(join(tmpdir(), 'nekit-load-')));
t.teardown(() => rm(root, { recursive: true, force: true }));

async function write(file: string, content: unknown): Promise<string> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content));
  return file;
}

const source = (name: string): string => `export default { name: '${name}', api: 1, setup() {} };\n`;

interface Fixture {
  readonly manifest?: object;
  readonly nekit?: object | null;
  readonly code?: string;
}

/** A plugin package in `folder` (a node_modules folder). */
async function addPackage(folder: string, name: string, { manifest = {}, nekit = {}, code = source(name) }: Fixture = {}): Promise<string> {
  const at = join(folder, name);
  const full = nekit === null ? {} : { nekit: { api: 1, plugin: './plugin.js', ...nekit } };
  await write(join(at, 'package.json'), { name, version: '1.2.3', type: 'module', ...full, ...manifest });
  await write(join(at, 'plugin.js'), code);
  return at;
}

let worlds = 0;

/** An empty project and a command that is installed globally. */
async function world(dependencies: Record<string, object> = {}) {
  const at = join(root, `world-${++worlds}`);
  const project = join(at, 'project');
  const modules = join(project, 'node_modules');
  const globalModules = join(at, 'prefix', 'lib', 'node_modules');
  await write(join(project, 'package.json'), { name: 'project', ...dependencies });
  const configFile = await write(join(project, 'config', 'config.yaml'), '');
  const cliPath = await write(join(globalModules, 'nekit-kernel', 'bin', 'nekit-kernel.js'), '');
  await write(join(globalModules, 'nekit-kernel', 'package.json'), { name: 'nekit-kernel' });
  const elsewhere = join(at, 'elsewhere');
  await mkdir(elsewhere);
  const options: LoadOptions = { configFile, cwd: elsewhere, cliPath, coreVersion: '1.4.0' };
  return { at, project, modules, globalModules, cliPath, elsewhere, options };
}

async function failure(promise: Promise<unknown>): Promise<PluginError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof PluginError) return error;
    throw error;
  }
  throw new Error('it did not reject');
}

const dependsOn = (...names: string[]): object => Object.fromEntries(names.map((name) => [name, '*']));

t.test('names of packages', async (t) => {
  const { modules, globalModules, options } = await world();
  const own = await addPackage(modules, 'nekit-plugin-a', { nekit: { alias: ['a', 'http'] } });
  await addPackage(modules, '@scope/b', { nekit: { alias: 'b' } });
  const outer = await addPackage(globalModules, 'nekit-plugin-c');
  await addPackage(globalModules, 'nekit-plugin-a', { code: source('the wrong copy') });
  t.test('are found in the project, then on the command’s path, without being listed as a dependency', async (t) => {
    const loaded = await loadPlugins(['nekit-plugin-a', '@scope/b', 'nekit-plugin-c'], options);
    t.strictSame(
      loaded.map(({ plugin }) => plugin.name),
      ['nekit-plugin-a', '@scope/b', 'nekit-plugin-c'],
    );
    t.strictSame(
      { ...loaded[0], plugin: null },
      { plugin: null, packageName: 'nekit-plugin-a', version: '1.2.3', path: own, alias: ['a'] },
      'a reserved alias is dropped',
    );
    t.equal(loaded[2]?.path, outer);
  });
  t.test('no names, no work', async (t) => {
    t.strictSame(await loadPlugins([], { ...options, cliPath: join(root, 'not-there') }), []);
  });
  t.test('nothing remote, and no versions', async (t) => {
    for (const name of ['http://127.0.0.1/plugin.js', 'https://127.0.0.1/p', 'data:text/javascript,0', 'file:///tmp/p.js', 'node:fs', 'git+ssh://x', 'npm:x']) {
      const error = await failure(loadPlugins([name], options));
      t.match(error, { code: 'PLUGIN_REMOTE', plugin: name, hook: 'load' }, name);
    }
    for (const name of ['', 'a@1.0.0', 'a/b', '@scope', '@scope/b/c', '.hidden', 'a b', '..a']) {
      t.match(await failure(loadPlugins([name], options)), { code: 'PLUGIN_BAD_NAME', plugin: name }, name);
    }
  });
  t.test('a package that is no plugin', async (t) => {
    await addPackage(modules, 'left', { nekit: null });
    t.match(await failure(loadPlugins(['left'], options)), { code: 'PLUGIN_NO_MANIFEST', message: /left is no nekit plugin/ });
  });
});

t.test('exports without a door for us', async (t) => {
  const { modules, options } = await world();
  await addPackage(modules, 'import-only', { manifest: { exports: { '.': { import: './plugin.js' } } } });
  await addPackage(modules, 'closed', { manifest: { exports: {} } });
  t.strictSame(
    (await loadPlugins(['import-only', 'closed'], options)).map(({ plugin }) => plugin.name),
    ['import-only', 'closed'],
  );
});

t.test('aliases of our own packages', async (t) => {
  const { modules, globalModules, options } = await world({ dependencies: dependsOn('thief') });
  await addPackage(modules, 'thief', { nekit: { alias: ['http', 'ss', 'geoip'] } });
  await addPackage(modules, 'ss', { code: source('squatter') });
  await addPackage(globalModules, '@nekit/adapter-http', { nekit: { alias: ['http'] } });
  const loaded = await loadPlugins(['http'], options);
  t.match(loaded, [{ packageName: '@nekit/adapter-http', alias: ['http'] }]);
  const expected: [string, string][] = [
    ['ss', '@nekit/adapter-shadowsocks'],
    ['shadowsocks', '@nekit/adapter-shadowsocks'],
    ['socks5', '@nekit/adapter-socks5'],
    ['socks', '@nekit/adapter-socks5'],
    ['tcp', '@nekit/stack-tcp'],
    ['udp', '@nekit/stack-udp'],
    ['dns', '@nekit/stack-dns'],
    ['geoip', '@nekit/rule-geoip'],
  ];
  for (const [alias, name] of expected) {
    const error = await failure(loadPlugins([alias], options));
    t.match(error, { code: 'PLUGIN_NOT_INSTALLED', plugin: alias });
    t.ok(error.message.includes(`npm install -g ${name}`), error.message);
  }
});

t.test('aliases of others', async (t) => {
  t.test('of what the project depends on', async (t) => {
    const lists = { dependencies: dependsOn('one'), devDependencies: dependsOn('@x/two'), optionalDependencies: dependsOn('three', 'not-there') };
    const { modules, project, elsewhere, options } = await world(lists);
    for (const name of ['one', '@x/two', 'three', 'stray']) await addPackage(modules, name, { nekit: { alias: [`${name.split('/').at(-1)}-alias`] } });
    const loaded = await loadPlugins(['one-alias', 'two-alias', 'three-alias'], options);
    t.strictSame(
      loaded.map(({ packageName }) => packageName),
      ['one', '@x/two', 'three'],
    );
    t.match(await failure(loadPlugins(['stray-alias'], options)), { code: 'PLUGIN_NOT_INSTALLED' }, 'what nobody depends on claims nothing');
    const { configFile: _none, ...withoutConfig } = options;
    t.match(await failure(loadPlugins(['one-alias'], withoutConfig)), { code: 'PLUGIN_NOT_INSTALLED' }, 'cwd is elsewhere');
    t.equal((await loadPlugins(['one-alias'], { ...withoutConfig, cwd: join(project, 'config') })).length, 1, 'without a config file it is cwd that counts');
    t.match(
      await failure(loadPlugins(['one-alias'], { ...options, configFile: join(elsewhere, 'c.yaml'), cwd: project })),
      { code: 'PLUGIN_NOT_INSTALLED' },
      'with one cwd does not',
    );
    t.equal((await loadPlugins(['one-alias'], { ...options, configFile: '../project/config/config.yaml' })).length, 1, 'relative to cwd');
  });
  t.test('of everything beside a global command', async (t) => {
    const { globalModules, options } = await world();
    await addPackage(globalModules, '@who/ever', { nekit: { alias: ['ever'] } });
    await addPackage(join(globalModules, 'nekit-kernel', 'node_modules'), 'nested', { nekit: { alias: ['inside'] } });
    await addPackage(join(globalModules, '.hidden'), 'hidden', { nekit: { alias: ['hidden-alias'] } });
    t.match(await loadPlugins(['ever', 'inside'], options), [{ packageName: '@who/ever' }, { packageName: 'nested' }]);
    t.match(await failure(loadPlugins(['hidden-alias'], options)), { code: 'PLUGIN_NOT_INSTALLED' });
  });
  t.test('of everything in a workspace: real path and link', async (t) => {
    const { at, options } = await world();
    const cliPath = await write(join(at, 'workspace', 'packages', 'cli', 'bin', 'cli.js'), '');
    await addPackage(join(at, 'workspace', 'node_modules'), 'hoisted', { nekit: { alias: ['up'] } });
    t.match(await loadPlugins(['up'], { ...options, cliPath }), [{ packageName: 'hoisted' }]);
    // npm link: the folder in the global node_modules is a link, and only the way there shows what lies beside it.
    const linkedModules = join(at, 'linked', 'lib', 'node_modules');
    await mkdir(join(at, 'linked', 'bin'), { recursive: true });
    await addPackage(linkedModules, 'beside', { nekit: { alias: ['beside-alias'] } });
    await symlink(join(at, 'workspace', 'packages', 'cli'), join(linkedModules, 'cli'));
    const cliLink = join(at, 'linked', 'bin', 'cli');
    await symlink('../lib/node_modules/cli/bin/cli.js', cliLink);
    t.match(await loadPlugins(['beside-alias', 'up'], { ...options, cliPath, cliLink }), [{ packageName: 'beside' }, { packageName: 'hoisted' }]);
    t.match(await loadPlugins(['beside'], { ...options, cliPath: cliLink }), [{ packageName: 'beside' }], 'cliPath may be the link itself');
    t.match(await failure(loadPlugins(['beside-alias'], { ...options, cliPath })), { code: 'PLUGIN_NOT_INSTALLED' });
    await addPackage(join(at, 'linked', 'node_modules'), 'planted', { nekit: { alias: ['planted-alias'] } });
    t.match(
      await failure(loadPlugins(['planted-alias'], { ...options, cliPath, cliLink })),
      { code: 'PLUGIN_NOT_INSTALLED' },
      'a folder near the link is not on the way',
    );
  });
  t.test('claimed twice', async (t) => {
    const { modules, globalModules, options } = await world({ dependencies: dependsOn('one') });
    await addPackage(modules, 'one', { nekit: { alias: ['same'] } });
    await addPackage(globalModules, 'one', { nekit: { alias: ['same'] } });
    t.match(await loadPlugins(['same'], options), [{ packageName: 'one' }], 'two copies of one package are no quarrel');
    await addPackage(globalModules, 'two', { nekit: { alias: ['same'] } });
    const error = await failure(loadPlugins(['same'], options));
    t.match(error, { code: 'ALIAS_AMBIGUOUS', plugin: 'same', message: /claimed by one \(.*\) and two \(.*\); use the package name/ });
    t.equal((await loadPlugins(['one', 'two'], options)).length, 2);
  });
  t.test('a package name goes before an alias, unless it is no plugin', async (t) => {
    const { modules, options } = await world({ dependencies: dependsOn('claims') });
    await addPackage(modules, 'claims', { nekit: { alias: ['ws', 'real'] } });
    await addPackage(modules, 'ws', { nekit: null });
    await addPackage(modules, 'real');
    t.match(await loadPlugins(['ws', 'real'], options), [{ packageName: 'claims' }, { packageName: 'real' }]);
  });
  t.test('a broken package.json does not stop the others', async (t) => {
    const { globalModules, options } = await world();
    await write(join(globalModules, 'broken', 'package.json'), '{ not json');
    await addPackage(globalModules, 'odd', { nekit: { alias: [7] } });
    await addPackage(globalModules, 'good', { nekit: { alias: ['good-alias'] } });
    t.match(await loadPlugins(['good-alias'], options), [{ packageName: 'good' }]);
    t.match(await failure(loadPlugins(['broken'], options)), { code: 'PLUGIN_BAD_MANIFEST', message: /cannot read .*broken.package\.json/ });
    t.match(await failure(loadPlugins(['odd'], options)), { code: 'PLUGIN_BAD_MANIFEST', message: /"nekit\.alias" should be a list/ });
  });
});

t.test('named twice, loaded once', async (t) => {
  const { project, modules, options } = await world({ dependencies: dependsOn('one') });
  await addPackage(modules, 'one', { nekit: { alias: ['uno', 'un'] } });
  const loaded = await loadPlugins(
    ['uno', 'one', 'un', join(modules, 'one'), '../node_modules/one/plugin.js', join(project, 'node_modules/one/plugin.js')],
    options,
  );
  t.equal(loaded.length, 1);
});

t.test('not installed', async (t) => {
  const { at, project, globalModules, options } = await world();
  const line = async (name: string, more: Partial<LoadOptions> = {}): Promise<string> => {
    const error = await failure(loadPlugins([name], { ...options, ...more }));
    t.match(error, { code: 'PLUGIN_NOT_INSTALLED', plugin: name, hook: 'load' });
    return error.message;
  };
  t.equal(await line('wireguard'), `plugin "wireguard" is not installed; install it with: npm install -g wireguard --prefix ${join(at, 'prefix')}`);
  t.match(await line('sock5'), /npm install -g sock5 .*; or did you mean "socks5"\?$/);
  const local = { cliPath: await write(join(project, 'node_modules', 'nekit-kernel', 'bin', 'cli.js'), '') };
  t.equal(await line('@x/wireguard', { ...local, cwd: project }), 'plugin "@x/wireguard" is not installed; install it with: npm install @x/wireguard');
  t.equal(await line('ss', local), `plugin "ss" is not installed; install it with: npm install @nekit/adapter-shadowsocks (in ${project})`);
  t.match(await line('./not-there.js'), /is not there: .*config.not-there\.js does not exist/);
  await addPackage(globalModules, 'beside', { nekit: { alias: ['wiregard'] } });
  t.match(await line('wireguard'), /did you mean "wiregard"\?/);
});

t.test('paths', async (t) => {
  const { project, elsewhere, options } = await world();
  await write(join(elsewhere, 'package.json'), { type: 'module' });
  await write(join(elsewhere, 'here.js'), source('here'));
  const folder = await addPackage(project, 'mine', { nekit: { plugin: 'plugin.js' } });
  await write(join(project, 'config', 'loose.mjs'), source('loose'));
  const found = await loadPlugins(['./loose.mjs', '../mine', folder], options);
  t.match(found, [
    { plugin: { name: 'loose' }, packageName: null, version: null, path: join(project, 'config', 'loose.mjs'), alias: [] },
    { packageName: 'mine', version: '1.2.3', path: folder },
  ]);
  t.equal(found.length, 2);
  const { configFile: _none, ...withoutConfig } = options;
  t.match(await loadPlugins(['./here.js'], withoutConfig), [{ plugin: { name: 'here' } }], 'relative to cwd without a config file');
  t.match(await failure(loadPlugins(['.'], options)), { code: 'PLUGIN_NO_MANIFEST' }, 'a folder without a package.json');
});

t.test('what the manifest says', async (t) => {
  const { modules, globalModules, options } = await world();
  const ran = 'globalThis.nekitTestRan = true;\n';
  const cases: [string, Fixture, string, RegExp][] = [
    ['newer', { nekit: { api: 2 } }, 'PLUGIN_API_MISMATCH', /"newer" names plugin API 2.*update @nekit\/core/],
    ['silent', { nekit: { api: undefined } }, 'PLUGIN_API_MISMATCH', /names no plugin API/],
    [
      'old-core',
      { manifest: { peerDependencies: { '@nekit/core': '^0.9.0' } } },
      'CORE_RANGE_MISMATCH',
      /old-core 1\.2\.3 wants @nekit\/core "\^0\.9\.0", and this is 1\.4\.0/,
    ],
    ['brings-core', { manifest: { dependencies: { '@nekit/core': '2.x' } } }, 'CORE_RANGE_MISMATCH', /wants @nekit\/core "2\.x"/],
    ['odd-range', { manifest: { peerDependencies: { '@nekit/core': 'github:x/y' } } }, 'PLUGIN_BAD_MANIFEST', /"github:x\/y", is no version range/],
    ['no-file', { nekit: { plugin: undefined } }, 'PLUGIN_BAD_MANIFEST', /"nekit\.plugin" should name/],
    ['text', { manifest: { nekit: 'yes' } }, 'PLUGIN_BAD_MANIFEST', /"nekit" should be an object/],
    ['unbuilt', { nekit: { plugin: './dist/plugin.js' } }, 'PLUGIN_BAD_MANIFEST', /dist.plugin\.js is not there; was it built\?/],
    ['escapes', { nekit: { plugin: '../outside.js' } }, 'PLUGIN_BAD_MANIFEST', /lies outside of the package/],
    ['absolute', { nekit: { plugin: join(modules, 'outside.js') } }, 'PLUGIN_BAD_MANIFEST', /lies outside/],
    ['itself', { nekit: { plugin: '.' } }, 'PLUGIN_BAD_MANIFEST', /lies outside/],
    ['link-out', { nekit: { plugin: './link.js' } }, 'PLUGIN_BAD_MANIFEST', /a link that leads out/],
  ];
  await write(join(modules, 'outside.js'), ran);
  await mkdir(join(modules, 'link-out'));
  await symlink('../outside.js', join(modules, 'link-out', 'link.js'));
  for (const [name, fixture, code, message] of cases) {
    await addPackage(modules, name, { code: ran + source(name), ...fixture });
    const error = await failure(loadPlugins([name], options));
    t.match(error, { code, plugin: name, hook: 'load', message }, name);
  }
  t.notOk('nekitTestRan' in globalThis, 'no code ran');
  const fine = ['^1.2.0', '*', '1.4.0 || 2', 'workspace:^', 'workspace:~1.4.0'];
  for (const [index, range] of fine.entries()) {
    await addPackage(globalModules, `fine-${index}`, { manifest: { peerDependencies: { '@nekit/core': range } } });
    t.equal((await loadPlugins([`fine-${index}`], options)).length, 1, range);
  }
  await addPackage(globalModules, 'next', { manifest: { peerDependencies: { '@nekit/core': '>=1.0.0 <3' } } });
  await addPackage(globalModules, 'short', { nekit: { api: 7, alias: ['brief'] } });
  t.match(await failure(loadPlugins(['brief'], options)), { plugin: 'brief', message: /"short" names plugin API 7/ }, 'the error carries the word that asked');
  t.equal((await loadPlugins(['next'], { ...options, coreVersion: '2.0.0-beta.1' })).length, 1, 'a pre-release of core counts');
});

t.test('importing', async (t) => {
  const { modules, options } = await world();
  t.test('a dependency that is missing does not read as "not installed"', async (t) => {
    await addPackage(modules, 'needy', { code: `import 'not-installed-anywhere';\n${source('needy')}` });
    await addPackage(modules, 'needy-cjs', { manifest: { type: 'commonjs' }, code: `require('not-installed-anywhere');` });
    for (const name of ['needy', 'needy-cjs']) {
      const error = await failure(loadPlugins([name], options));
      t.match(error, {
        code: 'PLUGIN_LOAD_FAILED',
        plugin: name,
        hook: 'load',
        message: /is installed .*cannot be loaded: Cannot find (package|module) 'not-installed-anywhere'.*install it again/s,
      });
      t.ok(error.cause instanceof Error);
    }
  });
  t.test('code that throws', async (t) => {
    await addPackage(modules, 'throws', { code: 'throw new Error("at the top");' });
    await addPackage(modules, 'syntax', { code: 'export default {' });
    t.match(await failure(loadPlugins(['throws'], options)), { code: 'PLUGIN_LOAD_FAILED', message: /at the top$/ });
    t.match(await failure(loadPlugins(['syntax'], options)), { code: 'PLUGIN_LOAD_FAILED' });
  });
  t.test('an export that is no plugin', async (t) => {
    await addPackage(modules, 'named', { code: 'export const plugin = {};' });
    await addPackage(modules, 'other-api', { code: 'export default { name: "x", api: 3, setup() {} };' });
    t.match(await failure(loadPlugins(['named'], options)), { code: 'PLUGIN_BAD_SHAPE', plugin: 'named', hook: 'load' });
    t.match(await failure(loadPlugins(['other-api'], options)), {
      code: 'PLUGIN_API_MISMATCH',
      plugin: 'other-api',
      hook: 'load',
      message: /"x" names plugin API 3/,
    });
  });
  t.test('CommonJS', async (t) => {
    await addPackage(modules, 'common', { manifest: { type: 'commonjs' }, code: 'module.exports = { name: "common", api: 1, setup() {} };' });
    t.match(await loadPlugins(['common'], options), [{ plugin: { name: 'common' } }]);
  });
  t.test('a top-level await that hangs', async (t) => {
    await addPackage(modules, 'hangs', { code: `await new Promise(() => {});\n${source('hangs')}` });
    const clock = new FakeClock();
    const outcome = failure(loadPlugins(['hangs'], { ...options, clock, importMs: 500 }));
    await eventually(() => clock.pending > 0);
    await clock.advance(500);
    t.match(await outcome, { code: 'PLUGIN_TIMEOUT', plugin: 'hangs', hook: 'load', message: /importing .*took longer than 500 ms/ });
    t.equal(clock.pending, 0);
  });
});

t.test('run as root', async (t) => {
  const { project, modules, cliPath, options } = await world();
  const folder = await addPackage(modules, 'pkg', { nekit: { plugin: './dist/plugin.js' } });
  const entry = await write(join(folder, 'dist', 'plugin.js'), source('pkg'));
  const loose = await write(join(project, 'loose.mjs'), source('loose'));
  const guard = (owners: Record<string, readonly [uid: number, mode: number]>, uid: number | null = 0): Guard => ({
    uid,
    stat: async (path) => ({ uid: owners[path]?.[0] ?? 0, mode: owners[path]?.[1] ?? 0o755 }),
  });
  const load = (given: Guard, name = 'pkg') => loadPlugins([name], { ...options, guard: given });
  t.equal((await load(guard({}))).length, 1, 'all is root’s');
  const manifest = join(folder, 'package.json');
  for (const path of [folder, manifest, dirname(entry), entry]) {
    t.match(
      await failure(load(guard({ [path]: [1000, 0o755] }))),
      { code: 'PLUGIN_UNSAFE_PATH', plugin: 'pkg', message: /is not loaded as root: .* belongs to user 1000/ },
      path,
    );
    t.match(await failure(load(guard({ [path]: [0, 0o777] }))), { code: 'PLUGIN_UNSAFE_PATH', message: /may be written by everybody/ }, path);
    t.equal((await load(guard({ [path]: [1000, 0o777] }, 1000))).length, 1, 'not root');
    t.equal((await load(guard({ [path]: [1000, 0o777] }, null))).length, 1, 'no such thing');
  }
  const alice = { [folder]: [1000, 0o755], [cliPath]: [1000, 0o755] } as const;
  t.equal((await load(guard(alice))).length, 1, 'the command belongs to the same user, who decides what runs anyway');
  t.match(await failure(load(guard({ ...alice, [entry]: [1001, 0o755] }))), { code: 'PLUGIN_UNSAFE_PATH' });
  t.match(await failure(load(guard({ [loose]: [1000, 0o644] }), loose)), { code: 'PLUGIN_UNSAFE_PATH' }, 'a loose file');
  t.match(await failure(load(guard({ [project]: [1000, 0o755] }), loose)), { code: 'PLUGIN_UNSAFE_PATH' }, 'and its folder');
  const listed = await installedPlugins({ ...options, configFile: join(folder, 'x.yaml'), guard: guard({}) });
  t.strictSame(listed, [], 'a package does not list itself');
});

t.test('the list', async (t) => {
  const { modules, globalModules, options } = await world({ dependencies: dependsOn('one', 'plain'), devDependencies: dependsOn('bad') });
  const one = await addPackage(modules, 'one', { nekit: { alias: ['uno', 'both'] }, code: 'globalThis.nekitTestListed = true;' });
  await addPackage(modules, 'plain', { nekit: null });
  const bad = await addPackage(modules, 'bad', { nekit: { api: 9, alias: ['ss'] } });
  const two = await addPackage(globalModules, 'two', { nekit: { alias: ['both'] } });
  const torn = await addPackage(globalModules, 'torn', { manifest: { nekit: 5 } });
  await write(join(globalModules, 'unreadable', 'package.json'), '{');
  const list = await installedPlugins(options);
  t.match(list, [
    {
      name: 'one',
      version: '1.2.3',
      alias: ['uno', 'both'],
      path: one,
      problem: null,
      notes: ['the alias "both" is claimed by two too: use the package name'],
    },
    {
      name: 'bad',
      version: '1.2.3',
      alias: ['ss'],
      path: bad,
      problem: { code: 'PLUGIN_API_MISMATCH' },
      notes: ['the alias "ss" is reserved and does not lead here'],
    },
    { name: 'torn', version: '1.2.3', path: torn, problem: { code: 'PLUGIN_BAD_MANIFEST' } },
    { name: 'two', path: two, problem: null, notes: ['the alias "both" is claimed by one too: use the package name'] },
    { name: 'unreadable', version: null, problem: { code: 'PLUGIN_BAD_MANIFEST' } },
  ]);
  t.equal(list.length, 5);
  t.notOk('nekitTestListed' in globalThis, 'no code ran');
});

// Every way in which the search for the addon can end. None of them throws.
import { cp, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { createRequire, Module } from 'node:module';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { ADDON_ABI } from '../../dist/native/addon.js';
import { type AddonSearch, addonWarning, describeAddon, findAddon } from '../../dist/native/load.js';

const require = createRequire(import.meta.url);
const folder = await realpath(await mkdtemp(join(tmpdir(), 'nekit-load-')));
t.teardown(() => rm(folder, { recursive: true, force: true }));

/** A file that `require` takes for an addon with these exports: it is in the cache already, as after a first load. */
async function fakeAddon(name: string, exports: unknown): Promise<string> {
  const file = join(folder, name);
  await writeFile(file, 'not an ELF file');
  const module = new Module(file);
  module.exports = exports;
  module.loaded = true;
  require.cache[file] = module;
  t.teardown(() => delete require.cache[file]);
  return file;
}

/** What comes of a search with NEKIT_NATIVE_PATH. */
function why(file: string): string | undefined {
  const { addon, from, tried } = findAddon({ NEKIT_NATIVE_PATH: file });
  t.strictSame({ addon, from, tried: tried.map(({ path }) => path) }, { addon: null, from: null, tried: [file] });
  return tried[0]?.why;
}

t.test('NEKIT_NATIVE=off', async (t) => {
  const search = findAddon({ NEKIT_NATIVE: 'off', NEKIT_NATIVE_PATH: await fakeAddon('good-but-off.node', { abi: ADDON_ABI }) });
  t.strictSame(search, { addon: null, from: null, tried: [{ path: 'NEKIT_NATIVE=off', why: 'switched off' }] });
  t.equal(describeAddon(search), 'native: none, TypeScript fallback: NEKIT_NATIVE=off');
});

t.test('NEKIT_NATIVE_PATH', async (t) => {
  const good = await fakeAddon('good.node', { abi: ADDON_ABI });
  const found = findAddon({ NEKIT_NATIVE_PATH: good });
  t.strictSame(found, { addon: { abi: ADDON_ABI }, from: good, tried: [] });
  t.equal(describeAddon(found), `native: ${good}`, 'far from the working directory: as it is');
  t.equal(findAddon({ NEKIT_NATIVE_PATH: relative('', good) }).from, good, 'relative to the working directory');

  const missing = join(folder, 'missing.node');
  t.equal(why(missing), 'not there', 'and nothing else is tried: somebody wants this file or wants to know');
  t.equal(describeAddon(findAddon({ NEKIT_NATIVE_PATH: missing })), `native: none, TypeScript fallback: ${missing}: not there`);

  const script = join(folder, 'script.js');
  await writeFile(script, `throw new Error('this must not run');`);
  t.equal(why(script), 'not a .node file');
  const broken = join(folder, 'broken.node');
  await writeFile(broken, 'text');
  const reason = why(broken) ?? '';
  t.match(reason, /broken\.node/, 'what the dynamic loader says');
  t.notMatch(reason, /\n/);
  await mkdir(join(folder, 'folder.node'));
  t.match(why(join(folder, 'folder.node')), /./);

  t.equal(why(await fakeAddon('new.node', { abi: ADDON_ABI + 1 })), `abi ${ADDON_ABI + 1}, ${ADDON_ABI} is needed (build it again)`);
  t.equal(why(await fakeAddon('text.node', { abi: `${ADDON_ABI}` })), `abi "${ADDON_ABI}", ${ADDON_ABI} is needed (build it again)`, 'a number is a number');
  for (const [name, exports] of Object.entries({ none: null, bare: {}, number: 1, nothing: undefined }))
    t.equal(why(await fakeAddon(`${name}.node`, exports)), 'not an addon of nekit-kernel', name);
});

t.test('no setting', async (t) => {
  const search = findAddon({ NEKIT_NATIVE_PATH: '' });
  if (search.addon === null) {
    t.ok(search.tried.length >= 3, 'everything was tried');
    t.match(describeAddon(search), /^native: none, TypeScript fallback: .+: .+$/);
  } else {
    t.equal(search.addon.abi, ADDON_ABI);
    t.match(describeAddon(search), `native: `);
    t.equal(findAddon({}).addon, search.addon, 'one instance in an environment');
  }
  t.strictSame(findAddon().from, findAddon(process.env).from);
});

/** None that works. */
const BROKEN: AddonSearch = {
  addon: null,
  from: null,
  tried: [
    { path: '/a/nekit.node', why: 'not there' },
    { path: '/b/nekit.node', why: 'abi 0' },
    { path: '@nekit/native-linux-x64', why: 'not installed' },
  ],
};

t.test('what is there and broken says more than what is not there', async (t) => {
  t.equal(describeAddon(BROKEN), 'native: none, TypeScript fallback: /b/nekit.node: abi 0');
  t.equal(describeAddon({ ...BROKEN, tried: BROKEN.tried.toSpliced(1, 1) }), 'native: none, TypeScript fallback: @nekit/native-linux-x64: not installed');
  t.equal(describeAddon({ ...BROKEN, tried: [] }), 'native: none, TypeScript fallback');
});

t.test('the warning lists all that was tried, where the fallback was not asked for', async (t) => {
  t.match(addonWarning(BROKEN), 'Tried: /a/nekit.node (not there), /b/nekit.node (abi 0), @nekit/native-linux-x64 (not installed). NEKIT_NATIVE=off');
  t.equal(addonWarning(findAddon({ NEKIT_NATIVE: 'off' })), null);
  const found = findAddon({ NEKIT_NATIVE_PATH: await fakeAddon('loaded.node', { abi: ADDON_ABI }) });
  t.not(found.addon, null);
  t.equal(addonWarning({ ...found, tried: BROKEN.tried }), null);
});

t.test('a core without @nekit/native, and with a broken one', async (t) => {
  const core = join(folder, 'core');
  await mkdir(core);
  await writeFile(join(core, 'package.json'), '{ "type": "module" }');
  for (const name of ['load.js', 'addon.js']) await cp(new URL(`../../dist/native/${name}`, import.meta.url), join(core, name));
  const copy = (await import(pathToFileURL(join(core, 'load.js')).href)) as { findAddon: typeof findAddon };
  t.strictSame(copy.findAddon({}), { addon: null, from: null, tried: [{ path: '@nekit/native', why: 'not installed' }] });
  const native = join(core, 'node_modules', '@nekit', 'native');
  await mkdir(native, { recursive: true });
  await writeFile(join(native, 'index.js'), `require('left-out');`);
  t.match(copy.findAddon({}).tried, [{ path: '@nekit/native', why: /^Cannot find module 'left-out'/ }]);
});

/** From the word in `plugins:` to a file: a path, an alias of ours, a package name, or an alias that an installed package claims. */
import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { closest } from '../net/closest.js';
import { mayClaim, OWN_ALIASES, ownPackage } from './aliases.js';
import { checkManifest, entryOf, isAbsent, type Manifest, manifestOf, readPackageJson } from './manifest.js';
import { type Guard, refuseUnsafe } from './ownership.js';
import { PluginError } from './plugin-error.js';
import { baseFolder, findPackage, type InstalledPackage, installedPackages, nearestPackage, type Places, type SearchOptions } from './search.js';

/** A plugin that is there and may be imported. */
export interface FoundPlugin {
  /** null for a file that is no package. */
  readonly packageName: string | null;
  readonly version: string | null;
  /** Real path of the package's folder, or of the file. */
  readonly path: string;
  /** Real path of the file to import. */
  readonly entry: string;
  readonly alias: readonly string[];
}

export interface ResolveOptions extends SearchOptions {
  readonly coreVersion: string;
  readonly guard: Guard;
}

/** What npm takes for a name (with or without a scope). */
const PACKAGE_NAME = /^(?:@[a-z0-9~_-][a-z0-9._~-]*\/)?[a-z0-9~_-][a-z0-9._~-]*$/i;

/** Throws PluginError; nothing of the plugin has run then. */
export async function resolvePlugin(asked: string, places: Places, options: ResolveOptions): Promise<FoundPlugin> {
  if (isPath(asked)) return resolvePath(asked, options);
  if (/^[a-z][a-z0-9+.-]*:/i.test(asked)) {
    throw new PluginError('PLUGIN_REMOTE', asked, 'load', `plugin "${asked}" is a URL; plugins are loaded from installed packages and local paths only`);
  }
  if (!PACKAGE_NAME.test(asked))
    throw new PluginError('PLUGIN_BAD_NAME', asked, 'load', `plugin "${asked}" is no alias, package name or path (./…); versions are npm's affair`);
  const own = ownPackage(asked);
  const name = own ?? asked;
  const folder = await findPackage(places, name);
  if (folder !== null && (await isPlugin(folder, name))) return inspect({ name, folder }, options);
  const claims = own === null && !asked.startsWith('@') ? await aliasClaims(places) : new Map<string, InstalledPackage[]>();
  const [first, ...others] = claims.get(asked) ?? [];
  if (first !== undefined && others.length > 0) throw ambiguous(asked, [first, ...others]);
  if (first !== undefined) return inspect(first, options);
  if (folder !== null) throw noPlugin(asked, folder);
  throw notInstalled(asked, name, places, options.cwd, own === null ? closest(asked, [...OWN_ALIASES, ...claims.keys()]) : null);
}

/** Reads and checks all that can be without running code. Throws PluginError. */
export async function inspect({ name, folder }: InstalledPackage, options: ResolveOptions): Promise<FoundPlugin> {
  // Before the manifest is believed.
  await refuseUnsafe(name, [folder, join(folder, 'package.json')], options.cliPath, options.guard);
  const manifest = manifestOf((await readPackageJson(folder)) ?? {}, name);
  if (manifest === null) throw noPlugin(name, folder);
  checkManifest(manifest, name, options.coreVersion);
  const entry = await entryOf(manifest, name, folder);
  await refuseUnsafe(name, [dirname(entry), entry], options.cliPath, options.guard);
  return { packageName: name, version: manifest.version, path: folder, entry, alias: manifest.aliases.filter((alias) => mayClaim(name, alias)) };
}

/** Who claims which alias. A manifest that is no good does not count: it must not stop others. */
async function aliasClaims(places: Places): Promise<Map<string, InstalledPackage[]>> {
  const claims = new Map<string, InstalledPackage[]>();
  for (const candidate of await installedPackages(places)) {
    for (const alias of new Set((await readableManifest(candidate))?.aliases)) {
      const claiming = claims.get(alias);
      if (claiming === undefined) claims.set(alias, [candidate]);
      else claiming.push(candidate);
    }
  }
  return claims;
}

/** The manifest; null for a package that is no plugin or cannot be read. */
async function readableManifest({ name, folder }: InstalledPackage): Promise<Manifest | null> {
  try {
    const packageJson = await readPackageJson(folder);
    return packageJson === null ? null : manifestOf(packageJson, name);
  } catch (error) {
    if (error instanceof PluginError) return null;
    throw error;
  }
}

async function isPlugin(folder: string, name: string): Promise<boolean> {
  return manifestOf((await readPackageJson(folder)) ?? {}, name) !== null;
}

function isPath(asked: string): boolean {
  return /^\.\.?(?:[\\/]|$)/.test(asked) || isAbsolute(asked);
}

async function resolvePath(asked: string, options: ResolveOptions): Promise<FoundPlugin> {
  const { cliPath, guard } = options;
  const at = resolve(baseFolder(options), asked);
  let path: string;
  try {
    path = await realpath(at);
  } catch (error) {
    if (!isAbsent(error)) throw error;
    throw new PluginError('PLUGIN_NOT_INSTALLED', asked, 'load', `plugin "${asked}" is not there: ${at} does not exist`, { cause: error });
  }
  if ((await stat(path)).isDirectory()) {
    if ((await readPackageJson(path)) === null) throw noPlugin(asked, path);
    return inspect(await packageAt(path), options);
  }
  const folder = await nearestPackage(dirname(path));
  if (folder !== null) {
    const candidate = await packageAt(folder);
    const manifest = await readableManifest(candidate);
    if (manifest !== null && resolve(folder, manifest.plugin) === path) return inspect(candidate, options);
  }
  await refuseUnsafe(asked, [dirname(path), path], cliPath, guard);
  return { packageName: null, version: null, path, entry: path, alias: [] };
}

async function packageAt(folder: string): Promise<InstalledPackage> {
  const name = (await readPackageJson(folder))?.name;
  return { name: typeof name === 'string' && name !== '' ? name : basename(folder), folder };
}

function noPlugin(asked: string, folder: string): PluginError {
  return new PluginError('PLUGIN_NO_MANIFEST', asked, 'load', `plugin "${asked}": ${folder} is no nekit plugin (no "nekit" in its package.json)`);
}

function ambiguous(alias: string, claiming: readonly InstalledPackage[]): PluginError {
  const who = claiming.map(({ name, folder }) => `${name} (${folder})`).join(' and ');
  return new PluginError('ALIAS_AMBIGUOUS', alias, 'load', `plugin alias "${alias}" is claimed by ${who}; use the package name`);
}

function notInstalled(asked: string, packageName: string, places: Places, cwd: string, meant: string | null): PluginError {
  const { installArguments, installFolder } = places;
  const [global, ...prefix] = installArguments;
  const command = ['npm install', ...(global === undefined ? [] : [global]), packageName, ...prefix].join(' ');
  const where = installFolder === null || installFolder === resolve(cwd) ? '' : ` (in ${installFolder})`;
  const hint = meant === null ? '' : `; or did you mean "${meant}"?`;
  return new PluginError('PLUGIN_NOT_INSTALLED', asked, 'load', `plugin "${asked}" is not installed; install it with: ${command}${where}${hint}`);
}

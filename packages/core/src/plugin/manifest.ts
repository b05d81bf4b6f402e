/** The `nekit` part of a package.json, read and judged before any code of the package runs. */
import { readFile, realpath } from 'node:fs/promises';
import { isAbsolute, join, relative, resolve, sep } from 'node:path';
import satisfies from 'semver/functions/satisfies.js';
import validRange from 'semver/ranges/valid.js';
import { errorCode } from '../net/errors.js';
import { apiMismatch, isRecord, isStrings } from './check.js';
import { PLUGIN_API } from './plugin.js';
import { PluginError, reasonText } from './plugin-error.js';

/** More than this is no package.json, in bytes. */
const MAX_MANIFEST = 4 * 1024 * 1024;

const CORE_PACKAGE = '@nekit/core';

export interface Manifest {
  readonly version: string | null;
  readonly api: unknown;
  /** The plugin file as written, relative to the package. */
  readonly plugin: string;
  readonly aliases: readonly string[];
  /** What it wants of @nekit/core, or null if it does not say. */
  readonly coreRange: string | null;
}

/** The package.json of a folder; null if there is none. Throws PluginError `PLUGIN_BAD_MANIFEST` if it cannot be read. */
export async function readPackageJson(folder: string): Promise<Record<string, unknown> | null> {
  const file = join(folder, 'package.json');
  try {
    const text = await readFile(file, 'utf8');
    if (text.length > MAX_MANIFEST) throw new RangeError(`larger than ${MAX_MANIFEST} bytes`);
    const json: unknown = JSON.parse(text.replace(/^\uFEFF/, ''));
    if (!isRecord(json)) throw new TypeError('not an object');
    return json;
  } catch (error) {
    if (isAbsent(error)) return null;
    throw new PluginError('PLUGIN_BAD_MANIFEST', folder, 'load', `cannot read ${file}: ${reasonText(error)}`, { cause: error });
  }
}

/** True for the errors that mean "no such file". */
export function isAbsent(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** The manifest in a package.json; null if the package is no plugin. Throws PluginError `PLUGIN_BAD_MANIFEST`. */
export function manifestOf(packageJson: Record<string, unknown>, packageName: string): Manifest | null {
  const { nekit, version } = packageJson;
  if (nekit === undefined) return null;
  if (!isRecord(nekit)) throw bad(packageName, '"nekit" should be an object');
  const { api, plugin, alias = [] } = nekit;
  if (typeof plugin !== 'string' || plugin === '') throw bad(packageName, '"nekit.plugin" should name the plugin file, as "./dist/plugin.js"');
  const aliases = typeof alias === 'string' ? [alias] : alias;
  if (!isStrings(aliases)) throw bad(packageName, '"nekit.alias" should be a list of names');
  const ranges = [packageJson.peerDependencies, packageJson.dependencies].filter(isRecord).map((dependencies) => dependencies[CORE_PACKAGE]);
  const coreRange = ranges.find((range) => typeof range === 'string');
  return { version: typeof version === 'string' ? version : null, api, plugin, aliases, coreRange: typeof coreRange === 'string' ? coreRange : null };
}

/** Throws PluginError `PLUGIN_API_MISMATCH`, `CORE_RANGE_MISMATCH` or `PLUGIN_BAD_MANIFEST`. */
export function checkManifest(manifest: Manifest, packageName: string, coreVersion: string): void {
  if (manifest.api !== PLUGIN_API) throw apiMismatch(packageName, 'load', manifest.api, coreVersion);
  if (manifest.coreRange === null) return;
  const range = validRange(plainRange(manifest.coreRange));
  if (range === null) throw bad(packageName, `its range of ${CORE_PACKAGE}, "${manifest.coreRange}", is no version range`);
  if (satisfies(coreVersion, range, { includePrerelease: true })) return;
  const message = `plugin package ${packageName} ${manifest.version ?? ''} wants ${CORE_PACKAGE} "${manifest.coreRange}", and this is ${coreVersion}; install versions that fit together`;
  throw new PluginError('CORE_RANGE_MISMATCH', packageName, 'load', message);
}

/** `workspace:^` and the like mean "what is in this tree"; npm replaces them when it packs. */
function plainRange(range: string): string {
  if (!range.startsWith('workspace:')) return range;
  const rest = range.slice('workspace:'.length);
  return rest === '^' || rest === '~' ? '*' : rest;
}

/** Real path of the plugin file. Throws PluginError `PLUGIN_BAD_MANIFEST` if it is not there or lies outside of the package. */
export async function entryOf(manifest: Manifest, packageName: string, folder: string): Promise<string> {
  const file = resolve(folder, manifest.plugin);
  if (!contains(folder, file)) throw bad(packageName, `its plugin file ${manifest.plugin} lies outside of the package`);
  let entry: string;
  try {
    entry = await realpath(file);
  } catch (error) {
    if (!isAbsent(error)) throw error;
    throw new PluginError('PLUGIN_BAD_MANIFEST', packageName, 'load', `plugin package ${packageName}: its plugin file ${file} is not there; was it built?`, {
      cause: error,
    });
  }
  if (!contains(await realpath(folder), entry)) throw bad(packageName, `its plugin file ${manifest.plugin} is a link that leads out of the package`);
  return entry;
}

function contains(folder: string, file: string): boolean {
  const way = relative(folder, file);
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

function bad(packageName: string, what: string): PluginError {
  return new PluginError('PLUGIN_BAD_MANIFEST', packageName, 'load', `plugin package ${packageName}: ${what}`);
}

/**
 * Where installed plugins are looked for: what the config's project depends on, then the `node_modules` folders on the command's own path
 * (this is how a global install and a workspace work). Packages are found by their folder, not by Node's `exports`, which a plugin may
 * leave without a door for us.
 */
import { lstat, readdir, readlink, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { errorCode } from '../net/errors.js';
import { isRecord } from './check.js';
import { isAbsent, readPackageJson } from './manifest.js';

export interface SearchOptions {
  /** Absolute, or relative to `cwd`. */
  readonly configFile?: string;
  readonly cwd: string;
  /** The command's entry file: its real path, or a link to it. */
  readonly cliPath: string;
  /** The link it was called by (`process.argv[1]`), if that is another path. */
  readonly cliLink?: string;
}

export interface Places {
  /** Folder of the package.json nearest to the config file (to `cwd` without one), or null. */
  readonly project: string | null;
  /** The command's `node_modules` folders, nearest first. */
  readonly cliFolders: readonly string[];
  /** `npm install` arguments that put a package where the command finds it: [], or ['-g'] and perhaps a prefix. */
  readonly installArguments: readonly string[];
  /** Where to run it; null: anywhere. */
  readonly installFolder: string | null;
}

/** What relative paths are relative to, and where the search for the project starts. */
export function baseFolder({ configFile, cwd }: SearchOptions): string {
  return configFile === undefined ? resolve(cwd) : dirname(resolve(cwd, configFile));
}

export async function searchPlaces(options: SearchOptions): Promise<Places> {
  const { cwd } = options;
  const start = baseFolder(options);
  const project = await nearestPackage(start);
  const steps = await linkSteps(resolve(cwd, options.cliPath), options.cliLink === undefined ? null : resolve(cwd, options.cliLink));
  const real = await realpath(resolve(cwd, options.cliPath));
  // Of a link only folders that are called node_modules: next to a link in /tmp anybody could put one.
  const cliFolders = [...new Set([...lookupFolders(dirname(real)), ...steps.flatMap(namedFolders)])];
  const globalFolder = await findGlobal([real, ...steps]);
  const installArguments = globalFolder === null ? [] : ['-g', ...prefixArguments(globalFolder)];
  return { project, cliFolders, installArguments, installFolder: globalFolder === null ? (project ?? start) : null };
}

/** Real folder of the package, first found; null if it is not installed where we look. */
export async function findPackage(places: Places, name: string): Promise<string | null> {
  const folders = [...(places.project === null ? [] : lookupFolders(places.project)), ...places.cliFolders];
  for (const folder of folders) {
    const found = await packageIn(folder, name);
    if (found !== null) return found;
  }
  return null;
}

export interface InstalledPackage {
  readonly name: string;
  /** Real path. */
  readonly folder: string;
}

/** Every package that may be found by an alias, each name once, in the order of the search. */
export async function installedPackages(places: Places): Promise<readonly InstalledPackage[]> {
  const found = new Map<string, string>();
  if (places.project !== null) {
    for (const name of await dependenciesOf(places.project)) {
      for (const folder of lookupFolders(places.project)) {
        const at = found.has(name) ? null : await packageIn(folder, name);
        if (at !== null) found.set(name, at);
      }
    }
  }
  for (const folder of places.cliFolders) {
    for (const name of await packageNames(folder)) {
      const at = found.has(name) ? null : await packageIn(folder, name);
      if (at !== null) found.set(name, at);
    }
  }
  return [...found].map(([name, folder]) => ({ name, folder }));
}

/** The folder of the nearest package.json, upwards from `start`. */
export async function nearestPackage(start: string): Promise<string | null> {
  for (const folder of upwards(start)) if (await isFile(join(folder, 'package.json'))) return folder;
  return null;
}

async function dependenciesOf(folder: string): Promise<readonly string[]> {
  const packageJson = (await readPackageJson(folder)) ?? {};
  const lists = [packageJson.dependencies, packageJson.devDependencies, packageJson.optionalDependencies];
  return [...new Set(lists.filter(isRecord).flatMap((list) => Object.keys(list)))];
}

async function packageIn(folder: string, name: string): Promise<string | null> {
  const at = join(folder, name);
  return (await isFile(join(at, 'package.json'))) ? realpath(at) : null;
}

async function packageNames(folder: string): Promise<readonly string[]> {
  const entries = await namesIn(folder);
  const names: string[] = [];
  for (const entry of entries) {
    if (entry.startsWith('@')) names.push(...(await namesIn(join(folder, entry))).map((name) => `${entry}/${name}`));
    else names.push(entry);
  }
  return names;
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return (await readdir(folder)).filter((name) => !name.startsWith('.')).sort();
  } catch (error) {
    if (isClosedToUs(error)) return [];
    throw error;
  }
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch (error) {
    if (isClosedToUs(error)) return false;
    throw error;
  }
}

/** Not there, or not for us: the search goes on elsewhere, as Node's does. */
function isClosedToUs(error: unknown): boolean {
  return isAbsent(error) || ['EACCES', 'EPERM', 'ELOOP'].includes(errorCode(error));
}

function* upwards(start: string): Generator<string> {
  for (let folder = start; ; folder = dirname(folder)) {
    yield folder;
    if (folder === dirname(folder)) return;
  }
}

/** As Node looks for a bare name from `start`. */
function lookupFolders(start: string): readonly string[] {
  return [...upwards(start)].filter((folder) => basename(folder) !== 'node_modules').map((folder) => join(folder, 'node_modules'));
}

function namedFolders(path: string): readonly string[] {
  return [...upwards(dirname(path))].filter((folder) => basename(folder) === 'node_modules');
}

/** The command's paths, one symbolic link after the other: `/usr/bin/x`, `/usr/lib/node_modules/x/bin/x.js` … */
async function linkSteps(...starts: readonly (string | null)[]): Promise<readonly string[]> {
  const steps = new Set<string>();
  for (let step of starts) {
    while (step !== null && !steps.has(step)) {
      steps.add(step);
      step = await linkTarget(step);
    }
  }
  return [...steps];
}

/** Where a symbolic link leads to, one step; null for anything else. */
async function linkTarget(path: string): Promise<string | null> {
  try {
    return (await lstat(path)).isSymbolicLink() ? resolve(dirname(path), await readlink(path)) : null;
  } catch (error) {
    if (isClosedToUs(error)) return null; // `node bin/nekit-kernel` names a file without its extension
    throw error;
  }
}

/** The `node_modules` of a global install: the outermost on the way, without a package.json beside it. */
async function findGlobal(paths: readonly string[]): Promise<string | null> {
  for (const path of paths) {
    const outermost = namedFolders(path).at(-1);
    if (outermost !== undefined && !(await isFile(join(dirname(outermost), 'package.json')))) return outermost;
  }
  return null;
}

/** npm's own prefix is where node is; any other has to be said. */
function prefixArguments(globalFolder: string): readonly string[] {
  const parent = dirname(globalFolder);
  const prefix = process.platform === 'win32' ? parent : dirname(parent);
  const usual = process.platform === 'win32' ? dirname(process.execPath) : dirname(dirname(process.execPath));
  return prefix === usual ? [] : ['--prefix', prefix];
}

import { mayClaim } from './aliases.js';
import { type LoadOptions, resolveOptions } from './load.js';
import { manifestOf, readPackageJson } from './manifest.js';
import { PluginError } from './plugin-error.js';
import { inspect, type ResolveOptions } from './resolve.js';
import { type InstalledPackage, installedPackages, searchPlaces } from './search.js';

/** A line of `nekit-kernel plugins`. */
export interface InstalledPlugin {
  readonly name: string;
  readonly version: string | null;
  /** As the manifest claims them. */
  readonly alias: readonly string[];
  /** Real path of the package's folder. */
  readonly path: string;
  /** Why it cannot be loaded, or null. Found without running its code, so its import may still fail. */
  readonly problem: { readonly code: string; readonly message: string } | null;
  /** What does not work although it can be loaded: an alias that is reserved or that another package claims too. */
  readonly notes: readonly string[];
}

/** Every plugin package that a name or an alias can find, in the order of the search. Imports nothing. */
export async function installedPlugins(options: LoadOptions): Promise<readonly InstalledPlugin[]> {
  const resolving = resolveOptions(options);
  const plugins: InstalledPlugin[] = [];
  for (const candidate of await installedPackages(await searchPlaces(options))) {
    const plugin = await describe(candidate, resolving);
    if (plugin !== null) plugins.push(plugin);
  }
  return plugins.map((plugin) => ({ ...plugin, notes: notesOn(plugin, plugins) }));
}

async function describe(candidate: InstalledPackage, options: ResolveOptions): Promise<InstalledPlugin | null> {
  const { name, folder: path } = candidate;
  let version: string | null = null;
  let alias: readonly string[] = [];
  try {
    const packageJson = await readPackageJson(path);
    if (packageJson?.nekit === undefined) return null;
    if (typeof packageJson.version === 'string') version = packageJson.version;
    alias = manifestOf(packageJson, name)?.aliases ?? [];
    await inspect(candidate, options);
    return { name, version, alias, path, problem: null, notes: [] };
  } catch (error) {
    if (!(error instanceof PluginError)) throw error;
    return { name, version, alias, path, problem: { code: error.code, message: error.message }, notes: [] };
  }
}

function notesOn(plugin: InstalledPlugin, all: readonly InstalledPlugin[]): readonly string[] {
  return plugin.alias.flatMap((alias) => {
    if (!mayClaim(plugin.name, alias)) return [`the alias "${alias}" is reserved and does not lead here`];
    const others = all.filter((other) => other !== plugin && other.alias.includes(alias) && mayClaim(other.name, alias));
    return others.map((other) => `the alias "${alias}" is claimed by ${other.name} too: use the package name`);
  });
}

import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Clock, systemClock } from '../net/clock.js';
import { errorCode } from '../net/errors.js';
import { DEFAULT_TIMEOUTS } from '../net/timeouts.js';
import { checkPlugin, isRecord } from './check.js';
import { type Guard, systemGuard } from './ownership.js';
import type { Plugin } from './plugin.js';
import { PluginError, reasonText } from './plugin-error.js';
import { type FoundPlugin, type ResolveOptions, resolvePlugin } from './resolve.js';
import { type SearchOptions, searchPlaces } from './search.js';

export interface LoadOptions extends SearchOptions {
  /** Of this @nekit/core. */
  readonly coreVersion: string;
  /** For importing one plugin, in ms (a top-level await may hang). Default: the `plugin` timeout. */
  readonly importMs?: number;
  readonly clock?: Clock;
  readonly guard?: Guard;
}

/** A plugin and where it came from. */
export interface LoadedPlugin extends Omit<FoundPlugin, 'entry'> {
  readonly plugin: Plugin;
}

/**
 * Finds and imports plugins by the names that a local config or the command line gives; nothing else may name one. One that is named
 * twice (by alias and by package) is loaded once. Paths are relative to the config file, or to `cwd` without one.
 *
 * Rejects with PluginError: `PLUGIN_NOT_INSTALLED` (with the npm command), `ALIAS_AMBIGUOUS`, `PLUGIN_NO_MANIFEST`,
 * `PLUGIN_BAD_MANIFEST`, `PLUGIN_API_MISMATCH`, `CORE_RANGE_MISMATCH`, `PLUGIN_UNSAFE_PATH`, `PLUGIN_REMOTE`, `PLUGIN_BAD_NAME`,
 * all before any plugin's code runs; then `PLUGIN_LOAD_FAILED`, `PLUGIN_TIMEOUT`, `PLUGIN_BAD_SHAPE`.
 */
export async function loadPlugins(names: readonly string[], options: LoadOptions): Promise<readonly LoadedPlugin[]> {
  if (names.length === 0) return [];
  const resolving = resolveOptions(options);
  const places = await searchPlaces(options);
  const found = new Map<string, FoundPlugin & { readonly asked: string }>();
  for (const asked of names) {
    const plugin = await blaming(asked, resolvePlugin(asked, places, resolving));
    if (!found.has(plugin.entry)) found.set(plugin.entry, { ...plugin, asked });
  }
  const loaded: LoadedPlugin[] = [];
  for (const { asked, ...plugin } of found.values()) loaded.push(await blaming(asked, importPlugin(plugin, options)));
  return loaded;
}

/** Errors carry the word that asked for the plugin, so that a config can be shown the line. */
async function blaming<T>(asked: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof PluginError) || error.plugin === asked) throw error;
    throw new PluginError(error.code, asked, 'load', error.message, { cause: error.cause });
  }
}

async function importPlugin({ entry, ...rest }: FoundPlugin, options: LoadOptions): Promise<LoadedPlugin> {
  const label = rest.packageName ?? rest.path;
  const exported = await importDefault(entry, label, options);
  return { ...rest, plugin: checkPlugin(exported, label, 'load', options.coreVersion) };
}

export function resolveOptions(options: LoadOptions): ResolveOptions {
  return { ...options, cliPath: resolve(options.cwd, options.cliPath), guard: options.guard ?? systemGuard };
}

async function importDefault(entry: string, label: string, options: LoadOptions): Promise<unknown> {
  const { clock = systemClock, importMs = DEFAULT_TIMEOUTS.plugin } = options;
  let cancel = (): void => {};
  const late = new Promise<never>((_resolve, reject) => {
    cancel = clock.after(importMs, () => {
      reject(new PluginError('PLUGIN_TIMEOUT', label, 'load', `plugin "${label}": importing ${entry} took longer than ${importMs} ms`));
    });
  });
  const work: Promise<unknown> = import(pathToFileURL(entry).href);
  try {
    const module = await Promise.race([work, late]);
    return isRecord(module) ? module.default : undefined;
  } catch (error) {
    if (error instanceof PluginError) throw error;
    throw new PluginError(
      'PLUGIN_LOAD_FAILED',
      label,
      'load',
      `plugin "${label}" is installed (${entry}) and cannot be loaded: ${reasonText(error)}${hint(error)}`,
      { cause: error },
    );
  } finally {
    cancel();
  }
}

function hint(error: unknown): string {
  // Loader hooks (of test runners, of transpilers) hand errors between threads and lose their code on the way.
  const missing = /^(?:ERR_)?MODULE_NOT_FOUND$/.test(errorCode(error)) || (error instanceof Error && /^Cannot find (?:package|module) /.test(error.message));
  return missing ? '; something it needs is missing: install it again' : '';
}

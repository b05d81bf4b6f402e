/** What is looked at before a line of a plugin's `setup` runs. Plugins may be plain JavaScript: nothing is taken on trust. */
import { PLUGIN_API, type Plugin } from './plugin.js';
import { PluginError, type PluginHook } from './plugin-error.js';

/** Core registers its own types under this name. */
export const CORE = 'core';

/** `where` names it as long as it has no name of its own. Throws `PLUGIN_BAD_SHAPE` or `PLUGIN_API_MISMATCH`. */
export function checkPlugin(value: unknown, where: string, hook: PluginHook, coreVersion: string): Plugin {
  if (!isRecord(value)) throw badShape(where, hook, `is ${value === null ? 'null' : typeof value}, not an object; it should be what definePlugin({ … }) gives`);
  const { name, api, after, setup, start, stop } = value;
  if (typeof name !== 'string' || name === '') throw badShape(where, hook, 'has no "name" (a string)');
  if (api !== PLUGIN_API) throw apiMismatch(name, hook, api, coreVersion);
  if (typeof setup !== 'function') throw badShape(name, hook, 'has no "setup" function');
  if (start !== undefined && typeof start !== 'function') throw badShape(name, hook, 'has a "start" that is no function');
  if (stop !== undefined && typeof stop !== 'function') throw badShape(name, hook, 'has a "stop" that is no function');
  if (after !== undefined && !isStrings(after)) throw badShape(name, hook, 'has an "after" that is no list of plugin names');
  return value as Plugin & Record<string, unknown>;
}

/** Throws `PLUGIN_DUPLICATE_NAME`. */
export function checkNames(plugins: readonly Plugin[]): void {
  const seen = new Set([CORE]);
  for (const { name } of plugins) {
    if (name === CORE)
      throw new PluginError('PLUGIN_DUPLICATE_NAME', name, 'check', 'a plugin calls itself "core", which is the name of what the kernel brings itself');
    if (seen.has(name)) throw new PluginError('PLUGIN_DUPLICATE_NAME', name, 'check', `two plugins are called "${name}"; load one of them`);
    seen.add(name);
  }
}

export function apiMismatch(plugin: string, hook: PluginHook, api: unknown, coreVersion: string): PluginError {
  const theirs = typeof api === 'number' ? `plugin API ${api}` : 'no plugin API (a number)';
  const advice = typeof api === 'number' ? `; update ${api > PLUGIN_API ? '@nekit/core' : 'the plugin'}` : '';
  return new PluginError(
    'PLUGIN_API_MISMATCH',
    plugin,
    hook,
    `plugin "${plugin}" names ${theirs}, and @nekit/core ${coreVersion} has API ${PLUGIN_API}${advice}`,
  );
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isStrings(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((entry) => typeof entry === 'string');
}

function badShape(plugin: string, hook: PluginHook, what: string): PluginError {
  return new PluginError('PLUGIN_BAD_SHAPE', plugin, hook, `plugin "${plugin}" ${what}`);
}

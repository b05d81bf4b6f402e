import type { Plugin } from './plugin.js';
import { PluginError } from './plugin-error.js';

/**
 * Plugins so that each stands behind those of its `after` that are loaded; otherwise in the given order. A name in `after` that is not
 * loaded is ignored. Throws PluginError `PLUGIN_CYCLE` naming the plugins that wait for each other.
 */
export function inOrder(plugins: readonly Plugin[]): readonly Plugin[] {
  const loaded = new Map(plugins.map((plugin) => [plugin.name, plugin]));
  const placed = new Set<Plugin>();
  const path: Plugin[] = [];
  const place = (plugin: Plugin): void => {
    if (placed.has(plugin)) return;
    const start = path.indexOf(plugin);
    if (start !== -1) throw cycle([...path.slice(start), plugin]);
    path.push(plugin);
    for (const name of plugin.after ?? []) {
      const other = loaded.get(name);
      if (other !== undefined) place(other);
    }
    path.pop();
    placed.add(plugin);
  };
  for (const plugin of plugins) place(plugin);
  return [...placed];
}

function cycle(path: readonly Plugin[]): PluginError {
  const names = path.map((plugin) => `"${plugin.name}"`).join(' after ');
  return new PluginError('PLUGIN_CYCLE', path[0]?.name ?? '', 'check', `plugins wait for each other: ${names}; take one name out of an "after"`);
}

/** Clash's YAML is used as it is; only plugins are ours to name. */
import { type ConfigSource, parseConfig } from '@nekit/core';
import { isRecord } from './inspect.js';

const TYPES: ReadonlyMap<string, string> = new Map([
  ['ss', 'ss'],
  ['shadowsocks', 'ss'],
]);

const RULES = /^\s*(?:GEOIP|SRC-GEOIP|IP-ASN|SRC-IP-ASN|COUNTRY)\s*,/i;

/** The text with a line that names the plugins it needs, where that line can stand in front; and those plugins. */
export function withPlugins(text: string, { value }: ConfigSource): { readonly config: string; readonly plugins: readonly string[] } {
  if (!isRecord(value)) return { config: text, plugins: [] };
  const named = Array.isArray(value.plugins) ? value.plugins : [];
  const plugins = [...new Set([...typesIn(value.proxies), ...rulesIn(value.rules)])].filter((plugin) => !named.includes(plugin));
  if (plugins.length === 0 || 'plugins' in value) return { config: text, plugins };
  const config = `plugins: [${plugins.join(', ')}]\n${text.replace(/^\ufeff/, '')}`;
  const { problems, value: read } = parseConfig(config, 'config');
  // In front of a brace, a "---" or an indented text it would be something else.
  const same = problems.length === 0 && isRecord(read) && Object.keys(read).length === Object.keys(value).length + 1;
  return { config: same ? config : text, plugins };
}

function typesIn(proxies: unknown): string[] {
  if (!Array.isArray(proxies)) return [];
  return proxies.flatMap((entry: unknown) => (isRecord(entry) ? (TYPES.get(String(entry.type)) ?? []) : []));
}

function rulesIn(rules: unknown): string[] {
  return Array.isArray(rules) && rules.some((rule) => typeof rule === 'string' && RULES.test(rule)) ? ['geoip'] : [];
}

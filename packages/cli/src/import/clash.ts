/** Clash's YAML is used as it is; only plugins are ours to name. */
import { type ConfigSource, parseConfig } from '@nekit/core';
import { isRecord } from './inspect.js';

const TYPES: ReadonlyMap<string, string> = new Map([
  ['ss', 'ss'],
  ['shadowsocks', 'ss'],
  ['dns', 'dns'],
]);

/** At the start of a rule, or of one within AND, OR, NOT and SUB-RULE. */
const RULES = /(?:^|\()\s*(?:GEOIP|SRC-GEOIP|IP-ASN|SRC-IP-ASN|COUNTRY)\s*(?:,|$)/i;

/** Plugins of ours that the config needs, by their aliases, and those that it names. */
export function pluginsForClash({ value }: ConfigSource): { readonly needed: readonly string[]; readonly named: readonly string[] } {
  if (!isRecord(value)) return { needed: [], named: [] };
  const { tun } = value;
  const needed = [
    ...typesIn(value.proxies),
    ...typesIn(value.listeners),
    ...(isOn(value.dns) || (isOn(tun) && hasItems(tun['dns-hijack'])) ? ['dns'] : []),
    ...(isOn(tun) || itemsOf(value.listeners).some((entry) => isRecord(entry) && entry.type === 'tun') ? ['tcp', 'udp'] : []),
    ...(rulesOf(value).some(needsGeoip) ? ['geoip'] : []),
  ];
  return { needed: [...new Set(needed)], named: itemsOf(value.plugins).filter((name) => typeof name === 'string') };
}

/** The text with a line that names the plugins, where that line can stand in front; else null. */
export function withPlugins(text: string, { value }: ConfigSource, plugins: readonly string[]): string | null {
  if (!isRecord(value) || 'plugins' in value) return null;
  const config = `plugins: [${plugins.join(', ')}]\n${text.replace(/^\ufeff/, '')}`;
  const { problems, value: read } = parseConfig(config, 'config');
  // In front of a brace, a "---" or an indented text it would be something else.
  return problems.length === 0 && isRecord(read) && Object.keys(read).length === Object.keys(value).length + 1 ? config : null;
}

function typesIn(entries: unknown): string[] {
  return itemsOf(entries).flatMap((entry) => (isRecord(entry) ? (TYPES.get(String(entry.type)) ?? []) : []));
}

/** In `rules`, `sub-rules` and the lists that are written out. */
function rulesOf(value: Readonly<Record<string, unknown>>): readonly unknown[] {
  const payload = (provider: unknown): readonly unknown[] => (isRecord(provider) && provider.behavior === 'classical' ? itemsOf(provider.payload) : []);
  return [...itemsOf(value.rules), ...valuesOf(value['sub-rules']).flatMap(itemsOf), ...valuesOf(value['rule-providers']).flatMap(payload)];
}

function needsGeoip(rule: unknown): boolean {
  if (isRecord(rule)) return needsGeoip(rule.type) || needsGeoip(rule.value);
  return typeof rule === 'string' && RULES.test(rule);
}

function isOn(section: unknown): section is Readonly<Record<string, unknown>> {
  return isRecord(section) && section.enable === true;
}

function hasItems(list: unknown): boolean {
  return itemsOf(list).length > 0;
}

function itemsOf(list: unknown): readonly unknown[] {
  return Array.isArray(list) ? list : [];
}

function valuesOf(section: unknown): readonly unknown[] {
  return isRecord(section) ? Object.values(section) : [];
}

import { yamlItem, yamlValue } from './import/yaml-text.js';

/** Keys in the order in which a person would write them; the others come between the last two. */
const FIRST = ['plugins', 'mixed-port', 'log-level', 'ipv6', 'tun', 'dns', 'proxies', 'proxy-groups'];
const LAST = ['rules'];

/** A config as YAML: entries of lists, and the keys of sections, on lines of their own. */
export function configLines(config: Readonly<Record<string, unknown>>): string[] {
  const keys = Object.keys(config);
  const others = keys.filter((key) => !FIRST.includes(key) && !LAST.includes(key));
  return [...FIRST, ...others, ...LAST].filter((key) => keys.includes(key)).flatMap((key) => sectionLines(key, config[key]));
}

function sectionLines(key: string, value: unknown): string[] {
  const name = `${yamlValue(key)}:`;
  if (Array.isArray(value) && value.length > 0 && key !== 'plugins') return [name, ...value.flatMap(yamlItem)];
  if (typeof value !== 'object' || value === null || Array.isArray(value) || Object.keys(value).length === 0) return [`${name} ${yamlValue(value)}`];
  return [name, ...Object.entries(value).map(([inner, each]) => `  ${yamlValue(inner)}: ${yamlValue(each)}`)];
}

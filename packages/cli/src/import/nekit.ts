/** NEKit's YAML (`port`, `adapter`, `rule`). Its keys were in lower case, its types in any; what it did not know it passed over. */
import type { ConfigSource } from '@nekit/core';
import type { Draft } from './draft.js';
import { isRecord } from './inspect.js';
import { draftAdapters } from './nekit-adapters.js';
import { placeOf } from './nekit-reader.js';
import { draftRules } from './nekit-rules.js';

/** Where it listens if the file does not say so. */
const PORT = 7890;

/** Plugins that a config of this kind needs, by their aliases. */
export function pluginsForNekit({ value }: ConfigSource): string[] {
  const has = (key: string, type: string): boolean =>
    listOf(value, key).some((entry) => isRecord(entry) && typeof entry.type === 'string' && entry.type.toLowerCase() === type);
  return [...(has('adapter', 'ss') ? ['ss'] : []), ...(has('rule', 'country') ? ['geoip'] : [])];
}

/** `folders`: where files that rules name are looked for. */
export function draftNekit(source: ConfigSource, folders: readonly string[], draft: Draft): void {
  const { value } = source;
  draft.ports = portsOf(value, source, draft);
  for (const key of ['adapter', 'rule']) {
    const list = isRecord(value) ? value[key] : undefined;
    if (!Array.isArray(list)) draft.note(placeOf(source, [key]), `"${key}" is no list`);
  }
  const names = draftAdapters(listOf(value, 'adapter'), source, draft);
  draftRules(listOf(value, 'rule'), source, names, folders, draft);
  for (const key of isRecord(value) ? Object.keys(value) : []) {
    if (!['port', 'adapter', 'rule'].includes(key)) draft.note(placeOf(source, [key]), 'this key has no meaning in NEKit');
  }
}

/** NEKit's programs had HTTP on the port and SOCKS5 on the next. */
function portsOf(value: unknown, source: ConfigSource, draft: Draft): Record<string, number> {
  const port = isRecord(value) ? value.port : undefined;
  if (port === undefined || port === null) return { 'mixed-port': PORT };
  if (typeof port === 'number' && Number.isInteger(port) && port > 0 && port < 65_535) return { port, 'socks-port': port + 1 };
  draft.note(placeOf(source, ['port']), `"port" must be a number, 1 to 65534: ${PORT} is used`);
  return { 'mixed-port': PORT };
}

function listOf(value: unknown, key: string): readonly unknown[] {
  const list = isRecord(value) ? value[key] : undefined;
  return Array.isArray(list) ? list : [];
}

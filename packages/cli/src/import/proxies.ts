/** What Clash's proxy-providers read: `proxies:` and nothing else. */
import type { ConfigSource } from '@nekit/core';
import type { Draft } from './draft.js';
import { withInsecureCipher } from './insecure-cipher.js';
import { isRecord } from './inspect.js';
import { draftList, GROUP } from './links.js';
import { placeOf } from './nekit-reader.js';

/** Plugins of Shadowsocks that run no program. */
const BUILT_IN: ReadonlySet<unknown> = new Set([undefined, null, '', 'obfs', 'obfs-local', 'simple-obfs', 'v2ray-plugin']);

/** Each proxy as it is written, where its name is free; all of them in a group to choose from. A list comes from elsewhere, so it is believed no more than a link. */
export function draftProxies(source: ConfigSource, draft: Draft): void {
  const list: readonly unknown[] = isRecord(source.value) && Array.isArray(source.value.proxies) ? source.value.proxies : [];
  draftList(draft, () => {
    const names = new Map<string, string>();
    for (const [index, value] of list.entries()) {
      const place = placeOf(source, ['proxies', index]);
      const entry = asWritten(value, ['proxies', index], source);
      const why = isRecord(entry) ? whyNot(entry) : 'it is not a set of keys';
      if (!isRecord(entry) || why !== null) {
        draft.note(place, `the proxy is left out: ${why}`);
        continue;
      }
      const wanted = String(entry.name ?? entry.type);
      const name = draft.claim(wanted);
      if (!names.has(wanted)) names.set(wanted, name);
      draft.proxies.push({ place, ...withInsecureCipher({ ...entry, name }, place, draft) });
    }
    draft.proxies = draft.proxies.map((proxy) => {
      const base = names.get(String(proxy.entry['dialer-proxy']));
      return base === undefined ? proxy : { ...proxy, entry: { ...proxy.entry, 'dialer-proxy': base } };
    });
    return draft.claim(GROUP); // last: nothing names it, and one of them may have the name
  });
}

/** Numbers whose spelling counts as text: a password 0123 is none of 123. */
function asWritten(value: unknown, path: readonly (string | number)[], source: ConfigSource): unknown {
  if (typeof value === 'number') {
    const text = source.text([...path]);
    return text === null || text === String(value) ? value : text;
  }
  if (Array.isArray(value)) return value.map((item, index) => asWritten(item, [...path, index], source));
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, asWritten(item, [...path, key], source)]));
}

/** What would reach for something of this machine. */
function whyNot(entry: Readonly<Record<string, unknown>>): string | null {
  const { plugin, ca } = entry;
  if (!BUILT_IN.has(plugin) || (entry['plugin-external'] ?? false) !== false)
    return 'its "plugin" is none that is built in, and a list must not choose a program of this machine; write it into a config of your own';
  if (typeof ca === 'string' && !ca.includes('-----BEGIN ')) return 'its "ca" is no certificate, and a list must not name a file of this machine';
  return null;
}

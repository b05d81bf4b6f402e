/** What Clash's proxy-providers read: `proxies:` and nothing else. */
import type { ConfigSource } from '@nekit/core';
import type { Draft } from './draft.js';
import { withInsecureCipher } from './insecure-cipher.js';
import { isRecord } from './inspect.js';
import { draftList } from './links.js';
import { placeOf } from './nekit-reader.js';

/** Each proxy as it is, where its name is free; all of them in a group to choose from. */
export function draftProxies(source: ConfigSource, draft: Draft): void {
  const list: readonly unknown[] = isRecord(source.value) && Array.isArray(source.value.proxies) ? source.value.proxies : [];
  draftList(draft, () => {
    for (const [index, entry] of list.entries()) {
      const place = placeOf(source, ['proxies', index]);
      if (!isRecord(entry)) draft.note(place, 'the proxy is left out: it is not a set of keys');
      else draft.proxies.push({ place, ...withInsecureCipher({ ...entry, name: draft.claim(String(entry.name ?? entry.type)) }, place, draft) });
    }
  });
}

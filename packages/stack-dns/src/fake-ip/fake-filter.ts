/** `fake-ip-filter`: which names get their real addresses. */
import { holds, type MakeRule, type NameTest, nameTest } from '@nekit/core';

export type FilterMode = 'blacklist' | 'whitelist' | 'rule';

/** Throws a plain Error that names the entry that is wrong. */
export function fakeFilter(mode: FilterMode, entries: readonly string[], makeRule: MakeRule): NameTest {
  if (mode === 'rule') return ruled(entries, makeRule);
  const listed = nameTest(entries, makeRule);
  return mode === 'blacklist' ? listed : (name) => !listed(name);
}

/** The first that holds decides; without one it is a fake address. */
function ruled(entries: readonly string[], makeRule: MakeRule): NameTest {
  const rules = entries.map((entry) => {
    const parts = entry.split(',').map((part) => part.trim());
    const verdict = parts.at(-1)?.toLowerCase();
    const kind = (parts[0] ?? '').toUpperCase();
    if (parts.length < 2 || (verdict !== 'fake-ip' && verdict !== 'real-ip'))
      throw new Error(`"${entry}" is no rule of a filter: write DOMAIN-SUFFIX,example.com,real-ip`);
    return { rule: makeRule(kind, parts.slice(1, -1).join(',')), isReal: verdict === 'real-ip' };
  });
  return (name) => rules.find(({ rule }) => holds(rule, name))?.isReal ?? false;
}

/** Sets of names and of addresses outside of `rules:`, as Clash writes them: `example.com`, `+.example.com`, `geosite:cn`, `rule-set:mine`; `10.0.0.0/8`, `geoip:cn`. */
import { addressFamily } from '../net/address.js';
import { never } from '../net/cancel.js';
import type { Session } from '../net/session.js';
import { CidrSetBuilder } from './cidr-set.js';
import type { FactKey, Facts, Rule } from './rule.js';
import { whyNoEntry } from './set/domain-entry.js';
import { DomainSetBuilder } from './set/domain-set-builder.js';

/** Whether a canonical name, or address, is one of them. */
export type NameTest = (name: string) => boolean;

/** A condition as in `rules:`. Throws a plain Error. */
export type MakeRule = (kind: string, payload: string) => Rule;

const NOBODY: NameTest = () => false;

/** What stands in front of the colon, and the kind of rule that it is. */
type Kinds = Readonly<Record<string, string>>;

const NAME_KINDS: Kinds = { geosite: 'GEOSITE', 'rule-set': 'RULE-SET' };
const ADDRESS_KINDS: Kinds = { geoip: 'GEOIP', 'rule-set': 'RULE-SET' };

/** What to say of an entry of `nameTest` that stands for no name; null: it does, or for a rule. */
export function whyNoName(entry: string): string | null {
  return kindOf(entry, NAME_KINDS) === null ? whyNoEntry(entry) : null;
}

/** Entries that stand for no name are left out (`whyNoName`). Throws a plain Error for a rule that is wrong. */
export function nameTest(entries: readonly string[], makeRule: MakeRule): NameTest {
  const { plain, rules } = sorted(
    entries.filter((entry) => whyNoName(entry) === null),
    NAME_KINDS,
    makeRule,
  );
  if (plain.length === 0 && rules.length === 0) return NOBODY;
  const builder = new DomainSetBuilder();
  for (const entry of plain) builder.add(entry);
  const set = plain.length === 0 ? null : builder.build();
  return (name) => set?.has(name) === true || rules.some((rule) => holds(rule, name));
}

/** The same of addresses. Throws a plain Error that names the entry. */
export function addressTest(entries: readonly string[], makeRule: MakeRule): NameTest {
  const { plain, rules } = sorted(entries, ADDRESS_KINDS, makeRule);
  if (plain.length === 0 && rules.length === 0) return NOBODY;
  const builder = new CidrSetBuilder();
  for (const entry of plain) builder.add(entry);
  const set = builder.build();
  return (address) => set.has(address) || rules.some((rule) => holds(rule, address, [address]));
}

/** `geosite:a,b` is two rules. */
function sorted(entries: readonly string[], kinds: Kinds, makeRule: MakeRule): { readonly plain: string[]; readonly rules: Rule[] } {
  const plain: string[] = [];
  const rules: Rule[] = [];
  for (const entry of entries) {
    const kind = kindOf(entry, kinds);
    if (kind === null) plain.push(entry);
    else for (const payload of entry.slice(entry.indexOf(':') + 1).split(',')) rules.push(makeRule(kind, payload.trim()));
  }
  return { plain, rules };
}

/** null: the entry is no rule. */
function kindOf(entry: string, kinds: Kinds): string | null {
  const colon = entry.indexOf(':');
  const found = Object.entries(kinds).find(([prefix]) => colon !== -1 && prefix === entry.slice(0, colon).toLowerCase());
  return found?.[1] ?? null;
}

/** Whether a rule holds for a destination, a name that nobody has looked up unless `addresses` are known. One that would have to wait for something does not. */
export function holds(rule: Rule, host: string, addresses: readonly string[] = []): boolean {
  const verdict = rule.match(sessionTo(host), factsOf(addresses));
  if (verdict instanceof Promise) verdict.catch(() => undefined); // nobody waits for it
  return verdict === true || Array.isArray(verdict);
}

/** The same of an address, for rules that may have to wait. */
export async function holdsForAddress(rule: Rule, address: string): Promise<boolean> {
  const verdict = await rule.match(sessionTo(address), factsOf([address]));
  return verdict === true || Array.isArray(verdict);
}

/** No client's: only its destination is looked at. */
export function sessionTo(host: string): Session {
  const destination = { host, port: addressFamily(host) === 0 ? 443 : 0 };
  const source = { host: '0.0.0.0', port: 0 };
  return { id: 0, network: 'tcp', inbound: '', inboundType: 'DNS', inboundPort: 0, source, requested: destination, destination, signal: never };
}

function factsOf(addresses: readonly string[]): Facts {
  const known = new Map<object, unknown>();
  return {
    addresses: () => addresses,
    knownAddresses: () => addresses,
    process: () => Promise.resolve(null),
    once<T>(key: FactKey<T>, find: () => T | Promise<T>): T | Promise<T> {
      if (!known.has(key)) known.set(key, find());
      return known.get(key) as T | Promise<T>;
    },
  };
}

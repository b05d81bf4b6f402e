/** Sets of names, as Clash writes them: `example.com`, `*.example.com`, `.example.com`, `+.example.com`, `geosite:cn`, `rule-set:mine`. */
import { addressFamily, DomainSetBuilder, type FactKey, type Facts, never, type Rule, type Session } from '@nekit/core';

/** Whether a canonical name is one of them. */
export type NameTest = (name: string) => boolean;

/** A condition as in `rules:`. Throws a plain Error. */
export type MakeRule = (kind: string, payload: string) => Rule;

const NOBODY: NameTest = () => false;

/** Throws a plain Error that names the entry. */
export function nameTest(entries: readonly string[], makeRule: MakeRule): NameTest {
  const builder = new DomainSetBuilder();
  const rules: Rule[] = [];
  let plain = 0;
  for (const entry of entries) {
    const [kind, payload] = ruleOf(entry);
    if (kind === null) {
      builder.add(payload);
      plain++;
    } else for (const one of payload.split(',')) rules.push(makeRule(kind, one.trim()));
  }
  const set = plain === 0 ? null : builder.build();
  if (rules.length === 0) return set === null ? NOBODY : (name) => set.has(name);
  return (name) => set?.has(name) === true || rules.some((rule) => holds(rule, name));
}

/** What `geosite:` and `rule-set:` are as rules; null: a name. */
function ruleOf(entry: string): readonly [kind: 'GEOSITE' | 'RULE-SET' | null, payload: string] {
  if (/^geosite:/i.test(entry)) return ['GEOSITE', entry.slice(8)];
  return /^rule-set:/i.test(entry) ? ['RULE-SET', entry.slice(9)] : [null, entry];
}

/** Whether a rule holds for a name that nobody has looked up. One that would have to wait for something does not. */
export function holds(rule: Rule, name: string): boolean {
  const verdict = rule.match(sessionTo(name), factsOf([]));
  if (verdict instanceof Promise) verdict.catch(() => undefined); // nobody waits for it
  return verdict === true;
}

/** The same of an address. */
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

/**
 * Rules on the destination's addresses, and what they promise.
 *
 * A name may have several addresses, and whoever owns the name chooses them. So that no rule can be walked around by mixing them:
 * - Every address is judged on its own. An expression of rules holds for a name if it holds for at least one of its addresses, as if that
 *   address had been asked for. A name with one private and one public address is caught by IP-CIDR,10.0.0.0/8,REJECT.
 * - The addresses for which it holds are the rule's verdict and, if the rule decides, the only ones that are dialled.
 * - A rule that did not match holds for none of them. So for all addresses that are dialled in the end, no rule in front would have matched.
 * - What was looked up is what is dialled: nobody asks the name again, when its owner could give another answer (DNS rebinding). A name that
 *   did not resolve is not dialled directly at all. Proxies get the name and resolve it on their side, as always.
 *
 * So NOT is the complement, AND the intersection and OR the union of addresses, and a rule that knows no addresses holds for all or none.
 */
import type { Detour, Facts, Judgement, Verdict } from './rule.js';

/** Verdict on the destination's addresses. With `noResolve` only on those that are known without a look-up; without any there is no match. */
export function matchAddresses(facts: Facts, noResolve: boolean, test: AddressTest): Judgement | Promise<Judgement> {
  const addresses = noResolve ? facts.knownAddresses() : facts.addresses();
  if (addresses === null) return false;
  return addresses instanceof Promise ? addresses.then((found) => judge(found, test)) : judge(addresses, test);
}

/** What decides on one canonical address: a set of networks, a country. */
export interface AddressTest {
  has(address: string): boolean;
}

function judge(addresses: readonly string[], test: AddressTest): Judgement {
  let matching = 0;
  for (const address of addresses) if (test.has(address)) matching++;
  if (matching === 0) return false;
  return matching === addresses.length ? true : addresses.filter((address) => test.has(address));
}

/** The addresses of both. */
export function both(a: Judgement, b: Judgement): Judgement {
  if (a === false || b === false) return false;
  if (a === true) return b;
  if (b === true) return a;
  const common = a.filter((address) => b.includes(address));
  return common.length === 0 ? false : common;
}

/** The addresses of either. */
export function either(a: Judgement, b: Judgement, facts: Facts): Judgement {
  if (a === true || b === true) return true;
  if (a === false) return b;
  if (b === false) return a;
  const joined = [...a, ...b.filter((address) => !a.includes(address))];
  return joined.length === facts.knownAddresses()?.length ? true : joined;
}

/** The other addresses. */
export function others(a: Judgement, facts: Facts): Judgement {
  if (typeof a === 'boolean') return !a;
  const rest = (facts.knownAddresses() ?? []).filter((address) => !a.includes(address));
  return rest.length === 0 ? false : rest;
}

export function isDetour(verdict: Verdict): verdict is Detour {
  return typeof verdict === 'object' && 'to' in verdict;
}

/** Within another rule it is of no account where a rule would lead. */
export function judgementOf(verdict: Verdict): Judgement {
  return isDetour(verdict) ? true : verdict;
}

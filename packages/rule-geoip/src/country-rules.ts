import type { Facts, Rule, RuleContext, RuleDefinition, Session, Verdict } from '@nekit/core';
import { addressRule, checkOptions, type Test } from './address-rule.js';
import type { DataFiles } from './data-files.js';
import { UNKNOWN } from './kinds.js';
import { privateNetworks } from './private-networks.js';

/** What Clash and v2ray call private networks; no database is asked. */
const PRIVATE = ['LAN', 'PRIVATE'];

export function geoip(kind: 'GEOIP' | 'SRC-GEOIP', files: DataFiles): RuleDefinition {
  const source = kind === 'SRC-GEOIP';
  return {
    kind,
    description: source
      ? "client's address in a country, as CN, or in a private network: LAN"
      : 'destination address in a country, as CN, or in a private network: LAN; looks a name up unless no-resolve is set',
    payload: true,
    create(payload, context) {
      checkOptions(kind, context, []);
      const code = codeOf(kind, payload);
      if (!PRIVATE.includes(code)) return addressRule(context, source, inCountry(kind, code, files, context));
      const networks = privateNetworks();
      return addressRule(context, source, (address) => networks.has(address));
    },
  };
}

/**
 * NEKit's: `{ type: COUNTRY, value: CN, match: false, to: X }` holds for the addresses that are not in CN. `--` is a valid address that is in
 * no country. A name that has no address is in no country either, not even in `--`: `match: false` holds for it, as it did in NEKit.
 */
export function country(files: DataFiles): RuleDefinition {
  return {
    kind: 'COUNTRY',
    description: 'destination address in a country, as CN, or in none: --; with "match: false", not in it; looks a name up unless no-resolve is set',
    payload: true,
    options: ['match'],
    create(payload, context) {
      checkOptions('COUNTRY', context, ['match']);
      const code = payload === UNKNOWN ? UNKNOWN : codeOf('COUNTRY', payload);
      const test = inCountry('COUNTRY', code, files, context);
      if (matchOf(context.options.match)) return addressRule(context, false, test);
      const rule = addressRule(context, false, (address, facts) => !test(address, facts));
      return context.parameters.has('src') ? rule : new OrNoAddress(rule);
    },
  };
}

/** The rule, or a name that was looked up and has no address. */
class OrNoAddress implements Rule {
  readonly #rule: Rule;

  constructor(rule: Rule) {
    this.#rule = rule;
  }

  match(session: Session, facts: Facts): Verdict | Promise<Verdict> {
    const verdict = this.#rule.match(session, facts);
    return verdict instanceof Promise ? verdict.then((found) => orNone(found, facts)) : orNone(verdict, facts);
  }
}

function orNone(verdict: Verdict, facts: Facts): Verdict {
  return verdict === false ? facts.knownAddresses()?.length === 0 : verdict;
}

function inCountry(kind: string, code: string, files: DataFiles, { tools }: RuleContext): Test {
  const countries = files.countries(kind, tools);
  if (code === UNKNOWN) return (address, facts) => countries.find(facts, address).length === 0;
  return (address, facts) => countries.find(facts, address).includes(code);
}

/** Files made for Clash know more than countries: `TELEGRAM`, `CLOUDFLARE`. */
function codeOf(kind: string, payload: string): string {
  if (!/^[A-Za-z][A-Za-z0-9-]{1,63}$/.test(payload)) {
    const words = kind === 'COUNTRY' ? `${UNKNOWN} for addresses of no country` : 'LAN for private networks';
    throw new Error(`"${payload}" is no country: write its two letters, as in ${kind},CN, or ${words}`);
  }
  return payload.toUpperCase();
}

function matchOf(option: unknown): boolean {
  if (option === undefined || option === true || option === 'true') return true;
  if (option === false || option === 'false') return false;
  throw new Error('"match" must be true or false');
}

import { matchAddresses } from './addresses.js';
import { CidrSet, parseCidr } from './cidr-set.js';
import type { RuleDefinition } from './definition.js';
import type { Facts, Rule, Verdict } from './rule.js';

/** IP-CIDR and IP-CIDR6: both kinds take networks of both families, as Clash's do. `src` makes it a rule on the client's address. */
export function ipCidr(kind: 'IP-CIDR' | 'IP-CIDR6'): RuleDefinition {
  const example = kind === 'IP-CIDR' ? '10.0.0.0/8' : '2001:db8::/32';
  return {
    kind,
    description: `destination address in a network, as ${example}; looks a name up unless no-resolve is set`,
    payload: true,
    create(payload, context) {
      const set = new CidrSet([parseCidr(payload)]);
      if (context.parameters.has('src')) return sourceIn(set);
      return new AddressIn(set, context.parameters.has('no-resolve'));
    },
  };
}

export function srcIpCidr(): RuleDefinition {
  return {
    kind: 'SRC-IP-CIDR',
    description: "client's address in a network, as 192.168.1.0/24",
    payload: true,
    create: (payload) => sourceIn(new CidrSet([parseCidr(payload)])),
  };
}

class AddressIn implements Rule {
  readonly #set: CidrSet;
  readonly #noResolve: boolean;

  constructor(set: CidrSet, noResolve: boolean) {
    this.#set = set;
    this.#noResolve = noResolve;
  }

  match(_session: unknown, facts: Facts): Verdict | Promise<Verdict> {
    return matchAddresses(facts, this.#noResolve, this.#set);
  }
}

function sourceIn(set: CidrSet): Rule {
  return { match: (session) => set.has(session.source.host) };
}

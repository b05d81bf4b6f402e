import { matchAddresses } from './addresses.js';
import { type Cidr, CidrSet, parseCidr } from './cidr-set.js';
import type { RuleDefinition } from './definition.js';
import type { AddressKey, Facts, Rule, Verdict } from './rule.js';

/** IP-CIDR and IP-CIDR6: both kinds take networks of both families, as Clash's do. `src` makes it a rule on the client's address. */
export function ipCidr(kind: 'IP-CIDR' | 'IP-CIDR6'): RuleDefinition {
  const example = kind === 'IP-CIDR' ? '10.0.0.0/8' : '2001:db8::/32';
  return {
    kind,
    description: `destination address in a network, as ${example}; looks a name up unless no-resolve is set`,
    payload: true,
    create(payload, context) {
      const cidr = parseCidr(payload);
      if (context.parameters.has('src')) return sourceIn(new CidrSet([cidr]));
      return new AddressIn(cidr, context.parameters.has('no-resolve'));
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
  readonly index: AddressKey;
  readonly #set: CidrSet;

  constructor(cidr: Cidr, noResolve: boolean) {
    this.index = { family: 'address', cidr, noResolve };
    this.#set = new CidrSet([cidr]);
  }

  match(_session: unknown, facts: Facts): Verdict | Promise<Verdict> {
    return matchAddresses(facts, this.index.noResolve, this.#set);
  }
}

function sourceIn(set: CidrSet): Rule {
  return { match: (session) => set.has(session.source.host) };
}

import { addressFamily } from '../net/address.js';
import type { RuleDefinition } from './definition.js';
import type { Facts } from './rule.js';

/**
 * NEKit's: names that do not resolve here, for a proxy that may know them; also those whose look-up took too long. An address needs no look-up and never
 * fails. With no-resolve only what is known already counts.
 */
export function dnsFail(): RuleDefinition {
  return {
    kind: 'DNSFAIL',
    description: 'names that cannot be resolved here; looks the name up',
    payload: false,
    create(_payload, { parameters }) {
      const noResolve = parameters.has('no-resolve');
      return {
        match(session, facts) {
          if (addressFamily(session.destination.host) !== 0) return false;
          return noResolve ? facts.knownAddresses()?.length === 0 : failed(facts);
        },
      };
    },
  };
}

function failed(facts: Facts): boolean | Promise<boolean> {
  const addresses = facts.addresses();
  return addresses instanceof Promise ? addresses.then((found) => found.length === 0) : addresses.length === 0;
}

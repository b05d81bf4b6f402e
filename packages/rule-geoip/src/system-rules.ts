import type { RuleDefinition } from '@nekit/core';
import { addressRule, checkOptions } from './address-rule.js';
import type { DataFiles } from './data-files.js';
import { parseSystem } from './kinds.js';

export function ipAsn(kind: 'IP-ASN' | 'SRC-IP-ASN', files: DataFiles): RuleDefinition {
  const source = kind === 'SRC-IP-ASN';
  return {
    kind,
    description: source
      ? "client's address in an autonomous system, as 13335"
      : 'destination address in an autonomous system, as 13335; looks a name up unless no-resolve is set',
    payload: true,
    create(payload, context) {
      checkOptions(kind, context, []);
      const number = parseSystem(payload);
      if (number === null) throw new Error(`"${payload}" is no number of an autonomous system: write ${kind},13335 or ${kind},AS13335`);
      const systems = files.systems(kind, context.tools);
      return addressRule(context, source, (address, facts) => systems.find(facts, address) === number);
    },
  };
}

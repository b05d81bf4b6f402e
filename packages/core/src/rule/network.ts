import type { RuleDefinition } from './definition.js';

export function network(): RuleDefinition {
  return {
    kind: 'NETWORK',
    description: 'tcp or udp',
    payload: true,
    create(payload) {
      const wanted = payload.toLowerCase();
      if (wanted !== 'tcp' && wanted !== 'udp') throw new Error(`"${payload}" is no network: write NETWORK,TCP or NETWORK,UDP`);
      return { match: (session) => session.network === wanted };
    },
  };
}

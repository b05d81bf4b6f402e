import type { Adapter, AdapterContext } from './adapter.js';
import { HealthGroup, type HealthGroupOptions, type Judge } from './group.js';

/**
 * The fastest member by health check. Delays are compared when a round has ended, never in the middle of it, where some are of now and some of before;
 * but a present one that does not answer, or of which nothing is known, is left for the first that does at once.
 * `tolerance`: the present one is kept while no other is faster by more than this, in ms.
 */
export function fastest(tolerance: number): Judge {
  return (members, present, health, over) => {
    let best: Adapter | null = null;
    let bestDelay = Number.POSITIVE_INFINITY;
    for (const member of members) {
      const delay = health.delayOf(member);
      if (delay === null || delay >= bestDelay) continue;
      best = member;
      bestDelay = delay;
    }
    const reason = health.isAlive(present) ? 'faster' : 'dead';
    const delay = health.delayOf(present);
    if (best === null) {
      if (reason === 'faster') return null;
      const unknown = members.find((member) => health.isAlive(member));
      return unknown === undefined ? null : { member: unknown, reason }; // none is alive: another dead one would be no better
    }
    if (delay !== null && (!over || delay - bestDelay <= tolerance)) return null;
    return { member: best, reason };
  };
}

/** Clash's `url-test`. Until something is known it uses its first member. */
export class UrlTestAdapter extends HealthGroup {
  constructor(options: HealthGroupOptions & { readonly tolerance: number }, context: AdapterContext) {
    super('url-test', options, fastest(options.tolerance), context);
  }
}

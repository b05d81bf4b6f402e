import type { AdapterContext } from './adapter.js';
import { HealthGroup, type HealthGroupOptions, type Judge } from './group.js';

/** The first member, in order, that is alive; what was never checked counts as alive. If none is, the first one. */
export const firstAlive: Judge = (members, present, health) => {
  const member = members.find((candidate) => health.isAlive(candidate)) ?? members[0];
  return member === present ? null : { member, reason: health.isAlive(present) ? 'recovered' : 'dead' };
};

/** Clash's `fallback`. */
export class FallbackAdapter extends HealthGroup {
  constructor(options: HealthGroupOptions, context: AdapterContext) {
    super('fallback', options, firstAlive, context);
  }
}

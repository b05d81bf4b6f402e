import { createHash } from 'node:crypto';
import type { Clock } from '@nekit/core';
import type { Secret } from '../method.js';
import { type ReplayFilter, replayFilter } from './replay-filter.js';

/** Keys that are remembered: who changes keys and reloads again and again must not fill the memory. */
const MAX_KEYS = 64;

/**
 * The filters of one kernel, one for each method and key: what was recorded is good for every listener that has the key, and for the one that takes its place after a
 * reload.
 */
export class ReplayFilters {
  /** By a hash, so that no key lies about; the one that was asked for last stands last. */
  readonly #filters = new Map<string, ReplayFilter>();

  of({ method, keys }: Secret, clock: Clock): ReplayFilter {
    const hash = createHash('sha256').update(`${method.name}:`);
    for (const key of keys) hash.update(key);
    const name = hash.digest('base64');
    const filter = this.#filters.get(name) ?? replayFilter(method, clock);
    this.#filters.delete(name);
    this.#filters.set(name, filter);
    if (this.#filters.size > MAX_KEYS) this.#forgetOldest();
    return filter;
  }

  #forgetOldest(): void {
    for (const oldest of this.#filters.keys()) {
      this.#filters.delete(oldest);
      return;
    }
  }
}

import { createHash } from 'node:crypto';
import type { Clock } from '@nekit/core';
import type { Secret } from '../method.js';
import { SeenSessions } from '../packet/seen-sessions.js';
import { type ReplayFilter, replayFilter } from './replay-filter.js';

/** Keys that are remembered: who changes keys and reloads again and again must not fill the memory. */
const MAX_KEYS = 64;

/** What was seen by one method and key. */
export interface ReplayMemory {
  /** Of connections. */
  readonly filter: ReplayFilter;
  /** Of UDP; methods that have no sessions leave it empty. */
  readonly sessions: SeenSessions;
}

/**
 * What one kernel remembers, for each method and key: what was recorded is good for every listener that has the key, and for the one that takes its place after a
 * reload.
 */
export class ReplayMemories {
  /** By a hash, so that no key lies about; the one that was asked for last stands last. */
  readonly #memories = new Map<string, ReplayMemory>();

  of({ method, keys }: Secret, clock: Clock): ReplayMemory {
    const hash = createHash('sha256').update(`${method.name}:`);
    for (const key of keys) hash.update(key);
    const name = hash.digest('base64');
    const memory = this.#memories.get(name) ?? { filter: replayFilter(method, clock), sessions: new SeenSessions(() => clock.now()) };
    this.#memories.delete(name);
    this.#memories.set(name, memory);
    if (this.#memories.size > MAX_KEYS) this.#forgetOldest();
    return memory;
  }

  #forgetOldest(): void {
    for (const oldest of this.#memories.keys()) {
      this.#memories.delete(oldest);
      return;
    }
  }
}

// Read first: SIP022 (replay protection); SIP004, which has none; "How China Detects and Blocks Shadowsocks" (IMC 2020) on replayed connections.
import { type Clock, STREAM_METHODS } from '@nekit/core';
import type { Method } from '../method.js';
import { REPLAYABLE } from '../packet/main-header.js';
import { SaltSet } from './salt-set.js';

/** Whether a salt may open a connection. `full`: that cannot be told, so it may not. */
export type Verdict = 'new' | 'known' | 'full';

/** What remembers the salts of a listener's connections. All its connections share it, and it ends with the listener. */
export interface ReplayFilter {
  /** Judges and remembers the salt of a request that has been found authentic: what a stranger makes up must not get in. */
  admit(salt: Uint8Array): Verdict;
  /** A salt of ours: it may not come back as a client's. */
  record(salt: Uint8Array): void;
  /** Salts that are remembered. */
  readonly size: number;
  /** Bytes of memory. */
  readonly footprint: number;
}

/**
 * Salts of one generation; there are two. Three quarters of 2^20, which is when the table would double again. It costs at most 8 MiB with the 8 bytes that are kept of
 * a SIP004 salt, 32 MiB with the 32 of SIP022 (12,000 new connections in every second).
 */
const MAX_SALTS = 786_432;

/** What is kept of a salt that needs not be remembered exactly, in bytes. */
const PREFIX = 8;

/**
 * SIP022: a request cannot be repeated once its timestamp is old, so salts are remembered exactly for that long and a little more. A salt is never forgotten earlier:
 * when there is no room, new connections have to wait (`full`).
 */
export class TimedFilter implements ReplayFilter {
  readonly #saltLength: number;
  readonly #clock: Clock;
  readonly #limit: number;
  #newer: SaltSet;
  #older: SaltSet;
  #began: number;

  constructor(saltLength: number, clock: Clock, limit = MAX_SALTS) {
    this.#saltLength = saltLength;
    this.#clock = clock;
    this.#limit = limit;
    this.#newer = new SaltSet(saltLength);
    this.#older = new SaltSet(saltLength);
    this.#began = clock.now();
  }

  get size(): number {
    return this.#newer.size + this.#older.size;
  }

  get footprint(): number {
    return this.#newer.footprint + this.#older.footprint;
  }

  admit(salt: Uint8Array): Verdict {
    this.#turn();
    if (this.#older.has(salt)) return 'known';
    if (this.#newer.size >= this.#limit) return this.#newer.has(salt) ? 'known' : 'full';
    return this.#newer.add(salt) ? 'new' : 'known';
  }

  /** Nothing to do: responses are of another type than requests. */
  record(): void {}

  #turn(): void {
    const now = this.#clock.now();
    const age = now - this.#began;
    if (age < REPLAYABLE) return;
    this.#older = age < 2 * REPLAYABLE ? this.#newer : new SaltSet(this.#saltLength);
    this.#newer = new SaltSet(this.#saltLength);
    this.#began = now;
  }
}

/**
 * SIP004 and older: a recorded connection can be repeated for ever, so the last ones are remembered: at least `limit` salts, at most twice as many. Eight bytes are kept
 * of each; an honest client is taken for a repeated one with a probability of 1e-13 when both generations are full.
 */
export class RecentFilter implements ReplayFilter {
  readonly #kept: number;
  readonly #limit: number;
  #newer: SaltSet;
  #older: SaltSet;

  constructor(saltLength: number, limit = MAX_SALTS) {
    this.#kept = Math.min(saltLength, PREFIX);
    this.#limit = limit;
    this.#newer = new SaltSet(this.#kept);
    this.#older = new SaltSet(this.#kept);
  }

  get size(): number {
    return this.#newer.size + this.#older.size;
  }

  get footprint(): number {
    return this.#newer.footprint + this.#older.footprint;
  }

  admit(salt: Uint8Array): Verdict {
    if (this.#older.has(salt) || !this.#newer.add(salt)) return 'known';
    if (this.#newer.size >= this.#limit) {
      this.#older = this.#newer;
      this.#newer = new SaltSet(this.#kept);
    }
    return 'new';
  }

  /** The format does not tell directions apart: what we sent to one client would be a valid request from another. */
  record(salt: Uint8Array): void {
    this.admit(salt);
  }
}

/** Without a salt (the method `none`) nothing can be told from anything. */
const NO_FILTER: ReplayFilter = { admit: () => 'new', record: () => {}, size: 0, footprint: 0 };

/** The right one for a method. */
export function replayFilter(method: Method, clock: Clock): ReplayFilter {
  if (method.family === '2022') return new TimedFilter(method.keyLength, clock); // salts are as long as keys
  if (method.family === 'aead') return new RecentFilter(method.keyLength);
  const { iv } = STREAM_METHODS[method.cipher];
  return iv === 0 ? NO_FILTER : new RecentFilter(iv);
}

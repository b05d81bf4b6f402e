import type { TimerWheel } from '@nekit/core';
import { type Upstream, UpstreamPool } from './upstream-pool.js';

/** Idle connections that are one client's alone; it asks for one thing at a time, so more than one to an endpoint has no use. */
const LIMITS = { perKey: 1, inAll: 4 };

/**
 * The idle connections to origins that one client may use: the pool's, and those that know who it is (NTLM, Negotiate), which go when it does
 * and are never another's.
 */
export class ClientUpstreams {
  readonly #pool: UpstreamPool;
  readonly #timers: TimerWheel;
  readonly #idleMs: number;
  /** Made for those few that need it. */
  #own: UpstreamPool | null = null;
  #closed = false;

  /** `idleMs`: for its own ones. */
  constructor(pool: UpstreamPool, timers: TimerWheel, idleMs: number) {
    this.#pool = pool;
    this.#timers = timers;
    this.#idleMs = idleMs;
  }

  /** Its own one, however long it has waited, for on another one a handshake would begin anew; else one of the pool that waits no longer than `maxIdleMs`. */
  take(key: string, maxIdleMs: number): Upstream | null {
    return this.#own?.take(key, Number.POSITIVE_INFINITY) ?? this.#pool.take(key, maxIdleMs);
  }

  /** See UpstreamPool. */
  put(upstream: Upstream): void {
    if (!upstream.bound) {
      this.#pool.put(upstream);
      return;
    }
    const own = this.#own ?? new UpstreamPool(this.#timers, this.#idleMs, LIMITS);
    this.#own = own;
    if (this.#closed) own.close();
    own.put(upstream);
  }

  /** The client has left, or will ask nothing more: drops what is its alone. */
  close(): void {
    this.#closed = true;
    this.#own?.close();
  }
}

import { networkInterfaces } from 'node:os';
import type { Clock } from './clock.js';

/** Interfaces are read again after this long, in ms: an address that was just added is ours soon. */
const REFRESH = 5_000;

/** The addresses of this machine. */
export class LocalAddresses {
  readonly #clock: Pick<Clock, 'now'>;
  #known: ReadonlySet<string> = new Set();
  #readAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  /** `address`: canonical. */
  has(address: string): boolean {
    const bare = address.split('%', 1)[0] ?? address;
    if (bare.startsWith('127.') || bare === '::1') return true;
    const now = this.#clock.now();
    if (now - this.#readAt > REFRESH) {
      this.#readAt = now;
      this.#known = new Set(Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map((entry) => entry.address)));
    }
    return this.#known.has(bare);
  }
}

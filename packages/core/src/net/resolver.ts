import type { Cancel } from './cancel.js';

/** Names to addresses. One per kernel, with a cache; `direct`, rule facts and bootstrap use it. */
export interface Resolver {
  /** Canonical addresses, at least one, in the order to try. Rejects with NetError 'name', 'timeout' or the signal's reason. */
  resolve(name: string, family: 0 | 4 | 6, signal: Cancel): Promise<readonly string[]>;
}

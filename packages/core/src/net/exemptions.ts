import type { Endpoint } from './endpoint.js';
import type { Network } from './session.js';

/** One server that a process of ours connects to by itself. `endpoint`: with an address. */
export interface Exemption {
  readonly endpoint: Endpoint;
  readonly network: Network;
}

/** Who sees to it that exempted servers are reached. Neither call throws. */
export interface ExemptionFollower {
  added(exemption: Exemption): void;
  removed(exemption: Exemption): void;
}

/**
 * Servers of processes whose sockets carry no mark (SIP003 plugins): with auto-route exactly their address and port are reached beside the TUN.
 * The same one may be added several times.
 */
export class Exemptions {
  readonly #held = new Map<string, { readonly exemption: Exemption; count: number }>();
  readonly #followers = new Set<ExemptionFollower>();

  /** Whether somebody follows: such a process must be given an address then, for its own look-ups would come out of the TUN. */
  get needed(): boolean {
    return this.#followers.size > 0;
  }

  /** The returned function takes it back. */
  add(endpoint: Endpoint, network: Network): () => void {
    const key = `${network} ${endpoint.host} ${endpoint.port}`;
    const held = this.#held.get(key) ?? { exemption: { endpoint, network }, count: 0 };
    held.count++;
    this.#held.set(key, held);
    if (held.count === 1) for (const follower of this.#followers) follower.added(held.exemption);
    let given = true;
    return () => {
      if (!given) return;
      given = false;
      held.count--;
      if (held.count > 0) return;
      this.#held.delete(key);
      for (const follower of this.#followers) follower.removed(held.exemption);
    };
  }

  /** Tells what there is, and then what comes and goes. The returned function takes back from it what there is then. */
  follow(follower: ExemptionFollower): () => void {
    this.#followers.add(follower);
    for (const { exemption } of this.#held.values()) follower.added(exemption);
    return () => {
      if (!this.#followers.delete(follower)) return;
      for (const { exemption } of this.#held.values()) follower.removed(exemption);
    };
  }
}

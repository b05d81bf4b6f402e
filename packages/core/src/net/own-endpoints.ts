import { networkInterfaces } from 'node:os';
import type { Clock } from './clock.js';
import type { Network } from './session.js';

/** Interfaces are read again after this long, in ms: an address that was just added is ours soon. */
const REFRESH = 5_000;

/**
 * Our own listeners, so that a connection that would come back to us is refused: any local address with a port that we listen on.
 * Judged on the address that is about to be dialled, at the socket.
 */
export class OwnEndpoints {
  readonly #clock: Clock;
  readonly #ports: Record<Network, Map<number, number>> = { tcp: new Map(), udp: new Map() };
  #local: ReadonlySet<string> = new Set();
  #readAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The returned function takes it back. */
  add(network: Network, port: number): () => void {
    const ports = this.#ports[network];
    ports.set(port, (ports.get(port) ?? 0) + 1);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const count = (ports.get(port) ?? 1) - 1;
      if (count === 0) ports.delete(port);
      else ports.set(port, count);
    };
  }

  /** `address`: canonical, not a name. */
  includes(network: Network, address: string, port: number): boolean {
    return this.#ports[network].has(port) && this.#isLocal(address);
  }

  #isLocal(address: string): boolean {
    const bare = address.split('%', 1)[0] ?? address;
    // 0.0.0.0 and :: reach the host itself; so does all of 127/8.
    if (bare.startsWith('127.') || bare === '::1' || bare === '0.0.0.0' || bare === '::') return true;
    const now = this.#clock.now();
    if (now - this.#readAt > REFRESH) {
      this.#readAt = now;
      this.#local = new Set(Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map((entry) => entry.address)));
    }
    return this.#local.has(bare);
  }
}

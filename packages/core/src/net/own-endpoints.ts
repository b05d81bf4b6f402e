import type { Clock } from './clock.js';
import { LocalAddresses } from './local-addresses.js';
import type { Network } from './session.js';

/**
 * Our own listeners, so that a connection that would come back to us is refused: any local address with a port that we listen on.
 * Judged on the address that is about to be dialled, at the socket.
 */
export class OwnEndpoints {
  readonly #ports: Record<Network, Map<number, number>> = { tcp: new Map(), udp: new Map() };
  readonly #local: LocalAddresses;

  constructor(clock: Clock) {
    this.#local = new LocalAddresses(clock);
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
    // These reach the host itself, too.
    return /^(?:0\.0\.0\.0|::)(?:%|$)/.test(address) || this.#local.has(address);
  }
}

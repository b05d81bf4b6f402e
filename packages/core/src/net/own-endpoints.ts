import type { Clock } from './clock.js';
import { formatEndpoint } from './endpoint.js';
import { NetError } from './errors.js';
import { LocalAddresses } from './local-addresses.js';
import type { Network } from './session.js';

/**
 * Our own listeners, so that a connection that would come back to us is refused: any local address with a port that we listen on.
 * Judged on the address that is about to be dialled, at the socket.
 */
export class OwnEndpoints {
  readonly #ports: Record<Network, Map<number, number>> = { tcp: new Map(), udp: new Map() };
  readonly #local: LocalAddresses;
  readonly #fakes = new Set<(address: string) => boolean>();

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

  /** Addresses that stand for names: whoever dials one has missed the name. The returned function takes it back. */
  addFakes(contains: (address: string) => boolean): () => void {
    this.#fakes.add(contains);
    return () => this.#fakes.delete(contains);
  }

  /** Why this must not be dialled: it would come back to us; null: it may. `address`: canonical, not a name. */
  refuses(network: Network, address: string, port: number): NetError | null {
    const text = (): string => formatEndpoint({ host: address, port });
    if (this.includes(network, address, port))
      return new NetError('denied', `${text()} is one of our own listeners: refused, or it would loop`, { code: 'LOOP' });
    for (const contains of this.#fakes)
      if (contains(address)) return new NetError('refused', `${text()} is a fake address, which stands for a name and is nowhere`, { code: 'FAKE_IP_DIALLED' });
    return null;
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

import type { Endpoint } from '@nekit/core';

/** A DHT node or a busy resolver talks to some hundred peers at a time; who is forgotten only costs one more object. */
const MAX_PEERS = 1024;

/**
 * One frozen Endpoint per remote, so that `===` replaces a look-up. Keyed by the address as it stands on the wire.
 * Bounded: the one not seen for longest goes first.
 */
export class PeerTable {
  readonly #peers = new Map<string, Endpoint>();
  readonly #limit: number;
  #lastKey = '';
  #last: Endpoint | null = null;

  constructor(limit = MAX_PEERS) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#peers.size;
  }

  get(key: string): Endpoint | null {
    if (key === this.#lastKey && this.#last !== null) return this.#last;
    const peer = this.#peers.get(key);
    if (peer === undefined) return null;
    this.#peers.delete(key); // put back as the youngest
    return this.#keep(key, peer);
  }

  add(key: string, host: string, port: number): Endpoint {
    const peer = this.#keep(key, Object.freeze({ host, port }));
    if (this.#peers.size > this.#limit) this.#forgetOldest();
    return peer;
  }

  #keep(key: string, peer: Endpoint): Endpoint {
    this.#peers.set(key, peer);
    this.#lastKey = key;
    this.#last = peer;
    return peer;
  }

  #forgetOldest(): void {
    for (const key of this.#peers.keys()) {
      this.#peers.delete(key);
      return;
    }
  }
}

/**
 * Fake destinations of one UDP flow, so that what their servers send comes from the address that the client knows.
 *
 * Who carries the flow says which address a datagram came from, and seldom which name that is. It is taken to be, in this order: the name that it says; the only name of
 * that port; the one that a rule has looked the address up for; of several the one that was asked first and is not known yet.
 */
import type { Endpoint } from '../net/endpoint.js';
import type { Datagram } from '../net/packet-conn.js';

/** Remotes that are remembered. */
const MAX_KNOWN = 1_024;

export interface Mask {
  /** What the client sends to. */
  readonly fake: Endpoint;
  /** The name that it stands for, and the port. */
  readonly real: Endpoint;
  /** What a rule has looked up. */
  readonly addresses: readonly string[] | null;
}

export class Masks {
  readonly #isOwn: (peer: Endpoint) => boolean;
  readonly #masks: Mask[] = [];
  /** What each remote is shown as. */
  readonly #known = new Map<string, Endpoint>();
  /** Those that a remote was found for. */
  readonly #found = new Set<Mask>();
  #last: { readonly peer: Endpoint; readonly shown: Endpoint } | null = null;

  /** `isOwn`: whether the client has sent to this address itself. */
  constructor(isOwn: (peer: Endpoint) => boolean) {
    this.#isOwn = isOwn;
  }

  add(mask: Mask): void {
    this.#masks.push(mask);
  }

  delete(fake: Endpoint): void {
    const at = this.#masks.findIndex((mask) => mask.fake === fake);
    const [mask] = at === -1 ? [] : this.#masks.splice(at, 1);
    if (mask !== undefined) this.#found.delete(mask);
    this.#forget();
  }

  /** The datagrams as the client is to see them. */
  shown(datagrams: readonly Datagram[]): readonly Datagram[] {
    if (this.#masks.length === 0) return datagrams;
    return datagrams.map((datagram) => {
      const peer = this.#shown(datagram.named ?? datagram.peer);
      return peer === datagram.peer ? datagram : { ...datagram, peer };
    });
  }

  #shown(peer: Endpoint): Endpoint {
    if (this.#last?.peer === peer) return this.#last.shown;
    const key = `${peer.host} ${peer.port}`;
    let shown = this.#known.get(key);
    if (shown === undefined) {
      if (this.#known.size >= MAX_KNOWN) this.#forget();
      const mask = this.#isOwn(peer) ? null : this.#maskOf(peer);
      if (mask !== null) this.#found.add(mask);
      shown = mask?.fake ?? peer;
      this.#known.set(key, shown);
    }
    this.#last = { peer, shown };
    return shown;
  }

  #maskOf({ host, port }: Endpoint): Mask | null {
    const ofPort = this.#masks.filter(({ real }) => real.port === port);
    if (ofPort.length <= 1) return ofPort[0] ?? null;
    return (
      ofPort.find(({ real, addresses }) => real.host === host || addresses?.includes(host) === true) ??
      ofPort.find((mask) => !this.#found.has(mask)) ??
      ofPort.at(-1) ??
      null
    );
  }

  #forget(): void {
    this.#known.clear();
    this.#last = null;
  }
}

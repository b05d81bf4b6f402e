import type { SharedBound } from '../net/bounded-map.js';
import type { Endpoint } from '../net/endpoint.js';
import type { NetError } from '../net/errors.js';
import type { Datagram, PacketConn } from '../net/packet-conn.js';
import { PacketQueue } from '../net/packet-queue.js';
import { Masks } from './masks.js';

/** Datagrams that wait for a flow's adapter. */
const MOST_WAITING = 256;

/** Datagrams `[from, until)` with bytes of their own. One copy for all of them. */
export function copyDatagrams(datagrams: readonly Datagram[], from: number, until: number): Datagram[] {
  let length = 0;
  for (let i = from; i < until; i++) length += datagrams[i]?.bytes.length ?? 0;
  const copy = Buffer.allocUnsafeSlow(length); // of no pool: what waits keeps no more than itself
  const copied: Datagram[] = [];
  let at = 0;
  for (let i = from; i < until; i++) {
    const datagram = datagrams[i];
    if (datagram === undefined) continue;
    const { bytes, peer, named, addresses } = datagram;
    copy.set(bytes, at);
    const own = new Uint8Array(copy.buffer, copy.byteOffset + at, bytes.length);
    copied.push(named === undefined && addresses === undefined ? { bytes: own, peer } : { ...datagram, bytes: own });
    at += bytes.length;
  }
  return copied;
}

/** The peer that the client knows, and what takes its place. */
export interface Override {
  readonly from: Endpoint;
  readonly to: Endpoint;
}

/** The client's association as one flow sees it: only its peers' datagrams, and the way back to the client. */
export class FlowConn implements PacketConn {
  readonly #client: PacketConn;
  readonly #queue: PacketQueue;
  readonly masks: Masks;
  readonly #override: Override | null;
  #error: NetError | null = null;

  /** `waiting`: what all flows that are still being dialled may hold together. */
  constructor(client: PacketConn, isOwn: (peer: Endpoint) => boolean, override: Override | null, waiting: SharedBound) {
    this.#queue = new PacketQueue(MOST_WAITING, waiting);
    this.#client = client;
    this.masks = new Masks(isOwn);
    this.#override = override;
  }

  get error(): NetError | null {
    return this.#error;
  }

  /**
   * Takes datagrams `[from, until)` that the client's conn gave, all of one peer. Copies, if they are only lent, and of what waits: each would keep all that its conn received with it.
   * `real`: what the peer stands for.
   */
  put(datagrams: readonly Datagram[], from: number, until: number, addresses: readonly string[] | null, real: Endpoint | null): void {
    const isKept = this.#client.givesBytes === true && this.#queue.isAwaited;
    const own = isKept ? datagrams.slice(from, until) : copyDatagrams(datagrams, from, until);
    const to = this.#override?.to ?? real;
    if (to === null && addresses === null) this.#queue.putAll(own);
    else this.#queue.putAll(own.map((datagram) => ({ ...datagram, peer: to ?? datagram.peer, ...(addresses === null ? {} : { addresses }) })));
  }

  receive(): Promise<readonly Datagram[] | null> {
    return this.#queue.take();
  }

  send(datagrams: readonly Datagram[]): number {
    const override = this.#override;
    return this.#client.send(override === null ? this.masks.shown(datagrams) : datagrams.map((datagram) => ({ ...datagram, peer: override.from })));
  }

  close(error?: NetError): void {
    this.#error ??= error ?? null;
    this.#queue.end();
  }
}

import type { Endpoint } from '../net/endpoint.js';
import type { NetError } from '../net/errors.js';
import type { Datagram, PacketConn } from '../net/packet-conn.js';
import { PacketQueue } from '../net/packet-queue.js';
import { Masks } from './masks.js';

/** The bytes are lent to us until the next receive; what waits needs its own. */
export function copyDatagram(datagram: Datagram): Datagram {
  return { ...datagram, bytes: Uint8Array.from(datagram.bytes) };
}

/** The peer that the client knows, and what takes its place. */
export interface Override {
  readonly from: Endpoint;
  readonly to: Endpoint;
}

/** The client's association as one flow sees it: only its peers' datagrams, and the way back to the client. */
export class FlowConn implements PacketConn {
  readonly #client: PacketConn;
  readonly #queue = new PacketQueue();
  readonly masks: Masks;
  readonly #override: Override | null;
  #error: NetError | null = null;

  constructor(client: PacketConn, isOwn: (peer: Endpoint) => boolean, override: Override | null) {
    this.#client = client;
    this.masks = new Masks(isOwn);
    this.#override = override;
  }

  get error(): NetError | null {
    return this.#error;
  }

  /** `real`: what its peer stands for. */
  put(datagram: Datagram, addresses: readonly string[] | null, real: Endpoint | null): void {
    const peer = this.#override?.to ?? real ?? datagram.peer;
    this.#queue.put(addresses === null ? { ...copyDatagram(datagram), peer } : { ...copyDatagram(datagram), peer, addresses });
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

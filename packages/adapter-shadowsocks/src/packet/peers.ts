import { type Endpoint, encodeSocksAddress, portAt, readSocksAddress, socksAddressEnd } from '@nekit/core';
import { MAX_PADDING } from './random.js';

/** A DHT node or a busy resolver talks to some hundred peers at a time; who is forgotten only costs one more object. */
const MAX_PEERS = 1024;

/** What follows an address: the peer that it means, and where the address ends. */
export interface FoundPeer {
  readonly peer: Endpoint;
  readonly end: number;
}

/**
 * One frozen Endpoint per remote of one association, so that `===` replaces a look-up. Keyed by the address as it stands on the wire. Bounded: the one not seen
 * for longest goes first.
 */
export class PeerTable {
  readonly #peers = new Map<string, Endpoint>();
  readonly #limit: number;
  #lastAddress = new Uint8Array(0);
  #last: FoundPeer | null = null;

  constructor(limit = MAX_PEERS) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#peers.size;
  }

  /** The address at `bytes[start, end)`. null: cut off, of an unknown type, a name that is none, port 0. */
  find(bytes: Uint8Array, start: number, end: number): FoundPeer | null {
    const stop = socksAddressEnd(bytes, start);
    if (stop === null || stop === undefined || stop > end || portAt(bytes, stop - 2) === 0) return null;
    // Nearly always the same as before: then nothing is made of the bytes.
    const last = this.#last;
    if (last !== null && same(bytes, start, stop, this.#lastAddress)) return last.end === stop ? last : this.#remember({ peer: last.peer, end: stop });
    const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1', start, stop);
    let peer = this.#peers.get(key);
    if (peer === undefined) {
      const address = readSocksAddress(bytes, start);
      if (!address || address.host === null) return null;
      peer = Object.freeze({ host: address.host, port: address.port });
    } else this.#peers.delete(key); // put back as the youngest
    this.#peers.set(key, peer);
    if (this.#peers.size > this.#limit) this.#forgetOldest();
    this.#lastAddress = bytes.slice(start, stop);
    return this.#remember({ peer, end: stop });
  }

  #remember(found: FoundPeer): FoundPeer {
    this.#last = found;
    return found;
  }

  #forgetOldest(): void {
    for (const key of this.#peers.keys()) {
      this.#peers.delete(key);
      return;
    }
  }
}

function same(bytes: Uint8Array, start: number, end: number, other: Uint8Array): boolean {
  if (end - start !== other.length) return false;
  for (let i = 0; i < other.length; i++) if (bytes[start + i] !== other[i]) return false;
  return true;
}

/** Addresses for the peers that one association sends to, kept as long as the peers' Endpoint objects live. */
export class PeerAddresses {
  readonly #addresses = new WeakMap<Endpoint, Uint8Array>();
  #lastPeer: Endpoint | null = null;
  #last: Uint8Array = NOTHING;

  /** null for a peer that cannot be written down: a name that is too long, an address with a zone, no port. */
  of(peer: Endpoint): Uint8Array | null {
    if (peer === this.#lastPeer) return this.#last;
    let address = this.#addresses.get(peer);
    if (address === undefined) {
      const { host, port } = peer;
      // A name of more than 253 characters cannot be canonical; only a foreign PacketConn could bring one.
      if (host.length === 0 || host.length > 253 || host.includes('%') || port === 0) return null;
      address = encodeSocksAddress(peer, 'Shadowsocks');
      this.#addresses.set(peer, address);
    }
    this.#lastPeer = peer;
    this.#last = address;
    return address;
  }
}

/** ATYP, a length octet, a name, a port. */
const LONGEST_ADDRESS = 1 + 1 + 255 + 2;

/** Bytes of payload, address and padding at most. */
export function longestAround(payload: number): number {
  return LONGEST_ADDRESS + Math.max(payload, MAX_PADDING);
}

const NOTHING = new Uint8Array(0);

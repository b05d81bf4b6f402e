/**
 * Read first: RFC 1928 section 7. In front of every datagram between a client and the relay, in both directions:
 *
 *   +-----+------+------+----------+----------+------+
 *   | RSV | FRAG | ATYP | ADDR     | PORT     | DATA |
 *   |  2  |  1   |  1   | variable |    2     |      |
 *   +-----+------+------+----------+----------+------+
 *
 * The address is the remote's: where to on the way out, where from on the way back. FRAG other than 0 is a fragment; who does not
 * put fragments together must drop them.
 */
import { type Endpoint, encodeSocksAddress, portAt, readSocksAddress, socksAddressEnd } from '@nekit/core';
import type { PeerTable } from './peer-table.js';

/** RSV, FRAG, ATYP. */
const FIXED = 4;

/** A datagram as a relay or a client sent it. `payload` is a part of what was parsed. */
export interface RelayedDatagram {
  readonly peer: Endpoint;
  readonly payload: Uint8Array;
}

/** null for what is to be dropped: too short, a fragment, an unknown address type, a name that is none, port 0. */
export function parseRelayed(bytes: Uint8Array, peers: PeerTable): RelayedDatagram | null {
  if (bytes.length < FIXED || bytes[2] !== 0) return null;
  const end = socksAddressEnd(bytes, FIXED - 1);
  if (end === null || end === undefined || end > bytes.length) return null;
  if (portAt(bytes, end - 2) === 0) return null;
  const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1', FIXED - 1, end);
  const known = peers.get(key);
  if (known !== null) return { peer: known, payload: bytes.subarray(end) };
  const address = readSocksAddress(bytes, FIXED - 1);
  if (!address || address.host === null) return null;
  return { peer: peers.add(key, address.host, address.port), payload: bytes.subarray(end) };
}

/** Headers for the peers that one association sends to, kept as long as the peers' Endpoint objects live. */
export class RelayHeaders {
  readonly #headers = new WeakMap<Endpoint, Uint8Array | null>();

  /** null for a peer that cannot be written down: a name that is too long, an address with a zone, which means nothing on another machine. */
  of(peer: Endpoint): Uint8Array | null {
    const known = this.#headers.get(peer);
    if (known !== undefined) return known;
    const header = canBeWritten(peer.host) ? Buffer.concat([new Uint8Array(FIXED - 1), encodeSocksAddress(peer)]) : null;
    this.#headers.set(peer, header);
    return header;
  }
}

/** A name of more than 253 characters cannot be canonical; only a foreign PacketConn could bring one. */
function canBeWritten(host: string): boolean {
  return host.length > 0 && host.length <= 253 && !host.includes('%');
}

/**
 * UDP-over-TCP as sing-box has it. Read first: its documentation, "UDP over TCP". A stream to a name that no server could have:
 *
 *   version 1   sp.udp-over-tcp.arpa        frames
 *   version 2   sp.v2.udp-over-tcp.arpa     head, then frames (any peer) or short frames (one peer, the head's)
 *
 *   frame       | type | address  | port  | length | data |      head   | one peer? | SOCKS address |
 *               |  1   | variable | u16be | u16be  |      |              |  1: 0, 1  | variable      |
 *   short frame                         | length | data |
 *
 * The address of a frame is written as in SOCKS but for its type: 0 IPv4, 1 IPv6, 2 a name.
 */
import { type Endpoint, SOCKS_DOMAIN, SOCKS_IPV4, SOCKS_IPV6 } from '@nekit/core';
import type { PeerAddresses, PeerTable } from '../packet/peers.js';

export type UotVersion = 1 | 2;

/** The port means nothing; this one is the least likely to be refused on the way. */
const PORT = 443;

const NAMES: Readonly<Record<UotVersion, string>> = { 1: 'sp.udp-over-tcp.arpa', 2: 'sp.v2.udp-over-tcp.arpa' };

/** Where a stream has to go to become an association. */
export function uotDestination(version: UotVersion): Endpoint {
  return { host: NAMES[version], port: PORT };
}

/** The version that a stream to this destination speaks; null: it is none. The port may be any, 0 included. */
export function uotVersionOf(host: string): UotVersion | null {
  return host === NAMES[2] ? 2 : host === NAMES[1] ? 1 : null;
}

/** Types of SOCKS at the place of the frame's own. */
const TYPES: readonly number[] = [SOCKS_IPV4, SOCKS_IPV6, SOCKS_DOMAIN];

const LENGTH = 2;

/** What one length can say. */
export const MAX_DATA = 0xffff;

/** Type, length octet, name, port, length, data. */
export const LONGEST_FRAME = 1 + 1 + 255 + 2 + LENGTH + MAX_DATA;

/** One frame; null: the peer or the data cannot be written down. */
export function encodeFrame(peer: Endpoint, data: Uint8Array, addresses: PeerAddresses): Uint8Array | null {
  const address = addresses.of(peer);
  if (address === null || data.length > MAX_DATA) return null;
  const frame = Buffer.allocUnsafe(address.length + LENGTH + data.length);
  frame.set(address);
  frame[0] = TYPES.indexOf(address[0] ?? 0);
  writeLength(frame, address.length, data.length);
  frame.set(data, address.length + LENGTH);
  return frame;
}

export function encodeShortFrame(data: Uint8Array): Uint8Array | null {
  if (data.length > MAX_DATA) return null;
  const frame = Buffer.allocUnsafe(LENGTH + data.length);
  writeLength(frame, 0, data.length);
  frame.set(data, LENGTH);
  return frame;
}

function writeLength(frame: Uint8Array, at: number, length: number): void {
  frame[at] = length >> 8;
  frame[at + 1] = length & 0xff;
}

/** A datagram that was read, and where it ends. */
export interface ReadFrame {
  /** null: a frame like others, for a peer that is none (port 0, a name that cannot be one). */
  readonly peer: Endpoint | null;
  readonly data: Uint8Array;
  readonly end: number;
}

/**
 * The frame at `bytes[at, end)`. undefined: more bytes are needed. null: these are no frames. The type is replaced by that of SOCKS in `bytes`, which must be the
 * caller's.
 */
export function readFrame(bytes: Uint8Array, at: number, end: number, peers: PeerTable): ReadFrame | null | undefined {
  if (at >= end) return undefined;
  const type = bytes[at] ?? 0;
  const length = type === 0 ? 4 : type === 1 ? 16 : type === 2 && at + 1 < end ? 1 + (bytes[at + 1] ?? 0) : type === 2 ? undefined : null;
  if (length === null || length === undefined) return length;
  const data = at + 1 + length + 2;
  const frame = readShortFrame(bytes, data, end, null);
  if (!frame) return frame;
  bytes[at] = TYPES[type] ?? 0;
  const found = peers.find(bytes, at, data);
  bytes[at] = type;
  return { peer: found?.peer ?? null, data: frame.data, end: frame.end };
}

export function readShortFrame(bytes: Uint8Array, at: number, end: number, peer: Endpoint | null): ReadFrame | undefined {
  const data = at + LENGTH;
  if (data > end) return undefined;
  const stop = data + (((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0));
  return stop > end ? undefined : { peer, data: bytes.subarray(data, stop), end: stop };
}

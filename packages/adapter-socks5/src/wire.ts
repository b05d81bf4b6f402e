/**
 * Read first: RFC 1928 (SOCKS5), RFC 1929 (its username/password method).
 *
 * Addresses look alike in requests, in replies and in front of every datagram (RFC 1928 section 5):
 *
 *   +------+----------------------------------+------+
 *   | ATYP | 4 octets, 16 octets, or 1 + name | PORT |
 *   +------+----------------------------------+------+
 *     01 IPv4   04 IPv6   03 domain (length octet, no NUL)   PORT in network order
 */
import { type Endpoint, formatAddress, NetError, normaliseHost, parseAddress } from '@nekit/core';

export const VERSION_4 = 0x04;
export const VERSION_5 = 0x05;

export const METHOD_NONE = 0x00;
export const METHOD_PASSWORD = 0x02;
export const METHOD_UNACCEPTABLE = 0xff;

/** Version of the username/password sub-negotiation (RFC 1929 section 2). */
export const PASSWORD_VERSION = 0x01;

export const COMMAND_CONNECT = 0x01;
export const COMMAND_ASSOCIATE = 0x03;

export const TYPE_IPV4 = 0x01;
export const TYPE_DOMAIN = 0x03;
export const TYPE_IPV6 = 0x04;

/** REP octets (RFC 1928 section 6) that are not in core's FAILURES table. */
export const REP_SUCCEEDED = 0x00;
export const REP_GENERAL = 0x01;
export const REP_HOST_UNREACHABLE = 0x04;
export const REP_COMMAND = 0x07;
export const REP_TYPE = 0x08;

/** What one length octet can say: names, usernames and passwords. */
export const MAX_TEXT = 255;

/** ATYP, address and port of an endpoint. Throws NetError 'name' for a name that one length octet cannot carry. */
export function encodeEndpoint(endpoint: Endpoint): Uint8Array {
  const address = parseAddress(endpoint.host);
  // The proxy would get another address than the one that was judged: a zone means something on this machine only.
  if (address !== null && endpoint.host.includes('%'))
    throw new NetError('unreachable', `${endpoint.host} has a zone, which a SOCKS5 request cannot carry`, { code: 'SOCKS5_ZONE' });
  const name = address === null ? Buffer.from(endpoint.host) : null;
  // CVE-2023-38545 is what happens when this is looked at later.
  if (name !== null && (name.length === 0 || name.length > MAX_TEXT)) {
    throw new NetError('name', `a name of ${name.length} bytes does not fit into a SOCKS5 request`, { code: 'SOCKS5_NAME_LENGTH' });
  }
  const body = address ?? name ?? new Uint8Array(0);
  const start = name === null ? 1 : 2;
  const bytes = new Uint8Array(start + body.length + 2);
  if (name === null) bytes[0] = body.length === 4 ? TYPE_IPV4 : TYPE_IPV6;
  else {
    bytes[0] = TYPE_DOMAIN;
    bytes[1] = name.length;
  }
  bytes.set(body, start);
  bytes[bytes.length - 2] = endpoint.port >> 8;
  bytes[bytes.length - 1] = endpoint.port & 0xff;
  return bytes;
}

/** An address as it came off the wire. `host` is null where the bytes are no host at all. */
export interface WireEndpoint {
  readonly host: string | null;
  readonly port: number;
}

/**
 * The length of a message that is `head` octets, then ATYP, address and port; 0 while the first bytes do not tell. Where the type is unknown
 * so is the end of the message: then all up to ATYP.
 */
export function measureAddressed(first: Uint8Array, head: number): number {
  const type = first[head];
  if (type === undefined) return 0;
  const length = addressLength(type);
  if (length === null) return head + 1;
  if (type !== TYPE_DOMAIN) return head + 1 + length + 2;
  const named = first[head + 1];
  return named === undefined ? 0 : head + 2 + named + 2;
}

/** The endpoint behind an ATYP octet at `at`; the message must be whole. null: the type is unknown. */
export function endpointAt(message: Uint8Array, at: number): WireEndpoint | null {
  const type = message[at] ?? 0;
  const length = addressLength(type);
  if (length === null) return null;
  const begin = type === TYPE_DOMAIN ? at + 2 : at + 1;
  const end = type === TYPE_DOMAIN ? begin + (message[at + 1] ?? 0) : begin + length;
  return { host: hostOf(type, message.subarray(begin, end)), port: portAt(message, end) };
}

/** Octets of an address of this type, 0 for a domain (its length octet says), null for an unknown type. */
export function addressLength(type: number): number | null {
  if (type === TYPE_IPV4) return 4;
  if (type === TYPE_IPV6) return 16;
  return type === TYPE_DOMAIN ? 0 : null;
}

export function portAt(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0);
}

/** The canonical host that the bytes mean, or null. */
export function hostOf(type: number, bytes: Uint8Array): string | null {
  return type === TYPE_DOMAIN ? hostOfName(bytes) : formatAddress(bytes);
}

/** The canonical host that a name means: a domain, or the address that an odd spelling stands for. null: it is neither. */
export function hostOfName(bytes: Uint8Array): string | null {
  return normaliseHost(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8'));
}

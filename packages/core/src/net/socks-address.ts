/**
 * Addresses as SOCKS5 writes them (read first: RFC 1928 section 5). Shadowsocks and UDP-over-TCP write them alike.
 *
 *   +------+----------------------------------+------+
 *   | ATYP | 4 octets, 16 octets, or 1 + name | PORT |
 *   +------+----------------------------------+------+
 *     01 IPv4   04 IPv6   03 domain (length octet, no NUL)   PORT in network order
 */
import { formatAddress, parseAddress } from './address.js';
import { type Endpoint, normaliseHost } from './endpoint.js';
import { NetError } from './errors.js';

export const SOCKS_IPV4 = 0x01;
export const SOCKS_DOMAIN = 0x03;
export const SOCKS_IPV6 = 0x04;

/** What one length octet can say. */
export const MAX_SOCKS_NAME = 255;

/** An address as it came off the wire. `host` is canonical, or null where the bytes are no host at all. */
export interface SocksAddress {
  readonly host: string | null;
  readonly port: number;
  /** The offset behind it. */
  readonly end: number;
}

/**
 * ATYP, address and port. Throws NetError 'name' `SOCKS5_NAME_LENGTH` for a name that one length octet cannot carry, 'unreachable' `SOCKS5_ZONE` for an address
 * with a zone. `protocol` is who cannot carry it, `code` what stands in front of the codes.
 */
export function encodeSocksAddress(endpoint: Endpoint, protocol = 'SOCKS5', code: string = protocol.toUpperCase()): Uint8Array {
  const address = parseAddress(endpoint.host);
  // The proxy would get another address than the one that was judged: a zone means something on this machine only.
  if (address !== null && endpoint.host.includes('%'))
    throw new NetError('unreachable', `${endpoint.host} has a zone, which a ${protocol} request cannot carry`, { code: `${code}_ZONE` });
  const name = address === null ? Buffer.from(endpoint.host) : null;
  // CVE-2023-38545 is what happens when this is looked at later.
  if (name !== null && (name.length === 0 || name.length > MAX_SOCKS_NAME)) {
    throw new NetError('name', `a name of ${name.length} bytes does not fit into a ${protocol} request`, { code: `${code}_NAME_LENGTH` });
  }
  const body = address ?? name ?? new Uint8Array(0);
  const start = name === null ? 1 : 2;
  const bytes = new Uint8Array(start + body.length + 2);
  if (name === null) bytes[0] = body.length === 4 ? SOCKS_IPV4 : SOCKS_IPV6;
  else {
    bytes[0] = SOCKS_DOMAIN;
    bytes[1] = name.length;
  }
  bytes.set(body, start);
  bytes[bytes.length - 2] = endpoint.port >> 8;
  bytes[bytes.length - 1] = endpoint.port & 0xff;
  return bytes;
}

/** The address at `at`. null: its type is unknown. undefined: more bytes are needed to tell it. */
export function readSocksAddress(bytes: Uint8Array, at: number): SocksAddress | null | undefined {
  const end = socksAddressEnd(bytes, at);
  if (end === null) return null;
  if (end === undefined || end > bytes.length) return undefined;
  const named = bytes[at] === SOCKS_DOMAIN;
  const address = bytes.subarray(at + (named ? 2 : 1), end - 2);
  return { host: named ? hostOfName(address) : formatAddress(address), port: portAt(bytes, end - 2), end };
}

/** The offset behind the address at `at`, which need not be here yet. null: its type is unknown. undefined: the first bytes do not tell. */
export function socksAddressEnd(bytes: Uint8Array, at: number): number | null | undefined {
  const type = bytes[at];
  if (type === undefined) return undefined;
  if (type === SOCKS_IPV4) return at + 1 + 4 + 2;
  if (type === SOCKS_IPV6) return at + 1 + 16 + 2;
  if (type !== SOCKS_DOMAIN) return null;
  const named = bytes[at + 1];
  return named === undefined ? undefined : at + 2 + named + 2;
}

export function portAt(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0);
}

/** The canonical host that a name means: a domain, or the address that an odd spelling stands for. null: it is neither. */
export function hostOfName(bytes: Uint8Array): string | null {
  return normaliseHost(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8'));
}

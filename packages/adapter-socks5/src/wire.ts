/** Read first: RFC 1928 (SOCKS5), RFC 1929 (its username/password method). Addresses are core's net/socks-address.ts. */
import { MAX_SOCKS_NAME, readSocksAddress, type SocksAddress, socksAddressEnd } from '@nekit/core';

export const VERSION_4 = 0x04;
export const VERSION_5 = 0x05;

export const METHOD_NONE = 0x00;
export const METHOD_PASSWORD = 0x02;
export const METHOD_UNACCEPTABLE = 0xff;

/** Version of the username/password sub-negotiation (RFC 1929 section 2). */
export const PASSWORD_VERSION = 0x01;

export const COMMAND_CONNECT = 0x01;
export const COMMAND_ASSOCIATE = 0x03;

/** REP octets (RFC 1928 section 6) that are not in core's FAILURES table. */
export const REP_SUCCEEDED = 0x00;
export const REP_GENERAL = 0x01;
export const REP_COMMAND = 0x07;
export const REP_TYPE = 0x08;

/** What one length octet can say: names, usernames and passwords. */
export const MAX_TEXT = MAX_SOCKS_NAME;

/**
 * The length of a message that is `head` octets, then ATYP, address and port; 0 while the first bytes do not tell. Where the type is unknown
 * so is the end of the message: then all up to ATYP.
 */
export function measureAddressed(first: Uint8Array, head: number): number {
  const end = socksAddressEnd(first, head);
  return end === null ? head + 1 : (end ?? 0);
}

/** The endpoint behind an ATYP octet at `at`; the message must be whole. null: the type is unknown. */
export function endpointAt(message: Uint8Array, at: number): SocksAddress | null {
  return readSocksAddress(message, at) ?? null;
}

/**
 * What a client is told. Read first: RFC 1928 section 6; for version 4 the memo "SOCKS: A protocol for TCP proxy across firewalls".
 *
 *   SOCKS5: 05 | REP | 00 | ATYP BND.ADDR BND.PORT        SOCKS4: 00 | CD | PORT (2) | IP (4)
 *
 * BND of a CONNECT is written as 0.0.0.0:0: which address a chain of proxies connects from is nothing that the client could use.
 */
import { type Endpoint, encodeSocksAddress, type NetError, repliesTo, SOCKS_IPV4 } from '@nekit/core';
import { VERSION_5 } from './wire.js';

/** CD of a SOCKS4 reply: granted, and rejected or failed. */
export const GRANTED_4 = 0x5a;
export const REJECTED_4 = 0x5b;

export function reply5(rep: number, bound?: Endpoint): Uint8Array {
  if (bound !== undefined) return Buffer.concat([Buffer.from([VERSION_5, rep, 0x00]), encodeSocksAddress(bound)]);
  return Buffer.from([VERSION_5, rep, 0x00, SOCKS_IPV4, 0, 0, 0, 0, 0, 0]);
}

export function reply4(code: number): Uint8Array {
  return Buffer.from([0x00, code, 0, 0, 0, 0, 0, 0]);
}

/** An upstream SOCKS5 server's own word, as our adapter puts it into the code; 7 and 8 were about our request, not about this client's. */
const UPSTREAM = /^SOCKS5_REP_([1-6])$/;

/** The REP octet for a failure: core's table, and what a code says more exactly than its failure. */
export function repOf(error: NetError): number {
  const upstream = UPSTREAM.exec(error.code);
  if (upstream !== null) return Number(upstream[1]);
  return repliesTo(error).socks5;
}

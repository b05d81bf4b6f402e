import { addressFamily } from '../net/address.js';
import { normaliseHost } from '../net/endpoint.js';

/** The name that a client's first bytes show. */
export interface Found {
  /** A canonical domain, never an address. */
  readonly host: string;
  /**
   * A TLS hello with Encrypted Client Hello (RFC 9849): `host` is the outer name, which may be the true one (browsers send such hellos to everybody) or only that
   * of the provider. Nobody on the way can tell.
   */
  readonly ech: boolean;
}

/** `more`: so far it may be the protocol. `none`: it is not, or it shows no name. */
export type Finding = 'more' | 'none' | Found;

/** A finding of a name as it stood in the bytes; `none` for what is an address or no name. */
export function found(text: string, ech = false): Finding {
  const host = PRINTABLE.test(text) ? normaliseHost(text) : null;
  return host === null || addressFamily(host) !== 0 ? 'none' : { host, ech };
}

/** Names of other scripts are written in ASCII (xn--…) on the wire. */
const PRINTABLE = /^[\x21-\x7e]{1,255}$/;

/**
 * Errors that have a code and a reader in mind. Match on `code` (or `failure`), never on `instanceof`: a plugin may bring a second
 * copy of this package, and its classes are not ours.
 */

/** What went wrong on the way to a target, in the words that every protocol can translate. */
export type Failure =
  | 'refused' /** the target's host answered "no" (RST, ICMP port unreachable) */
  | 'unreachable' /** no route, network or host down */
  | 'timeout' /** no answer in time */
  | 'name' /** the name could not be resolved */
  | 'auth' /** credentials missing or wrong, at us or at an upstream proxy */
  | 'denied' /** a rule or a policy said no */
  | 'protocol' /** a peer broke its protocol */
  | 'aborted'; /** cut off: reset, shutdown, the other side left */

/**
 * One table for every protocol that has to tell its client of a failure.
 * `socks5` is the REP byte of RFC 1928 section 6, `http` a status of RFC 9110 section 15,
 * `packet` what an IP stack answers a SYN or a datagram with.
 */
export const FAILURES: Readonly<Record<Failure, FailureReplies>> = {
  refused: { socks5: 0x05, http: 502, packet: 'reset' },
  unreachable: { socks5: 0x03, http: 502, packet: 'network-unreachable' },
  timeout: { socks5: 0x04, http: 504, packet: 'host-unreachable' },
  name: { socks5: 0x04, http: 502, packet: 'host-unreachable' },
  auth: { socks5: 0x01, http: 502, packet: 'reset' },
  denied: { socks5: 0x02, http: 403, packet: 'reset' },
  protocol: { socks5: 0x01, http: 502, packet: 'reset' },
  aborted: { socks5: 0x01, http: 502, packet: 'reset' },
};

/** The host is down, but not its network. */
const HOST_DOWN: FailureReplies = { socks5: 0x04, http: 502, packet: 'host-unreachable' };

/** What to answer to this error; its code may say more than its failure. */
export function repliesTo({ failure, code }: NetError): FailureReplies {
  return failure === 'unreachable' && (code === 'EHOSTUNREACH' || code === 'EHOSTDOWN') ? HOST_DOWN : FAILURES[failure];
}

export interface FailureReplies {
  readonly socks5: number;
  readonly http: number;
  readonly packet: 'reset' | 'network-unreachable' | 'host-unreachable';
}

/** The root of all errors of this project. `code` is stable and upper-case, `message` is for a person. */
export class NekitError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** A failure of the network or of a peer. The only error that a dialer or a stream rejects with. */
export class NetError extends NekitError {
  readonly failure: Failure;
  /** `code` defaults to `NET_<FAILURE>`; give a narrower one where the reader can act on it (`HTTP_PROXY_AUTH`). */
  constructor(failure: Failure, message: string, options?: { readonly code?: string; readonly cause?: unknown }) {
    super(options?.code ?? `NET_${failure.toUpperCase()}`, message, options);
    this.failure = failure;
  }
}

/** True for a NetError of any copy of this package. */
export function isNetError(error: unknown): error is NetError {
  return error instanceof Error && 'failure' in error && typeof error.failure === 'string' && Object.hasOwn(FAILURES, error.failure);
}

const BY_ERRNO: Readonly<Record<string, Failure>> = {
  ECONNREFUSED: 'refused',
  ENOENT: 'refused',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  EHOSTDOWN: 'unreachable',
  ENETDOWN: 'unreachable',
  EADDRNOTAVAIL: 'unreachable',
  EAFNOSUPPORT: 'unreachable',
  EACCES: 'denied',
  EPERM: 'denied',
  ETIMEDOUT: 'timeout',
  ENOTFOUND: 'name',
  EAI_AGAIN: 'name',
  EAI_FAIL: 'name',
  ENODATA: 'name',
  EPROTO: 'protocol',
};

/** Any thrown value as a NetError; one that already is one is returned as it is. Node's errno codes are translated. */
export function toNetError(error: unknown, doing?: string): NetError {
  if (isNetError(error)) return error;
  const code = errorCode(error);
  const failure = BY_ERRNO[code] ?? (code.startsWith('ERR_SSL') || code.startsWith('ERR_TLS') || CERTIFICATE.test(code) ? 'protocol' : 'aborted');
  const text = error instanceof Error ? error.message : String(error);
  const message = doing === undefined ? text : `${doing}: ${text}`;
  return code === '' ? new NetError(failure, message, { cause: error }) : new NetError(failure, message, { code, cause: error });
}

/** OpenSSL's verification results as Node spells them (`CERT_HAS_EXPIRED`, `DEPTH_ZERO_SELF_SIGNED_CERT` …). */
const CERTIFICATE = /^(?:CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_)/;

/** The `code` of a thrown value, or ''. */
export function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

import type { Endpoint } from './endpoint.js';
import type { NetError } from './errors.js';
import type { Datagram } from './packet-conn.js';

export interface UdpOptions {
  /** An address of this host, `0.0.0.0` or `::` for any. A socket is of one family: `::` takes no IPv4. */
  readonly host: string;
  /** 0: any. */
  readonly port: number;
  /** SO_MARK. This and what follows is the addon's alone: elsewhere it is refused, never ignored. */
  readonly mark?: number;
  /** SO_BINDTODEVICE: an interface's name. */
  readonly device?: string;
  /** Several sockets may have the port. */
  readonly reusePort?: boolean;
}

/** The datagrams that one wake-up brought. Lent, with all that is in it, until the handler returns: `keepBatch` copies. */
export interface UdpBatch {
  /** Datagrams: the arrays may be longer. */
  readonly length: number;
  /** Has the payloads without gaps, datagram `i` at `[start[i], end[i])`. */
  readonly bytes: Uint8Array;
  readonly start: readonly number[];
  readonly end: readonly number[];
  /** Canonical and frozen; one object per remote, as long as it is remembered. */
  readonly peer: readonly Endpoint[];
}

export interface UdpHandlers {
  /** At least one datagram. */
  received(batch: UdpBatch): void;
  /** So many datagrams that had been taken were not sent after all. */
  lost?(datagrams: number): void;
  /** There is room again after datagrams were dropped for want of it. */
  writable?(): void;
  /** The socket is of no more use, and closed. */
  failed(error: NetError): void;
}

/** Sends without ever waiting: what the kernel has no room for is dropped. ICMP errors are nobody's business here: UDP's answer is silence. */
export interface UdpSocket {
  readonly family: 4 | 6;
  /** The real one. */
  readonly port: number;
  /**
   * Takes a datagram for the next `flush`, which must follow before control is given back: `bytes[start, end)`, behind `head` if there is one.
   * The bytes are copied. false: dropped (no address of the socket's family, too long, closed).
   */
  put(bytes: Uint8Array, start: number, end: number, address: string, port: number, head?: Uint8Array): boolean;
  /** Sends what was put. How many of it were dropped. */
  flush(): number;
  /** `put` and `flush` for one datagram. false: dropped, as where this machine has no way to the address. */
  send(bytes: Uint8Array, start: number, end: number, address: string, port: number): boolean;
  /** Nothing is received any more. Idempotent. */
  close(): void;
}

/** The largest payload of a UDP datagram over IPv4 (65,535 less 8 and 20). */
export const MAX_UDP_PAYLOAD = 65_507;

/** Datagrams of one's own out of a batch that is lent: one copy for all of them. */
export function keepBatch({ length, bytes, start, end, peer }: UdpBatch): Datagram[] {
  const from = start[0] ?? 0;
  const to = end[length - 1] ?? from;
  const copy = Buffer.allocUnsafe(to - from);
  copy.set(from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to));
  const shift = copy.byteOffset - from;
  const kept: Datagram[] = [];
  for (let i = 0; i < length; i++) {
    const at = start[i] ?? 0;
    const remote = peer[i];
    if (remote !== undefined) kept.push({ bytes: new Uint8Array(copy.buffer, at + shift, (end[i] ?? at) - at), peer: remote });
  }
  return kept;
}

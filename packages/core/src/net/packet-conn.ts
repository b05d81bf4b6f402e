import type { Endpoint } from './endpoint.js';
import type { NetError } from './errors.js';

export interface Datagram {
  /** Lent until the next `receive` of the conn that gave it, unless that `givesBytes`; `send` copies what it keeps. */
  readonly bytes: Uint8Array;
  /** One frozen object per remote, reused by the conn, so `===` replaces a look-up. */
  readonly peer: Endpoint;
  /** What a rule looked up for a peer that is a name, judged by it: `direct` sends to the first of these that this machine has a way to, a proxy ignores them. */
  readonly addresses?: readonly string[];
  /** `direct` sends to the next of the addresses for each, and round again: of what is sent anew because no answer came. */
  readonly turn?: number;
  /** Of what was received: the name that was sent to, where the conn knows that this peer is where it led. */
  readonly named?: Endpoint;
}

/** One UDP association: datagrams to and from any peer. */
export interface PacketConn {
  /** At least one datagram, or null when the association has ended. One call at a time. Never rejects. */
  receive(): Promise<readonly Datagram[] | null>;
  /** Synchronous, never waits: how many were taken; the rest is dropped, and counted by the conn. */
  send(datagrams: readonly Datagram[]): number;
  /** Ends it. A pending `receive` gives null. Idempotent, never throws. */
  close(error?: NetError): void;
  /** Why it ended, if not by `close()`. */
  readonly error: NetError | null;
  /** What `receive` gives stays as it is: the conn does not use the bytes again. */
  readonly givesBytes?: boolean;
  /** The engine's UDP socket: a packet stack sends slab ranges by one sendmmsg. */
  readonly native?: PacketEnd;
}

export interface PacketEnd {
  /** Sends `bytes[start, end)` to `peer`; false when the socket is full (dropped). */
  sendRange(bytes: Uint8Array, start: number, end: number, peer: Endpoint): boolean;
}

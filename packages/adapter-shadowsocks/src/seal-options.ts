import type { Clock } from '@nekit/core';

/**
 * How long a client's header waits for the first bytes, in ms: one packet with all of it tells less to who watches, and a protocol where the server speaks first
 * must start nevertheless.
 */
export const PROLOGUE_DELAY = 10;

/** Who is at the other end of a sealed connection. */
type Peer = 'server' | 'client';

export interface SealOptions {
  readonly clock: Clock;
  /** The codec is the addon's, so a socket of the engine can take it in. */
  readonly native: boolean;
  /** For messages. */
  readonly peer: Peer;
}

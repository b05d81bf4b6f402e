import type { Cancel } from './cancel.js';
import type { Endpoint } from './endpoint.js';
import type { PacketConn } from './packet-conn.js';
import type { Session } from './session.js';
import type { Stream } from './stream.js';

/** Takes a destination and gives a stream to it. A dialer is made from another dialer, so chains need no code. */
export interface StreamDialer {
  /** Rejects with a NetError only, and leaves nothing behind when it does or when the signal fires. */
  dialStream(destination: Endpoint, options: DialOptions): Promise<Stream>;
}

export interface DialOptions {
  readonly session: Session;
  /** Of the dial alone. What was dialled ends by its own `close` or `abort`: the signal may fire later, for another's sake, or never. */
  readonly signal: Cancel;
  /**
   * What a rule looked up for `destination`, judged by it: `direct` dials exactly these. A proxy ignores them, sends the name,
   * and must not pass them on to its base, which dials the proxy.
   */
  readonly addresses?: readonly string[];
  /**
   * Of `direct` alone, and not to be passed on: runs when the socket of what it has dialled is closed, however it came to that and whoever has it by then.
   * Once, where there is one address; of several that were tried also for others that were opened and lost.
   */
  readonly closed?: () => void;
  /** A group tells which member carries the stream, so that logs name the leaf. */
  readonly chosen?: (group: string, member: string) => void;
}

export interface PacketDialer {
  /** One UDP association, for any peer. Rejects with a NetError only. */
  dialPacket(options: DialOptions): Promise<PacketConn>;
}

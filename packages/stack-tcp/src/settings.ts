/** What can be set, and what it is otherwise. */
export interface TcpSettings {
  readonly congestion: 'cubic' | 'reno';
  /** Small writes wait for an ACK of what is in flight (RFC 9293 section 3.7.4). Off: what is relayed was written by somebody who decided that already. */
  readonly nagle: boolean;
  /** SYN-ACK before the target was reached. */
  readonly acceptFirst: boolean;
  /** Silence before the first keep-alive probe, in ms; 0: none are sent (RFC 9293, MUST-25). */
  readonly keepAliveMs: number;
  /** Connections that are open, beyond which a SYN is answered with RST. */
  readonly maxConnections: number;
  /** Handshakes that wait for the client's ACK: one more ends the oldest. From half of this on (or of `maxPending`), both together, a new SYN is let in when it comes again. */
  readonly maxHalfOpen: number;
  /** SYNs whose target is being dialled: one more ends the oldest whose client has not asked again, or is dropped. */
  readonly maxPending: number;
  /** The same per client address; 0: as many as `maxPending`. */
  readonly maxPendingPerSource: number;
  /** How long a tuple rests after we closed first, in ms. */
  readonly timeWaitMs: number;
  /** Resting tuples: one more forgets the oldest. */
  readonly maxTimeWait: number;
  /** How long a peer may leave everything unanswered, in ms (R2 of RFC 9293 section 3.8.3: 100 s at least). */
  readonly giveUpMs: number;
  /** What a connection offers its peer at first and at most, in bytes. */
  readonly initialWindow: number;
  readonly maxWindow: number;
  /** What is kept at most for a peer to acknowledge, in bytes. */
  readonly maxSendBuffer: number;
  /** What windows may grow by, all connections together, in bytes: what is in flight to us has to fit the device's queue. */
  readonly windowBudget: number;
}

export const DEFAULT_SETTINGS: TcpSettings = {
  congestion: 'cubic',
  nagle: false,
  acceptFirst: false,
  keepAliveMs: 0,
  maxConnections: 16_384,
  maxHalfOpen: 4_096,
  maxPending: 4_096,
  maxPendingPerSource: 0,
  timeWaitMs: 60_000,
  maxTimeWait: 4_096,
  giveUpMs: 300_000,
  initialWindow: 256 * 1024,
  maxWindow: 1 << 20,
  maxSendBuffer: 1 << 20,
  windowBudget: 16 << 20,
};

import type { PacketDialer, StreamDialer } from '../net/dialer.js';
import type { Session } from '../net/session.js';
import type { Token } from '../net/token.js';

/** What carries connections: a named pair of dialers. Absent `packet` means that UDP goes on to the next rule. */
export interface Adapter {
  readonly tag: string;
  /** The kind, as the config spells it. */
  readonly type: string;
  readonly stream?: StreamDialer | undefined;
  readonly packet?: PacketDialer | undefined;
  /** A group's choice for now (one hop), so that logs and `explain` can name the leaf. Absent in a leaf. */
  readonly now?: () => Adapter;
  /** For a group that chooses anew for each connection: the member that this one would get. Changes nothing; for `explain`. */
  wouldTake?(session: Session): Adapter;
  /** All members of a group. */
  readonly members?: readonly Adapter[];
  /** Set a group's choice; absent where it cannot be set. Throws NekitError `UNKNOWN_MEMBER`. */
  select?(member: string): void;
  /** Called once, when the kernel runs with it: what works by itself (health checks) begins here. */
  start?(): void;
  /** Lets go of pools, timers and processes. Called once, when the adapter was replaced or the kernel stops. */
  close?(): void;
}

export interface AdapterContext {
  readonly tag: string;
  /** The adapter to dial through: the one named by `dialer-proxy`, by default `direct`. */
  readonly base: Adapter;
  /** Another adapter by its tag. Makes it first if need be; a cycle or an unknown tag throws. */
  adapter(tag: string): Adapter;
  /** What core or a plugin provides: CLOCK, TIMERS, TIMEOUTS, RESOLVER, EVENTS, SOCKETS … */
  get<T>(token: Token<T>): T;
}

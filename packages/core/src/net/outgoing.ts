/** By which interface our own sockets leave, where the system's rules are not to decide it (`auto-detect-interface`). */
export interface Outgoing {
  /** Asked for each socket and each peer: what it says may change. `address`: canonical. undefined: the system decides. */
  deviceFor(address: string): string | undefined;
}

/** The system decides. */
export const SYSTEM_OUTGOING: Outgoing = { deviceFor: () => undefined };

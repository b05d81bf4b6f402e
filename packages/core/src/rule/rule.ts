import type { Session } from '../net/session.js';

/** A predicate on a session, so that and/or/not compose. It never changes the session and has no side effects. */
export interface Rule {
  /** Synchronous unless it needs a fact that has to be looked up. Rejections count as "no match" and are reported. */
  match(session: Session, facts: Facts): Verdict | Promise<Verdict>;
}

/**
 * A match or none; or a match for these of the destination's addresses only (some of `facts.addresses()`, at least one). A name may
 * have several addresses and a rule hold for a few of them: then just these are dialled. Rules that look at no address, and those that do
 * not care, say true or false. See `addresses.ts`.
 */
export type Verdict = boolean | readonly string[];

/** What a session does not say itself. Each is found only if a rule asks, and then once per session. */
export interface Facts {
  /** A and AAAA of the destination; the address itself if it is one; empty when the name does not resolve. Never rejects. */
  addresses(): readonly string[] | Promise<readonly string[]>;
  /** The addresses if they are known without a look-up (an IP destination, or one that was made before), else null. */
  knownAddresses(): readonly string[] | null;
  /** The local process that opened the connection, where the platform can tell. */
  process(): Promise<ProcessInfo | null>;
}

export interface ProcessInfo {
  readonly name: string;
  readonly path: string;
  readonly uid: number | null;
}

import type { Session } from '../net/session.js';
import type { ProcessInfo } from '../process/process-finder.js';
import type { Cidr } from './cidr-set.js';

export type { ProcessInfo } from '../process/process-finder.js';

/** A predicate on a session, so that and/or/not compose. It never changes the session and has no side effects. */
export interface Rule {
  /** Synchronous unless it needs a fact that has to be looked up. Rejections count as "no match" and are reported. */
  match(session: Session, facts: Facts): Verdict | Promise<Verdict>;
  /** What an index may do instead of `match` where many rules stand one after the other; it says exactly the same. */
  readonly index?: IndexKey;
}

/** A rule as data. */
export type IndexKey = DomainKey | AddressKey;

/** The name itself (`self`), and the names below it (`below`). */
export interface DomainKey {
  readonly family: 'domain';
  /** Canonical: lower case, IDNA, no dot at the end. */
  readonly name: string;
  readonly self: boolean;
  readonly below: boolean;
}

/** The destination's addresses in a network. */
export interface AddressKey {
  readonly family: 'address';
  readonly cidr: Cidr;
  readonly noResolve: boolean;
}

/**
 * A match or none; or a match for these of the destination's addresses only (some of `facts.addresses()`, at least one). A name may
 * have several addresses and a rule hold for a few of them: then just these are dialled. Rules that look at no address, and those that do
 * not care, say true or false. See `addresses.ts`.
 */
export type Verdict = Judgement | Detour;

export type Judgement = boolean | readonly string[];

/** A match that names its target itself, in place of the rule's. */
export interface Detour {
  readonly to: string;
}

/** What a session does not say itself. Each is found only if a rule asks, and then once per session. */
export interface Facts {
  /** A and AAAA of the destination; the address itself if it is one; empty when the name does not resolve. Never rejects. */
  addresses(): readonly string[] | Promise<readonly string[]>;
  /** The addresses if they are known without a look-up (an IP destination, or one that was made before), else null. */
  knownAddresses(): readonly string[] | null;
  /** The local process that opened the connection, where the platform can tell. */
  process(): Promise<ProcessInfo | null>;
  /** A fact of the rule's own kind, as a country: `find` runs at most once for a session and key, and `explain` shows what it found. */
  once<T>(key: FactKey<T>, find: () => T | Promise<T>): T | Promise<T>;
}

/** Compared by identity: make one for each kind of fact, outside of any function. */
export interface FactKey<T> {
  /** As `explain` shows it: `country of 192.0.2.1`. */
  readonly name: string;
  readonly format?: (value: T) => string;
}

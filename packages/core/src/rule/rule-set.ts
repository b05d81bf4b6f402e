import type { Session } from '../net/session.js';
import type { Facts, Verdict } from './rule.js';

/** What the entries of a list are: names, networks, or rules of any kind without a target. */
export type Behavior = 'domain' | 'ipcidr' | 'classical';

/** Words behind a RULE-SET rule. */
export interface HowToMatch {
  /** Names are not looked up for the sake of it. */
  readonly noResolve: boolean;
  /** Networks are compared with the client's address. */
  readonly source: boolean;
}

/** A list, compiled: holds if one of its entries does. Never changes. */
export interface CompiledSet {
  /** Entries. */
  readonly size: number;
  match(session: Session, facts: Facts, how: HowToMatch): Verdict | Promise<Verdict>;
}

/** A named list of `rule-providers`; what is behind it may be swapped at any time. */
export interface RuleSet {
  readonly name: string;
  readonly behavior: Behavior;
  readonly current: CompiledSet;
}

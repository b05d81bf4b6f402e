/**
 * The rules of a config as the router walks them: one step for each rule, and one step for a run of rules of a family that stand one after the
 * other (names, networks), whatever they lead to. A step says the same as its rules would, one by one: test/routing/rule-list.test.ts.
 */
import type { Adapter } from '../adapter/adapter.js';
import type { Session } from '../net/session.js';
import { AddressRun } from '../rule/address-run.js';
import { DomainRun } from '../rule/domain-run.js';
import type { AddressKey, DomainKey, Facts, Rule } from '../rule/rule.js';

/** A line of `rules:`, built. */
export interface Route {
  readonly rule: Rule;
  readonly kind: string;
  readonly payload: string;
  /** Name of an adapter; of a list of `sub-rules` where `sub` is true. */
  readonly target: string;
  readonly sub?: boolean;
  /** As written. */
  readonly text: string;
}

export interface Decision {
  readonly adapter: Adapter;
  /** null: no rule matched, or the mode decided; `index` is -1 then. */
  readonly rule: Route | null;
  /** Place in its list of rules, from 0. */
  readonly index: number;
  /**
   * The addresses of the destination's name that were judged: who dials it directly dials these and no others, and fails with 'name' if there are
   * none. null: nothing was looked up, or the destination is an address.
   */
  readonly addresses: readonly string[] | null;
}

/** A rule with where it leads, and what became of it. */
export class Entry {
  /** Sessions that it decided. */
  hits = 0;
  /** It has failed, which was told. */
  failed = false;
  /** The decision for it when no addresses are judged: the same value every time. null for SUB-RULE. */
  readonly plain: Decision | null;

  constructor(
    readonly route: Route,
    /** Place in its list, from 0. */
    readonly index: number,
    /** Name of the list of `sub-rules`; null: `rules`. */
    readonly list: string | null,
    /** null for SUB-RULE. */
    readonly adapter: Adapter | null,
    readonly sub: RuleList | null,
  ) {
    this.plain = adapter === null ? null : { adapter, rule: route, index, addresses: null };
  }
}

/** From an ordinal of a run to the first rule at or behind it that holds; -1: none. */
export interface Run {
  readonly entries: readonly Entry[];
  /** null: addresses have to be looked up first. `within`: only these addresses count. */
  first(session: Session, facts: Facts, from: number, within: readonly string[] | null): number | null;
}

/** Shorter runs gain nothing. */
const SHORTEST_RUN = 4;

export class RuleList {
  readonly steps: readonly (Entry | Run)[];

  constructor(readonly entries: readonly Entry[]) {
    const steps: (Entry | Run)[] = [];
    for (let at = 0; at < entries.length; ) {
      const run = runFrom(entries, at);
      if (run.length >= SHORTEST_RUN) steps.push(runOf(run));
      else steps.push(...run);
      at += run.length;
    }
    this.steps = steps;
  }
}

/** Entries that can be looked at together, at least one. */
function runFrom(entries: readonly Entry[], from: number): Entry[] {
  const run: Entry[] = [];
  const family = familyOf(entries[from]);
  for (let at = from; at < entries.length; at++) {
    const entry = entries[at];
    if (entry === undefined || (at > from && (family === null || familyOf(entry) !== family))) break;
    run.push(entry);
  }
  return run;
}

function familyOf(entry: Entry | undefined): string | null {
  const key = entry?.route.rule.index;
  return key === undefined ? null : key.family === 'domain' ? 'domain' : `address ${key.noResolve}`;
}

function runOf(entries: readonly Entry[]): Run {
  const keys = entries.flatMap((entry) => entry.route.rule.index ?? []);
  const domains = keys.filter((key): key is DomainKey => key.family === 'domain');
  if (domains.length > 0) return new DomainStep(entries, new DomainRun(domains));
  const addresses = keys.filter((key): key is AddressKey => key.family === 'address');
  return new AddressStep(entries, new AddressRun(addresses), addresses[0]?.noResolve ?? false);
}

class DomainStep implements Run {
  constructor(
    readonly entries: readonly Entry[],
    readonly run: DomainRun,
  ) {}

  first(session: Session, _facts: Facts, from: number): number {
    return this.run.first(session.sniffed ?? session.destination.host, from);
  }
}

class AddressStep implements Run {
  constructor(
    readonly entries: readonly Entry[],
    readonly run: AddressRun,
    readonly noResolve: boolean,
  ) {}

  first(_session: Session, facts: Facts, from: number, within: readonly string[] | null): number | null {
    const known = within ?? facts.knownAddresses();
    if (known === null) return this.noResolve ? -1 : null;
    if (from > 0) return from < this.entries.length ? from : -1; // the rest of the run is asked one by one: nobody comes here but UDP that the first was not for
    let first = -1;
    for (const address of known) {
      const found = this.run.first(address);
      if (found !== -1 && (first === -1 || found < first)) first = found;
    }
    return first;
  }
}

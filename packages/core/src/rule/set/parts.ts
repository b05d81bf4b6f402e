/** What compiled lists are made of: sets, single rules, and the ways to join them. The joints follow `logic.ts`. */
import type { Session } from '../../net/session.js';
import type { ProcessInfo } from '../../process/process-finder.js';
import { both, either, judgementOf, matchAddresses, others } from '../addresses.js';
import type { CidrSet } from '../cidr-set.js';
import { domainOf } from '../domain.js';
import type { FactKey, Facts, Judgement, Rule } from '../rule.js';
import type { CompiledSet, HowToMatch } from '../rule-set.js';
import type { DomainSet } from './domain-set.js';

/** Knows how it is asked, where a rule does not. */
export interface Part {
  match(session: Session, facts: Facts, how: HowToMatch): Judgement | Promise<Judgement>;
}

export class DomainPart implements Part {
  readonly #set: DomainSet;

  constructor(set: DomainSet) {
    this.#set = set;
  }

  match(session: Session): boolean {
    return this.#set.has(domainOf(session));
  }
}

/** The destination's addresses, or the client's. */
export class AddressPart implements Part {
  readonly #set: CidrSet;
  readonly #noResolve: boolean;

  constructor(set: CidrSet, noResolve: boolean) {
    this.#set = set;
    this.#noResolve = noResolve;
  }

  match(session: Session, facts: Facts, how: HowToMatch): Judgement | Promise<Judgement> {
    return how.source ? this.#set.has(session.source.host) : matchAddresses(facts, this.#noResolve || how.noResolve, this.#set);
  }
}

export class SourcePart implements Part {
  readonly #set: CidrSet;

  constructor(set: CidrSet) {
    this.#set = set;
  }

  match(session: Session): boolean {
    return this.#set.has(session.source.host);
  }
}

/** A rule cannot be told how it is asked; so it gets facts that know no more than it may use. */
export class RulePart implements Part {
  readonly #rule: Rule;

  constructor(rule: Rule) {
    this.#rule = rule;
  }

  match(session: Session, facts: Facts, how: HowToMatch): Judgement | Promise<Judgement> {
    const own = how.source ? new GivenFacts(facts, [session.source.host]) : how.noResolve ? new GivenFacts(facts, facts.knownAddresses() ?? []) : facts;
    const verdict = this.#rule.match(session, own);
    return verdict instanceof Promise ? verdict.then(judgementOf) : judgementOf(verdict);
  }
}

/** Of these addresses and no others. */
class GivenFacts implements Facts {
  readonly #facts: Facts;
  readonly #addresses: readonly string[];

  constructor(facts: Facts, addresses: readonly string[]) {
    this.#facts = facts;
    this.#addresses = addresses;
  }

  addresses(): readonly string[] {
    return this.#addresses;
  }

  knownAddresses(): readonly string[] {
    return this.#addresses;
  }

  process(): Promise<ProcessInfo | null> {
    return this.#facts.process();
  }

  once<T>(key: FactKey<T>, find: () => T | Promise<T>): T | Promise<T> {
    return this.#facts.once(key, find);
  }
}

/** From left to right, until one holds for all addresses. */
export class AnyOf implements Part {
  readonly #parts: readonly Part[];

  constructor(parts: readonly Part[]) {
    this.#parts = parts;
  }

  match(session: Session, facts: Facts, how: HowToMatch): Judgement | Promise<Judgement> {
    return this.#from(0, false, session, facts, how);
  }

  #from(start: number, sofar: Judgement, session: Session, facts: Facts, how: HowToMatch): Judgement | Promise<Judgement> {
    let verdict = sofar;
    for (let i = start; i < this.#parts.length && verdict !== true; i++) {
      const next = this.#parts[i]?.match(session, facts, how) ?? false;
      if (next instanceof Promise) {
        const before = verdict;
        return next.then((found) => this.#from(i + 1, either(before, found, facts), session, facts, how));
      }
      verdict = either(verdict, next, facts);
    }
    return verdict;
  }
}

/** From left to right, until one does not hold. */
export class AllOf implements Part {
  readonly #parts: readonly Part[];

  constructor(parts: readonly Part[]) {
    this.#parts = parts;
  }

  match(session: Session, facts: Facts, how: HowToMatch): Judgement | Promise<Judgement> {
    return this.#from(0, true, session, facts, how);
  }

  #from(start: number, sofar: Judgement, session: Session, facts: Facts, how: HowToMatch): Judgement | Promise<Judgement> {
    let verdict = sofar;
    for (let i = start; i < this.#parts.length && verdict !== false; i++) {
      const next = this.#parts[i]?.match(session, facts, how) ?? true;
      if (next instanceof Promise) {
        const before = verdict;
        return next.then((found) => this.#from(i + 1, both(before, found), session, facts, how));
      }
      verdict = both(verdict, next);
    }
    return verdict;
  }
}

export class Inverse implements Part {
  readonly #part: Part;

  constructor(part: Part) {
    this.#part = part;
  }

  match(session: Session, facts: Facts, how: HowToMatch): Judgement | Promise<Judgement> {
    const verdict = this.#part.match(session, facts, how);
    return verdict instanceof Promise ? verdict.then((found) => others(found, facts)) : others(verdict, facts);
  }
}

/** Numbers and ranges of them, in the order written: lists are short. */
export class PortPart implements Part {
  /** first, last, first, last … */
  readonly #ends: readonly number[];
  readonly #of: 'destination' | 'source';

  constructor(ends: readonly number[], of: 'destination' | 'source') {
    this.#ends = ends;
    this.#of = of;
  }

  match(session: Session): boolean {
    const { port } = session[this.#of];
    for (let i = 0; i < this.#ends.length; i += 2) if (port >= (this.#ends[i] ?? 0) && port <= (this.#ends[i + 1] ?? 0)) return true;
    return false;
  }
}

export class NetworkPart implements Part {
  readonly #networks: ReadonlySet<string>;

  constructor(networks: ReadonlySet<string>) {
    this.#networks = networks;
  }

  match(session: Session): boolean {
    return this.#networks.has(session.network);
  }
}

/** A list holds if one of its parts does. */
export class PartSet implements CompiledSet {
  readonly size: number;
  readonly #part: Part;

  constructor(size: number, parts: readonly Part[]) {
    this.size = size;
    const [first] = parts;
    this.#part = parts.length === 1 && first !== undefined ? first : new AnyOf(parts);
  }

  match(session: Session, facts: Facts, how: HowToMatch): Judgement | Promise<Judgement> {
    return this.#part.match(session, facts, how);
  }
}

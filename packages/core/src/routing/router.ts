/**
 * Rules to adapters. The first rule that matches decides; no rule means DIRECT. A rule whose target carries no UDP is passed over by UDP
 * sessions, and PASS by all, as in Clash. As long as no rule has to look something up all this is synchronous; the addresses that rules have judged go with
 * the decision (see rule/addresses.ts).
 */
import type { Adapter } from '../adapter/adapter.js';
import { timeoutError } from '../net/cancel.js';
import { systemClock } from '../net/clock.js';
import { NekitError } from '../net/errors.js';
import type { Events } from '../net/events.js';
import type { Hosts } from '../net/hosts.js';
import type { Session } from '../net/session.js';
import { TimerWheel } from '../net/timer-wheel.js';
import { judgementOf } from '../rule/addresses.js';
import type { Rule, Verdict } from '../rule/rule.js';
import { type FactSources, type Lookup, SessionFacts } from './facts.js';
import { carries } from './leaf.js';

/** A line of `rules:`, built. */
export interface Route {
  readonly rule: Rule;
  readonly kind: string;
  readonly payload: string;
  /** Name of an adapter. */
  readonly target: string;
  /** As written. */
  readonly text: string;
}

export interface Decision {
  readonly adapter: Adapter;
  /** null: no rule matched, or the mode decided; `index` is -1 then. */
  readonly rule: Route | null;
  /** Place in the list of rules, from 0. */
  readonly index: number;
  /**
   * The addresses of the destination's name that were judged: who dials it directly dials these and no others, and fails with 'name' if there are
   * none. null: nothing was looked up, or the destination is an address.
   */
  readonly addresses: readonly string[] | null;
}

export interface RouterOptions extends Omit<FactSources, 'hosts' | 'timers'> {
  readonly routes: readonly Route[];
  readonly adapters: (tag: string) => Adapter | undefined;
  /** `global`: all through the adapter GLOBAL; `direct`: all through DIRECT. */
  readonly mode: 'rule' | 'global' | 'direct';
  readonly events: Events;
  readonly hosts?: Hosts;
  /** The kernel's wheel; one of its own by default. */
  readonly timers?: TimerWheel;
}

/** What was tried for one session, for `explain`. */
export interface Trace {
  readonly tried: Tried[];
  readonly lookups: Lookup[];
}

export interface Tried {
  /** As written. */
  readonly rule: string;
  readonly index: number;
  /** `not-carried`: it matched, but its target carries no such traffic (UDP, or PASS). `error`: it threw, which counts as no match. */
  readonly verdict: 'match' | 'miss' | 'not-carried' | 'error';
  readonly ms: number;
}

/** A rule may wait for two facts, one after the other. */
const MAX_FACTS = 2;

interface Entry {
  readonly route: Route;
  readonly adapter: Adapter;
  /** The decision for it when no addresses are judged: the same value every time. */
  readonly plain: Decision;
}

/** A rule that has to wait: where the walk stopped. */
class Pending {
  constructor(
    readonly index: number,
    readonly verdict: PromiseLike<Verdict>,
    readonly begin: number,
  ) {}
}

export class Router {
  readonly #entries: readonly Entry[];
  readonly #fallback: Decision;
  readonly #byRules: boolean;
  readonly #sources: FactSources;
  readonly #events: Events;
  /** Rules that have been reported. */
  readonly #failed = new Set<number>();

  /** Throws NekitError `UNKNOWN_ADAPTER` if a target, DIRECT, or GLOBAL in global mode is missing. */
  constructor(options: RouterOptions) {
    const { routes, adapters, mode, events, resolver, timeouts } = options;
    const adapterOf = (tag: string, wanted: string): Adapter => {
      const adapter = adapters(tag);
      if (adapter === undefined) throw new NekitError('UNKNOWN_ADAPTER', `${wanted} needs the adapter "${tag}", which does not exist`);
      return adapter;
    };
    this.#entries = routes.map((route, index) => {
      const adapter = adapterOf(route.target, `the rule ${route.text}`);
      return { route, adapter, plain: { adapter, rule: route, index, addresses: null } };
    });
    const last = mode === 'global' ? 'GLOBAL' : 'DIRECT';
    this.#fallback = { adapter: adapterOf(last, `mode ${mode}`), rule: null, index: -1, addresses: null };
    this.#byRules = mode === 'rule';
    this.#events = events;
    this.#sources = { resolver, timeouts, hosts: options.hosts ?? new Map(), timers: options.timers ?? new TimerWheel(systemClock) };
  }

  /** Settled at once unless a rule has to look something up. Rejects only with the reason of `session.signal`, if that fires meanwhile. */
  route(session: Session): Decision | Promise<Decision> {
    return this.evaluate(session, null);
  }

  /** The same, and notes down what was done instead of emitting events. */
  evaluate(session: Session, trace: Trace | null): Decision | Promise<Decision> {
    const facts = new SessionFacts(session, this.#sources, trace === null ? null : trace.lookups);
    const found = this.#walk(session, facts, 0, trace);
    return found instanceof Pending ? this.#resume(session, facts, found, trace) : found;
  }

  /** Milliseconds, for who measures. */
  now(): number {
    return this.#sources.timers.now();
  }

  /** From one rule to the next, until one decides or has to wait. */
  #walk(session: Session, facts: SessionFacts, from: number, trace: Trace | null): Decision | Pending {
    const entries = this.#entries;
    const silent = trace === null && !this.#events.wants('rule.missed'); // nobody wants to know of misses
    if (this.#byRules) {
      for (let index = from; index < entries.length; index++) {
        const entry = entries[index];
        if (entry === undefined) break;
        const begin = trace === null ? 0 : this.now();
        let verdict: Verdict | PromiseLike<Verdict> | null;
        try {
          verdict = entry.route.rule.match(session, facts);
        } catch (error) {
          verdict = this.#fail(index, error);
        }
        if (verdict === false && silent) continue;
        if (isPromise(verdict)) return new Pending(index, verdict, begin);
        const decision = this.#settle(session, facts, index, verdict, begin, trace);
        if (decision !== null) return decision;
      }
    }
    return this.#decide(session, facts, this.#fallback, true, trace);
  }

  async #resume(session: Session, facts: SessionFacts, first: Pending, trace: Trace | null): Promise<Decision> {
    for (let pending = first; ; ) {
      const verdict = await this.#verdictOf(session, pending);
      const decision = this.#settle(session, facts, pending.index, verdict, pending.begin, trace);
      if (decision !== null) return decision;
      const found = this.#walk(session, facts, pending.index + 1, trace);
      if (!(found instanceof Pending)) return found;
      pending = found;
    }
  }

  /** null: the rule failed. Rejects with the signal's reason. */
  #verdictOf(session: Session, pending: Pending): Promise<Verdict | null> {
    const { timers, timeouts } = this.#sources;
    const limit = timeouts.resolve * MAX_FACTS;
    return new Promise((resolve, reject) => {
      let done = false;
      const finish = (settle: () => void): void => {
        if (done) return;
        done = true;
        deadline.cancel();
        release();
        settle();
      };
      const fail = (error: unknown): void => finish(() => resolve(this.#fail(pending.index, error)));
      const deadline = timers.after(limit, () => fail(timeoutError('it', limit)));
      let release = (): void => {};
      release = session.signal.onCancel((reason) => finish(() => reject(reason)));
      pending.verdict.then((verdict) => finish(() => resolve(verdict)), fail);
    });
  }

  /** The decision if the rule at `index` makes it. */
  #settle(session: Session, facts: SessionFacts, index: number, verdict: Verdict | null, begin: number, trace: Trace | null): Decision | null {
    const entry = this.#entries[index];
    if (entry === undefined) return null;
    const matched = verdict === true || (Array.isArray(verdict) && verdict.length > 0);
    const usable = matched && carries(entry.adapter, session.network);
    if (trace !== null) {
      const word = usable ? 'match' : matched ? 'not-carried' : verdict === null ? 'error' : 'miss';
      trace.tried.push({ rule: entry.route.text, index, verdict: word, ms: this.now() - begin });
    }
    if (usable) return this.#decide(session, facts, entry.plain, verdict, trace);
    if (trace === null && this.#events.wants('rule.missed')) this.#events.emit('rule.missed', { session: session.id, rule: entry.route.text, index });
    return null;
  }

  #decide(session: Session, facts: SessionFacts, plain: Decision, verdict: Verdict, trace: Trace | null): Decision {
    const judgement = judgementOf(verdict);
    const addresses = typeof judgement === 'boolean' ? facts.judged() : judgement;
    if (trace === null && this.#events.wants('rule.matched')) {
      this.#events.emit('rule.matched', { session: session.id, rule: plain.rule?.text ?? null, index: plain.index, adapter: plain.adapter.tag });
    }
    return addresses === null ? plain : { ...plain, addresses };
  }

  /** A failing rule is told of once; it would fail for every session. */
  #fail(index: number, error: unknown): null {
    if (!this.#failed.has(index)) {
      this.#failed.add(index);
      const message = `the rule ${this.#entries[index]?.route.text} failed and counts as no match: ${error instanceof Error ? error.message : String(error)}`;
      this.#events.emit('kernel.warning', { code: 'RULE_FAILED', message });
    }
    return null;
  }
}

/** Also for promises of another realm, and whatever else has a `then`. */
function isPromise(verdict: Verdict | PromiseLike<Verdict> | null): verdict is PromiseLike<Verdict> {
  return typeof verdict === 'object' && verdict !== null && 'then' in verdict;
}

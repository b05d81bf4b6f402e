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
import { both, isDetour, judgementOf } from '../rule/addresses.js';
import type { Judgement, Verdict } from '../rule/rule.js';
import { type FactSources, type Lookup, SessionFacts } from './facts.js';
import { carries } from './leaf.js';
import { type Decision, Entry, type Route, RuleList, type Run } from './rule-list.js';

export interface RouterOptions extends Omit<FactSources, 'hosts' | 'timers'> {
  readonly routes: readonly Route[];
  /** Asked before the rules. */
  readonly claims?: readonly Claim[];
  /** The lists that SUB-RULE leads to, by name. */
  readonly subRules?: ReadonlyMap<string, readonly Route[]>;
  readonly adapters: (tag: string) => Adapter | undefined;
  /** `global`: all through the adapter GLOBAL; `direct`: all through DIRECT. */
  readonly mode: 'rule' | 'global' | 'direct';
  readonly events: Events;
  readonly hosts?: Hosts;
  /** The kernel's wheel; one of its own by default. */
  readonly timers?: TimerWheel;
}

/** Sessions that go to an adapter whatever the rules say, and whatever the mode is. */
export interface Claim {
  readonly route: Route;
  readonly adapter: Adapter;
  readonly takes: (session: Session) => boolean;
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
  /** The list of `sub-rules` it stands in. */
  readonly list?: string;
  /**
   * `not-carried`: it matched, but its target carries no such traffic (UDP, or PASS). `error`: it threw, which counts as no match. `entered`: a SUB-RULE
   * whose rules were asked next.
   */
  readonly verdict: 'match' | 'miss' | 'not-carried' | 'error' | 'entered';
  readonly ms: number;
}

/** A rule, and how often it decided. */
export interface RuleInfo {
  /** As written. */
  readonly rule: string;
  readonly kind: string;
  readonly payload: string;
  readonly target: string;
  readonly index: number;
  /** The list of `sub-rules` it stands in; null: `rules`. */
  readonly list: string | null;
  readonly hits: number;
}

/** A rule may wait for two facts, one after the other. */
const MAX_FACTS = 2;

/** Lists that lead to each other twice and more are walked twice and more, each level again. */
const MAX_ENTERED = 1000;

/** null: no rule of the list decides. */
type Outcome = Decision | null | Promise<Decision | null>;

/** What one walk through the rules carries along. */
interface Walk {
  readonly session: Session;
  readonly facts: SessionFacts;
  readonly trace: Trace | null;
  /** Every rule by itself, because somebody wants to know of each. */
  readonly each: boolean;
  /** Lists of `sub-rules` that were entered. */
  entered: number;
}

export class Router {
  readonly #claims: readonly { readonly takes: (session: Session) => boolean; readonly decision: Decision }[];
  readonly #rules: RuleList;
  /** Those of `sub-rules`. */
  readonly #lists: RuleList[] = [];
  readonly #adapters: (tag: string) => Adapter | undefined;
  readonly #fallback: Decision;
  readonly #byRules: boolean;
  readonly #sources: FactSources;
  readonly #events: Events;

  /** Throws NekitError `UNKNOWN_ADAPTER` if a target, DIRECT, or GLOBAL in global mode is missing. */
  constructor(options: RouterOptions) {
    const { routes, adapters, mode, events, resolver, timeouts } = options;
    this.#adapters = adapters;
    this.#claims = (options.claims ?? []).map(({ route, adapter, takes }) => ({ takes, decision: { adapter, rule: route, index: -1, addresses: null } }));
    this.#rules = this.#build(routes, null, options.subRules ?? new Map(), new Map(), []);
    const last = mode === 'global' ? 'GLOBAL' : 'DIRECT';
    this.#fallback = { adapter: this.#adapter(last, `mode ${mode}`), rule: null, index: -1, addresses: null };
    this.#byRules = mode === 'rule';
    this.#events = events;
    this.#sources = {
      resolver,
      timeouts,
      hosts: options.hosts ?? new Map(),
      timers: options.timers ?? new TimerWheel(systemClock),
      process: options.process,
    };
  }

  /** Settled at once unless a rule has to look something up. Rejects only with the reason of `session.signal`, if that fires meanwhile. */
  route(session: Session): Decision | Promise<Decision> {
    return this.evaluate(session, null);
  }

  /** The decision for a session that does not go by the rules; null: it does. */
  claim(session: Session): Decision | null {
    for (const { takes, decision } of this.#claims) if (takes(session)) return decision;
    return null;
  }

  /** The same, and notes down what was done instead of emitting events and counting. */
  evaluate(session: Session, trace: Trace | null): Decision | Promise<Decision> {
    const claimed = this.claim(session);
    if (claimed !== null) {
      if (trace === null) this.#tell(session, claimed.rule?.text ?? null, -1, claimed.adapter);
      else trace.tried.push({ rule: claimed.rule?.text ?? '', index: -1, verdict: 'match', ms: 0 });
      return claimed;
    }
    const facts = new SessionFacts(session, this.#sources, trace === null ? null : trace.lookups);
    const walk: Walk = { session, facts, trace, each: trace !== null || this.#events.wants('rule.missed'), entered: 0 };
    const found = this.#byRules ? this.#walk(this.#rules, 0, true, walk) : null;
    return found instanceof Promise ? found.then((decision) => decision ?? this.#last(walk)) : (found ?? this.#last(walk));
  }

  /** All rules, those of `sub-rules` behind the others, each once. */
  rules(): RuleInfo[] {
    const all = [this.#rules, ...this.#lists].flatMap(({ entries }) => entries);
    return all.map(({ route: { text, kind, payload, target }, index, list, hits }) => ({ rule: text, kind, payload, target, index, list, hits }));
  }

  /** Milliseconds, for who measures. */
  now(): number {
    return this.#sources.timers.now();
  }

  #build(
    routes: readonly Route[],
    list: string | null,
    subRules: ReadonlyMap<string, readonly Route[]>,
    built: Map<string, RuleList>,
    around: readonly string[],
  ): RuleList {
    const own: Entry[] = [];
    routes.forEach((route, index) => {
      const sub = route.sub === true ? this.#sub(route, subRules, built, around) : null;
      own.push(new Entry(route, index, list, sub === null ? this.#adapter(route.target, `the rule ${route.text}`) : null, sub));
    });
    return new RuleList(own);
  }

  #sub(route: Route, subRules: ReadonlyMap<string, readonly Route[]>, built: Map<string, RuleList>, around: readonly string[]): RuleList {
    const { target } = route;
    if (around.includes(target)) throw new NekitError('RULE_CYCLE', `sub-rules use each other in a circle: ${[...around, target].join(' -> ')}`);
    const before = built.get(target);
    if (before !== undefined) return before;
    const routes = subRules.get(target);
    if (routes === undefined) throw new NekitError('UNKNOWN_SUB_RULE', `the rule ${route.text} needs the sub-rules "${target}", which do not exist`);
    const list = this.#build(routes, target, subRules, built, [...around, target]);
    built.set(target, list);
    this.#lists.push(list);
    return list;
  }

  #adapter(tag: string, wanted: string): Adapter {
    const adapter = this.#adapters(tag);
    if (adapter === undefined) throw new NekitError('UNKNOWN_ADAPTER', `${wanted} needs the adapter "${tag}", which does not exist`);
    return adapter;
  }

  /** From one step to the next, until one decides or has to wait. `within`: what rules around have judged. */
  #walk(list: RuleList, from: number, within: Judgement, walk: Walk): Outcome {
    const steps = walk.each ? list.entries : list.steps;
    for (let at = from; at < steps.length; at++) {
      const step = steps[at];
      if (step === undefined) break;
      const outcome = step instanceof Entry ? this.#ask(step, within, walk) : this.#askRun(step, 0, within, walk);
      if (outcome instanceof Promise) return outcome.then((decision) => decision ?? this.#walk(list, at + 1, within, walk));
      if (outcome !== null) return outcome;
    }
    return null;
  }

  #ask(entry: Entry, within: Judgement, walk: Walk): Outcome {
    const begin = walk.trace === null ? 0 : this.now();
    let verdict: Verdict | PromiseLike<Verdict> | null;
    try {
      verdict = entry.route.rule.match(walk.session, walk.facts);
    } catch (error) {
      verdict = this.#fail(entry, error);
    }
    if (verdict === false && !walk.each) return null;
    if (!isPromise(verdict)) return this.#settle(entry, verdict, within, begin, walk);
    return this.#wait(verdict, walk, (error) => this.#fail(entry, error)).then((settled) => this.#settle(entry, settled, within, begin, walk));
  }

  #askRun(run: Run, from: number, within: Judgement, walk: Walk): Outcome {
    for (let at = from; at < run.entries.length; at++) {
      const first = run.first(walk.session, walk.facts, at, typeof within === 'boolean' ? null : within);
      if (first === null) {
        // The fact never rejects; what is asked again then knows.
        return this.#wait(Promise.resolve(walk.facts.addresses()), walk, () => null).then(() => this.#askRun(run, at, within, walk));
      }
      const entry = run.entries[first];
      if (entry === undefined) return null;
      const outcome = this.#ask(entry, within, walk);
      if (outcome instanceof Promise) return outcome.then((decision) => decision ?? this.#askRun(run, first + 1, within, walk));
      if (outcome !== null) return outcome;
      at = first;
    }
    return null;
  }

  /** null: it took too long, or failed, which `fail` was told. Rejects with the signal's reason. */
  #wait<T>(pending: PromiseLike<T>, { session }: Walk, fail: (error: unknown) => null): Promise<T | null> {
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
      const failed = (error: unknown): void => finish(() => resolve(fail(error)));
      const deadline = timers.after(limit, () => failed(timeoutError('it', limit)));
      let release = (): void => {};
      release = session.signal.onCancel((reason) => finish(() => reject(reason)));
      pending.then((value) => finish(() => resolve(value)), failed);
    });
  }

  /** The decision if the rule makes it. */
  #settle(entry: Entry, verdict: Verdict | null, within: Judgement, begin: number, walk: Walk): Outcome {
    const judgement = verdict === null ? false : both(within, judgementOf(verdict));
    const matched = judgement === true || (judgement !== false && judgement.length > 0);
    const adapter = matched && entry.sub === null && verdict !== null && isDetour(verdict) ? this.#detour(entry, verdict.to) : entry.adapter;
    const sub = matched ? entry.sub : null;
    const usable = matched && adapter !== null && carries(adapter, walk.session.network);
    if (walk.trace !== null) {
      const word = usable ? 'match' : sub !== null ? 'entered' : matched && adapter !== null ? 'not-carried' : verdict === null ? 'error' : 'miss';
      const list = entry.list === null ? {} : { list: entry.list };
      walk.trace.tried.push({ rule: entry.route.text, index: entry.index, ...list, verdict: word, ms: rounded(this.now() - begin) });
    }
    if (sub !== null) {
      if (++walk.entered > MAX_ENTERED) return this.#fail(entry, new Error(`a session enters no more than ${MAX_ENTERED} lists of sub-rules`));
      return this.#walk(sub, 0, judgement, walk);
    }
    if (usable) return this.#decide(entry, adapter, judgement, walk);
    if (walk.trace === null && this.#events.wants('rule.missed'))
      this.#events.emit('rule.missed', { session: walk.session.id, rule: entry.route.text, index: entry.index });
    return null;
  }

  /** null: there is no such adapter. */
  #detour(entry: Entry, tag: string): Adapter | null {
    const adapter = this.#adapters(tag);
    if (adapter === undefined) this.#fail(entry, new Error(`it leads to "${tag}", and there is no such proxy or group`));
    return adapter ?? null;
  }

  #decide(entry: Entry, adapter: Adapter, judgement: Judgement, { session, facts, trace }: Walk): Decision {
    const addresses = typeof judgement === 'boolean' ? facts.judged() : judgement;
    if (trace === null) {
      entry.hits++;
      this.#tell(session, entry.route.text, entry.index, adapter);
    }
    return addresses === null && entry.plain?.adapter === adapter ? entry.plain : { adapter, rule: entry.route, index: entry.index, addresses };
  }

  #last({ session, facts, trace }: Walk): Decision {
    if (trace === null) this.#tell(session, null, -1, this.#fallback.adapter);
    const addresses = facts.judged();
    return addresses === null ? this.#fallback : { ...this.#fallback, addresses };
  }

  #tell(session: Session, rule: string | null, index: number, adapter: Adapter): void {
    if (this.#events.wants('rule.matched')) this.#events.emit('rule.matched', { session: session.id, rule, index, adapter: adapter.tag });
  }

  /** A failing rule is told of once; it would fail for every session. */
  #fail(entry: Entry, error: unknown): null {
    if (!entry.failed) {
      entry.failed = true;
      const message = `the rule ${entry.route.text} failed and counts as no match: ${error instanceof Error ? error.message : String(error)}`;
      this.#events.emit('kernel.warning', { code: 'RULE_FAILED', message });
    }
    return null;
  }
}

/** Also for promises of another realm, and whatever else has a `then`. */
function isPromise(verdict: Verdict | PromiseLike<Verdict> | null): verdict is PromiseLike<Verdict> {
  return typeof verdict === 'object' && verdict !== null && 'then' in verdict;
}

/** Microseconds are enough. */
export function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

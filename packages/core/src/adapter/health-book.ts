/**
 * What is known of adapters' health: one book per kernel, by the adapter's tag, so that groups share what they find and a reload forgets only what was found of another.
 * It also runs the checks: the same check asked for by two groups at a time is made once.
 */
import { type Cancel, CancelSource } from '../net/cancel.js';
import { NetError, toNetError } from '../net/errors.js';
import type { Events } from '../net/events.js';
import type { TimerWheel } from '../net/timer-wheel.js';
import { token } from '../net/token.js';
import type { Adapter } from './adapter.js';
import type { ExpectedStatus, Probe } from './health-check.js';

/** The kernel's book, for groups and for whoever shows delays. */
export const HEALTH_BOOK = token<HealthBook>('HealthBook');

/** Checks that are remembered of one adapter and URL: what dashboards draw. */
const HISTORY = 10;
/** Adapters that are remembered. The one whose last check is longest ago is forgotten first. */
const MAX_ADAPTERS = 8192;
/** URLs (with their expected status) of one adapter. */
const MAX_TARGETS = 16;

/** How one check went. */
export interface HealthResult {
  /** Wall clock, ms since the epoch. */
  readonly at: number;
  /** From dial to response head, at least 1; null: not alive. */
  readonly ms: number | null;
  /** Why it is not alive, for a person; null: it is. */
  readonly error: string | null;
}

/** A snapshot of what is known of one adapter by one URL. */
export interface HealthInfo {
  readonly url: string;
  /** The status that counted as alive, as the config spells it; `*`: any. */
  readonly expected: string;
  /** By the last check. */
  readonly alive: boolean;
  readonly last: HealthResult;
  /** The last ten, oldest first. */
  readonly history: readonly HealthResult[];
  /** When the last check ended, on the kernel's monotonic clock. */
  readonly checkedAt: number;
}

export interface HealthTarget {
  readonly url: string;
  readonly expected: ExpectedStatus;
  readonly timeoutMs: number;
}

type Listener = (tag: string, info: HealthInfo) => void;

export interface HealthBookOptions {
  readonly timers: TimerWheel;
  readonly events: Events;
  readonly probe: Probe;
}

export class HealthBook {
  readonly #timers: TimerWheel;
  readonly #events: Events;
  readonly #probe: Probe;
  /** By tag, then by URL and expected status; both in the order of their last check. */
  readonly #known = new Map<string, Map<string, HealthInfo>>();
  readonly #running = new WeakMap<Adapter, Map<string, RunningCheck>>();
  readonly #listeners = new Set<Listener>();
  readonly #choices = new Map<string, string>();

  constructor({ timers, events, probe }: HealthBookOptions) {
    this.#timers = timers;
    this.#events = events;
    this.#probe = probe;
  }

  /** null: never checked. `expected` as the group that checks spells it. */
  get(tag: string, url: string, expected = '*'): HealthInfo | null {
    return this.#known.get(tag)?.get(keyOf(url, expected)) ?? null;
  }

  /** By every URL that it was checked with, the one checked last at the end. */
  all(tag: string): readonly HealthInfo[] {
    return [...(this.#known.get(tag)?.values() ?? [])];
  }

  /** These tags stand for other adapters from here on. No check of the ones before may run any more. */
  forget(tags: Iterable<string>): void {
    for (const tag of tags) this.#known.delete(tag);
  }

  /** Calls `listener` after every check of anybody. Returns the function that takes it back. */
  listen(listener: Listener): () => void {
    const own: Listener = (tag, info) => listener(tag, info);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  /** What a group last used, so that the group of that name starts there after a reload. */
  choiceOf(group: string): string | undefined {
    return this.#choices.get(group);
  }

  keepChoice(group: string, member: string): void {
    put(this.#choices, group, member, MAX_ADAPTERS);
  }

  /** Checks now and notes the result. Never rejects; null when `signal` fired first (then nothing is noted, unless others wait for the same check). */
  check(adapter: Adapter, target: HealthTarget, signal: Cancel): Promise<HealthResult | null> {
    if (signal.reason !== null) return Promise.resolve(null);
    const check = this.#join(adapter, target);
    check.waiting++;
    return new Promise((resolve) => {
      const forget = signal.onCancel((reason) => {
        check.waiting--;
        if (check.waiting === 0) check.cancel.cancel(reason);
        resolve(null);
      });
      void check.done.then((result) => {
        forget();
        resolve(result);
      });
    });
  }

  #join(adapter: Adapter, target: HealthTarget): RunningCheck {
    const checks = this.#running.get(adapter) ?? new Map<string, RunningCheck>();
    this.#running.set(adapter, checks);
    const key = `${target.timeoutMs} ${keyOf(target.url, target.expected.text)}`;
    const other = checks.get(key);
    if (other !== undefined && other.cancel.reason === null) return other;
    const cancel = new CancelSource();
    const done = this.#run(adapter, target, cancel).finally(() => {
      if (checks.get(key)?.cancel === cancel) checks.delete(key);
    });
    const check = { cancel, done, waiting: 0 };
    checks.set(key, check);
    return check;
  }

  async #run(adapter: Adapter, target: HealthTarget, cancel: CancelSource): Promise<HealthResult | null> {
    const begin = this.#timers.now();
    let ms: number | null = null;
    let error: string | null = null;
    try {
      const status = await this.#ask(adapter, target, cancel);
      if (target.expected.includes(status)) ms = Math.max(1, Math.round(this.#timers.now() - begin));
      else error = `answered ${status}, expected ${target.expected.text}`;
    } catch (thrown) {
      error = toNetError(thrown).message;
    }
    if (cancel.reason !== null) return null; // everybody has left
    const result = { at: Date.now(), ms, error };
    this.#note(adapter.tag, target, result);
    return result;
  }

  /** However the probe behaves, it is over when the time is up or everybody has left. */
  #ask(adapter: Adapter, { url, timeoutMs }: HealthTarget, cancel: Cancel): Promise<number> {
    const signal = new CancelSource(cancel);
    return new Promise<number>((resolve, reject) => {
      const deadline = this.#timers.after(timeoutMs, () => signal.cancel(new NetError('timeout', `no answer within ${timeoutMs} ms`)));
      const over = (): void => {
        deadline.cancel();
        signal.release();
      };
      signal.onCancel((reason) => {
        over();
        reject(reason);
      });
      void this.#probe(adapter, { url, signal, timeoutMs }).then(resolve, reject).finally(over);
    });
  }

  #note(tag: string, { url, expected }: HealthTarget, result: HealthResult): void {
    const before = this.get(tag, url, expected.text);
    const history = [...(before?.history ?? []).slice(1 - HISTORY), result];
    const info: HealthInfo = { url, expected: expected.text, alive: result.error === null, last: result, history, checkedAt: this.#timers.now() };
    const targets = this.#known.get(tag) ?? new Map<string, HealthInfo>();
    put(targets, keyOf(url, expected.text), info, MAX_TARGETS);
    put(this.#known, tag, targets, MAX_ADAPTERS);
    if (this.#events.wants('health.checked')) this.#events.emit('health.checked', { adapter: tag, url, ms: result.ms, error: result.error });
    for (const listener of [...this.#listeners]) listener(tag, info);
  }
}

interface RunningCheck {
  readonly cancel: CancelSource;
  readonly done: Promise<HealthResult | null>;
  waiting: number;
}

/** An expected status holds no blank. */
function keyOf(url: string, expected: string): string {
  return `${expected} ${url}`;
}

/** As the last one; the first one goes when there are too many. */
function put<V>(map: Map<string, V>, key: string, value: V, limit: number): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= limit) return;
  const [oldest] = map.keys();
  if (oldest !== undefined) map.delete(oldest);
}

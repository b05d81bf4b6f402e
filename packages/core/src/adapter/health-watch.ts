/**
 * When a group's members are checked: every `interval` (spread by chance, so that groups do not check at once), at once after several failed dials in
 * a row, and, in a lazy group, only while the group is used: it falls asleep after an interval without a dial, and the next dial wakes it.
 */
import { type Cancel, CancelSource } from '../net/cancel.js';
import { NetError, toNetError } from '../net/errors.js';
import type { Deadline, TimerWheel } from '../net/timer-wheel.js';
import type { Adapter } from './adapter.js';
import type { HealthBook, HealthInfo, HealthTarget } from './health-book.js';

/** Checks of one group at a time. */
const PARALLEL = 10;
/** An interval is this much longer or shorter, by chance. */
const JITTER = 0.1;
/** The first checks after the start are spread over this long, in ms. */
const START_SPREAD = 1_000;

export interface HealthOptions extends HealthTarget {
  /** ms between rounds; 0: no rounds by the clock. */
  readonly intervalMs: number;
  /** Check only while the group is used. */
  readonly lazy: boolean;
  /** So many failed dials of one member in a row, within `timeoutMs`, start a round. */
  readonly maxFailed: number;
}

export interface WatchOptions extends HealthOptions {
  readonly members: readonly Adapter[];
  readonly book: HealthBook;
  readonly timers: TimerWheel;
  /** Something was learnt of a member. `over`: and a round has ended, so that delays can be compared. */
  readonly learnt: (over: boolean) => void;
  /** 0 to 1; Math.random by default. */
  readonly random?: () => number;
}

export class HealthWatch {
  readonly #options: WatchOptions;
  readonly #members: ReadonlyMap<string, Adapter>;
  readonly #known = new Map<string, HealthInfo>();
  readonly #streaks = new Map<string, { count: number; since: number }>();
  readonly #stop = new CancelSource();
  #stopListening = (): void => {};
  #started = false;
  #used = false;
  #checking = false;
  #next: Deadline | null = null;
  #forcedAt = Number.NEGATIVE_INFINITY;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#members = new Map(options.members.map((member) => [member.tag, member]));
    this.#read();
  }

  /** What is not known counts as alive. */
  isAlive(member: Adapter): boolean {
    return this.#known.get(member.tag)?.alive ?? true;
  }

  /** Of the last check; null: not known, or not alive. */
  delayOf(member: Adapter): number | null {
    return this.#known.get(member.tag)?.last.ms ?? null;
  }

  start(): void {
    if (this.#started || this.#stop.reason !== null) return;
    this.#started = true;
    const { book, url, expected, learnt, lazy } = this.#options;
    this.#stopListening = book.listen((tag, info) => {
      if (info.url !== url || info.expected !== expected.text || !this.#members.has(tag)) return;
      this.#known.set(tag, info);
      learnt(false);
    });
    this.#read();
    if (!lazy) this.#plan(Math.max(this.#untilStale(), this.#random() * START_SPREAD));
    else if (this.#used) this.#wake();
  }

  close(): void {
    this.#started = false;
    this.#next?.cancel();
    this.#next = null;
    this.#stopListening();
    this.#stop.cancel(new NetError('aborted', 'the group was closed', { code: 'CLOSED' }));
  }

  /** Somebody dials through the group. */
  used(): void {
    this.#used = true;
    if (this.#next === null) this.#wake();
  }

  succeeded(member: Adapter): void {
    this.#streaks.delete(member.tag);
  }

  /** A dial through a member failed. `signal` is the dial's: a client that left says nothing about the member, nor does a refusal by rule. */
  failed(member: Adapter, error: unknown, signal: Cancel): void {
    const { timers, timeoutMs, maxFailed } = this.#options;
    if (signal.reason !== null || toNetError(error).failure === 'denied') return;
    const now = timers.now();
    let streak = this.#streaks.get(member.tag);
    if (streak === undefined || now - streak.since > timeoutMs) streak = { count: 0, since: now };
    streak.count++;
    this.#streaks.set(member.tag, streak);
    // Not again and again while everything fails: a network that is down is no news.
    if (streak.count < maxFailed || now - this.#forcedAt < timeoutMs || !this.#started || this.#checking) return;
    this.#forcedAt = now;
    this.#streaks.clear();
    this.#check();
  }

  #read(): void {
    const { book, url, expected } = this.#options;
    this.#known.clear();
    for (const tag of this.#members.keys()) {
      const info = book.get(tag, url, expected.text);
      if (info !== null) this.#known.set(tag, info);
    }
  }

  /** ms until what is known of the members is an interval old; 0 where nothing is known of one. */
  #untilStale(): number {
    const { timers, intervalMs } = this.#options;
    let oldest = timers.now();
    for (const tag of this.#members.keys()) oldest = Math.min(oldest, this.#known.get(tag)?.checkedAt ?? Number.NEGATIVE_INFINITY);
    return Math.max(0, oldest + intervalMs - timers.now());
  }

  #wake(): void {
    if (!this.#started || this.#checking || this.#options.intervalMs === 0) return;
    const wait = this.#untilStale();
    if (wait === 0) this.#check();
    else this.#plan(wait);
  }

  #plan(ms: number): void {
    const { timers, intervalMs, lazy } = this.#options;
    if (!this.#started || intervalMs === 0) return;
    this.#next?.cancel();
    this.#next = timers.after(ms, () => {
      this.#next = null;
      if (!lazy || this.#used) this.#check();
    });
  }

  /** One round. */
  #check(): void {
    this.#checking = true;
    this.#used = false;
    this.#next?.cancel();
    this.#next = null;
    const waiting = this.#members.values();
    const workers = Array.from({ length: Math.min(PARALLEL, this.#members.size) }, () => this.#work(waiting));
    void Promise.all(workers).then(() => {
      this.#checking = false;
      if (!this.#started) return;
      this.#plan(this.#options.intervalMs * (1 - JITTER + 2 * JITTER * this.#random()));
      this.#options.learnt(true);
    });
  }

  /** All workers take from one iterator. Never rejects. */
  async #work(waiting: Iterator<Adapter>): Promise<void> {
    for (let next = waiting.next(); next.done !== true && this.#stop.reason === null; next = waiting.next()) {
      await this.#options.book.check(next.value, this.#options, this.#stop);
    }
  }

  #random(): number {
    return (this.#options.random ?? Math.random)();
  }
}

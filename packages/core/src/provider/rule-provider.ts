import { type Cancel, CancelSource } from '../net/cancel.js';
import type { Clock } from '../net/clock.js';
import { NekitError, NetError } from '../net/errors.js';
import type { TimerWheel } from '../net/timer-wheel.js';
import type { KnownRules } from '../rule/parse.js';
import type { Behavior, CompiledSet, RuleSet } from '../rule/rule-set.js';
import type { ListFormat } from '../rule/set/inspect-list.js';
import type { Copy, ListSource } from './list-source.js';
import { LoadedList } from './loaded-list.js';
import type { ProviderConfig } from './provider-config.js';

/** What all providers of a config share. */
export interface ProviderContext {
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly known: () => KnownRules;
  readonly warn: (code: string, message: string) => void;
  /** 0 up to 1: spreads the times at which many kernels ask one server. */
  readonly random: () => number;
  /** ms since the epoch: a copy on disk has an age. */
  readonly wallClock: () => number;
}

export interface ProviderInfo {
  readonly name: string;
  readonly type: ProviderConfig['source']['type'];
  readonly behavior: Behavior;
  readonly format: ListFormat;
  readonly entries: number;
  /** When its source last said that this is the list, in ms since the epoch; null: there is none. */
  readonly updatedAt: number | null;
  /** Why the last try failed; null: it did not. */
  readonly error: string | null;
}

/** How long a start waits for a list that has no copy here, in ms: a server that is down must not keep the kernel down. */
const FIRST_WAIT = 10_000;
/** The pause after the first failure, in ms; it doubles with each, up to the largest. */
const FIRST_PAUSE = 10_000;
const LONGEST_PAUSE = 600_000;
/** What setTimeout can wait at most, in ms. */
const MAX_MS = 2_147_483_647;
/** How far the waits are spread to either side. */
const JITTER = 0.1;

const NOTHING: CompiledSet = { size: 0, match: () => false };

/** One list, kept up to date. Whatever fails, the last one that was understood stays. */
export class RuleProvider implements RuleSet {
  readonly name: string;
  readonly behavior: Behavior;
  readonly config: ProviderConfig;
  current: CompiledSet = NOTHING;
  readonly #source: ListSource;
  readonly #context: ProviderContext;
  readonly #stop = new CancelSource();
  #list: LoadedList | null = null;
  #updatedAt: number | null = null;
  #failures = 0;
  #error: string | null = null;
  #running: Promise<void> | null = null;
  #started = false;
  #followsOne = false;
  #stopTimer: () => void = () => undefined;

  constructor(config: ProviderConfig, source: ListSource, context: ProviderContext) {
    this.name = config.name;
    this.behavior = config.behavior;
    this.config = config;
    this.#source = source;
    this.#context = context;
  }

  /** Takes over what the same provider of an older config has; that one keeps it too, until it is closed. */
  adoptFrom(older: RuleProvider): void {
    this.#list?.release();
    this.#list = older.#list?.hold() ?? null;
    this.current = older.current;
    this.#updatedAt = older.#updatedAt;
    this.#failures = older.#failures;
    this.#error = older.#error;
    this.#followsOne = true;
  }

  /** What can be had soon. Rejects only with the signal's reason; what goes wrong is told as a warning. */
  async load(signal: Cancel): Promise<void> {
    if (this.#source.remote) {
      if (this.#followsOne) return; // its predecessor has waited, or has the list
      await this.#useKept();
      if (this.#list !== null) return;
    }
    const loading = this.refresh().catch((error: unknown) => error); // told already
    if (await this.#within(FIRST_WAIT, loading, signal)) return;
    const message = `${this.#label} takes longer than ${FIRST_WAIT / 1000} s to fetch: until it is here it matches nothing`;
    this.#context.warn('RULE_PROVIDER_LATE', message);
  }

  /** From here on it looks for news by itself. */
  start(): void {
    this.#started = true;
    this.#plan();
  }

  /** Looks for news now. Rejects with NekitError `RULE_PROVIDER_FAILED` when the list could not be had; the old one stays in use. */
  refresh(): Promise<void> {
    this.#stopTimer();
    this.#running ??= this.#refresh().finally(() => {
      this.#running = null;
      this.#plan();
    });
    return this.#running;
  }

  info(): ProviderInfo {
    const { source, format } = this.config;
    const entries = this.#list?.entries ?? 0;
    return { name: this.name, type: source.type, behavior: this.behavior, format, entries, updatedAt: this.#updatedAt, error: this.#error };
  }

  /** Stops what runs. `current` stays usable for who is in the middle of asking it. */
  close(): void {
    if (this.#stop.reason !== null) return;
    this.#stop.cancel(new NetError('aborted', `${this.#label} is no longer in use`, { code: 'CLOSED' }));
    this.#stopTimer();
    this.#list?.release();
    this.#list = null;
  }

  get #label(): string {
    return `rule-provider "${this.name}"`;
  }

  async #useKept(): Promise<void> {
    try {
      const copy = await this.#source.kept();
      if (copy === null) return;
      await this.#use(copy);
      this.#updatedAt = copy.updatedAt;
      if (copy.doubt !== undefined)
        this.#context.warn('RULE_PROVIDER_COPY', `${this.#label}: its copy on disk is used until the list is fetched again: ${copy.doubt}`);
    } catch (error) {
      if (this.#stop.reason === null) this.#context.warn('RULE_PROVIDER_COPY', `${this.#label}: its copy on disk is of no use: ${messageOf(error)}`);
    }
  }

  async #refresh(): Promise<void> {
    try {
      await this.#look();
    } catch (error) {
      const message = messageOf(error);
      if (this.#stop.reason === null) this.#failed(message);
      throw new NekitError('RULE_PROVIDER_FAILED', `${this.#label} was not updated: ${message}`, { cause: error });
    }
  }

  async #look(): Promise<void> {
    if (this.#stop.reason !== null) throw this.#stop.reason;
    const before = this.#list;
    const copy = await this.#source.fetch(before?.version ?? null, this.#stop);
    const now = this.#context.wallClock();
    if (copy !== null && !isSame(copy, before)) {
      await this.#use(copy);
      this.#good(copy.updatedAt);
      await this.#store(this.#source.keep(copy));
      return;
    }
    if (before === null) throw new Error('nothing came, and nothing was there'); // no source of ours says so
    if (copy !== null) before.version = copy.version;
    this.#good(this.#source.remote ? now : this.#updatedAt);
    await this.#store(this.#source.confirm(before.version, now));
  }

  async #use(copy: Copy): Promise<void> {
    const list = await LoadedList.compile(copy, this.config, this.#context.known(), this.#stop);
    const before = this.#list;
    const refusal = this.#stop.reason ?? (this.#source.remote && before !== null ? whyWorse(list, before) : null);
    if (refusal !== null) {
      list.release();
      throw refusal;
    }
    this.#list = list;
    this.current = list.set;
    before?.release();
    if (list.problems === 0) return;
    const all = list.entries + list.problems;
    this.#context.warn(
      'RULE_PROVIDER_ENTRIES',
      `${list.problems} of ${all} entries of ${this.#label} were not understood and have no effect, the first: ${list.firstProblem}`,
    );
  }

  #good(updatedAt: number | null): void {
    this.#updatedAt = updatedAt;
    this.#failures = 0;
    this.#error = null;
  }

  /** A list that cannot be kept is used all the same. */
  async #store(storing: Promise<void>): Promise<void> {
    try {
      await storing;
    } catch (error) {
      if (this.#stop.reason === null) this.#context.warn('RULE_PROVIDER_COPY', `${this.#label}: no copy was kept on disk: ${messageOf(error)}`);
    }
  }

  #failed(message: string): void {
    this.#failures++;
    if (message === this.#error) return; // said once
    this.#error = message;
    const effect = this.#list === null ? 'could not be loaded, and matches nothing until it is' : 'was not updated, the list from before stays in use';
    this.#context.warn('RULE_PROVIDER_FAILED', `${this.#label} ${effect}: ${message}`);
  }

  #plan(): void {
    this.#stopTimer();
    if (!this.#started || this.#running !== null || this.#stop.reason !== null) return;
    const wait = this.#wait();
    if (wait === null) return;
    const spread = wait * (1 - JITTER + 2 * JITTER * this.#context.random());
    this.#stopTimer = this.#context.clock.after(Math.min(spread, MAX_MS), () => {
      this.refresh().catch((error: unknown) => error); // told already
    });
  }

  /** Milliseconds to the next look; null: there is none. */
  #wait(): number | null {
    const interval = this.config.interval * 1000;
    if (this.#failures > 0 && (this.#list === null || interval > 0 || (this.#updatedAt === 0 && this.#source.remote))) {
      const pause = Math.min(FIRST_PAUSE * 2 ** (this.#failures - 1), LONGEST_PAUSE);
      return interval > 0 ? Math.min(pause, interval) : pause;
    }
    if (this.#list === null) return 0;
    const updatedAt = this.#updatedAt ?? 0;
    if (updatedAt === 0 && this.#source.remote) return 0; // a copy from elsewhere
    if (interval === 0) return null;
    // A file is looked at, and what the source says of its age does not matter.
    const age = this.#source.remote ? this.#context.wallClock() - updatedAt : 0;
    return Math.max(0, Math.min(interval, interval - age));
  }

  /** Whether it settled in time. Rejects with the signal's reason. */
  #within(ms: number, promise: Promise<unknown>, signal: Cancel): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const done = (inTime: boolean): void => {
        deadline.cancel();
        forget();
        resolve(inTime);
      };
      const deadline = this.#context.timers.after(ms, () => done(false));
      const forget = signal.onCancel((reason) => {
        deadline.cancel();
        reject(reason);
      });
      void promise.then(() => done(true));
    });
  }
}

function isSame(copy: Copy, list: LoadedList | null): boolean {
  return list !== null && copy.version.sha256 !== undefined && copy.version.sha256 === list.version.sha256;
}

/** Why a list from a server cannot be what follows the one from before: an error page, or nothing at all, is no news. null: it can. */
function whyWorse(list: LoadedList, before: LoadedList): Error | null {
  if (before.entries === 0) return null;
  if (list.entries === 0) return new Error(`what came is empty, and the list from before has ${before.entries} entries`);
  if (list.problems <= list.entries || before.problems > before.entries) return null;
  return new Error(`${list.problems} of its ${list.entries + list.problems} entries are not understood, the first: ${list.firstProblem}`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * Questions with a cache in front: each is asked once however many wait, hot names are asked again before they run out, and when all servers fail what was known before is
 * still an answer. Read first: RFC 8767 section 5, RFC 9520 (failures are remembered).
 */
import { type Cancel, type Clock, NetError, never, toNetError } from '@nekit/core';
import type { Answer } from '../wire/answer.js';
import { RCODE } from '../wire/message.js';
import type { Question } from '../wire/question.js';
import { AnswerCache, type Entry } from './answer-cache.js';
import { unlessCancelled } from './upstream.js';

/** Who asks knows a stale answer, and waits so long for a fresh one, in ms (RFC 8767 section 5: 1.8 s). */
const STALE_AFTER = 1_800;
/** A failure is not tried again for so long, in ms (RFC 9520 section 3.2: 1 to 300 s). */
const FAILURE = 1_000;
const MAX_FAILURES = 1_024;
/** A stale answer holds for so long, in seconds (RFC 8767 section 4). */
export const STALE_TTL = 30;
/** An answer that was used this often is asked for again when this part of its time is left. */
const HOT = 3;
const LEFT = 0.1;

/** Asks servers; chosen by the question. Rejects with a NetError. */
export type Ask = (question: Question, signal: Cancel) => Promise<Answer>;

/** An answer with its age, in seconds. */
export interface Aged {
  readonly answer: Answer;
  readonly age: number;
  /** It does not hold any more. */
  readonly stale: boolean;
}

export interface DnsClientOptions {
  readonly clock: Clock;
  readonly ask: Ask;
  readonly maxEntries: number;
  readonly maxBytes: number;
  /** Questions under way at a time. */
  readonly maxPending: number;
}

export class DnsClient {
  readonly #options: DnsClientOptions;
  readonly #cache: AnswerCache;
  readonly #pending = new Map<string, Promise<Answer>>();
  readonly #failures = new Map<string, { readonly error: NetError; readonly until: number }>();

  constructor(options: DnsClientOptions) {
    this.#options = options;
    this.#cache = new AnswerCache(options.maxEntries, options.maxBytes);
  }

  /** Answers that are kept. */
  get size(): number {
    return this.#cache.size;
  }

  /** Questions under way. */
  get pending(): number {
    return this.#pending.size;
  }

  /** What is in the cache and holds; null: ask. */
  cached(question: Question): Aged | null {
    const now = this.#options.clock.now();
    const entry = this.#cache.get(question.key, now);
    if (entry === null || entry.until <= now) return null;
    entry.hits++;
    if (entry.hits >= HOT && !entry.refreshing && entry.until - now < LEFT * 1000 * entry.answer.ttl) this.#refresh(question, entry);
    return agedOf(entry, now, false);
  }

  /** Rejects with a NetError: 'timeout', or why nobody could answer. An answer may be SERVFAIL or another error: it is the servers'. */
  ask(question: Question, signal: Cancel = never): Promise<Aged> {
    const cached = this.cached(question);
    if (cached !== null) return Promise.resolve(cached);
    const now = this.#options.clock.now();
    const stale = this.#cache.get(question.key, now);
    const failure = this.#failures.get(question.key);
    if (failure !== undefined && failure.until > now) {
      return stale === null ? Promise.reject(failure.error) : Promise.resolve(agedOf(stale, now, true));
    }
    const asking = this.#join(question);
    if (asking === null) return stale === null ? Promise.reject(BUSY) : Promise.resolve(agedOf(stale, now, true));
    const answer = stale === null ? asking.then(fresh) : this.#orStale(asking, stale);
    return unlessCancelled(answer, signal);
  }

  clear(): void {
    this.#cache.clear();
    this.#failures.clear();
  }

  /** The question that is under way, or a new one; null: too many are. */
  #join(question: Question): Promise<Answer> | null {
    const pending = this.#pending.get(question.key);
    if (pending !== undefined) return pending;
    if (this.#pending.size >= this.#options.maxPending) return null;
    const asking = this.#run(question).finally(() => this.#pending.delete(question.key));
    this.#pending.set(question.key, asking);
    return asking;
  }

  async #run(question: Question): Promise<Answer> {
    const { clock, ask } = this.#options;
    try {
      const answer = await ask(question, never);
      if (answer.ttl > 0) this.#cache.put(question.key, answer, clock.now());
      const isKnown = answer.rcode === RCODE.NOERROR || answer.rcode === RCODE.NXDOMAIN;
      // What was known before is better than an error; SERVFAIL is remembered for a moment.
      if (answer.rcode === RCODE.SERVFAIL || (!isKnown && this.#cache.get(question.key, clock.now()) !== null))
        throw new NetError('name', `${question.name}: the name servers answer with error ${answer.rcode}`, { code: 'DNS_SERVFAIL' });
      this.#failures.delete(question.key);
      return answer;
    } catch (reason) {
      const error = toNetError(reason);
      this.#failures.delete(question.key);
      this.#failures.set(question.key, { error, until: clock.now() + FAILURE });
      for (const oldest of this.#failures.keys()) {
        if (this.#failures.size <= MAX_FAILURES) break;
        this.#failures.delete(oldest);
      }
      throw error;
    }
  }

  #refresh(question: Question, entry: Entry): void {
    entry.refreshing = true;
    this.#join(question)
      ?.catch(() => undefined) // it holds for a while yet, and whoever asks then is told
      .finally(() => {
        entry.refreshing = false;
      });
  }

  /** A fresh answer if it comes soon. */
  #orStale(asking: Promise<Answer>, stale: Entry): Promise<Aged> {
    const { clock } = this.#options;
    return new Promise((resolve) => {
      const useStale = (): void => resolve(agedOf(stale, clock.now(), true));
      const stopTimer = clock.after(STALE_AFTER, useStale);
      asking.then(
        (answer) => {
          stopTimer();
          resolve(fresh(answer));
        },
        () => {
          stopTimer();
          useStale();
        },
      );
    });
  }
}

const BUSY = new NetError('name', 'too many names are being looked up', { code: 'RESOLVER_BUSY' });

function fresh(answer: Answer): Aged {
  return { answer, age: 0, stale: false };
}

function agedOf(entry: Entry, now: number, stale: boolean): Aged {
  return { answer: entry.answer, age: Math.floor((now - entry.storedAt) / 1000), stale };
}

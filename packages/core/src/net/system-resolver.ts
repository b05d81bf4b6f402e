import { lookup } from 'node:dns/promises';
import { addressFamily, normaliseAddress } from './address.js';
import type { Cancel } from './cancel.js';
import { timeoutError } from './cancel.js';
import type { Clock } from './clock.js';
import { normaliseHost } from './endpoint.js';
import { errorCode, NetError } from './errors.js';
import { type Hosts, lookUpHosts } from './hosts.js';
import type { Resolver } from './resolver.js';
import type { Deadline, TimerWheel } from './timer-wheel.js';

/** Asks the system for a name: the addresses in its order, family 0 for both. Rejects with an error that has a `code`. */
export type SystemLookup = (name: string, family: 0 | 4) => Promise<readonly { readonly address: string }[]>;

export interface SystemResolverOptions {
  readonly clock: Clock;
  readonly timers: TimerWheel;
  /** How long one caller waits, in ms, the queue included. */
  readonly timeoutMs: number;
  readonly hosts?: Hosts;
  /** false: no IPv6 addresses. */
  readonly ipv6?: boolean;
  /** Questions that the system is asked at once, 4 by default. */
  readonly concurrency?: number;
  /** For tests. */
  readonly lookup?: SystemLookup;
}

/** Answers that are kept. */
const MAX_CACHED = 4096;
/** Questions that wait for their turn; beyond, the newest are refused. */
const MAX_QUEUED = 1024;
/** How long answers are kept, in ms. getaddrinfo tells no TTL; a minute is what many resolvers use as a floor. */
const KEEP_ADDRESSES = 60_000;
const KEEP_FAILURE = 5_000;
/**
 * getaddrinfo blocks a thread of libuv's pool, which has 4 (UV_THREADPOOL_SIZE) and serves files and crypto as well; libuv itself
 * lets look-ups have half of them. More at once would only wait in a queue from which nothing can be taken back.
 */
const CONCURRENCY = 4;

const askSystem: SystemLookup = (name, family) => lookup(name, { all: true, verbatim: true, family });

type Answer = { readonly addresses: readonly string[] } | { readonly error: NetError };

/** One question on its way, and who waits for it. */
interface Question {
  readonly name: string;
  readonly waiters: Set<(answer: Answer) => void>;
  asked: boolean;
}

/**
 * The operating system's resolver (getaddrinfo: /etc/hosts, nsswitch, search domains, mDNS), with a cache, our own `hosts` in front, and
 * timeouts. Several callers with the same question wait for one answer, each as long as it wants. A look-up that nobody waits for
 * any more goes on in its thread, and what it finds is kept.
 */
export class SystemResolver implements Resolver {
  readonly #clock: Clock;
  readonly #timers: TimerWheel;
  readonly #timeoutMs: number;
  readonly #hosts: Hosts;
  readonly #ipv6: boolean;
  readonly #concurrency: number;
  readonly #lookup: SystemLookup;
  /** Least recently used first. */
  readonly #cache = new Map<string, { readonly until: number; readonly answer: Answer }>();
  readonly #questions = new Map<string, Question>();
  readonly #queue: Question[] = [];
  #running = 0;

  constructor(options: SystemResolverOptions) {
    this.#clock = options.clock;
    this.#timers = options.timers;
    this.#timeoutMs = options.timeoutMs;
    this.#hosts = options.hosts ?? new Map();
    this.#ipv6 = options.ipv6 ?? true;
    this.#concurrency = options.concurrency ?? CONCURRENCY;
    this.#lookup = options.lookup ?? askSystem;
  }

  async resolve(name: string, family: 0 | 4 | 6, signal: Cancel): Promise<readonly string[]> {
    if (signal.reason !== null) throw signal.reason;
    const answer = await this.#answer(name, signal);
    if ('error' in answer) throw answer.error;
    const wanted = answer.addresses.filter((address) => this.#isWanted(address, family));
    if (wanted.length === 0) throw new NetError('name', `${name} has no ${family === 0 ? 'IPv4' : `IPv${family}`} address`, { code: 'NO_ADDRESS' });
    return wanted;
  }

  #isWanted(address: string, family: 0 | 4 | 6): boolean {
    const own = addressFamily(address);
    return (family === 0 || own === family) && (this.#ipv6 || own === 4);
  }

  #answer(name: string, signal: Cancel): Answer | Promise<Answer> {
    const host = normaliseHost(name);
    if (host === null) return { error: new NetError('name', `${JSON.stringify(name.slice(0, 300))} is no host name`, { code: 'BAD_NAME' }) };
    if (addressFamily(host) !== 0) return { addresses: [host] };
    const found = lookUpHosts(this.#hosts, host);
    if (found !== null && 'addresses' in found) return found;
    const asked = found?.alias ?? host;
    if (addressFamily(asked) !== 0) return { addresses: [asked] };
    return this.#cached(asked) ?? this.#wait(asked, signal);
  }

  #cached(name: string): Answer | null {
    const entry = this.#cache.get(name);
    if (entry === undefined) return null;
    this.#cache.delete(name);
    if (entry.until <= this.#clock.now()) return null;
    this.#cache.set(name, entry);
    return entry.answer;
  }

  /** Joins the question for `name`, or asks it. Rejects with the signal's reason. */
  #wait(name: string, signal: Cancel): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const question = this.#questions.get(name) ?? this.#ask(name);
      if (question === null) {
        resolve({ error: new NetError('name', `${name} was not looked up: ${MAX_QUEUED} others wait already`, { code: 'RESOLVER_BUSY' }) });
        return;
      }
      let deadline: Deadline | null = null;
      let release = (): void => {};
      const leave = (): void => {
        question.waiters.delete(onAnswer);
        deadline?.cancel();
        release();
        if (question.waiters.size === 0 && !question.asked) this.#withdraw(question);
      };
      const onAnswer = (answer: Answer): void => {
        leave();
        resolve(answer);
      };
      question.waiters.add(onAnswer);
      deadline = this.#timers.after(this.#timeoutMs, () => onAnswer({ error: timeoutError(`looking up ${name}`, this.#timeoutMs) }));
      release = signal.onCancel((reason) => {
        leave();
        reject(reason);
      });
      this.#next();
    });
  }

  /** null: too many wait. */
  #ask(name: string): Question | null {
    if (this.#queue.length >= MAX_QUEUED) return null;
    const question: Question = { name, waiters: new Set(), asked: false };
    this.#questions.set(name, question);
    this.#queue.push(question);
    return question;
  }

  #withdraw(question: Question): void {
    this.#questions.delete(question.name);
    const index = this.#queue.indexOf(question);
    if (index !== -1) this.#queue.splice(index, 1);
  }

  /** Asks the system while there is room. */
  #next(): void {
    while (this.#running < this.#concurrency) {
      const question = this.#queue.shift();
      if (question === undefined) return;
      question.asked = true;
      this.#running++;
      void this.#askSystem(question.name).then((answer) => {
        this.#running--;
        this.#questions.delete(question.name);
        this.#keep(question.name, answer);
        for (const waiter of [...question.waiters]) waiter(answer);
        this.#next();
      });
    }
  }

  /** Never rejects. */
  async #askSystem(name: string): Promise<Answer> {
    try {
      const found = await this.#lookup(name, this.#ipv6 ? 0 : 4);
      const addresses = new Set<string>();
      for (const { address } of found) {
        const normal = normaliseAddress(address);
        if (normal !== null) addresses.add(normal);
      }
      if (addresses.size > 0) return { addresses: Object.freeze([...addresses]) };
      return { error: new NetError('name', `${name} has no address`, { code: 'NO_ADDRESS' }) };
    } catch (error) {
      const code = errorCode(error) || String(error);
      return { error: new NetError('name', `${name} does not resolve (${code})`, { cause: error }) };
    }
  }

  #keep(name: string, answer: Answer): void {
    this.#cache.delete(name);
    this.#cache.set(name, { until: this.#clock.now() + ('error' in answer ? KEEP_FAILURE : KEEP_ADDRESSES), answer });
    if (this.#cache.size <= MAX_CACHED) return;
    for (const oldest of this.#cache.keys()) {
      this.#cache.delete(oldest);
      return;
    }
  }
}

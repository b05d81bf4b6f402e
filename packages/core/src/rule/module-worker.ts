import { Worker } from 'node:worker_threads';
import { systemClock } from '../net/clock.js';
import { type ModuleFacts, type ModuleSession, type Outcome, reasonOf } from './module-contract.js';
import { LOAD_LIMIT, lateCall, lateLoad, withLimit } from './module-limit.js';
import type { FactName, FromThread, ThreadData, ToThread } from './module-messages.js';
import type { ModuleRunner } from './module-runner.js';

/** Calls at a time; more get no answer. */
const MAX_CALLS = 256;
/** A thread is made anew this long after the last one at the earliest, in ms: one that ends at once would otherwise be all we do. */
const PACE = 250;
/** Far more than a rule needs, in MB. */
const LIMITS = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 16, stackSizeMb: 4 };

const THREAD = new URL('./module-thread.js', import.meta.url);

interface Call {
  readonly facts: ModuleFacts;
  readonly asked: Set<FactName>;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: Error) => void;
}

/** One thread, from its start to its end. */
class ModuleThread {
  /** Settles when the module is loaded. */
  readonly ready: Promise<void>;
  isReady = false;
  isOver = false;
  readonly #path: string;
  readonly #calls = new Map<number, Call>();
  readonly #stuck: () => void;
  #worker: Worker | null = null;
  #cancelTimer: () => void;
  #settleReady: (error: Error | null) => void = () => undefined;
  #nextCall = 1;

  /** Starts in `delay` ms. `stuck`: it was ended since a call took too long. */
  constructor(path: string, delay: number, stuck: () => void) {
    this.#path = path;
    this.#stuck = stuck;
    this.ready = new Promise((resolve, reject) => {
      this.#settleReady = (error) => (error === null ? resolve() : reject(error));
    });
    this.ready.catch(() => undefined); // who waits is told; perhaps nobody does
    this.#cancelTimer = delay > 0 ? systemClock.after(delay, () => this.#start()) : () => undefined;
    if (delay <= 0) this.#start();
  }

  #start(): void {
    this.#cancelTimer = systemClock.after(LOAD_LIMIT, () => this.end(lateLoad()));
    try {
      this.#worker = this.#open({ path: this.#path });
    } catch (error) {
      this.end(new Error(`its thread could not be started: ${reasonOf(error)}`));
    }
  }

  #open(data: ThreadData): Worker {
    const worker = new Worker(THREAD, { workerData: data, env: {}, execArgv: [], resourceLimits: LIMITS, name: 'rule module' });
    worker.on('message', (message: FromThread) => this.#hear(message));
    worker.on('error', (error: unknown) => this.end(new Error(`its thread ended: ${reasonOf(error)}`)));
    worker.on('exit', () => this.end(new Error('its thread ended')));
    worker.unref(); // it keeps no process alive; last, since a listener for messages would undo it
    return worker;
  }

  /** A call over its limit (`left` of `limit`) ends the thread: nothing else stops an endless loop. */
  call(session: ModuleSession, facts: ModuleFacts, left: number, limit: number): Promise<Outcome> {
    const call = this.#nextCall++;
    const answer = new Promise<Outcome>((resolve, reject) => {
      this.#calls.set(call, { facts, asked: new Set(), resolve, reject });
      this.#say({ type: 'call', call, session });
    });
    const late = (): Error => {
      const error = lateCall(limit);
      if (!this.isOver) {
        this.end(new Error('its thread was ended, since another call took too long'));
        this.#stuck();
      }
      return error;
    };
    return withLimit(answer, left, late).finally(() => this.#calls.delete(call));
  }

  /** Calls without an answer get the reason. Idempotent. */
  end(reason: Error): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#cancelTimer();
    this.#settleReady(reason);
    for (const call of this.#calls.values()) call.reject(reason);
    void this.#worker?.terminate();
  }

  #hear(message: FromThread): void {
    if (this.isOver) return;
    switch (message.type) {
      case 'ready':
        this.isReady = true;
        this.#cancelTimer();
        this.#settleReady(null);
        break;
      case 'failed':
        this.end(new Error(message.message));
        break;
      case 'ask':
        this.#find(message.call, message.fact);
        break;
      case 'outcome':
        this.#calls.get(message.call)?.resolve(message.outcome);
        break;
      case 'error':
        this.#calls.get(message.call)?.reject(new Error(message.message));
    }
  }

  #find(id: number, fact: FactName): void {
    const call = this.#calls.get(id);
    if (call === undefined || call.asked.has(fact)) return;
    call.asked.add(fact);
    const found = fact === 'addresses' ? call.facts.addresses() : call.facts.process();
    found.then(
      (value) => this.#say({ type: 'answer', call: id, fact, value }),
      (error: unknown) => call.reject(new Error(reasonOf(error))),
    );
  }

  #say(message: ToThread): void {
    this.#worker?.postMessage(message);
  }
}

/** Runs a module in a thread of its own, which is ended and made anew when it does not answer. It loads the file as it is then. */
export class WorkerRunner implements ModuleRunner {
  readonly #path: string;
  readonly #limit: number;
  #madeAt = Number.NEGATIVE_INFINITY;
  #thread: ModuleThread;
  #calls = 0;
  #retired = false;

  /** `limit`: of a call, for messages. */
  constructor(path: string, limit: number) {
    this.#path = path;
    this.#limit = limit;
    this.#thread = this.#make();
  }

  /** Settles when the first thread has loaded the module. */
  get ready(): Promise<void> {
    return this.#thread.ready;
  }

  async call(session: ModuleSession, facts: ModuleFacts, left: number): Promise<Outcome> {
    if (this.#calls >= MAX_CALLS) throw new Error(`it has ${MAX_CALLS} calls to answer already`);
    const begin = systemClock.now();
    this.#calls++;
    try {
      if (this.#thread.isOver) this.#thread = this.#make();
      const thread = this.#thread;
      if (!thread.isReady) await withLimit(thread.ready, left, () => lateCall(this.#limit));
      return await thread.call(session, facts, Math.max(1, left - (systemClock.now() - begin)), this.#limit);
    } finally {
      this.#calls--;
      this.#endIfIdle();
    }
  }

  retire(): void {
    this.#retired = true;
    this.#endIfIdle();
  }

  #endIfIdle(): void {
    if (this.#retired && this.#calls === 0) this.#thread.end(new Error('it is not in use any more'));
  }

  #make(): ModuleThread {
    const now = systemClock.now();
    const delay = Math.max(0, this.#madeAt + PACE - now);
    this.#madeAt = now + delay;
    return new ModuleThread(this.#path, delay, () => {
      if (!this.#retired) this.#thread = this.#make();
    });
  }
}

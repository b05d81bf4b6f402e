/**
 * MODULE: a rule in JavaScript, from a local file.
 *
 * The file's default export (`RuleModule`) is asked for each session that comes so far, and has a time limit. Without `worker` it runs in
 * the kernel's own thread: quick, but what it does wrong there, an endless loop above all, it does to everybody. With `worker` it has a thread,
 * which is ended when a call takes too long; the other calls that it had to answer count as no match then.
 *
 * A changed file is taken over while connections run, and the last good version stays where the new one does not load. Only the file itself
 * is watched, not what it imports (in a thread all of it is loaded anew). Node never unloads a module: without `worker` each version costs
 * its memory for as long as the process lives.
 */
import type { Session } from '../net/session.js';
import type { RuleContext, RuleDefinition } from './definition.js';
import { copySession, type ModuleFacts, type ModuleSession, moduleFacts, type Outcome, reasonOf } from './module-contract.js';
import { checkModuleName, moduleStamp, refuseUnsafe } from './module-file.js';
import { LOAD_LIMIT, lateCall, lateLoad, withLimit } from './module-limit.js';
import { ModuleReports } from './module-reports.js';
import { importModule, LocalRunner, type ModuleRunner } from './module-runner.js';
import { ModuleWatch } from './module-watch.js';
import { WorkerRunner } from './module-worker.js';
import type { Facts, Rule, Verdict } from './rule.js';

/** How long a call may take, in ms. */
const TIMEOUT = 500;
const MAX_TIMEOUT = 10_000;

export function moduleRule(): RuleDefinition {
  return {
    kind: 'MODULE',
    description: 'what the function in a local JavaScript file says, as ./rules/office.mjs; with worker in a thread of its own',
    payload: true,
    parameters: ['worker'],
    options: ['timeout'],
    create(payload, context) {
      checkModuleName(payload);
      const timeout = timeoutOf(context);
      const inThread = isInThread(context);
      const path = context.tools.path(payload);
      const stamp = moduleStamp(path);
      refuseUnsafe(path);
      if (context.tools.checking) return { match: () => false };
      const rule = new ModuleRule({ path, timeout, inThread }, stamp, new ModuleReports(path, context.tools));
      context.tools.onClose(() => rule.close());
      context.tools.prepare(rule.loaded());
      return rule;
    },
  };
}

function timeoutOf({ options }: RuleContext): number {
  const { timeout = TIMEOUT } = options;
  const ms = typeof timeout === 'string' && /^[0-9]+$/.test(timeout) ? Number(timeout) : timeout;
  if (typeof ms !== 'number' || !Number.isInteger(ms) || ms < 1 || ms > MAX_TIMEOUT) {
    throw new Error(`timeout is how long a call may take: write milliseconds, 1 to ${MAX_TIMEOUT}, as in timeout: ${TIMEOUT}`);
  }
  return ms;
}

function isInThread({ options, parameters }: RuleContext): boolean {
  const { worker } = options;
  if (worker !== undefined && typeof worker !== 'boolean') throw new Error('worker is true or false: whether the module runs in a thread of its own');
  return parameters.has('worker');
}

interface ModuleOptions {
  readonly path: string;
  readonly timeout: number;
  readonly inThread: boolean;
}

class ModuleRule implements Rule {
  readonly #options: ModuleOptions;
  readonly #reports: ModuleReports;
  readonly #watch: ModuleWatch;
  /** The last version that could be loaded. */
  #runner: ModuleRunner | null = null;
  /** While there has been none. Never rejects. */
  #first: Promise<void> | null;
  /** The last load. Never rejects. */
  #loading: Promise<void>;
  #closed = false;

  /** `stamp`: of the file as it is. */
  constructor(options: ModuleOptions, stamp: string, reports: ModuleReports) {
    this.#options = options;
    this.#reports = reports;
    this.#loading = this.#load(stamp);
    this.#first = this.#loading.then(() => {
      this.#first = null;
    });
    this.#watch = new ModuleWatch(
      options.path,
      stamp,
      (changed) => {
        // One after the other: an older version must not come in late and stay.
        this.#loading = this.#loading.then(() => this.#load(changed));
        return this.#loading;
      },
      (code) => reports.tell('MODULE_NOT_WATCHED', `is not watched (${code}): a change takes effect when the config is loaded again`),
    );
  }

  /** Settles when the file was loaded, or could not be; in some seconds at most. */
  loaded(): Promise<void> {
    return this.#loading;
  }

  match(session: Session, facts: Facts): Verdict | Promise<Verdict> {
    const copy = copySession(session);
    const given = moduleFacts(facts);
    if (this.#runner !== null) return this.#ask(this.#runner, copy, given, this.#options.timeout);
    return this.#first === null ? false : this.#askLater(this.#first, copy, given);
  }

  /** A thread ends when it has answered. */
  close(): void {
    this.#closed = true;
    this.#watch.close();
    this.#runner?.retire();
  }

  async #askLater(loaded: Promise<void>, session: ModuleSession, facts: ModuleFacts): Promise<Verdict> {
    const { timeout } = this.#options;
    const begin = performance.now();
    try {
      await withLimit(loaded, timeout, () => lateCall(timeout));
    } catch (error) {
      return this.#fail(error);
    }
    return this.#runner === null ? false : this.#ask(this.#runner, session, facts, Math.max(1, timeout - (performance.now() - begin)));
  }

  #ask(runner: ModuleRunner, session: ModuleSession, facts: ModuleFacts, ms: number): Verdict | Promise<Verdict> {
    try {
      const outcome = runner.call(session, facts, ms);
      if (!(outcome instanceof Promise)) return this.#verdict(outcome);
      return outcome.then(
        (settled) => this.#verdict(settled),
        (error: unknown) => this.#fail(error),
      );
    } catch (error) {
      return this.#fail(error);
    }
  }

  #verdict(outcome: Outcome): Verdict {
    if (typeof outcome === 'boolean') return outcome;
    if (typeof outcome === 'string') return { to: outcome };
    this.#reports.tell('MODULE_RESULT', `gave back ${outcome.odd}, which counts as no match: true, false or the name of a proxy or group is expected`);
    return false;
  }

  #fail(error: unknown): false {
    this.#reports.tell('MODULE_FAILED', `failed, which counts as no match: ${reasonOf(error)}`);
    return false;
  }

  /** Takes the file's version over if it can be loaded, or says why not. Never rejects. */
  async #load(stamp: string): Promise<void> {
    const { path } = this.#options;
    try {
      refuseUnsafe(path);
      const runner = await this.#start(stamp);
      const before = this.#runner;
      this.#runner = runner;
      this.#reports.reset();
      before?.retire();
      if (this.#closed) runner.retire();
    } catch (error) {
      if (this.#closed) return;
      const stays = this.#runner === null ? 'and matches nothing' : 'and its last version stays in force';
      this.#reports.tell('MODULE_NOT_LOADED', `is not loaded, ${stays}: ${reasonOf(error)}`);
    }
  }

  async #start(stamp: string): Promise<ModuleRunner> {
    const { path, timeout, inThread } = this.#options;
    if (inThread) {
      const runner = new WorkerRunner(path, timeout);
      await runner.ready;
      return runner;
    }
    const run = await withLimit(importModule(path, stamp), LOAD_LIMIT, lateLoad);
    return new LocalRunner(run, timeout, (ms) => {
      this.#reports.tell(
        'MODULE_SLOW',
        `took ${Math.round(ms)} ms in one call, and all connections wait meanwhile: do less, or let it run in a thread (worker)`,
      );
    });
  }
}

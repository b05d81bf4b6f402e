import { realpath } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { type ModuleFacts, type ModuleSession, type Outcome, outcomeOf } from './module-contract.js';
import { lateCall, withLimit } from './module-limit.js';

/** A loaded version of a module. */
export interface ModuleRunner {
  /** Answers within `left` ms. Throws or rejects with the reason if it cannot. */
  call(session: ModuleSession, facts: ModuleFacts, left: number): Outcome | Promise<Outcome>;
  /** No more calls will come; those that run may end. */
  retire(): void;
}

/** A synchronous call that holds up all connections for longer than this, in ms, is told. */
const SLOW = 20;

type Run = (session: ModuleSession, facts: ModuleFacts) => unknown;

/** Runs a module in this thread: quick, but an endless loop in it stops everything. */
export class LocalRunner implements ModuleRunner {
  readonly #run: Run;
  readonly #limit: number;
  #slow: ((ms: number) => void) | null;

  /** `limit`: of a call, for messages. `slow`: told once. */
  constructor(run: Run, limit: number, slow: (ms: number) => void) {
    this.#run = run;
    this.#limit = limit;
    this.#slow = slow;
  }

  call(session: ModuleSession, facts: ModuleFacts, left: number): Outcome | Promise<Outcome> {
    const begin = performance.now();
    const value = this.#run(session, facts);
    const took = performance.now() - begin;
    if (took > SLOW && this.#slow !== null) {
      this.#slow(took);
      this.#slow = null;
    }
    if (typeof value !== 'object' || value === null || !('then' in value)) return outcomeOf(value);
    return withLimit(Promise.resolve(value).then(outcomeOf), left, () => lateCall(this.#limit));
  }

  retire(): void {}
}

/**
 * The module's function. `version` goes into the module's address, so that a new one is loaded anew; Node never unloads a module, and each version
 * costs its memory for as long as the process lives.
 */
export async function importModule(path: string, version: string): Promise<Run> {
  const real = await realpath(path); // Node remembers where links led, too
  // CommonJS is remembered by its path alone.
  Reflect.deleteProperty(createRequire(import.meta.url).cache, real);
  const url = pathToFileURL(real);
  if (version !== '') url.searchParams.set('v', version);
  const loaded: unknown = await import(url.href);
  const given = defaultOf(loaded);
  if (isRun(given)) return given;
  const transpiled = defaultOf(given);
  if (isRun(transpiled)) return transpiled;
  throw new Error('its default export is no function: write export default (session, facts) => …');
}

function isRun(value: unknown): value is Run {
  return typeof value === 'function';
}

function defaultOf(value: unknown): unknown {
  return typeof value === 'object' && value !== null && 'default' in value ? value.default : undefined;
}

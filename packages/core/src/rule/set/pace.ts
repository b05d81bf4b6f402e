import { setImmediate } from 'node:timers/promises';
import type { Cancel } from '../../net/cancel.js';

/** Milliseconds of work at a stretch: a reload of a million lines must not hold up the connections. */
const SLICE_MS = 8;
/** Looking at the clock costs as much as an entry. */
const STEPS_A_LOOK = 64;

/** Long work in slices: `if (pace.due()) await pace.rest();` after each step. */
export class Pace {
  readonly #signal: Cancel | undefined;
  #end = performance.now() + SLICE_MS;
  #left = STEPS_A_LOOK;

  constructor(signal?: Cancel) {
    this.#signal = signal;
  }

  /** `long`: the step was no short one, so look at the clock now. */
  due(long = false): boolean {
    if (--this.#left > 0 && !long) return false;
    this.#left = STEPS_A_LOOK;
    return performance.now() >= this.#end;
  }

  /** Lets everything else run. Rejects with the signal's reason when it has fired. */
  async rest(): Promise<void> {
    await setImmediate();
    const reason = this.#signal?.reason ?? null;
    if (reason !== null) throw reason;
    this.#end = performance.now() + SLICE_MS;
  }
}

/** Runs a generator that yields after each step. */
export async function paced<T>(steps: Generator<undefined, T>, pace: Pace): Promise<T> {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    if (pace.due(true)) await pace.rest();
  }
}

/** The same without resting. */
export function atOnce<T>(steps: Generator<undefined, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

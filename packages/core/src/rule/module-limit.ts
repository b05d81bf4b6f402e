import { systemClock } from '../net/clock.js';

/** The promise's outcome, or an Error after `ms`, which says what took so long. */
export function withLimit<T>(promise: PromiseLike<T>, ms: number, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = systemClock.after(ms, () => reject(late()));
    promise.then(
      (value) => {
        cancel();
        resolve(value);
      },
      (error: unknown) => {
        cancel();
        reject(error instanceof Error ? error : new Error(String(error)));
      },
    );
  });
}

/** A call that was not answered in time. */
export function lateCall(ms: number): Error {
  return new Error(`it took longer than ${ms} ms`);
}

/** How long a module may take to load, in ms. */
export const LOAD_LIMIT = 5_000;

export function lateLoad(): Error {
  return new Error(`it did not load within ${LOAD_LIMIT / 1_000} s`);
}

import type { Cancel } from './cancel.js';
import { CancelSource } from './cancel.js';
import type { Clock } from './clock.js';
import { NetError, toNetError } from './errors.js';

export interface Attempt<T> {
  /** ms after the attempt before it began; at once when none is running any more. Of the first: after the start. */
  readonly gapMs: number;
  /** Must leave nothing behind when the signal fires. */
  run(signal: Cancel): Promise<T>;
}

export interface StaggeredOptions<T> {
  readonly clock: Clock;
  readonly signal: Cancel;
  readonly discard: (late: T) => void;
}

/**
 * Starts attempts one after the other, with gaps; the first to succeed wins, and the others are cancelled. What succeeds too late is
 * given to `discard`. Rejects when all have failed, with the error of the last to fail and the others behind it as `cause`
 * (AggregateError), or with the signal's reason. RFC 8305 for addresses; NEKit's Speed adapter for proxies.
 */
export function staggered<T>(attempts: readonly Attempt<T>[], options: StaggeredOptions<T>): Promise<T> {
  const { clock, signal, discard } = options;
  if (signal.reason !== null) return Promise.reject(toNetError(signal.reason));
  return new Promise((resolve, reject) => {
    const losers = new CancelSource();
    const errors: NetError[] = [];
    let next = 0;
    let running = 0;
    let settled = false;
    let stopTimer = (): void => {};
    const settle = (): void => {
      settled = true;
      stopTimer();
      forget();
      losers.cancel(new NetError('aborted', 'another attempt was faster', { code: 'LOST_RACE' }));
    };
    const forget = signal.onCancel((reason) => {
      if (settled) return;
      settled = true;
      stopTimer();
      losers.cancel(reason);
      reject(toNetError(reason));
    });
    const plan = (): void => {
      stopTimer();
      const attempt = attempts[next];
      if (attempt !== undefined && !settled) stopTimer = clock.after(attempt.gapMs, begin);
    };
    const begin = (): void => {
      const attempt = attempts[next++];
      if (attempt === undefined || settled) return;
      running++;
      attempt.run(losers).then(
        (value) => {
          running--;
          if (settled) {
            discard(value);
            return;
          }
          settle();
          resolve(value);
        },
        (error: unknown) => {
          running--;
          if (settled) return;
          const failure = toNetError(error);
          errors.push(failure);
          if (errors.length === attempts.length) {
            settle();
            reject(errors.length === 1 ? failure : new NetError(failure.failure, failure.message, { code: failure.code, cause: new AggregateError(errors) }));
          } else if (running === 0) {
            begin(); // nothing to wait for
          }
        },
      );
      plan();
    };
    if (attempts.length === 0) {
      settle();
      reject(new NetError('unreachable', 'there is nothing to try', { code: 'NO_ATTEMPT' }));
    } else if ((attempts[0]?.gapMs ?? 0) > 0) plan();
    else begin();
  });
}

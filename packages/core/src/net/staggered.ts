import type { Cancel } from './cancel.js';
import { CancelSource } from './cancel.js';
import type { Clock } from './clock.js';
import { NetError, toNetError } from './errors.js';

export interface Attempt<T> {
  /** ms after the attempt before it began; at once when none is running any more. Of the first: after the start. */
  readonly gapMs: number;
  /** Must leave nothing behind when the signal fires, which it does while the attempt runs or not at all. */
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
    const running = new Set<CancelSource>();
    const errors: NetError[] = [];
    let next = 0;
    let settled = false;
    let stopTimer = (): void => {};
    /** A winner runs no more: its signal never fires. */
    const settle = (reason: Error): void => {
      settled = true;
      stopTimer();
      forget();
      for (const cancel of running) cancel.cancel(reason);
    };
    const forget = signal.onCancel((reason) => {
      settle(reason);
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
      const cancel = new CancelSource();
      running.add(cancel);
      attempt.run(cancel).then(
        (value) => {
          running.delete(cancel);
          if (settled) {
            discard(value);
            return;
          }
          settle(new NetError('aborted', 'another attempt was faster', { code: 'LOST_RACE' }));
          resolve(value);
        },
        (error: unknown) => {
          running.delete(cancel);
          if (settled) return;
          const failure = toNetError(error);
          errors.push(failure);
          if (errors.length === attempts.length) {
            settle(failure);
            reject(errors.length === 1 ? failure : new NetError(failure.failure, failure.message, { code: failure.code, cause: new AggregateError(errors) }));
          } else if (running.size === 0) {
            begin(); // nothing to wait for
          }
        },
      );
      plan();
    };
    if (attempts.length === 0) {
      forget();
      reject(new NetError('unreachable', 'there is nothing to try', { code: 'NO_ATTEMPT' }));
    } else if ((attempts[0]?.gapMs ?? 0) > 0) plan();
    else begin();
  });
}

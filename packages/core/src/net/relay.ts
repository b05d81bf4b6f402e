import { NetError, toNetError } from './errors.js';
import { byteLength, type Chunks, type RelayOptions, type Stream, type Totals } from './stream.js';
import type { TimerWheel } from './timer-wheel.js';

/**
 * Moves bytes both ways until both directions have ended, and owns the end of life: a FIN is passed on and starts the half-close
 * timer, an error or the signal aborts both ends, silence runs into a timeout. Never rejects; both streams are spent afterwards.
 *
 * `a` is the client's side: bytes from a to b count as up.
 */
export async function relay(a: Stream, b: Stream, options: RelayOptions, timers: TimerWheel): Promise<Totals> {
  const { counters, slot, signal } = options;
  let error: NetError | null = null;
  let silenceMs = options.idleMs;
  const stop = (reason: Error): void => {
    if (error !== null) return;
    error = toNetError(reason);
    a.abort(error);
    b.abort(error);
  };
  const forget = signal.onCancel(stop);
  const deadline = timers.after(silenceMs, () => stop(new NetError('timeout', `no byte for ${silenceMs / 1000} s`, { code: 'IDLE_TIMEOUT' })));
  const ended = (): void => {
    silenceMs = options.halfCloseMs;
    deadline.move(silenceMs);
  };
  /** Callbacks rather than a loop that awaits: its frame would keep the last chunks alive for as long as the next read waits. */
  const pump = (from: Stream, to: Stream, counter: number): Promise<void> =>
    new Promise((resolve) => {
      const fail = (reason: unknown): void => {
        stop(toNetError(reason));
        resolve();
      };
      const next = (): void => {
        from.read().then(take, fail);
      };
      const take = (chunks: Chunks | null): void => {
        if (chunks === null) {
          ended();
          to.closeWrite().then(resolve, fail);
          return;
        }
        const length = byteLength(chunks);
        to.write(chunks).then(() => {
          counters[counter] = (counters[counter] ?? 0) + length;
          deadline.at = timers.now() + silenceMs;
          next();
        }, fail);
      };
      next();
    });
  await Promise.all([pump(a, b, slot), pump(b, a, slot + 1)]);
  deadline.cancel();
  forget();
  return { up: counters[slot] ?? 0, down: counters[slot + 1] ?? 0, error };
}

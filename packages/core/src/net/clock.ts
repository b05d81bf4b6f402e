/** Time, passed in so that tests own it. Never wall-clock time: a suspended laptop or an NTP step must not fire timeouts. */
export interface Clock {
  /** Monotonic milliseconds. */
  now(): number;
  /** Runs `run` once after `ms`; the returned function cancels it and is idempotent. */
  after(ms: number, run: () => void): () => void;
}

/** The process clock. Its timers keep the process alive, as an open socket does. */
export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, run) {
    // Node cuts fractions off, of this and of when the event loop's turn began: without one more a timer would often come too early, and be set again for what is left.
    const timer = setTimeout(run, Math.ceil(ms) + 1);
    return () => clearTimeout(timer);
  },
};

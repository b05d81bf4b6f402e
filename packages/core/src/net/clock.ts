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
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

/** How much may be in flight. Bytes throughout; a controller sees what was acknowledged and what went wrong, and nothing else. */
export interface Congestion {
  /** In bytes. */
  window: number;
  /** Slow start below it, in bytes. */
  threshold: number;
  /**
   * Something new was acknowledged while the window was what held us back. `now`, `rtt` (smoothed) and `latest` (of this ACK) in ms; `isNewRound`: what was in flight when the round
   * began has arrived.
   */
  acknowledged(bytes: number, now: number, rtt: number, latest: number, isNewRound: boolean): void;
  /** Loss was found: once per window of data. */
  lost(inFlight: number, now: number): void;
  /** The timer ran out: back to one segment (the loss window of RFC 5681). `again`: for the same data. */
  timedOut(inFlight: number, again: boolean): void;
  /** Whether what the last timeout took can be given back: no loss was found since, and segments are as large as they were. */
  readonly canUndo: boolean;
  /**
   * That timeout was too early. The window is what is in flight and a little more, so that nothing goes out in a burst, and the old rate is soon there again (RFC 4015;
   * RFC 9438 section 4.9).
   */
  undo(inFlight: number, acknowledged: number): void;
  /** Nothing was sent for longer than a timeout (RFC 5681 section 4.1): the path may be another one by now. */
  idle(): void;
  /** The largest payload of a segment has changed. */
  resize(mss: number): void;
}

/** RFC 6928: ten segments, or what 14,600 bytes hold where they are large. */
export function initialWindow(mss: number): number {
  return Math.min(10 * mss, Math.max(2 * mss, 14_600));
}

/** RFC 4015: what may be in flight after a timeout that was too early. `window`: before it. */
export function windowAfterUndo(window: number, inFlight: number, acknowledged: number, mss: number): number {
  return Math.min(window, inFlight + Math.min(Math.max(acknowledged, 2 * mss), initialWindow(mss)));
}

/** Above this nothing is gained: the send buffer holds no more, in bytes. */
export const MOST_WINDOW = 1 << 24;

/** What counts of one ACK in slow start, in segments: an ACK per super-packet covers up to 64 KiB, and byte counting (RFC 3465) with L = 2 would make it crawl. */
export const SLOW_START_SEGMENTS = 64;

import { type Congestion, initialWindow, MOST_WINDOW, SLOW_START_SEGMENTS, windowAfterUndo } from './congestion.js';
import { HyStart } from './hystart.js';

/** As it was before a timeout. */
interface Before {
  readonly window: number;
  readonly threshold: number;
  readonly counted: number;
}

/** Read first: RFC 5681. */
export class Reno implements Congestion {
  window: number;
  threshold = MOST_WINDOW;
  #mss: number;
  readonly #watchesDelay: boolean;
  #hystart: HyStart | null = null;
  /** Bytes acknowledged since the window last grew (RFC 3465). */
  #counted = 0;
  #before: Before | null = null;

  /** `watchesDelay`: a delay that grows ends the first slow start. */
  constructor(mss: number, watchesDelay: boolean) {
    this.#mss = mss;
    this.#watchesDelay = watchesDelay;
    this.window = initialWindow(mss);
  }

  acknowledged(bytes: number, _now: number, _rtt: number, latest: number, isNewRound: boolean): void {
    if (this.window < this.threshold) {
      this.#slowStart(bytes, latest, isNewRound);
      return;
    }
    this.#counted += bytes;
    if (this.#counted < this.window) return;
    this.#counted -= this.window;
    this.window = Math.min(MOST_WINDOW, this.window + this.#mss);
  }

  /** What limited transmit has sent does not count (RFC 5681 section 3.2, step 2): it goes out beyond the window. */
  lost(inFlight: number): void {
    this.#before = null;
    this.#halve(Math.min(inFlight, this.window));
    this.window = this.threshold;
  }

  timedOut(inFlight: number, again: boolean): void {
    if (!again) {
      this.#before = { window: this.window, threshold: Math.max(this.threshold, Math.min(inFlight, this.window)), counted: this.#counted };
      this.#halve(inFlight);
    }
    this.window = this.#mss;
  }

  get canUndo(): boolean {
    return this.#before !== null;
  }

  undo(inFlight: number, acknowledged: number): void {
    const before = this.#before;
    if (before === null) return;
    this.#before = null;
    this.window = windowAfterUndo(before.window, inFlight, acknowledged, this.#mss);
    this.threshold = before.threshold;
    this.#counted = before.counted;
  }

  idle(): void {
    this.window = Math.min(this.window, initialWindow(this.#mss));
  }

  resize(mss: number): void {
    this.#mss = mss;
    this.#before = null;
  }

  /** The first one ends by the delay (RFC 9406), the others where the last loss was. */
  #slowStart(bytes: number, latest: number, isNewRound: boolean): void {
    if (this.threshold !== MOST_WINDOW || !this.#watchesDelay) {
      this.#hystart = null;
      this.window = Math.min(MOST_WINDOW, this.window + Math.min(bytes, SLOW_START_SEGMENTS * this.#mss));
      return;
    }
    this.#hystart ??= new HyStart();
    this.window = Math.min(MOST_WINDOW, this.window + this.#hystart.grow(bytes, this.#mss, latest, isNewRound));
    if (this.#hystart.isOver) this.threshold = this.window;
  }

  #halve(inFlight: number): void {
    this.threshold = Math.max(inFlight >> 1, 2 * this.#mss);
    this.#counted = 0;
  }
}

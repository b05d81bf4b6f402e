import { type Congestion, initialWindow, MOST_WINDOW, SLOW_START_SEGMENTS } from './congestion.js';

/** Read first: RFC 5681. */
export class Reno implements Congestion {
  window: number;
  threshold = MOST_WINDOW;
  #mss: number;
  /** Bytes acknowledged since the window last grew (RFC 3465). */
  #counted = 0;

  constructor(mss: number) {
    this.#mss = mss;
    this.window = initialWindow(mss);
  }

  acknowledged(bytes: number): void {
    if (this.window < this.threshold) {
      this.window = Math.min(MOST_WINDOW, this.window + Math.min(bytes, SLOW_START_SEGMENTS * this.#mss));
      return;
    }
    this.#counted += bytes;
    if (this.#counted < this.window) return;
    this.#counted -= this.window;
    this.window = Math.min(MOST_WINDOW, this.window + this.#mss);
  }

  lost(inFlight: number): void {
    this.#halve(inFlight);
    this.window = this.threshold;
  }

  timedOut(inFlight: number, again: boolean): void {
    if (!again) this.#halve(inFlight);
    this.window = this.#mss;
  }

  idle(): void {
    this.window = Math.min(this.window, initialWindow(this.#mss));
  }

  resize(mss: number): void {
    this.#mss = mss;
  }

  #halve(inFlight: number): void {
    this.threshold = Math.max(inFlight >> 1, 2 * this.#mss);
    this.#counted = 0;
  }
}

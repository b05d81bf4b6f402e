import { type Congestion, initialWindow, MOST_WINDOW, SLOW_START_SEGMENTS, windowAfterUndo } from './congestion.js';
import { HyStart } from './hystart.js';

/** RFC 9438 section 4.6: multiplicative decrease. */
const BETA = 0.7;
/** Section 5: how steep the curve is, in segments per s^3. */
const C = 0.4;
/** Section 4.3: what Reno would gain per window at the same average. */
const ALPHA = (3 * (1 - BETA)) / (1 + BETA);

/** As it was before a timeout. */
interface Before {
  readonly window: number;
  readonly threshold: number;
  readonly plateau: number;
  readonly lastPlateau: number;
  readonly epoch: number;
}

/** Read first: RFC 9438. Windows of the curve are in segments. */
export class Cubic implements Congestion {
  window: number;
  threshold = MOST_WINDOW;
  #mss: number;
  readonly #watchesDelay: boolean;
  #hystart: HyStart | null = null;
  /** Where the last loss was, the plateau of the curve. */
  #plateau = 0;
  /** Where it came from, for the fast convergence. */
  #lastPlateau = 0;
  /** How long the curve takes to its plateau, in s. */
  #k = 0;
  /** When the curve began, -1: with the next ACK. */
  #epoch = -1;
  /** What Reno would have by now. */
  #friendly = 0;
  #before: Before | null = null;

  /** `watchesDelay`: a delay that grows ends the first slow start. */
  constructor(mss: number, watchesDelay: boolean) {
    this.#mss = mss;
    this.#watchesDelay = watchesDelay;
    this.window = initialWindow(mss);
  }

  acknowledged(bytes: number, now: number, rtt: number, latest: number, isNewRound: boolean): void {
    if (this.window < this.threshold) {
      this.#slowStart(bytes, latest, isNewRound);
      return;
    }
    const current = this.window / this.#mss;
    if (this.#epoch === -1) this.#begin(current, now);
    const seconds = ((now - this.#epoch) | 0) / 1_000;
    const acked = bytes / this.#mss;
    this.#friendly += (this.#friendly >= this.#lastPlateau ? 1 : ALPHA) * (acked / current);
    const ahead = seconds + rtt / 1_000 - this.#k;
    const target = Math.min(1.5 * current, Math.max(current, C * ahead * ahead * ahead + this.#plateau));
    const next = Math.max(current + ((target - current) / current) * acked, this.#friendly);
    this.window = Math.min(MOST_WINDOW, Math.floor(Math.min(next, current + acked) * this.#mss));
  }

  lost(inFlight: number): void {
    this.#before = null;
    this.#decrease(inFlight);
    this.window = this.threshold;
  }

  timedOut(inFlight: number, again: boolean): void {
    if (!again) {
      this.#before = {
        window: this.window,
        threshold: Math.max(this.threshold, Math.min(inFlight, this.window)),
        plateau: this.#plateau,
        lastPlateau: this.#lastPlateau,
        epoch: this.#epoch,
      };
      this.#decrease(inFlight);
    }
    this.window = this.#mss;
  }

  get canUndo(): boolean {
    return this.#before !== null;
  }

  /** Nothing has grown since: the rest of the curve is as it was. */
  undo(inFlight: number, acknowledged: number): void {
    const before = this.#before;
    if (before === null) return;
    this.#before = null;
    this.window = windowAfterUndo(before.window, inFlight, acknowledged, this.#mss);
    this.threshold = before.threshold;
    this.#plateau = before.plateau;
    this.#lastPlateau = before.lastPlateau;
    this.#epoch = before.epoch;
  }

  idle(): void {
    this.window = Math.min(this.window, initialWindow(this.#mss));
    this.#epoch = -1;
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

  #begin(current: number, now: number): void {
    this.#epoch = now;
    this.#friendly = current;
    this.#k = this.#plateau > current ? Math.cbrt((this.#plateau - current) / C) : 0;
    if (this.#plateau < current) this.#plateau = current;
  }

  #decrease(inFlight: number): void {
    const current = Math.min(this.window, Math.max(inFlight, 2 * this.#mss)) / this.#mss;
    this.#lastPlateau = current;
    this.#plateau = current < this.#plateau ? (current * (1 + BETA)) / 2 : current; // fast convergence, section 4.7
    this.threshold = Math.max(Math.floor(current * BETA * this.#mss), 2 * this.#mss);
    this.#epoch = -1;
  }
}

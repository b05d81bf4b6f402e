import { SLOW_START_SEGMENTS } from './congestion.js';

/** RFC 9406 section 4.3, in ms. */
const LEAST_RISE = 4;
const MOST_RISE = 16;
const RISE_DIVISOR = 8;
/** Round trips of one round before its shortest says something. */
const ENOUGH_SAMPLES = 8;
/** How much slower the window grows while it is not sure, and for how many rounds. */
const GROWTH_DIVISOR = 4;
const CONSERVATIVE_ROUNDS = 5;

/**
 * HyStart++: the end of the first slow start by the delay, before it is found by a loss of half a window.
 * Read first: RFC 9406 section 4.2. If the shortest round trip of a round is clearly longer than that of the round before, a queue is building up: the window grows more slowly for
 * five rounds (Conservative Slow Start), and slow start is over, unless the round trip becomes shorter again: then it was only jitter.
 */
export class HyStart {
  /** Slow start has ended: the window is the threshold. */
  isOver = false;
  #last = Number.POSITIVE_INFINITY;
  #current = Number.POSITIVE_INFINITY;
  #samples = 0;
  /** The round trip with which the doubt began; infinite: there is none. */
  #baseline = Number.POSITIVE_INFINITY;
  #rounds = 0;

  /** What the window grows by, in bytes. `rtt`: of this ACK, in ms. `isNewRound`: it acknowledges the last byte that was in flight when the round began. */
  grow(bytes: number, mss: number, rtt: number, isNewRound: boolean): number {
    if (isNewRound) this.#nextRound();
    this.#current = Math.min(this.#current, rtt);
    this.#samples++;
    if (this.#samples >= ENOUGH_SAMPLES) this.#judge();
    const growth = Math.min(bytes, SLOW_START_SEGMENTS * mss);
    return this.#baseline === Number.POSITIVE_INFINITY ? growth : Math.floor(growth / GROWTH_DIVISOR);
  }

  #nextRound(): void {
    this.#last = this.#current;
    this.#current = Number.POSITIVE_INFINITY;
    this.#samples = 0;
    if (this.#baseline !== Number.POSITIVE_INFINITY && ++this.#rounds >= CONSERVATIVE_ROUNDS) this.isOver = true;
  }

  #judge(): void {
    if (this.#baseline !== Number.POSITIVE_INFINITY) {
      if (this.#current < this.#baseline) this.#baseline = Number.POSITIVE_INFINITY;
      return;
    }
    const rise = Math.max(LEAST_RISE, Math.min(this.#last / RISE_DIVISOR, MOST_RISE));
    if (this.#current < this.#last + rise) return;
    this.#baseline = this.#current;
    this.#rounds = 0;
  }
}

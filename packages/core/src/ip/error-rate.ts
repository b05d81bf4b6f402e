/** Errors in a burst, and per second. */
const BURST = 50;
const PER_SECOND = 1_000;

/** How many ICMP errors one sender of them may originate: a token bucket, whatever they are about (RFC 4443 section 2.4 f, RFC 1812 section 4.3.2.8). */
export class ErrorRate {
  readonly #burst: number;
  readonly #perSecond: number;
  #left: number;
  #refilledAt = 0;

  constructor(burst = BURST, perSecond = PER_SECOND) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#left = burst;
  }

  /** Whether one more may be sent; if so it counts. `now` in ms, of a clock that does not go back. */
  take(now: number): boolean {
    this.#left = Math.min(this.#burst, this.#left + ((now - this.#refilledAt) * this.#perSecond) / 1_000);
    this.#refilledAt = now;
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }
}

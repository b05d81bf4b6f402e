/**
 * The round trip and the retransmission timeout, in int32 milliseconds.
 * Read first: RFC 6298. Kept as 8 x SRTT and 4 x RTTVAR, so that integers do.
 */

/** Before the first measurement, in ms (RFC 6298 section 2.1). */
const INITIAL_RTO = 1_000;
/** The same where a SYN-ACK had to be sent again and nothing says how long its answer took (section 5.7). */
const FALLBACK_RTO = 3_000;
/** RFC 6298 wants 1 s; Linux and everybody else use 200 ms, because delayed ACKs come sooner than that. */
const LEAST_RTO = 200;
/** RFC 6298 section 2.5: 60 s at least. */
const MOST_RTO = 60_000;
/** An echo that is older than this, in ms, is not believed. */
export const LONGEST_TRIP = 120_000;
/** The clock's grain, in ms. */
const GRAIN = 1;

export class RoundTrip {
  /** The timeout, backoff included, in ms. */
  rto = INITIAL_RTO;
  /** The shortest that was seen, -1 before the first. */
  least = -1;
  /** Doublings since something was measured, or `progress`. */
  backoff = 0;
  /** Since the last measurement something was answered of which no one can tell which copy it was. */
  isDoubtful = false;
  #unmeasured = INITIAL_RTO;
  #srtt8 = 0;
  #rttvar4 = 0;

  get isKnown(): boolean {
    return this.least >= 0;
  }

  /** Smoothed, in ms. */
  get smoothed(): number {
    return this.#srtt8 >> 3;
  }

  /** A measurement, in ms. Never of a segment that was sent twice (Karn), unless a timestamp says which one it was. */
  sample(ms: number): void {
    const rtt = Math.max(0, ms) | 0;
    if (this.least < 0) {
      this.#srtt8 = rtt << 3;
      this.#rttvar4 = rtt << 1;
      this.least = rtt;
    } else {
      const error = rtt - (this.#srtt8 >> 3);
      this.#srtt8 += error;
      this.#rttvar4 += Math.abs(error) - (this.#rttvar4 >> 2);
      if (rtt < this.least) this.least = rtt;
    }
    this.backoff = 0;
    this.isDoubtful = false;
    this.#compute();
  }

  /** The timer has run out: the next one takes twice as long (section 5.5). */
  backOff(): void {
    this.backoff++;
    this.rto = Math.min(MOST_RTO, this.rto * 2);
  }

  /** The path is there, and slower than was thought or it loses: be patient until something is measured. */
  fallBack(): void {
    this.#unmeasured = FALLBACK_RTO;
    this.backoff = 0;
    this.#compute();
  }

  /** The peer has answered something new, and it is no question which copy of it. */
  progress(): void {
    if (this.backoff === 0) return;
    this.backoff = 0;
    this.#compute();
  }

  #compute(): void {
    if (this.least < 0) this.rto = this.#unmeasured;
    else this.rto = Math.min(MOST_RTO, Math.max(LEAST_RTO, (this.#srtt8 >> 3) + Math.max(GRAIN, this.#rttvar4)));
  }
}

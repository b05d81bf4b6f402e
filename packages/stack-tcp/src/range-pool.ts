/** Numbers per range of a transmit log: end, sentAt, state. */
export const STRIDE = 3;
/** Ranges that a log begins with. */
export const FIRST_CAPACITY = 8;

/** Arrays that are kept at most. */
const MOST_KEPT = 256;

/** The small arrays of transmit logs, shared by all connections of a stack: who has nothing in flight holds none, and who sends again takes one without an allocation. */
export class RangePool {
  readonly #free: Int32Array[] = [];

  /** For so many ranges; what is in it is old. */
  take(capacity: number): Int32Array {
    return (capacity === FIRST_CAPACITY ? this.#free.pop() : undefined) ?? new Int32Array(capacity * STRIDE);
  }

  give(ranges: Int32Array): void {
    if (ranges.length === FIRST_CAPACITY * STRIDE && this.#free.length < MOST_KEPT) this.#free.push(ranges);
  }
}

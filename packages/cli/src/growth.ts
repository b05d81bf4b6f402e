/** So much more than there was, in bytes and as a part of it, is worth a collection. */
const LEAST = 16 * 1024 * 1024;
const PART = 0.2;

/**
 * The event loop rests when it was busy for at most this part of the time. Less than for a crowd, which comes once: 200 Mbit/s of UDP keep it busy for a tenth, and would overflow
 * their socket's buffer in a collection of 100 ms.
 */
const REST = 0.03;

/** In so many looks on end: V8 throws code away with the memory, and who works again at once is a tenth slower for some seconds. */
const LOOKS = 30;

/**
 * Tells when the process has grown and rests. Many short sessions one after the other are never many at a time, so no crowd (crowd.ts): 100,000 connections that are refused in a
 * few seconds, as in a flood of SYNs to a port that is closed, leave as much behind.
 */
export class Growth {
  /** The least since memory was given back, or what was left then. */
  #base = Number.POSITIVE_INFINITY;
  #rested = 0;

  /** Once for each look: resident bytes, and for which part of the time since the last look the event loop was busy. True: give memory back now, and tell `left`. */
  look(resident: number, busy: number): boolean {
    this.#base = Math.min(this.#base, resident);
    this.#rested = busy <= REST ? this.#rested + 1 : 0;
    if (this.#rested < LOOKS || resident - this.#base < Math.max(LEAST, this.#base * PART)) return false;
    this.#rested = 0;
    return true;
  }

  /** Memory was given back, for whatever reason: so many bytes are resident now. What is still there is used. */
  left(resident: number): void {
    this.#base = resident;
  }
}

/**
 * Which packet ids of a session have been seen. Read first: RFC 6479, SIP022 section 3.2.4.
 *
 *   id      0 ................ last - SIZE | ............ last | ............ 2^64 - 1
 *           too old: refused               | one bit each      | new: moves the window
 *
 * The bits lie in a ring of words; moving on clears the words that come into use. Ids have 64 bits and come as two numbers of 32, for nothing else here is
 * exact and cheap.
 */

const WORDS = 256;

/** Ids behind the last one that are still told apart. One word is being filled. */
export const WINDOW_SIZE = (WORDS - 1) * 32;

const HIGH = 2 ** 32;

const ALL = 0xffff_ffff;

export class SlidingWindow {
  readonly #bits = new Uint32Array(WORDS);
  #lastHigh = 0;
  #lastLow = 0;

  /** One that accepts no id up to `last`. */
  static after(last: number): SlidingWindow {
    const window = new SlidingWindow();
    const known = last <= Number.MAX_SAFE_INTEGER;
    const low = known ? last % HIGH : HIGH - 1;
    window.#lastHigh = known ? Math.floor(last / HIGH) : HIGH - 1;
    window.#lastLow = low;
    window.#bits.fill(ALL);
    window.#bits[wordOf(low)] = ALL >>> (31 - (low & 31)); // the bits behind it are of ids to come
    return window;
  }

  /** The highest id that was added; Infinity where a number is not exact for it. */
  get last(): number {
    const last = this.#lastHigh * HIGH + this.#lastLow;
    return last <= Number.MAX_SAFE_INTEGER ? last : Number.POSITIVE_INFINITY;
  }

  /** Whether the id is new. Changes nothing: ask before a packet is believed, `add` it after. */
  accepts(high: number, low: number): boolean {
    const ahead = this.#ahead(high, low);
    if (ahead > 0) return true;
    if (ahead <= -WINDOW_SIZE) return false;
    return ((this.#bits[wordOf(low)] ?? 0) & bitOf(low)) === 0;
  }

  /** An id that was accepted. */
  add(high: number, low: number): void {
    const ahead = this.#ahead(high, low);
    if (ahead > 0) {
      const words = Math.min(WORDS, Math.floor(((this.#lastLow & 31) + ahead) / 32));
      for (let i = 1, first = wordOf(this.#lastLow); i <= words; i++) this.#bits[(first + i) % WORDS] = 0;
      this.#lastHigh = high;
      this.#lastLow = low;
    }
    const word = wordOf(low);
    this.#bits[word] = (this.#bits[word] ?? 0) | bitOf(low);
  }

  /** How far the id lies in front of the last one. Exact where it matters: far away the sign is all that counts. */
  #ahead(high: number, low: number): number {
    return (high - this.#lastHigh) * HIGH + (low - this.#lastLow);
  }
}

function wordOf(low: number): number {
  return (low >>> 5) % WORDS;
}

function bitOf(low: number): number {
  return 1 << (low & 31);
}

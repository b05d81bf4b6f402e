/** Networks of one family in flat arrays, until they are sorted. */

const FIRST_CAPACITY = 8;
/** From this many on, sorting by digits is quicker than by comparing, and has to pause. */
const MANY = 2048;
const DIGIT_BITS = 16;
const DIGITS = 2 ** DIGIT_BITS;
/** Networks that are handled at a stretch. */
const STRETCH = 8192;

export class NetworkTable {
  /** Words of 32 bits in an address: 1 or 4. */
  readonly #words: number;
  #first: Uint32Array;
  #prefixes: Uint8Array;
  #size = 0;

  constructor(words: 1 | 4) {
    this.#words = words;
    this.#first = new Uint32Array(words * FIRST_CAPACITY);
    this.#prefixes = new Uint8Array(FIRST_CAPACITY);
  }

  get size(): number {
    return this.#size;
  }

  /** Host bits are cleared. IPv4: the first word alone. */
  add(prefix: number, a: number, b: number, c: number, d: number): void {
    if (this.#size === this.#prefixes.length) this.#grow();
    const first = this.#first;
    const at = this.#size * this.#words;
    first[at] = (a & mask(prefix)) >>> 0;
    if (this.#words === 4) {
      first[at + 1] = (b & mask(prefix - 32)) >>> 0;
      first[at + 2] = (c & mask(prefix - 64)) >>> 0;
      first[at + 3] = (d & mask(prefix - 96)) >>> 0;
    }
    this.#prefixes[this.#size++] = prefix;
  }

  append(other: NetworkTable): void {
    for (let i = 0; i < other.#size; i++) {
      const at = i * other.#words;
      const word = (k: number): number => other.#first[at + k] ?? 0;
      this.add(other.#prefixes[i] ?? 0, word(0), word(1), word(2), word(3));
    }
  }

  /**
   * First and last address of each network, sorted, without those that lie within another. Networks nest or are apart, so no two ranges touch
   * wrongly.
   */
  *ranges(): Generator<undefined, Uint32Array> {
    const words = this.#words;
    const order = this.#size < MANY ? this.#compared() : yield* this.#byDigits();
    const flat = new Uint32Array(this.#size * words * 2);
    let used = 0;
    for (let i = 0; i < this.#size; i++) {
      if (i % STRETCH === STRETCH - 1) yield;
      const network = order[i] ?? 0;
      if (used > 0 && this.#compareFirst(network, flat, used - words) <= 0) continue;
      for (let k = 0; k < words; k++) {
        const word = this.#first[network * words + k] ?? 0;
        flat[used + k] = word;
        flat[used + words + k] = word | ~mask((this.#prefixes[network] ?? 0) - k * 32);
      }
      used += words * 2;
    }
    return used === flat.length ? flat : flat.slice(0, used);
  }

  #grow(): void {
    const first = new Uint32Array(this.#first.length * 2);
    first.set(this.#first);
    this.#first = first;
    const prefixes = new Uint8Array(this.#prefixes.length * 2);
    prefixes.set(this.#prefixes);
    this.#prefixes = prefixes;
  }

  #compareFirst(network: number, words: Uint32Array, at: number): number {
    for (let k = 0; k < this.#words; k++) {
      const difference = (this.#first[network * this.#words + k] ?? 0) - (words[at + k] ?? 0);
      if (difference !== 0) return difference;
    }
    return 0;
  }

  /** By first address, the larger network in front. */
  #compared(): Uint32Array {
    return new Uint32Array(this.#size)
      .map((_, i) => i)
      .sort((a, b) => this.#compareFirst(a, this.#first, b * this.#words) || (this.#prefixes[a] ?? 0) - (this.#prefixes[b] ?? 0));
  }

  /** The same, from the last digit to the first: each pass keeps the order of the one before. */
  *#byDigits(): Generator<undefined, Uint32Array> {
    let order = new Uint32Array(this.#size);
    for (let i = 0; i < order.length; i++) order[i] = i;
    let spare = new Uint32Array(this.#size);
    const counts = new Uint32Array(DIGITS + 1);
    for (let digit = this.#words * 2; digit >= 0; digit--) {
      counts.fill(0);
      for (let i = 0; i < order.length; i++) {
        const value = this.#digit(i, digit) + 1;
        counts[value] = (counts[value] ?? 0) + 1;
        if (i % STRETCH === STRETCH - 1) yield;
      }
      if (counts[this.#digit(0, digit) + 1] === this.#size) continue; // all the same, as the end of IPv6 networks is
      for (let value = 1; value < DIGITS; value++) counts[value] = (counts[value] ?? 0) + (counts[value - 1] ?? 0);
      for (let i = 0; i < order.length; i++) {
        const network = order[i] ?? 0;
        const value = this.#digit(network, digit);
        const place = counts[value] ?? 0;
        counts[value] = place + 1;
        spare[place] = network;
        if (i % STRETCH === STRETCH - 1) yield;
      }
      [order, spare] = [spare, order];
    }
    return order;
  }

  /** The last digit is the prefix. */
  #digit(network: number, digit: number): number {
    if (digit === this.#words * 2) return this.#prefixes[network] ?? 0;
    const word = this.#first[network * this.#words + (digit >> 1)] ?? 0;
    return digit % 2 === 0 ? word >>> DIGIT_BITS : word & (DIGITS - 1);
  }
}

/** The upper bits of a word. */
function mask(bits: number): number {
  return bits <= 0 ? 0 : bits >= 32 ? -1 : -1 << (32 - bits);
}

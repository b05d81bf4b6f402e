import { randomBytes } from 'node:crypto';

/** Slots of an empty set: a listener that nobody uses costs some kilobytes. */
const FIRST_SLOTS = 256;

/** Words of 32 bits that a salt may have. */
const WORD = 4;

/**
 * A set of salts, exact over the bytes that it keeps: open addressing in one flat array, so that a salt costs its own length and the empty slots beside it, and the
 * garbage collector sees one object. It grows by doubling and never forgets. Salts are longer than what is kept, or as long.
 */
export class SaltSet {
  /** Words of a salt that are kept. */
  readonly #words: number;
  /** Who chooses salts cannot choose where they lie. */
  readonly #seed = randomBytes(4).readUInt32LE();
  #table: Uint32Array;
  #mask = FIRST_SLOTS - 1;
  #size = 0;
  /** A slot of zeros is a free one, so the salt of zeros is kept here. */
  #zero = false;
  /** The salt in question, as words. */
  readonly #key: Uint32Array;

  /** `length`: bytes of each salt that are kept, a multiple of four. */
  constructor(length: number) {
    this.#words = length / WORD;
    this.#key = new Uint32Array(this.#words);
    this.#table = new Uint32Array(FIRST_SLOTS * this.#words);
  }

  get size(): number {
    return this.#size;
  }

  /** Bytes of memory. */
  get footprint(): number {
    return this.#table.byteLength;
  }

  has(salt: Uint8Array): boolean {
    return this.#load(salt) ? this.#zero : this.#find(this.#key) < 0;
  }

  /** false: it was there already. */
  add(salt: Uint8Array): boolean {
    if (this.#load(salt)) {
      if (this.#zero) return false;
      this.#zero = true;
      this.#size++;
      return true;
    }
    const free = this.#find(this.#key);
    if (free < 0) return false;
    this.#table.set(this.#key, free);
    this.#size++;
    if (this.#size * 4 > (this.#mask + 1) * 3) this.#grow();
    return true;
  }

  /** Takes the salt into `#key`. true: it is zeros. */
  #load(salt: Uint8Array): boolean {
    const view = new DataView(salt.buffer, salt.byteOffset, salt.length);
    let all = 0;
    for (let i = 0; i < this.#words; i++) {
      const word = view.getUint32(i * WORD, true);
      this.#key[i] = word;
      all |= word;
    }
    return all === 0;
  }

  /** Where `key` would have to be written, -1 if it is there. */
  #find(key: Uint32Array): number {
    const words = this.#words;
    for (let slot = this.#hash(key) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const at = slot * words;
      let all = 0;
      let differs = 0;
      for (let i = 0; i < words; i++) {
        const word = this.#table[at + i] ?? 0;
        all |= word;
        differs |= word ^ (key[i] ?? 0);
      }
      if (all === 0) return at;
      if (differs === 0) return -1;
    }
  }

  #hash(key: Uint32Array): number {
    let hash = this.#seed;
    for (const word of key) {
      hash = Math.imul(hash ^ word, 0x85ebca6b);
      hash ^= hash >>> 15;
    }
    return hash;
  }

  #grow(): void {
    const old = this.#table;
    this.#mask = this.#mask * 2 + 1;
    this.#table = new Uint32Array(old.length * 2);
    for (let at = 0; at < old.length; at += this.#words) {
      const key = old.subarray(at, at + this.#words);
      if (key.some((word) => word !== 0)) this.#table.set(key, this.#find(key));
    }
  }
}

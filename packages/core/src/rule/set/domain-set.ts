/**
 * Millions of names in two typed arrays, without an object for any of them.
 *
 *   starts   Uint32Array   bucket -> where its records begin; they end where those of the next bucket begin
 *   records  Uint8Array    +--------+----------------+-------------------+
 *                          | length | 5 tag, 3 flags | name, as it reads |   the records of a bucket stand one after the other
 *                          +--------+----------------+-------------------+
 *
 * A bucket has three records on average, so a probe touches one line of each array. The hash runs from the right end of the name, and so passes by that
 * of every suffix: one walk along the name asks for them all. What the hash finds is compared byte by byte.
 * A label `*` in the middle (`a.*.example.com`) is stored as it is written. A name is asked once more for each form of such entries there is (how many
 * labels, which of them stars), with stars in these places.
 */

/** The name itself. */
export const SELF = 1;
/** All names below it. */
export const BELOW = 2;
/** Names with exactly one label more. */
export const ONE_BELOW = 4;
export const FLAGS = 7;
/** Bytes in front of the name. */
export const RECORD_HEAD = 2;
/** The longest name (RFC 1035 section 2.3.4). */
export const MAX_NAME = 253;

const DOT = 0x2e;
const STAR = 0x2a;
/** Names with this many labels and more are counted as one. */
const DEEP = 31;

/** Where the hash begins, and its multiplier: different in each set, so that nobody can choose names that fall into one bucket. */
export interface HashSeed {
  readonly start: number;
  /** Odd. */
  readonly factor: number;
}

/** Which entries with stars in their middle there are. */
export interface StarForm {
  readonly labels: number;
  /** Bit 0: the last label is a star. */
  readonly stars: number;
}

export interface DomainTable {
  /** Names. */
  readonly size: number;
  readonly seed: HashSeed;
  /** The bucket is what is left of the hash without that many low bits. */
  readonly shift: number;
  readonly starts: Uint32Array;
  readonly records: Uint8Array;
  /** For SELF, BELOW and ONE_BELOW: a bit for each number of labels that entries have. What no entry has is not asked for. */
  readonly depths: { readonly self: number; readonly below: number; readonly oneBelow: number };
  readonly forms: readonly StarForm[];
}

/** Never changes. `DomainSetBuilder` makes them. */
export class DomainSet {
  readonly size: number;
  /** Bytes of its arrays. */
  readonly byteLength: number;
  readonly #start: number;
  readonly #factor: number;
  readonly #shift: number;
  readonly #starts: Uint32Array;
  readonly #records: Uint8Array;
  readonly #self: number;
  readonly #below: number;
  readonly #oneBelow: number;
  readonly #forms: readonly StarForm[];
  /** A name with stars put in. */
  readonly #masked: Uint8Array;

  constructor(table: DomainTable) {
    this.size = table.size;
    this.byteLength = table.starts.byteLength + table.records.byteLength;
    this.#start = table.seed.start;
    this.#factor = table.seed.factor;
    this.#shift = table.shift;
    this.#starts = table.starts;
    this.#records = table.records;
    this.#self = table.depths.self;
    this.#below = table.depths.below;
    this.#oneBelow = table.depths.oneBelow;
    this.#forms = table.forms;
    this.#masked = new Uint8Array(table.forms.length === 0 ? 0 : MAX_NAME);
  }

  /** Whether an entry holds for this canonical name (lower case, IDNA, no dot at the end). An address is none: it is for the caller to know them. */
  has(name: string): boolean {
    if (this.size === 0 || name.length === 0 || name.length > MAX_NAME) return false;
    if (this.#hasPlain(name)) return true;
    for (const form of this.#forms) if (this.#hasForm(name, form)) return true;
    return false;
  }

  #hasPlain(name: string): boolean {
    const factor = this.#factor;
    const below = this.#below;
    const oneBelow = this.#oneBelow;
    const firstDot = oneBelow === 0 ? -1 : name.indexOf('.');
    let hash = this.#start;
    let depth = 0;
    for (let i = name.length - 1; i >= 0; i--) {
      const code = name.charCodeAt(i);
      if (code === DOT) {
        const bit = 1 << (depth < DEEP ? ++depth : DEEP);
        const wanted = ((below & bit) !== 0 ? BELOW : 0) | ((oneBelow & bit) !== 0 && i === firstDot ? ONE_BELOW : 0);
        if (wanted !== 0 && this.#probe(name, i + 1, hash, wanted)) return true;
      }
      hash = Math.imul(hash ^ code, factor);
      hash ^= hash >>> 15;
    }
    return (this.#self & (1 << Math.min(depth + 1, DEEP))) !== 0 && this.#probe(name, 0, hash, SELF);
  }

  /** The suffix of the name that begins at `from`. */
  #probe(name: string, from: number, hash: number, wanted: number): boolean {
    const records = this.#records;
    const length = name.length - from;
    const tag = tagOf(hash);
    const bucket = hash >>> this.#shift;
    const end = this.#starts[bucket + 1] ?? 0;
    for (let at = this.#starts[bucket] ?? 0; at < end; ) {
      const size = records[at] ?? 0;
      const head = records[at + 1] ?? 0;
      at += RECORD_HEAD;
      if (size === length && (head & ~FLAGS) === tag && (head & wanted) !== 0) {
        let i = 0;
        while (i < length && records[at + i] === name.charCodeAt(from + i)) i++;
        if (i === length) return true;
      }
      at += size;
    }
    return false;
  }

  #hasForm(name: string, form: StarForm): boolean {
    const masked = this.#masked;
    let hash = this.#start;
    let to = MAX_NAME;
    let from = name.length;
    for (let label = 0; label < form.labels; label++) {
      if (from < 0) return false; // fewer labels
      if (label > 0) {
        masked[--to] = DOT;
        hash = hashStep(hash, DOT, this.#factor);
      }
      const begin = name.lastIndexOf('.', from - 1) + 1;
      if (begin === from) return false; // no label can be empty
      if ((form.stars & (1 << label)) !== 0) {
        masked[--to] = STAR;
        hash = hashStep(hash, STAR, this.#factor);
      } else {
        for (let i = from - 1; i >= begin; i--) {
          const code = name.charCodeAt(i);
          if (code > 0x7f) return false;
          masked[--to] = code;
          hash = hashStep(hash, code, this.#factor);
        }
      }
      from = begin - 1;
    }
    const wanted = from < 0 ? SELF : BELOW | (name.lastIndexOf('.', from - 1) === -1 ? ONE_BELOW : 0);
    const bucket = hash >>> this.#shift;
    return findRecord(this.#records, this.#starts[bucket] ?? 0, this.#starts[bucket + 1] ?? 0, masked, to, MAX_NAME, hash, wanted) !== -1;
  }
}

/** One character more, to the left. The whole word takes part in the next step, upwards by the product and downwards by the shift. */
export function hashStep(hash: number, code: number, factor: number): number {
  const product = Math.imul(hash ^ code, factor);
  return product ^ (product >>> 15);
}

/** Five bits that the bucket does not use, where the flags leave room. */
export function tagOf(hash: number): number {
  return (hash & 31) << 3;
}

/** Where the record of the name in `bytes` stands among those from `at` to `end`, or -1. `wanted`: one of these flags, or 0 for any. */
export function findRecord(records: Uint8Array, first: number, end: number, bytes: Uint8Array, from: number, to: number, hash: number, wanted: number): number {
  const length = to - from;
  const tag = tagOf(hash);
  for (let at = first; at < end; ) {
    const size = records[at] ?? 0;
    const head = records[at + 1] ?? 0;
    if (size === length && (head & ~FLAGS) === tag && (wanted === 0 || (head & wanted) !== 0)) {
      let i = 0;
      while (i < length && records[at + RECORD_HEAD + i] === bytes[from + i]) i++;
      if (i === length) return at;
    }
    at += RECORD_HEAD + size;
  }
  return -1;
}

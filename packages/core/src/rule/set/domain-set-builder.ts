import { randomBytes } from 'node:crypto';
import { type DomainEntry, parseDomainEntry } from './domain-entry.js';
import { type Block, HEAD, layOut, writeHead } from './domain-layout.js';
import { BELOW, DomainSet, type HashSeed, hashStep, MAX_NAME, ONE_BELOW, SELF, type StarForm } from './domain-set.js';
import { atOnce } from './pace.js';

/** Bytes of the first and of the largest block that names are collected in. */
const FIRST_BLOCK = 512;
const LARGEST_BLOCK = 64 * 1024;
/** A block with no more is copied when builders are joined. */
const SMALL = 8192;
/** Bytes of all names: offsets have 32 bits, and more would be no list that somebody wrote. */
const MAX_BYTES = 2 ** 31;
/** Forms of entries with stars in the middle: each costs a walk along every name that is asked for. */
const MAX_FORMS = 64;
/** Labels of such entries. */
const MAX_STAR_LABELS = 31;

const DOT = 0x2e;
const STAR = 0x2a;
const PLUS = 0x2b;

/** No room in it, so nothing is ever written there. */
const EMPTY: Block = { bytes: new Uint8Array(0), used: 0 };

/** Collects names, and lays them out when all are known. */
export class DomainSetBuilder {
  readonly #seed: HashSeed;
  readonly #forms = new Map<number, StarForm>();
  #blocks: Block[] = [];
  #block: Block = EMPTY;
  #size = FIRST_BLOCK;
  #entries = 0;
  #bytes = 0;
  #self = 0;
  #below = 0;
  #oneBelow = 0;

  /** Builders that are joined later have to share their seed. */
  constructor(seed: HashSeed = randomSeed()) {
    this.#seed = seed;
  }

  /** Entries that were added, the same name twice too. */
  get entries(): number {
    return this.#entries;
  }

  /** An entry in any of the forms of `parseDomainEntry`. Throws a plain Error. */
  add(text: string): void {
    this.addEntry(parseDomainEntry(text));
  }

  /** What an index key says (rule.ts). */
  addName(name: string, self: boolean, below: boolean): void {
    this.addEntry({ name, flags: (self ? SELF : 0) | (below ? BELOW : 0) });
  }

  addEntry({ name, flags }: DomainEntry): void {
    const form = name.includes('*') ? this.#formOf(name) : null;
    const block = this.#reserve();
    const to = block.used + HEAD;
    let labels = 1;
    for (let i = 0; i < name.length; i++) {
      const code = name.charCodeAt(i);
      if (code === DOT) labels++;
      block.bytes[to + i] = code;
    }
    if (form !== null) this.#forms.set(form.stars * 32 + form.labels, form);
    else this.#note(labels, flags);
    this.#finish(block, name.length, flags);
  }

  /**
   * The usual entry, straight from a file: ASCII, with `+.`, `.` or `*.` in front or none, which means `unmarked`. false: it is not of that kind or no entry
   * at all, and nothing was added; `add` can tell.
   */
  addBytes(bytes: Uint8Array, start: number, end: number, unmarked = SELF): boolean {
    let from = start;
    let flags = unmarked;
    const first = bytes[from];
    if (first === DOT) {
      flags = BELOW;
      from++;
    } else if ((first === PLUS || first === STAR) && bytes[from + 1] === DOT) {
      flags = first === PLUS ? SELF | BELOW : ONE_BELOW;
      from += 2;
    }
    const stop = bytes[end - 1] === DOT ? end - 1 : end;
    const length = stop - from;
    if (length <= 0 || length > MAX_NAME) return false;
    const block = this.#reserve();
    const target = block.bytes;
    const to = block.used + HEAD;
    let labels = 1;
    let label = 0; // where it begins
    for (let i = 0; i < length; i++) {
      const code = plainByte(bytes[from + i] ?? 0);
      if (code === 0) return false;
      if (code === DOT) {
        if (i === label || i - label > 63) return false;
        labels++;
        label = i + 1;
      }
      target[to + i] = code;
    }
    const last = target[to + label] ?? 0;
    // What ends in a number may be an address, and is no name.
    if (length === label || length - label > 63 || (last >= 0x30 && last <= 0x39)) return false;
    this.#note(labels, flags);
    this.#finish(block, length, flags);
    return true;
  }

  /** Takes over what the other has collected; the other is empty then. */
  append(other: DomainSetBuilder): void {
    if (other.#seed !== this.#seed) throw new Error('two builders with different seeds cannot be joined');
    other.#close();
    for (const block of other.#blocks) {
      if (block.used > SMALL) this.#blocks.push(block);
      else this.#copy(block);
    }
    this.#entries += other.#entries;
    this.#bytes += other.#bytes;
    this.#self |= other.#self;
    this.#below |= other.#below;
    this.#oneBelow |= other.#oneBelow;
    for (const [key, form] of other.#forms) this.#forms.set(key, form);
    other.#blocks = [];
    other.#entries = 0;
  }

  /** The set. The builder is spent. */
  build(): DomainSet {
    return atOnce(this.steps());
  }

  /** `build`, with a pause after each block. */
  *steps(): Generator<undefined, DomainSet> {
    this.#close();
    const layout = yield* layOut(this.#blocks, this.#entries);
    const depths = { self: this.#self, below: this.#below, oneBelow: this.#oneBelow };
    return new DomainSet({ ...layout, seed: this.#seed, depths, forms: [...this.#forms.values()] });
  }

  #formOf(name: string): StarForm {
    const labels = name.split('.').reverse();
    if (labels.length > MAX_STAR_LABELS) throw new Error(`"${name}" has ${labels.length} labels, and with a "*" among them ${MAX_STAR_LABELS} are allowed`);
    let stars = 0;
    for (const [i, label] of labels.entries()) if (label === '*') stars |= 1 << i;
    const key = stars * 32 + labels.length;
    if (!this.#forms.has(key) && this.#forms.size >= MAX_FORMS)
      throw new Error(`"${name}" has its "*" where none of the other entries has one: there may be ${MAX_FORMS} such forms in one list`);
    return { labels: labels.length, stars };
  }

  /** A block with room for one more name. */
  #reserve(): Block {
    const block = this.#block;
    if (block.bytes.length - block.used >= HEAD + MAX_NAME) return block;
    return this.#open(this.#size);
  }

  #open(size: number): Block {
    if (this.#bytes > MAX_BYTES) throw new Error('the names of one list have more than 2 GiB');
    this.#close();
    this.#size = Math.min(LARGEST_BLOCK, this.#size * 2);
    this.#block = { bytes: new Uint8Array(size), used: 0 };
    return this.#block;
  }

  #close(): void {
    if (this.#block.used > 0) this.#blocks.push(this.#block);
    this.#block = EMPTY;
  }

  #copy({ bytes, used }: Block): void {
    const block = this.#block.bytes.length - this.#block.used >= used ? this.#block : this.#open(Math.max(this.#size, used));
    block.bytes.set(bytes.subarray(0, used), block.used);
    block.used += used;
  }

  #note(labels: number, flags: number): void {
    const bit = 1 << Math.min(labels, 31);
    if ((flags & SELF) !== 0) this.#self |= bit;
    if ((flags & BELOW) !== 0) this.#below |= bit;
    if ((flags & ONE_BELOW) !== 0) this.#oneBelow |= bit;
  }

  /** The name stands behind the head already. */
  #finish(block: Block, length: number, flags: number): void {
    const { bytes } = block;
    const { start, factor } = this.#seed;
    const at = block.used;
    let hash = start;
    for (let i = at + HEAD + length - 1; i >= at + HEAD; i--) hash = hashStep(hash, bytes[i] ?? 0, factor);
    writeHead(bytes, at, length, flags, hash);
    block.used = at + HEAD + length;
    this.#entries++;
    this.#bytes += HEAD + length;
  }
}

/** A seed of its own for each set. */
export function randomSeed(): HashSeed {
  const bytes = randomBytes(8);
  return { start: bytes.readInt32LE(0), factor: bytes.readInt32LE(4) | 1 };
}

/** In lower case; 0 for what names are not made of. */
function plainByte(byte: number): number {
  if (byte >= 0x61 && byte <= 0x7a) return byte;
  if (byte >= 0x41 && byte <= 0x5a) return byte | 0x20;
  return (byte >= 0x30 && byte <= 0x39) || byte === 0x2d || byte === DOT || byte === 0x5f ? byte : 0;
}

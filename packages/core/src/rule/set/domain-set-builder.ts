import { randomBytes } from 'node:crypto';
import { type DomainEntry, parseDomainEntry } from './domain-entry.js';
import { BELOW, DomainSet, findRecord, type HashSeed, hashStep, MAX_NAME, ONE_BELOW, RECORD_HEAD, SELF, type StarForm, tagOf } from './domain-set.js';
import { atOnce } from './pace.js';

/** Bytes of the first and of the largest block that names are collected in. */
const FIRST_BLOCK = 512;
const LARGEST_BLOCK = 256 * 1024;
/** A block with no more is copied when builders are joined. */
const SMALL = 8192;
/** In front of a collected name: length, flags, hash. */
const HEAD = 6;
/** Records of a bucket, on average at most. */
const BUCKET = 4;
/** Bytes of all names: offsets have 32 bits, and more would be no list that somebody wrote. */
const MAX_BYTES = 2 ** 31;
/** Forms of entries with stars in the middle: each costs a walk along every name that is asked for. */
const MAX_FORMS = 64;
/** Labels of such entries. */
const MAX_STAR_LABELS = 31;
/** Buckets that are summed up at a stretch. */
const STRETCH = 2 ** 18;

const DOT = 0x2e;
const STAR = 0x2a;
const PLUS = 0x2b;

interface Block {
  readonly bytes: Uint8Array;
  used: number;
}

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
    const bits = Math.max(1, Math.ceil(Math.log2(Math.max(1, this.#entries) / BUCKET)));
    const shift = 32 - bits;
    const starts = new Uint32Array(2 ** bits + 1);
    for (const block of this.#blocks) {
      countSizes(block, starts, shift);
      yield;
    }
    let sum = 0;
    for (let bucket = 0; bucket < starts.length; bucket++) {
      const size = starts[bucket] ?? 0;
      starts[bucket] = sum;
      sum += size;
      if (bucket % STRETCH === STRETCH - 1) yield;
    }
    const layout: Layout = { shift, starts, records: new Uint8Array(sum), ends: starts.slice() };
    let names = 0;
    this.#blocks.reverse();
    for (let block = this.#blocks.pop(); block !== undefined; block = this.#blocks.pop()) {
      names += place(block, layout);
      yield;
    }
    const records = names === this.#entries ? layout.records : yield* closeGaps(layout);
    const depths = { self: this.#self, below: this.#below, oneBelow: this.#oneBelow };
    return new DomainSet({ size: names, seed: this.#seed, shift, starts, records, depths, forms: [...this.#forms.values()] });
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
    bytes[at] = length;
    bytes[at + 1] = flags;
    bytes[at + 2] = hash;
    bytes[at + 3] = hash >>> 8;
    bytes[at + 4] = hash >>> 16;
    bytes[at + 5] = hash >>> 24;
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

interface Layout {
  readonly shift: number;
  readonly starts: Uint32Array;
  /** Where the next record of a bucket goes. */
  readonly ends: Uint32Array;
  readonly records: Uint8Array;
}

function hashAt(bytes: Uint8Array, at: number): number {
  return (bytes[at + 2] ?? 0) | ((bytes[at + 3] ?? 0) << 8) | ((bytes[at + 4] ?? 0) << 16) | ((bytes[at + 5] ?? 0) << 24);
}

function countSizes({ bytes, used }: Block, sizes: Uint32Array, shift: number): void {
  for (let at = 0; at < used; ) {
    const length = bytes[at] ?? 0;
    const bucket = hashAt(bytes, at) >>> shift;
    sizes[bucket] = (sizes[bucket] ?? 0) + RECORD_HEAD + length;
    at += HEAD + length;
  }
}

/** Returns how many were new. A name that is there already gets the flags of both. */
function place({ bytes, used }: Block, { shift, starts, ends, records }: Layout): number {
  let added = 0;
  for (let at = 0; at < used; ) {
    const length = bytes[at] ?? 0;
    const flags = bytes[at + 1] ?? 0;
    const hash = hashAt(bytes, at);
    const name = at + HEAD;
    at = name + length;
    const bucket = hash >>> shift;
    const end = ends[bucket] ?? 0;
    const same = findRecord(records, starts[bucket] ?? 0, end, bytes, name, at, hash, 0);
    if (same !== -1) {
      records[same + 1] = (records[same + 1] ?? 0) | flags;
      continue;
    }
    records[end] = length;
    records[end + 1] = tagOf(hash) | flags;
    for (let i = 0; i < length; i++) records[end + RECORD_HEAD + i] = bytes[name + i] ?? 0;
    ends[bucket] = end + RECORD_HEAD + length;
    added++;
  }
  return added;
}

/** Names that came twice have left room in their buckets. */
function* closeGaps({ starts, ends, records }: Layout): Generator<undefined, Uint8Array> {
  let to = 0;
  for (let bucket = 0; bucket < starts.length - 1; bucket++) {
    const from = starts[bucket] ?? 0;
    const end = ends[bucket] ?? 0;
    if (to !== from) records.copyWithin(to, from, end);
    starts[bucket] = to;
    to += end - from;
    if (bucket % STRETCH === STRETCH - 1) yield;
  }
  starts[starts.length - 1] = to;
  return records.slice(0, to);
}

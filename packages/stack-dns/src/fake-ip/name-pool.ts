/**
 * Names and numbers, one to one, both ways in constant time: number i stands for the i-th address of a range. When all are taken the name that was used least recently
 * makes room;
 * a number that somebody holds counts as used.
 *
 * A new name gets the number that its hash points at if that is free, so that most names come back to their address even if nothing was kept (and a client that remembers an
 * address longer than it may seldom reaches somebody else: shadowsocks-rust #1906).
 */
import { NameStore } from './name-store.js';

const NONE = -1;

/** Numbers beside the one of the hash that are tried before any free one is taken. */
const NEAR = 8;

/** A name that has a number from here on: `bytes[start, end)`, lent. */
export type OnAssigned = (index: number, bytes: Uint8Array, start: number, end: number) => void;

export class NamePool {
  readonly capacity: number;
  readonly #names = new NameStore();
  /** Where each number's name is; NONE: it is free. */
  readonly #at: Int32Array;
  readonly #length: Uint8Array;
  readonly #hash: Uint32Array;
  /** Least recently used first. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  /** Open addressing with linear probing: numbers by their name's hash. */
  readonly #slots: Int32Array;
  readonly #mask: number;
  readonly #seed: number;
  /** Numbers that somebody uses, and who is told when they are taken away all the same. */
  readonly #holds = new Map<number, Set<() => void>>();
  readonly #onAssigned: OnAssigned;
  #oldest = NONE;
  #newest = NONE;
  #size = 0;
  /** Where the search for a free number goes on. */
  #cursor = 0;

  /** `seed`: random 32 bits, so that nobody can choose names that collide. */
  constructor(capacity: number, seed: number, onAssigned: OnAssigned = () => {}) {
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > 1 << 24) throw new RangeError(`a pool of ${capacity} addresses`);
    this.capacity = capacity;
    this.#seed = seed | 0;
    this.#onAssigned = onAssigned;
    this.#at = new Int32Array(capacity).fill(NONE);
    this.#length = new Uint8Array(capacity);
    this.#hash = new Uint32Array(capacity);
    this.#next = new Int32Array(capacity).fill(NONE);
    this.#previous = new Int32Array(capacity).fill(NONE);
    const slots = 1 << (32 - Math.clz32(2 * capacity - 1));
    this.#slots = new Int32Array(slots).fill(NONE);
    this.#mask = slots - 1;
  }

  /** Names that have a number. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of memory, about. */
  get memory(): number {
    return this.#names.size + this.capacity * 17 + this.#slots.byteLength;
  }

  /** The number of the name `bytes[start, end)` (1 to 255 bytes of lower case), used just now; one is assigned if it has none. */
  assign(bytes: Uint8Array, start: number, end: number): number {
    const hash = hashOf(bytes, start, end, this.#seed);
    const known = this.#find(hash, bytes, start, end);
    if (known !== NONE) {
      this.#touch(known);
      return known;
    }
    const index = this.#size === this.capacity ? this.#recycle() : this.#freeNear(hashOf(bytes, start, end, 0) % this.capacity);
    this.#put(index, hash, bytes, start, end);
    this.#onAssigned(index, bytes, start, end);
    this.#tell(index);
    return index;
  }

  /** Until the returned function is called the number stays with its name, as long as there is one that nobody holds; else `recycled` runs, once. */
  hold(index: number, recycled: () => void): () => void {
    const holds = this.#holds.get(index) ?? new Set();
    const own = (): void => recycled();
    holds.add(own);
    this.#holds.set(index, holds);
    return () => {
      if (holds.delete(own) && holds.size === 0 && this.#holds.get(index) === holds) this.#holds.delete(index);
    };
  }

  /** The number of a name, NONE (-1) if it has none. Changes nothing. */
  find(bytes: Uint8Array, start: number, end: number): number {
    return this.#find(hashOf(bytes, start, end, this.#seed), bytes, start, end);
  }

  /** Gives a name the number that it had before; who has it now, and the name's other number, are free then. */
  restore(index: number, bytes: Uint8Array, start: number, end: number): void {
    if (index < 0 || index >= this.capacity || end <= start || end - start > 255) return;
    const hash = hashOf(bytes, start, end, this.#seed);
    const other = this.#find(hash, bytes, start, end);
    if (other === index) {
      this.#touch(index);
      return;
    }
    if (other !== NONE) this.#remove(other);
    if (this.#at[index] !== NONE) this.#remove(index);
    this.#put(index, hash, bytes, start, end);
    this.#tell(index);
    if (other !== NONE) this.#tell(other);
  }

  /** The name of a number, null if it has none. Counts as use. */
  nameOf(index: number): string | null {
    const at = this.#at[index] ?? NONE;
    if (at === NONE) return null;
    this.#touch(index);
    return this.#names.text(at, this.#length[index] ?? 0);
  }

  /** All of them, the least recently used first. `bytes` is lent. */
  forEach(run: (index: number, bytes: Uint8Array) => void): void {
    for (let index = this.#oldest; index !== NONE; index = this.#next[index] ?? NONE)
      run(index, this.#names.bytes(this.#at[index] ?? 0, this.#length[index] ?? 0));
  }

  clear(): void {
    this.#names.clear();
    this.#at.fill(NONE);
    this.#slots.fill(NONE);
    this.#oldest = NONE;
    this.#newest = NONE;
    this.#size = 0;
    this.#cursor = 0;
  }

  /** The number is not that of its name any more. */
  #tell(index: number): void {
    const holds = this.#holds.get(index);
    if (holds === undefined) return;
    this.#holds.delete(index);
    for (const recycled of holds) recycled();
  }

  #find(hash: number, bytes: Uint8Array, start: number, end: number): number {
    for (let slot = hash & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const index = this.#slots[slot] ?? NONE;
      if (index === NONE) return NONE;
      if (this.#hash[index] === hash && this.#length[index] === end - start && this.#names.equals(this.#at[index] ?? 0, end - start, bytes, start))
        return index;
    }
  }

  #put(index: number, hash: number, bytes: Uint8Array, start: number, end: number): void {
    this.#at[index] = this.#names.add(bytes, start, end);
    this.#length[index] = end - start;
    this.#hash[index] = hash;
    let slot = hash & this.#mask;
    while (this.#slots[slot] !== NONE) slot = (slot + 1) & this.#mask;
    this.#slots[slot] = index;
    this.#append(index);
    this.#size++;
  }

  #remove(index: number): void {
    this.#unslot(index);
    this.#unlink(index);
    this.#names.remove(this.#at[index] ?? 0, this.#length[index] ?? 0);
    this.#at[index] = NONE;
    this.#size--;
  }

  /** Closes the gap, so that no search ends too early. */
  #unslot(index: number): void {
    let gap = (this.#hash[index] ?? 0) & this.#mask;
    while (this.#slots[gap] !== index) gap = (gap + 1) & this.#mask;
    for (let slot = (gap + 1) & this.#mask; this.#slots[slot] !== NONE; slot = (slot + 1) & this.#mask) {
      const home = (this.#hash[this.#slots[slot] ?? 0] ?? 0) & this.#mask;
      // It may move up if its home is not behind the gap.
      if (((slot - home) & this.#mask) < ((slot - gap) & this.#mask)) continue;
      this.#slots[gap] = this.#slots[slot] ?? NONE;
      gap = slot;
    }
    this.#slots[gap] = NONE;
  }

  #recycle(): number {
    for (let left = this.#holds.size; left > 0 && this.#holds.has(this.#oldest); left--) this.#touch(this.#oldest);
    const index = this.#oldest;
    this.#remove(index);
    return index;
  }

  #freeNear(wanted: number): number {
    for (let i = 0; i < NEAR; i++) {
      const index = (wanted + i) % this.capacity;
      if (this.#at[index] === NONE) return index;
    }
    while (this.#at[this.#cursor] !== NONE) this.#cursor = (this.#cursor + 1) % this.capacity;
    return this.#cursor;
  }

  #touch(index: number): void {
    if (index === this.#newest) return;
    this.#unlink(index);
    this.#append(index);
  }

  #append(index: number): void {
    this.#next[index] = NONE;
    this.#previous[index] = this.#newest;
    if (this.#newest === NONE) this.#oldest = index;
    else this.#next[this.#newest] = index;
    this.#newest = index;
  }

  #unlink(index: number): void {
    const next = this.#next[index] ?? NONE;
    const previous = this.#previous[index] ?? NONE;
    if (previous === NONE) this.#oldest = next;
    else this.#next[previous] = next;
    if (next === NONE) this.#newest = previous;
    else this.#previous[next] = previous;
  }
}

/** FNV-1a with a seed, stirred at the end (MurmurHash3's finaliser), as uint32. */
function hashOf(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ (bytes[i] ?? 0), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

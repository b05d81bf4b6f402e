import { type Arena, copyBytes, LARGEST_BLOCK, SMALLEST_BLOCK } from '@nekit/core/ip';

/** From here on memory that a ring may not need is worth a copy that it may save, in bytes. */
const AMPLE = 64 * 1024;

/**
 * A ring of bytes in the arena whose places are sequence numbers: byte `s` lies at `s` modulo the capacity, so nothing but the capacity must be known to find it.
 * It has no memory until something is put in, doubles as it needs to, and gives the memory back when its owner says that it is empty.
 */
export class Ring {
  readonly arena: Arena;
  /** In bytes; 0 while it has no memory. */
  capacity = 0;
  #offset = 0;
  /** The capacity that it last had. */
  #former = 0;

  constructor(arena: Arena) {
    this.arena = arena;
  }

  /**
   * Makes room for `need` bytes from `from` on, of which `used` are there already. false: the arena has none left, and all is as it was.
   */
  ensure(from: number, used: number, need: number): boolean {
    if (need <= this.capacity) return true;
    if (need > LARGEST_BLOCK) return false;
    let capacity = Math.max(SMALLEST_BLOCK, this.capacity * 2);
    while (capacity < need) capacity *= 2;
    // One that had to grow will have to again, and would copy what is in it each time.
    const ample = used === 0 && capacity >= AMPLE && this.#former > capacity ? capacity * 2 : capacity;
    let offset = this.arena.allocate(ample);
    if (offset !== -1) capacity = ample;
    else if (ample > capacity) offset = this.arena.allocate(capacity);
    if (offset === -1) return false;
    this.#move(offset, capacity, from, used);
    return true;
  }

  #move(offset: number, capacity: number, from: number, used: number): void {
    const { bytes } = this.arena;
    for (let done = 0; done < used; ) {
      const at = (from + done) & (this.capacity - 1);
      const to = (from + done) & (capacity - 1);
      const run = Math.min(used - done, this.capacity - at, capacity - to);
      copyBytes(bytes, offset + to, bytes, this.#offset + at, this.#offset + at + run);
      done += run;
    }
    this.release();
    this.#offset = offset;
    this.capacity = capacity;
  }

  /** Moves the `used` bytes from `from` on to a block that is not larger than they need, if there is one. */
  shrink(from: number, used: number): void {
    let capacity = SMALLEST_BLOCK;
    while (capacity < used) capacity *= 2;
    if (capacity >= this.capacity) return;
    const offset = this.arena.allocate(capacity);
    if (offset !== -1) this.#move(offset, capacity, from, used);
  }

  /** There must be room. */
  put(sequence: number, bytes: Uint8Array, start: number, end: number): void {
    const at = sequence & (this.capacity - 1);
    const run = Math.min(end - start, this.capacity - at);
    copyBytes(this.arena.bytes, this.#offset + at, bytes, start, start + run);
    if (start + run < end) copyBytes(this.arena.bytes, this.#offset, bytes, start + run, end);
  }

  copyTo(target: Uint8Array, to: number, sequence: number, length: number): void {
    if (length === 0) return; // there may be no memory, and no place in it
    const at = sequence & (this.capacity - 1);
    const run = Math.min(length, this.capacity - at);
    copyBytes(target, to, this.arena.bytes, this.#offset + at, this.#offset + at + run);
    if (run < length) copyBytes(target, to + run, this.arena.bytes, this.#offset, this.#offset + length - run);
  }

  /** Where byte `sequence` lies in the arena. */
  offsetOf(sequence: number): number {
    return this.#offset + (sequence & (this.capacity - 1));
  }

  /** How many of `length` bytes lie in one piece from `sequence` on. */
  runOf(sequence: number, length: number): number {
    return Math.min(length, this.capacity - (sequence & (this.capacity - 1)));
  }

  release(): void {
    if (this.capacity === 0) return;
    this.arena.release(this.#offset, this.capacity);
    this.#former = this.capacity;
    this.capacity = 0;
  }
}

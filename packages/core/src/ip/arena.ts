/**
 * Memory for buffers, as one slab and offsets: no views, so nothing for the garbage collector, and a hard bound by its size. A buddy system: blocks are powers of two between
 * 4 KiB and 1 MiB, a free pair grows together again. Untouched memory costs nothing where the slab is fresh from the system.
 */

/** The smallest block, in bytes. */
export const SMALLEST_BLOCK = 4_096;
/** The largest block, in bytes. */
export const LARGEST_BLOCK = 1 << 20;

const SHIFT = 12;
const ORDERS = 9;
const NONE = -1;
const USED = 0x80;

export class Arena {
  readonly bytes: Uint8Array;
  /** What it hands out, in bytes. */
  readonly size: number;
  readonly #base: number;
  readonly #heads = new Int32Array(ORDERS).fill(NONE);
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  /** Per block that begins here: its order, with USED while it is handed out; 0xff elsewhere. */
  readonly #state: Uint8Array;
  #used = 0;

  /** `bytes[start, end)` is for blocks; what does not fill a smallest block is left. */
  constructor(bytes: Uint8Array, start = 0, end: number = bytes.length) {
    const count = Math.max(0, (end - start) >>> SHIFT);
    this.bytes = bytes;
    this.#base = start;
    this.size = count << SHIFT;
    this.#next = new Int32Array(count).fill(NONE);
    this.#previous = new Int32Array(count).fill(NONE);
    this.#state = new Uint8Array(count).fill(0xff);
    for (let order = ORDERS - 1, at = 0; order >= 0; order--) for (; at + (1 << order) <= count; at += 1 << order) this.#push(at, order);
  }

  /** A slab of its own. */
  static ofSize(size: number): Arena {
    return new Arena(new Uint8Array(size));
  }

  /** Bytes handed out. */
  get used(): number {
    return this.#used;
  }

  /** The offset of a block of so many bytes (a power of two between the smallest and the largest), or -1: none is left. */
  allocate(size: number): number {
    const wanted = 31 - Math.clz32(size >>> SHIFT);
    let order = wanted;
    while (order < ORDERS && this.#heads[order] === NONE) order++;
    if (order >= ORDERS) return -1;
    const block = this.#heads[order] ?? NONE;
    this.#unlink(block, order);
    while (order > wanted) {
      order--;
      this.#push(block + (1 << order), order);
    }
    this.#state[block] = wanted | USED;
    this.#used += size;
    return this.#base + (block << SHIFT);
  }

  /** Gives a block back. */
  release(offset: number, size: number): void {
    let block = (offset - this.#base) >> SHIFT;
    let order = 31 - Math.clz32(size >>> SHIFT);
    if (this.#state[block] !== (order | USED)) throw new Error(`no block of ${size} bytes at ${offset} was handed out`); // a bug of the caller's, not of a peer
    this.#used -= size;
    this.#state[block] = 0xff;
    while (order < ORDERS - 1) {
      const buddy = block ^ (1 << order);
      if (this.#state[buddy] !== order) break;
      this.#unlink(buddy, order);
      block = Math.min(block, buddy);
      order++;
    }
    this.#push(block, order);
  }

  #push(block: number, order: number): void {
    const head = this.#heads[order] ?? NONE;
    this.#next[block] = head;
    this.#previous[block] = NONE;
    if (head !== NONE) this.#previous[head] = block;
    this.#heads[order] = block;
    this.#state[block] = order;
  }

  #unlink(block: number, order: number): void {
    const next = this.#next[block] ?? NONE;
    const previous = this.#previous[block] ?? NONE;
    if (previous === NONE) this.#heads[order] = next;
    else this.#next[previous] = next;
    if (next !== NONE) this.#previous[next] = previous;
    this.#state[block] = 0xff;
  }
}

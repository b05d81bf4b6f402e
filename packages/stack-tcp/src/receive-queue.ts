import { type Arena, SMALLEST_BLOCK } from '@nekit/core/ip';
import { Ring } from './ring.js';
import { before, distance, earlier, later, upTo } from './sequence.js';

/**
 * What came in and was not taken yet, and what came too early.
 * Read first: RFC 9293 section 3.10.7.4 (text), RFC 2018 section 4 (which blocks to report).
 *
 *     head ...... tail          island           island
 *       |  unread  |    gap    |//////|   gap   |//////|      all of it inside of the window, and in one ring
 *
 * The islands are few and their number is bounded, so a peer that sends every other byte (CVE-2018-5390) costs a short loop and no memory.
 */

/** Islands at most; a segment that would make one more is dropped, and sent again. */
const MOST_ISLANDS = 32;

/** Where memory is scarce, one part in so many of what islands make a buffer span must be there: a burst that was lost in front of what came is no attack. */
const LEAST_FILL = 4;

export class ReceiveQueue {
  /** The first byte that was not taken. */
  head = 0;
  /** Behind the last byte that is in order. */
  tail = 0;
  islandCount = 0;
  /** What `findHeld` has found. */
  heldLeft = 0;
  heldRight = 0;
  /** Where it is listed while it has islands: see `TcpEnvironment.hold`. */
  holders: Set<ReceiveQueue> | null = null;
  readonly #ring: Ring;
  /** Left edge, right edge and the time of its last change (a count) of each island, in order; made when the first is needed. */
  #islands: Int32Array | null = null;
  #changes = 0;

  constructor(arena: Arena) {
    this.#ring = new Ring(arena);
  }

  /** Both ends at the first byte that is expected. */
  reset(sequence: number): void {
    this.head = sequence;
    this.tail = sequence;
  }

  get readable(): number {
    return (this.tail - this.head) | 0;
  }

  /** Memory that it holds, in bytes. */
  get capacity(): number {
    return this.#ring.capacity;
  }

  /**
   * Puts bytes at `sequence`, which is `tail` or behind it; the window was looked at. false: no memory, or too many islands, and nothing was kept. What is in order comes first: islands
   * give way to it. `isScarce`: what is not in order gets no more memory than it fills to a fair part, or two bytes would hold as much as a window.
   */
  store(sequence: number, bytes: Uint8Array, start: number, end: number, isScarce = false): boolean {
    const last = (sequence + end - start) | 0;
    const { extent } = this;
    const need = distance(this.head, later(last, extent));
    if (sequence !== this.tail && (!this.#mayInsert(sequence, last) || (isScarce && !this.#isDense(need, end - start)))) return false;
    if (!this.#ring.ensure(this.head, distance(this.head, extent), need)) {
      if (sequence !== this.tail || this.islandCount === 0) return false;
      this.dropIslands();
      if (!this.#ring.ensure(this.head, this.readable, distance(this.head, last))) return false;
    }
    this.#ring.put(sequence, bytes, start, end);
    if (sequence === this.tail) {
      this.tail = last;
      if (this.islandCount > 0) this.#absorb();
    } else this.#insert(sequence, last);
    return true;
  }

  /** Bytes that were in order and never came here: somebody took them at once. Only while nothing is unread. */
  pass(length: number): void {
    this.tail = (this.tail + length) | 0;
    this.head = this.tail;
    if (this.islandCount > 0) this.#absorb();
  }

  /** The arena's. */
  get bytes(): Uint8Array {
    return this.#ring.arena.bytes;
  }

  /** Where the first unread byte lies in the arena, and how many follow in one piece. */
  get offset(): number {
    return this.#ring.offsetOf(this.head);
  }

  get run(): number {
    return this.#ring.runOf(this.head, this.readable);
  }

  /** The unread bytes as the reader's own. */
  copyOut(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#ring.copyTo(bytes, 0, this.head, length);
    return bytes;
  }

  /** The first `length` unread bytes were taken. */
  consume(length: number): void {
    this.head = (this.head + length) | 0;
    if (this.head === this.tail && this.islandCount === 0) this.#ring.release();
  }

  /** Memory is short: what was reported, but not acknowledged, may be thrown away (RFC 2018 section 8). The peer sends it again. */
  dropIslands(): void {
    this.#forgetIslands();
    if (this.head === this.tail) this.#ring.release();
    else this.#ring.shrink(this.head, this.readable);
  }

  /** Nothing can follow: what lies behind the tail was nonsense. */
  end(): void {
    this.#forgetIslands();
    if (this.head === this.tail) this.#ring.release();
  }

  /** Forgets everything that is in it. */
  clear(): void {
    this.head = this.tail;
    this.#forgetIslands();
    this.#ring.release();
  }

  /** Writes up to `most` blocks, left and right edge each, into `blocks`: the one that changed last first. Gives their number. */
  sackBlocks(blocks: Int32Array, most: number): number {
    const islands = this.#islands;
    if (islands === null) return 0;
    const count = Math.min(most, this.islandCount);
    let ceiling = this.#changes + 1;
    for (let block = 0; block < count; block++) {
      let best = -1;
      for (let i = 0; i < this.islandCount; i++) {
        const change = islands[i * 3 + 2] ?? 0;
        if (change < ceiling && (best === -1 || change > (islands[best * 3 + 2] ?? 0))) best = i;
      }
      if (best === -1) return block;
      blocks[block * 2] = islands[best * 3] ?? 0;
      blocks[block * 2 + 1] = islands[best * 3 + 1] ?? 0;
      ceiling = islands[best * 3 + 2] ?? 0;
    }
    return count;
  }

  /** The part of `[sequence, last)` that an island has already, the first if there are several: `heldLeft`, `heldRight`; false: none. The island is reported before the others from here on (RFC 2883 section 4). */
  findHeld(sequence: number, last: number): boolean {
    const islands = this.#islands;
    if (islands === null) return false;
    for (let i = 0; i < this.islandCount; i++) {
      const left = later(this.#left(i), sequence);
      const right = earlier(this.#right(i), last);
      if (!before(left, right)) continue;
      this.heldLeft = left;
      this.heldRight = right;
      islands[i * 3 + 2] = ++this.#changes;
      return true;
    }
    return false;
  }

  #left(island: number): number {
    return this.#islands?.[island * 3] ?? 0;
  }

  #right(island: number): number {
    return this.#islands?.[island * 3 + 1] ?? 0;
  }

  /** Behind the last byte that came. */
  get extent(): number {
    return this.islandCount === 0 ? this.tail : this.#right(this.islandCount - 1);
  }

  /** It touches an island, or there may be one more. */
  #mayInsert(left: number, right: number): boolean {
    if (this.islandCount < MOST_ISLANDS) return true;
    for (let i = 0; i < this.islandCount; i++) if (upTo(this.#left(i), right) && upTo(left, this.#right(i))) return true;
    return false;
  }

  /** Whether there is room for `need` bytes already, or `fresh` more make them so many that they are worth it. */
  #isDense(need: number, fresh: number): boolean {
    if (need <= Math.max(this.capacity, SMALLEST_BLOCK)) return true;
    let held = this.readable + fresh;
    for (let i = 0; i < this.islandCount; i++) held += distance(this.#left(i), this.#right(i));
    return held * LEAST_FILL >= need;
  }

  #insert(left: number, right: number): void {
    this.#islands ??= new Int32Array((MOST_ISLANDS + 1) * 3);
    const islands = this.#islands;
    let first = 0;
    while (first < this.islandCount && before(this.#right(first), left)) first++;
    let end = first;
    let newLeft = left;
    let newRight = right;
    while (end < this.islandCount && upTo(this.#left(end), right)) {
      newLeft = earlier(newLeft, this.#left(end));
      newRight = later(newRight, this.#right(end));
      end++;
    }
    islands.copyWithin((first + 1) * 3, end * 3, this.islandCount * 3);
    this.islandCount += 1 - (end - first);
    islands[first * 3] = newLeft;
    islands[first * 3 + 1] = newRight;
    islands[first * 3 + 2] = ++this.#changes;
  }

  /** What the tail has reached is in order now. */
  #absorb(): void {
    let count = 0;
    while (count < this.islandCount && upTo(this.#left(count), this.tail)) {
      this.tail = later(this.tail, this.#right(count));
      count++;
    }
    if (count === 0) return;
    this.#islands?.copyWithin(0, count * 3, this.islandCount * 3);
    this.islandCount -= count;
    if (this.islandCount === 0) this.#forgetIslands();
  }

  #forgetIslands(): void {
    this.islandCount = 0;
    this.#islands = null;
    this.holders?.delete(this);
    this.holders = null;
  }
}

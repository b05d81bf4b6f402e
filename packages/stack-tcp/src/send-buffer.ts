import type { HeldBytes } from '@nekit/core';
import { type Arena, LARGEST_BLOCK } from '@nekit/core/ip';
import { Ring } from './ring.js';
import { before } from './sequence.js';

/**
 * Bytes from the first that the peer has not acknowledged to the last that was written.
 *
 *     start ........... sndNxt ........... end
 *       | sent, may be lost |  not sent yet  |
 *
 * The last of them may still be in the socket that they come from (`held`), with their place in the ring kept for them: there they are copied to when they have to be, and otherwise never.
 */
export class SendBuffer {
  /** The first byte that may have to be sent again. */
  start = 0;
  /** Behind the last byte. */
  end = 0;
  /** Whose unread bytes the last ones are; null: all lie in the ring. */
  held: HeldBytes | null = null;
  /** The number of the socket's first unread byte, while `held`: not acknowledged when that was looked at last. */
  heldFrom = 0;
  readonly #ring: Ring;

  constructor(arena: Arena) {
    this.#ring = new Ring(arena);
  }

  reset(sequence: number): void {
    this.start = sequence;
    this.end = sequence;
    this.held = null;
  }

  get length(): number {
    return (this.end - this.start) | 0;
  }

  /** Memory that it holds, in bytes. */
  get capacity(): number {
    return this.#ring.capacity;
  }

  get bytes(): Uint8Array {
    return this.#ring.arena.bytes;
  }

  /** Takes what fits below `limit` bytes in all: how many. */
  write(bytes: Uint8Array, start: number, end: number, limit: number): number {
    if (!this.fill()) return 0;
    const count = this.#room(end - start, limit);
    if (count === 0) return 0;
    this.#ring.put(this.end, bytes, start, start + count);
    this.end = (this.end + count) | 0;
    return count;
  }

  /** Room for up to `wanted` more bytes in one piece, to be filled in place at `tailOffset` and then committed; 0: none. */
  room(wanted: number, limit: number): number {
    const count = this.#room(wanted, limit);
    return count === 0 ? 0 : this.#ring.runOf(this.end, count);
  }

  /** How many of `length` bytes from `sequence` on lie in one piece. */
  runOf(sequence: number, length: number): number {
    return this.#ring.runOf(sequence, length);
  }

  /** Where `length` bytes from `sequence` on lie in `bytes`; -1 if they do not lie in one piece. */
  place(sequence: number, length: number): number {
    return this.#ring.runOf(sequence, length) === length ? this.#ring.offsetOf(sequence) : -1;
  }

  /** Bytes that are still in the socket, those included that were acknowledged since it was looked at. */
  get heldLength(): number {
    return this.held === null ? 0 : (this.end - this.heldFrom) | 0;
  }

  /** Up to `wanted` bytes more, which wait behind those that are held, are left where they are: how many. */
  hold(held: HeldBytes, wanted: number, limit: number): number {
    const count = this.#room(wanted, limit);
    if (count === 0) return 0;
    if (this.held === null) {
      this.held = held;
      this.heldFrom = this.end;
    }
    this.end = (this.end + count) | 0;
    return count;
  }

  /** Lets the socket go on to the first byte that is not acknowledged. */
  release(): void {
    if (this.held === null || !before(this.heldFrom, this.start)) return;
    const done = (this.start - this.heldFrom) | 0;
    this.heldFrom = this.start;
    this.held.skip(done);
    if (this.heldFrom === this.end) this.held = null;
  }

  /** Copies what is held into the ring. false: the socket has not given it, and has failed. */
  fill(): boolean {
    this.release();
    while (this.held !== null && this.heldFrom !== this.end) {
      const offset = this.#ring.offsetOf(this.heldFrom);
      const got = this.held.receive(this.bytes, offset, offset + this.#ring.runOf(this.heldFrom, (this.end - this.heldFrom) | 0));
      if (got <= 0) return false;
      this.heldFrom = (this.heldFrom + got) | 0;
    }
    this.held = null;
    return true;
  }

  get tailOffset(): number {
    return this.#ring.offsetOf(this.end);
  }

  commit(count: number): void {
    this.end = (this.end + count) | 0;
  }

  /** The peer has everything before `sequence`, which may lie behind the end (a FIN). */
  acknowledge(sequence: number): void {
    this.start = before(sequence, this.end) ? sequence : this.end;
    if (this.start === this.end) this.#ring.release();
  }

  /** Memory that was asked for and not used in the end. */
  releaseIfEmpty(): void {
    if (this.start === this.end) this.#ring.release();
  }

  copyTo(target: Uint8Array, to: number, sequence: number, length: number): void {
    this.#ring.copyTo(target, to, sequence, length);
  }

  clear(): void {
    this.held = null;
    this.start = this.end;
    this.#ring.release();
  }

  /** Grows the ring for what is wanted, or by less where memory has no piece so large. */
  #room(wanted: number, limit: number): number {
    const { length } = this;
    const most = Math.min(limit, LARGEST_BLOCK);
    if (length >= most) return 0;
    let need = Math.min(most, length + wanted);
    while (need > this.#ring.capacity && !this.#ring.ensure(this.start, length, need)) need = Math.max(this.#ring.capacity, need >> 1);
    return Math.max(0, need - length);
  }
}

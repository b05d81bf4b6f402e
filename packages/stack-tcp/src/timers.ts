import { before } from './sequence.js';

/** Something with a deadline. */
export interface Timed {
  /** Int32 milliseconds; only while `timerSlot` is not -1. */
  timerAt: number;
  /** Its place in the heap, -1: it has none. */
  timerSlot: number;
  /** The deadline has come; it is out of the heap. */
  due(now: number): void;
}

/** All deadlines of a stack in one heap, so that the stack needs one timer. A deadline that moves away is left where it is and looked at again when its old time comes. */
export class Timers {
  readonly #heap: Timed[] = [];

  get size(): number {
    return this.#heap.length;
  }

  /** The next deadline; only while `size` is not 0. */
  get first(): number {
    return this.#heap[0]?.timerAt ?? 0;
  }

  /** Not later than `at`. */
  set(timed: Timed, at: number): void {
    if (timed.timerSlot === -1) {
      timed.timerAt = at;
      this.#heap.push(timed);
      this.#rise(this.#heap.length - 1, timed);
    } else if (before(at, timed.timerAt)) {
      timed.timerAt = at;
      this.#rise(timed.timerSlot, timed);
    }
  }

  delete(timed: Timed): void {
    const slot = timed.timerSlot;
    if (slot === -1) return;
    timed.timerSlot = -1;
    const last = this.#heap.pop();
    if (last === undefined || last === timed) return;
    this.#sink(slot, last);
    if (last.timerSlot === slot) this.#rise(slot, last);
  }

  /** Takes out and runs what is due. */
  run(now: number): void {
    for (let first = this.#heap[0]; first !== undefined && !before(now, first.timerAt); first = this.#heap[0]) {
      this.delete(first);
      first.due(now);
    }
  }

  #rise(from: number, timed: Timed): void {
    let slot = from;
    while (slot > 0) {
      const above = (slot - 1) >> 1;
      const other = this.#heap[above];
      if (other === undefined || !before(timed.timerAt, other.timerAt)) break;
      this.#heap[slot] = other;
      other.timerSlot = slot;
      slot = above;
    }
    this.#heap[slot] = timed;
    timed.timerSlot = slot;
  }

  #sink(from: number, timed: Timed): void {
    let slot = from;
    for (;;) {
      let below = slot * 2 + 1;
      let other = this.#heap[below];
      if (other === undefined) break;
      const right = this.#heap[below + 1];
      if (right !== undefined && before(right.timerAt, other.timerAt)) {
        other = right;
        below++;
      }
      if (!before(other.timerAt, timed.timerAt)) break;
      this.#heap[slot] = other;
      other.timerSlot = slot;
      slot = below;
    }
    this.#heap[slot] = timed;
    timed.timerSlot = slot;
  }
}

import type { Clock } from '@nekit/core';

interface Timer {
  readonly at: number;
  readonly order: number;
  run: (() => void) | null;
}

/** A clock of a simulation: time passes from one timer to the next, and promises get their turn in between without the event loop's. */
export class SimClock implements Clock {
  #now = 1_000;
  #order = 0;
  readonly #heap: Timer[] = [];
  /** Timers that were set and neither ran nor were taken back. */
  live = 0;

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const timer: Timer = { at: this.#now + Math.max(0, ms), order: this.#order++, run };
    this.live++;
    this.#push(timer);
    return () => {
      if (timer.run === null) return;
      timer.run = null;
      this.live--;
    };
  }

  /** Runs until `isDone`, or for `ms`. Whether it was done. */
  async runUntil(isDone: () => boolean, ms: number): Promise<boolean> {
    const end = this.#now + ms;
    for (;;) {
      for (let i = 0; i < 6; i++) await Promise.resolve();
      if (isDone()) return true;
      const next = this.#heap[0];
      if (next === undefined || next.at > end) {
        this.#now = end;
        return isDone();
      }
      this.#pop();
      if (next.run === null) continue;
      this.#now = Math.max(this.#now, next.at);
      const { run } = next;
      next.run = null;
      this.live--;
      run();
    }
  }

  run(ms: number): Promise<boolean> {
    return this.runUntil(() => false, ms);
  }

  #push(timer: Timer): void {
    let slot = this.#heap.length;
    this.#heap.push(timer);
    while (slot > 0) {
      const above = (slot - 1) >> 1;
      const other = this.#heap[above];
      if (other === undefined || !isBefore(timer, other)) break;
      this.#heap[slot] = other;
      slot = above;
    }
    this.#heap[slot] = timer;
  }

  #pop(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    let slot = 0;
    for (;;) {
      let below = slot * 2 + 1;
      let other = this.#heap[below];
      if (other === undefined) break;
      const right = this.#heap[below + 1];
      if (right !== undefined && isBefore(right, other)) {
        other = right;
        below++;
      }
      if (!isBefore(other, last)) break;
      this.#heap[slot] = other;
      slot = below;
    }
    this.#heap[slot] = last;
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

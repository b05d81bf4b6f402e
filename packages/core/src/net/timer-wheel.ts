import type { Clock } from './clock.js';

/**
 * One hashed timer wheel per kernel, for the deadlines that nearly never fire: connect, handshake, idle, half-close.
 * Moving a deadline is one number written (`deadline.at = …`): the entry is put where it belongs when its old slot comes round.
 * Deadlines fire up to one tick late, never early. What must be exact (race delays) uses the clock itself.
 */
export interface Deadline {
  /** When it fires, in the clock's milliseconds. Writing a *later* time is free; to bring it forward call `move`. */
  at: number;
  /** Fires `ms` from now instead. */
  move(ms: number): void;
  cancel(): void;
}

const SLOTS = 512;

class Entry implements Deadline {
  previous: Entry = this;
  next: Entry = this;
  constructor(
    public at: number,
    public run: (() => void) | null,
    readonly wheel: TimerWheel | null,
  ) {}
  move(ms: number): void {
    if (this.run !== null) this.wheel?.move(this, ms);
  }
  cancel(): void {
    if (this.run === null) return;
    this.run = null;
    unlink(this);
    this.wheel?.forget();
  }
}

function unlink(entry: Entry): void {
  entry.previous.next = entry.next;
  entry.next.previous = entry.previous;
  entry.previous = entry;
  entry.next = entry;
}

export class TimerWheel {
  readonly #clock: Clock;
  readonly #tickMs: number;
  readonly #slots: Entry[] = [];
  #live = 0;
  #tick = 0;
  #stopTick: (() => void) | null = null;

  constructor(clock: Clock, tickMs = 100) {
    this.#clock = clock;
    this.#tickMs = tickMs;
    for (let i = 0; i < SLOTS; i++) this.#slots.push(new Entry(0, null, null));
  }

  /** Deadlines that are still to fire. A leak shows here. */
  get size(): number {
    return this.#live;
  }

  now(): number {
    return this.#clock.now();
  }

  /** Runs `run` once, `ms` from now (up to one tick later). */
  after(ms: number, run: () => void): Deadline {
    const now = this.#clock.now();
    if (this.#stopTick === null) {
      this.#tick = Math.floor(now / this.#tickMs);
      this.#schedule();
    }
    const entry = new Entry(now + ms, run, this);
    this.#live++;
    this.#place(entry);
    return entry;
  }

  /** @internal an entry cancelled itself */
  forget(): void {
    this.#live--;
    if (this.#live === 0) this.#stop();
  }

  /** @internal */
  move(entry: Entry, ms: number): void {
    entry.at = this.#clock.now() + ms;
    unlink(entry);
    this.#place(entry);
  }

  #place(entry: Entry): void {
    const due = Math.max(Math.ceil(entry.at / this.#tickMs), this.#tick + 1);
    // Beyond one turn it waits in the last slot and is placed again from there.
    const slot = this.#slots[Math.min(due, this.#tick + SLOTS - 1) % SLOTS];
    if (slot === undefined) return;
    entry.previous = slot.previous;
    entry.next = slot;
    slot.previous.next = entry;
    slot.previous = entry;
  }

  #schedule(): void {
    this.#stopTick = this.#clock.after(this.#tickMs, () => this.#advance());
  }

  #stop(): void {
    this.#stopTick?.();
    this.#stopTick = null;
  }

  #advance(): void {
    const now = this.#clock.now();
    // After a long pause (suspend, a blocked loop) one full turn visits every slot; more would visit them twice.
    const target = Math.floor(now / this.#tickMs);
    if (target - this.#tick > SLOTS) this.#tick = target - SLOTS;
    const due: Entry[] = [];
    while (this.#tick < target) {
      this.#tick++;
      const slot = this.#slots[this.#tick % SLOTS];
      if (slot === undefined) continue;
      for (let entry = slot.next; entry !== slot; ) {
        const next = entry.next;
        unlink(entry);
        if (entry.at <= now) due.push(entry);
        else this.#place(entry);
        entry = next;
      }
    }
    if (this.#live > 0) this.#schedule();
    for (const entry of due) {
      const run = entry.run;
      if (run === null) continue; // cancelled by one that fired before it
      entry.run = null;
      this.forget();
      run();
    }
  }
}

import type { Clock } from '../net/clock.js';
import { copyOf } from './bytes.js';
import { SeededRandom } from './random.js';

/** What a bad path does to packets. Probabilities are 0 to 1, times are milliseconds. */
export interface Faults {
  readonly seed: number;
  readonly loss?: number;
  readonly duplicate?: number;
  /** One bit of the packet is turned. */
  readonly corrupt?: number;
  /** The packet is held back for `reorderMs` more than the others. */
  readonly reorder?: number;
  readonly reorderMs?: number;
  readonly delayMs?: number;
  /** Up to so much more delay, evenly; it reorders, too. */
  readonly jitterMs?: number;
  /** Bytes per millisecond of the narrowest link; unbounded. */
  readonly rate?: number;
  /** Bytes that wait for that link at most; more is dropped. 256 KiB. */
  readonly queueBytes?: number;
}

interface Waiting {
  readonly due: number;
  readonly packet: Uint8Array;
}

/** One direction of a path between packets and who takes them. */
export class FaultInjector {
  lost = 0;
  passed = 0;
  readonly #faults: Faults;
  readonly #random: SeededRandom;
  readonly #clock: Clock;
  readonly #deliver: (packet: Uint8Array) => void;
  /** When the link is free again. */
  #freeAt = 0;
  /** On their way, by when they are due, then as they were sent. With one timer for all: timers of their own would overtake each other by how they are rounded. */
  readonly #waiting: Waiting[] = [];
  #timerAt = Number.POSITIVE_INFINITY;
  #stopTimer: (() => void) | null = null;
  #isStopped = false;

  constructor(faults: Faults, clock: Clock, deliver: (packet: Uint8Array) => void) {
    this.#faults = faults;
    this.#random = new SeededRandom(faults.seed);
    this.#clock = clock;
    this.#deliver = deliver;
  }

  /** Copies the packet, and delivers it as often, as late and as whole as the faults will have it. */
  send(packet: Uint8Array): void {
    if (this.#isStopped) return;
    const { loss = 0, duplicate = 0 } = this.#faults;
    if (this.#random.chance(loss)) {
      this.lost++;
      return;
    }
    this.#forward(packet);
    if (this.#random.chance(duplicate)) this.#forward(packet);
  }

  /** Nothing is delivered any more, and nothing waits. */
  stop(): void {
    this.#isStopped = true;
    this.#waiting.length = 0;
    this.#stopTimer?.();
    this.#stopTimer = null;
  }

  #forward(packet: Uint8Array): void {
    const { corrupt = 0, reorder = 0, reorderMs = 0, delayMs = 0, jitterMs = 0, rate = 0, queueBytes = 256 * 1024 } = this.#faults;
    const now = this.#clock.now();
    let due = now;
    if (rate > 0) {
      const begins = Math.max(now, this.#freeAt);
      if ((begins - now) * rate > queueBytes) {
        this.lost++;
        return;
      }
      due = begins + packet.length / rate;
      this.#freeAt = due;
    }
    due += delayMs;
    if (jitterMs > 0) due += (this.#random.below(1_000) / 1_000) * jitterMs;
    if (this.#random.chance(reorder)) due += reorderMs;
    const copy = copyOf(packet);
    if (this.#random.chance(corrupt)) {
      const bit = this.#random.below(copy.length * 8);
      copy[bit >>> 3] = (copy[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
    }
    this.passed++;
    this.#put({ due, packet: copy });
  }

  #put(one: Waiting): void {
    let at = this.#waiting.length;
    while (at > 0 && (this.#waiting[at - 1]?.due ?? 0) > one.due) at--;
    this.#waiting.splice(at, 0, one);
    this.#arm();
  }

  #arm(): void {
    const due = this.#waiting[0]?.due ?? Number.POSITIVE_INFINITY;
    if (due >= this.#timerAt) return;
    this.#stopTimer?.();
    this.#timerAt = due;
    this.#stopTimer = this.#clock.after(Math.max(0, due - this.#clock.now()), this.#fire);
  }

  readonly #fire = (): void => {
    const until = Math.max(this.#timerAt, this.#clock.now()); // what the timer was set for is due, however sums are rounded
    this.#stopTimer = null;
    this.#timerAt = Number.POSITIVE_INFINITY;
    let count = 0;
    while ((this.#waiting[count]?.due ?? Number.POSITIVE_INFINITY) <= until) count++;
    const due = this.#waiting.splice(0, count);
    this.#arm();
    for (const { packet } of due) if (!this.#isStopped) this.#deliver(packet);
  };
}

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
  #isStopped = false;

  constructor(faults: Faults, clock: Clock, deliver: (packet: Uint8Array) => void) {
    this.#faults = faults;
    this.#random = new SeededRandom(faults.seed);
    this.#clock = clock;
    this.#deliver = deliver;
  }

  /** Copies the packet, and delivers it as often, as late and as whole as the faults will have it. */
  send(packet: Uint8Array): void {
    const { loss = 0, duplicate = 0 } = this.#faults;
    if (this.#random.chance(loss)) {
      this.lost++;
      return;
    }
    this.#forward(packet);
    if (this.#random.chance(duplicate)) this.#forward(packet);
  }

  /** Nothing is delivered any more. */
  stop(): void {
    this.#isStopped = true;
  }

  #forward(packet: Uint8Array): void {
    const { corrupt = 0, reorder = 0, reorderMs = 0, delayMs = 0, jitterMs = 0, rate = 0, queueBytes = 256 * 1024 } = this.#faults;
    let delay = delayMs;
    if (rate > 0) {
      const now = this.#clock.now();
      const wait = Math.max(0, this.#freeAt - now);
      if (wait * rate > queueBytes) {
        this.lost++;
        return;
      }
      this.#freeAt = now + wait + packet.length / rate;
      delay += wait + packet.length / rate;
    }
    if (jitterMs > 0) delay += (this.#random.below(1_000) / 1_000) * jitterMs;
    if (this.#random.chance(reorder)) delay += reorderMs;
    const copy = copyOf(packet);
    if (this.#random.chance(corrupt)) {
      const bit = this.#random.below(copy.length * 8);
      copy[bit >>> 3] = (copy[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
    }
    this.passed++;
    this.#clock.after(delay, () => {
      if (!this.#isStopped) this.#deliver(copy);
    });
  }
}

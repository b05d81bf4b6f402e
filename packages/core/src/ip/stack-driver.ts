import type { Clock } from '../net/clock.js';
import type { NetError } from '../net/errors.js';
import type { IpStack, StackOutput } from './ip-stack.js';
import type { PacketBatch } from './packet-batch.js';
import type { PacketDevice } from './packet-device.js';
import { PathMtus } from './path-mtu.js';

/** A timer that is so late, in ms, says that nothing has run for a while: what the device has to say came in time. */
const LATE = 4;

export interface DriverOptions {
  readonly device: PacketDevice;
  readonly clock: Clock;
  /** Runs something in this turn, after what runs now; queueMicrotask. */
  readonly defer?: (run: () => void) => void;
  /** Runs something in the next turn; setImmediate. For what a flush asks for, and for deadlines that are long over: the device must get its turn first. */
  readonly later?: (run: () => void) => void;
  /** The device is gone. */
  readonly onFailed?: (error: NetError) => void;
}

/** Runs stacks on a device: hands them batches, flushes at the end of each, and keeps the one timer that all their deadlines share. */
export class StackDriver {
  readonly output: StackOutput;
  /** Packets that no stack took. */
  unclaimed = 0;
  readonly #device: PacketDevice;
  readonly #clock: Clock;
  readonly #defer: (run: () => void) => void;
  readonly #later: (run: () => void) => void;
  readonly #onFailed: (error: NetError) => void;
  #stacks: readonly IpStack[] = [];
  #isDue = false;
  #isFlushing = false;
  #isClosed = false;
  #timerAt = Number.POSITIVE_INFINITY;
  #stopTimer: (() => void) | null = null;

  constructor(options: DriverOptions) {
    const { device, clock } = options;
    this.#device = device;
    this.#clock = clock;
    this.#defer = options.defer ?? queueMicrotask;
    this.#later = options.later ?? setImmediate;
    this.#onFailed = options.onFailed ?? (() => {});
    this.output = { sink: device.sink, arena: device.arena, paths: new PathMtus(() => clock.now()), wake: () => this.#wake(), now: () => clock.now() };
  }

  /** Once, with all of them, in the order in which they are asked. */
  start(stacks: readonly IpStack[]): void {
    this.#stacks = stacks;
    this.#device.start({ packets: (batch, more = false) => this.#input(batch, more), failed: (error) => this.#failed(error) });
    this.#flush();
  }

  /** Closes the stacks and lets what they have to say out; the device is its owner's. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    for (const stack of this.#stacks) stack.close();
    this.#flush();
    this.#isClosed = true;
    this.#stopTimer?.();
    this.#stopTimer = null;
  }

  #input(batch: PacketBatch, more: boolean): void {
    for (let i = 0; i < batch.length; i++) {
      let isTaken = false;
      for (const stack of this.#stacks) {
        isTaken = stack.input(batch, i);
        if (isTaken) break;
      }
      if (!isTaken) this.unclaimed++;
    }
    if (!more) this.#flush();
  }

  #wake(): void {
    if (this.#isDue || this.#isClosed) return;
    this.#isDue = true;
    if (this.#isFlushing) this.#later(this.#run);
    else this.#defer(this.#run);
  }

  readonly #run = (): void => {
    this.#isDue = false;
    this.#flush();
  };

  #flush(): void {
    if (this.#isClosed) return;
    const now = this.#clock.now();
    let deadline = Number.POSITIVE_INFINITY;
    this.#isFlushing = true;
    for (const stack of this.#stacks) {
      stack.flush(now);
      deadline = Math.min(deadline, stack.nextDeadline());
    }
    this.#isFlushing = false;
    this.#device.flush();
    this.#arm(deadline, now);
  }

  /** A timer that is early is left: it finds nothing due and is set anew. */
  #arm(deadline: number, now: number): void {
    if (deadline >= this.#timerAt || deadline === Number.POSITIVE_INFINITY) return;
    this.#stopTimer?.();
    this.#timerAt = deadline;
    this.#stopTimer = this.#clock.after(Math.max(0, deadline - now), this.#fire);
  }

  readonly #fire = (): void => {
    const isLate = this.#clock.now() - this.#timerAt >= LATE;
    this.#stopTimer = null;
    this.#timerAt = Number.POSITIVE_INFINITY;
    if (!isLate) this.#flush();
    else if (!this.#isDue) {
      this.#isDue = true;
      this.#later(this.#run);
    }
  };

  #failed(error: NetError): void {
    this.close();
    this.#onFailed(error);
  }
}

import type { IpStack } from '../../ip/ip-stack.js';
import type { PacketBatch } from '../../ip/packet-batch.js';

/** A stack of a plugin: what it throws costs the packet, and neither the device nor the process. */
export class GuardedStack implements IpStack {
  /** What it has thrown so far. */
  failures = 0;
  readonly #stack: IpStack;
  readonly #onFirst: (error: unknown) => void;

  /** `onFirst` hears of the first failure only: there may be one for each packet. */
  constructor(stack: IpStack, onFirst: (error: unknown) => void) {
    this.#stack = stack;
    this.#onFirst = onFirst;
  }

  /** A packet that it threw at is not for the stacks behind: it may have been half taken. */
  input(batch: PacketBatch, index: number): boolean {
    try {
      return this.#stack.input(batch, index);
    } catch (error) {
      this.#failed(error);
      return true;
    }
  }

  flush(now: number): void {
    try {
      this.#stack.flush(now);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** No number is as good as none: a timer that is set to NaN would fire for ever. */
  nextDeadline(): number {
    try {
      const deadline = this.#stack.nextDeadline();
      return deadline > Number.NEGATIVE_INFINITY ? deadline : Number.POSITIVE_INFINITY;
    } catch (error) {
      this.#failed(error);
      return Number.POSITIVE_INFINITY;
    }
  }

  close(): void {
    try {
      this.#stack.close();
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    if (this.failures++ === 0) this.#onFirst(error);
  }
}

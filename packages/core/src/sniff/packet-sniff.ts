import type { TimerWheel } from '../net/timer-wheel.js';
import type { Found } from './finding.js';
import { ClientInitials } from './quic/client-initials.js';

/** A peer's first datagrams, until they have shown a name or cannot any more. Who has it keeps the datagrams. */
export class PacketSniff<T> {
  /** Settles when the datagrams may go on. */
  readonly done: Promise<T>;
  readonly #initials = new ClientInitials();
  #finish: (found: Found | null) => void = () => {};
  #isDone = false;

  /** `ms`: from the first datagram on. */
  constructor(ms: number, timers: TimerWheel, judge: (found: Found | null) => T) {
    const deadline = timers.after(ms, () => this.#finish(null));
    this.done = new Promise((resolve) => {
      this.#finish = (found) => {
        if (this.#isDone) return;
        this.#isDone = true;
        deadline.cancel();
        resolve(judge(found));
      };
    });
  }

  /** The next datagram, which is only looked at. */
  add(datagram: Uint8Array): void {
    if (this.#isDone) return;
    const finding = this.#initials.add(datagram);
    if (finding !== 'more') this.#finish(finding === 'none' ? null : finding);
  }

  /** No more will be waited for. */
  stop(): void {
    this.#finish(null);
  }
}

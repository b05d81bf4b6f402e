import type { Datagram } from './packet-conn.js';

/** The receiving half of a PacketConn: a bounded queue between a producer that cannot wait and one reader. */
export class PacketQueue {
  readonly #limit: number;
  #queue: Datagram[] = [];
  /** The reader waits. */
  #wake: (() => void) | null = null;
  /** It was told, and comes in this turn of the loop: until then what else the turn brings goes with it, whatever that is. */
  #isWoken = false;
  #ended = false;
  /** Datagrams that found the queue full. */
  dropped = 0;

  /** `limit`: datagrams. */
  constructor(limit = 256) {
    this.#limit = limit;
  }

  /** Whether a reader takes what is put now, so that it does not wait here. */
  get isAwaited(): boolean {
    return !this.#ended && (this.#wake !== null || this.#isWoken);
  }

  /** false: dropped. The queue keeps the datagram as it is: its bytes must not be reused. */
  put(datagram: Datagram): boolean {
    if (this.#ended) return false;
    if (!this.#tell() && this.#queue.length >= this.#limit) {
      this.dropped++;
      return false;
    }
    this.#queue.push(datagram);
    return true;
  }

  /** How many were taken. A reader that waits takes them all; else as many as there is room for. */
  putAll(datagrams: readonly Datagram[]): number {
    if (this.#ended || datagrams.length === 0) return 0;
    const room = this.#tell() ? datagrams.length : Math.min(datagrams.length, this.#limit - this.#queue.length);
    for (let i = 0; i < room; i++) {
      const datagram = datagrams[i];
      if (datagram !== undefined) this.#queue.push(datagram);
    }
    this.dropped += datagrams.length - room;
    return room;
  }

  /** All that wait, or null after `end`. One call at a time. */
  take(): Promise<readonly Datagram[] | null> {
    if (this.#queue.length > 0 || this.#ended) return Promise.resolve(this.#drain());
    return new Promise<void>((resolve) => {
      this.#wake = resolve;
    }).then(() => this.#drain());
  }

  /** What waits may still be taken; after it, null. */
  end(): void {
    this.#ended = true;
    this.#tell();
  }

  /** Tells a reader that waits. Whether it takes what is put now. */
  #tell(): boolean {
    const wake = this.#wake;
    if (wake === null) return this.#isWoken;
    this.#wake = null;
    this.#isWoken = true;
    wake();
    return true;
  }

  #drain(): readonly Datagram[] | null {
    this.#isWoken = false;
    const queue = this.#queue;
    if (queue.length === 0) return null;
    this.#queue = [];
    return queue;
  }
}

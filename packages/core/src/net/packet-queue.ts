import type { Datagram } from './packet-conn.js';

/** The receiving half of a PacketConn: a bounded queue between a producer that cannot wait and one reader. */
export class PacketQueue {
  readonly #limit: number;
  #queue: Datagram[] = [];
  #reader: ((datagrams: readonly Datagram[] | null) => void) | null = null;
  #ended = false;
  /** Datagrams that found the queue full. */
  dropped = 0;

  /** `limit`: datagrams. */
  constructor(limit = 256) {
    this.#limit = limit;
  }

  /** false: dropped. The queue keeps the datagram as it is: its bytes must not be reused. */
  put(datagram: Datagram): boolean {
    const reader = this.#reader;
    if (this.#ended) return false;
    if (reader !== null) {
      this.#reader = null;
      reader([datagram]);
      return true;
    }
    if (this.#queue.length >= this.#limit) {
      this.dropped++;
      return false;
    }
    this.#queue.push(datagram);
    return true;
  }

  /** How many were taken. A reader that waits takes them all; else as many as there is room for. */
  putAll(datagrams: readonly Datagram[]): number {
    const reader = this.#reader;
    if (this.#ended || datagrams.length === 0) return 0;
    if (reader !== null) {
      this.#reader = null;
      reader(datagrams);
      return datagrams.length;
    }
    const room = Math.min(datagrams.length, this.#limit - this.#queue.length);
    for (let i = 0; i < room; i++) {
      const datagram = datagrams[i];
      if (datagram !== undefined) this.#queue.push(datagram);
    }
    this.dropped += datagrams.length - room;
    return room;
  }

  /** All that wait, or null after `end`. One call at a time. */
  take(): Promise<readonly Datagram[] | null> {
    if (this.#queue.length > 0) {
      const queue = this.#queue;
      this.#queue = [];
      return Promise.resolve(queue);
    }
    if (this.#ended) return Promise.resolve(null);
    return new Promise((resolve) => {
      this.#reader = resolve;
    });
  }

  /** What waits may still be taken; after it, null. */
  end(): void {
    this.#ended = true;
    const reader = this.#reader;
    this.#reader = null;
    reader?.(null);
  }
}

import type { SharedBound } from './bounded-map.js';
import type { Datagram } from './packet-conn.js';

/** What a datagram takes beside its bytes. */
const OVERHEAD = 128;

/** The receiving half of a PacketConn: a bounded queue between a producer that cannot wait and one reader. */
export class PacketQueue {
  readonly #limit: number;
  readonly #all: SharedBound | null;
  /** Of `#all`. */
  #waiting = 0;
  #queue: Datagram[] = [];
  /** The reader waits. */
  #wake: (() => void) | null = null;
  /** It was told, and comes in this turn of the loop: until then what else the turn brings goes with it, whatever that is. */
  #isWoken = false;
  #ended = false;
  /** Datagrams that found the queue full. */
  dropped = 0;

  /** `limit`: datagrams. `all`: the bytes that wait here count there, and are bounded by it. */
  constructor(limit = 256, all: SharedBound | null = null) {
    this.#limit = limit;
    this.#all = all;
  }

  /** Whether a reader takes what is put now, so that it does not wait here. */
  get isAwaited(): boolean {
    return !this.#ended && (this.#wake !== null || this.#isWoken);
  }

  /** false: dropped. The queue keeps the datagram as it is: its bytes must not be reused. */
  put(datagram: Datagram): boolean {
    if (this.#ended) return false;
    if (!this.#tell() && (this.#queue.length >= this.#limit || !this.#mayWait(datagram))) {
      this.dropped++;
      return false;
    }
    this.#queue.push(datagram);
    return true;
  }

  /** How many were taken. A reader that waits takes them all; else as many as there is room for. */
  putAll(datagrams: readonly Datagram[]): number {
    if (this.#ended || datagrams.length === 0) return 0;
    const isTaken = this.#tell();
    const room = isTaken ? datagrams.length : Math.min(datagrams.length, this.#limit - this.#queue.length);
    let taken = 0;
    for (; taken < room; taken++) {
      const datagram = datagrams[taken];
      if (datagram === undefined || (!isTaken && !this.#mayWait(datagram))) break;
      this.#queue.push(datagram);
    }
    this.dropped += datagrams.length - taken;
    return taken;
  }

  /** All that wait, or null after `end`. One call at a time. */
  take(): Promise<readonly Datagram[] | null> {
    if (this.#queue.length > 0 || this.#ended) return Promise.resolve(this.#drain());
    return new Promise<void>((resolve) => {
      this.#wake = resolve;
    }).then(() => this.#drain());
  }

  /** What waits now. */
  takeNow(): readonly Datagram[] {
    return this.#drain() ?? [];
  }

  /** What waits may still be taken; after it, null. */
  end(): void {
    this.#ended = true;
    this.#fetched(); // there may be no reader any more
    this.#tell();
  }

  /** Counts it, if there is room for it. */
  #mayWait({ bytes }: Datagram): boolean {
    const all = this.#all;
    if (all === null) return true;
    if (all.now + bytes.length > all.most) return false;
    const size = bytes.length + OVERHEAD;
    all.now += size;
    this.#waiting += size;
    return true;
  }

  #fetched(): void {
    if (this.#all !== null) this.#all.now -= this.#waiting;
    this.#waiting = 0;
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
    this.#fetched();
    return queue;
  }
}

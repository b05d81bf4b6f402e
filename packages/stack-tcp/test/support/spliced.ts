import { CancelSource, type HeldBytes, type NativeConn, type NativeConnListener, type NetError, type RelayOptions, type Totals } from '@nekit/core';
import { Client, Wire } from './wire.js';

/** A socket in memory: takes `room` bytes, gives what is put in. */
export class MemoryConn implements NativeConn {
  room = Number.POSITIVE_INFINITY;
  readonly taken: Uint8Array[] = [];
  sends = 0;
  isFinSent = false;
  /** What it is found to have failed with by the next send. */
  breaks: NetError | null = null;
  aborted: Error | null = null;
  pending = 0;
  unsent = 0;
  listener: NativeConnListener | null = null;
  #given: Uint8Array = new Uint8Array(0);
  #isEnded = false;

  give(bytes: Uint8Array): void {
    this.#given = Buffer.concat([this.#given, bytes]);
    this.listener?.readable();
  }
  end(): void {
    this.#isEnded = true;
    this.listener?.readable();
  }
  drain(): void {
    this.room = Number.POSITIVE_INFINITY;
    this.listener?.writable();
  }
  /** Bytes that nobody has taken yet. */
  get left(): number {
    return this.#given.length;
  }
  /** The next `count` of them, and the end behind them; null: there are not so many. */
  peek(from: number, count: number): Uint8Array | null {
    return from >= 0 && from + count <= this.#given.length ? this.#given.subarray(from, from + count) : null;
  }
  get isEnded(): boolean {
    return this.#isEnded;
  }
  get text(): string {
    return Buffer.concat(this.taken).toString();
  }
  send(bytes: Uint8Array, start: number, end: number): number {
    const error = this.breaks;
    if (error !== null) {
      this.listener?.closed(error);
      return 0;
    }
    this.sends++;
    const count = Math.min(this.room, end - start);
    this.room -= count;
    this.taken.push(bytes.slice(start, start + count));
    return count;
  }
  receive(bytes: Uint8Array, start: number, end: number): number {
    const count = Math.min(end - start, this.#given.length);
    if (count === 0) return this.#isEnded ? -1 : 0;
    bytes.set(this.#given.subarray(0, count), start);
    this.#given = this.#given.subarray(count);
    return count;
  }
  closeWrite(): void {
    this.isFinSent = true;
  }
  abort(reason: Error): void {
    this.aborted = reason;
  }
  relay(): null {
    return null;
  }
}

/** One whose bytes may stay in it. */
export class HeldConn extends MemoryConn implements HeldBytes {
  readonly id = 7;
  /** Near where it begins anew. */
  position = 0xfffff000;
  mayHold = true;
  /** Bytes that were received, and so copied; and the most that were ahead of what was held. */
  received = 0;
  get engine(): object {
    return this;
  }
  get held(): HeldBytes | null {
    return this.mayHold ? this : null;
  }
  ahead(count: number): number {
    const more = this.left - count;
    return more > 0 ? more : this.isEnded ? -1 : 0;
  }
  override receive(bytes: Uint8Array, start: number, end: number): number {
    const got = super.receive(bytes, start, end);
    if (got > 0) {
      this.received += got;
      this.position = (this.position + got) >>> 0;
    }
    return got;
  }
  skip(count: number): void {
    if (count > this.left) throw new Error(`${count} bytes are dropped, of ${this.left}`);
    super.receive(new Uint8Array(count), 0, count);
    this.position = (this.position + count) >>> 0;
  }
  /** What a packet is sent with; null: it is no longer there. */
  at(position: number, count: number): Uint8Array | null {
    return this.peek((position - this.position) | 0, count);
  }
}

export interface Spliced<C extends MemoryConn = MemoryConn> {
  wire: Wire;
  client: Client;
  conn: C;
  signal: CancelSource;
  options: RelayOptions;
  done: Promise<Totals>;
}

export function spliced(over: Partial<RelayOptions> = {}, wire = new Wire(), port?: number): Promise<Spliced> {
  return splicedWith(new MemoryConn(), over, wire, port);
}

export async function splicedWith<C extends MemoryConn>(conn: C, over: Partial<RelayOptions> = {}, wire = new Wire(), port?: number): Promise<Spliced<C>> {
  const client = await new Client(wire, 1_000, port).connect({ mss: 1_460, windowScale: 7, sackPermitted: true });
  client.window = 60_000;
  client.send();
  const signal = new CancelSource();
  const options = { signal, idleMs: 60_000, halfCloseMs: 10_000, counters: new Float64Array(4), slot: 2, ...over };
  const done = client.stream.splice?.(conn, options);
  wire.flush();
  if (done === undefined) throw new Error('no splice');
  return { wire, client, conn, signal, options, done };
}

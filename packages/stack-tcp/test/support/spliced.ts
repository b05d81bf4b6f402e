import { CancelSource, type NativeConn, type NativeConnListener, type NetError, type RelayOptions, type Totals } from '@nekit/core';
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

export interface Spliced {
  wire: Wire;
  client: Client;
  conn: MemoryConn;
  signal: CancelSource;
  options: RelayOptions;
  done: Promise<Totals>;
}

export async function spliced(over: Partial<RelayOptions> = {}, wire = new Wire(), port?: number): Promise<Spliced> {
  const client = await new Client(wire, 1_000, port).connect({ mss: 1_460, windowScale: 7, sackPermitted: true });
  client.window = 60_000;
  client.send();
  const conn = new MemoryConn();
  const signal = new CancelSource();
  const options = { signal, idleMs: 60_000, halfCloseMs: 10_000, counters: new Float64Array(4), slot: 2, ...over };
  const done = client.stream.splice?.(conn, options);
  wire.flush();
  if (done === undefined) throw new Error('no splice');
  return { wire, client, conn, signal, options, done };
}

import { NetError, toNetError } from '../net/errors.js';
import type { Chunks, Stream } from '../net/stream.js';
import { byteLength } from '../net/stream.js';

/** Two streams in memory: what one writes the other reads. `write` settles while less than `highWaterMark` bytes are unread (64 KiB). */
export function pipePair(options: { readonly highWaterMark?: number } = {}): [Stream, Stream] {
  const highWaterMark = options.highWaterMark ?? 64 * 1024;
  const there = new Lane(highWaterMark);
  const back = new Lane(highWaterMark);
  return [new PipeEnd(back, there), new PipeEnd(there, back)];
}

interface Waiting<T> {
  resolve(value: T): void;
  reject(error: NetError): void;
}

/** One direction. */
class Lane {
  readonly #highWaterMark: number;
  #chunks: Uint8Array[] = [];
  #length = 0;
  #ended = false;
  #error: NetError | null = null;
  #reader: Waiting<Chunks | null> | null = null;
  #writer: Waiting<void> | null = null;

  constructor(highWaterMark: number) {
    this.#highWaterMark = highWaterMark;
  }

  read(): Promise<Chunks | null> {
    if (this.#error !== null) return Promise.reject(this.#error);
    if (this.#length > 0) {
      const chunks = this.#chunks;
      this.#chunks = [];
      this.#length = 0;
      const writer = this.#writer;
      this.#writer = null;
      writer?.resolve();
      return Promise.resolve(chunks);
    }
    if (this.#ended) return Promise.resolve(null);
    if (this.#reader !== null) return Promise.reject(new NetError('protocol', 'a read is already pending', { code: 'READ_PENDING' }));
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  write(chunks: Chunks): Promise<void> {
    if (this.#error !== null) return Promise.reject(this.#error);
    if (this.#ended) return Promise.reject(new NetError('protocol', 'write after closeWrite', { code: 'WRITE_AFTER_END' }));
    const length = byteLength(chunks);
    if (length === 0) return Promise.resolve();
    const reader = this.#reader;
    if (reader !== null) {
      this.#reader = null;
      reader.resolve(chunks);
      return Promise.resolve();
    }
    for (const chunk of chunks) if (chunk.length > 0) this.#chunks.push(chunk);
    this.#length += length;
    if (this.#length < this.#highWaterMark) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#writer = { resolve, reject };
    });
  }

  end(): Promise<void> {
    if (this.#error !== null) return Promise.reject(this.#error);
    this.#ended = true;
    const reader = this.#reader;
    this.#reader = null;
    reader?.resolve(null);
    return Promise.resolve();
  }

  fail(error: NetError): void {
    if (this.#error !== null) return;
    this.#error = error;
    this.#chunks = [];
    this.#length = 0;
    const { reader, writer } = { reader: this.#reader, writer: this.#writer };
    this.#reader = null;
    this.#writer = null;
    reader?.reject(error);
    writer?.reject(error);
  }

  /** Both the FIN was sent and everything was read. */
  get drained(): boolean {
    return this.#ended && this.#length === 0;
  }
}

class PipeEnd implements Stream {
  readonly #incoming: Lane;
  readonly #outgoing: Lane;

  constructor(incoming: Lane, outgoing: Lane) {
    this.#incoming = incoming;
    this.#outgoing = outgoing;
  }

  read(): Promise<Chunks | null> {
    return this.#incoming.read();
  }

  write(chunks: Chunks): Promise<void> {
    return this.#outgoing.write(chunks);
  }

  closeWrite(): Promise<void> {
    return this.#outgoing.end();
  }

  abort(reason: Error): void {
    if (this.#incoming.drained && this.#outgoing.drained) return; // ended both ways: nothing to reset
    const error = toNetError(reason);
    this.#incoming.fail(error);
    this.#outgoing.fail(new NetError('aborted', 'reset by the other end', { code: 'ECONNRESET', cause: reason }));
  }
}

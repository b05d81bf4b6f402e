import { type Chunks, type NativeConn, NetError, type RelayOptions, type Stream, type Totals, toNetError } from '@nekit/core';
import { type Connection, FAILURE, type Owner, STATE } from './connection.js';
import { errorOf } from './errors.js';
import type { ConnectionHost } from './host.js';
import { Splice } from './splice.js';

/** The most that one read gives, in bytes. */
const MOST_PER_READ = 256 * 1024;

const DONE: Promise<void> = Promise.resolve();

interface Waiting<T> {
  resolve(value: T): void;
  reject(error: NetError): void;
}

/** A connection as a Stream. Its buffers are in the stack's arena; a chunk that `read` gives is a copy of its own. */
export class TcpStream implements Stream, Owner {
  readonly takesAtOnce = false;
  readonly #stack: ConnectionHost;
  readonly #connection: Connection;
  #opening: Waiting<Stream> | null;
  #reader: Waiting<Chunks | null> | null = null;
  #writer: (Waiting<void> & { chunks: Chunks; index: number; at: number }) | null = null;
  #error: NetError | null = null;
  #unread: Chunks | null = null;
  #isSpent = false;

  constructor(stack: ConnectionHost, connection: Connection, opening: Waiting<Stream> | null) {
    this.#stack = stack;
    this.#connection = connection;
    this.#opening = opening;
    connection.owner = this;
  }

  read(): Promise<Chunks | null> {
    if (this.#isSpent) return Promise.reject(SPENT);
    if (this.#unread !== null) {
      const chunks = this.#unread;
      this.#unread = null;
      return Promise.resolve(chunks);
    }
    if (this.#reader !== null) return Promise.reject(new NetError('protocol', 'a read is already pending', { code: 'READ_PENDING' }));
    const error = this.#failure();
    if (error !== null) return Promise.reject(error);
    const c = this.#connection;
    if (c.receive.readable > 0) {
      const chunk = this.#take();
      if (c.isAckDue || c.isRemoved) this.#stack.wake(c);
      return Promise.resolve([chunk]);
    }
    if (c.isFinReceived) return Promise.resolve(null);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  unread(chunks: Chunks): void {
    this.#unread = this.#unread === null ? chunks : [...chunks, ...this.#unread];
  }

  stopReading(): void {
    const reader = this.#reader;
    this.#reader = null;
    reader?.resolve([]);
  }

  write(chunks: Chunks): Promise<void> {
    if (this.#isSpent) return Promise.reject(SPENT);
    const error = this.#failure();
    if (error !== null) return Promise.reject(error);
    if (this.#writer !== null) return Promise.reject(new NetError('protocol', 'a write is already pending', { code: 'WRITE_PENDING' }));
    const c = this.#connection;
    if (c.isFinQueued) return Promise.reject(new NetError('protocol', 'write after closeWrite', { code: 'WRITE_AFTER_END' }));
    const writer = { chunks, index: 0, at: 0, resolve: () => {}, reject: () => {} };
    const isWhole = this.#put(writer);
    this.#stack.wake(c);
    if (isWhole) return DONE;
    return new Promise((resolve, reject) => {
      this.#writer = { ...writer, resolve, reject };
      this.#starve();
    });
  }

  closeWrite(): Promise<void> {
    const c = this.#connection;
    if (c.isFinQueued && this.#error === null) return DONE;
    const error = this.#failure();
    if (error !== null) return Promise.reject(error);
    const writer = this.#writer;
    if (writer !== null) {
      return new Promise<void>((resolve, reject) => {
        this.#writer = {
          ...writer,
          resolve: () => {
            writer.resolve();
            resolve();
          },
          reject: (failed) => {
            writer.reject(failed);
            reject(failed);
          },
        };
      }).then(() => this.closeWrite());
    }
    c.finish();
    this.#stack.wake(c);
    return DONE;
  }

  abort(reason: Error): void {
    const c = this.#connection;
    if (this.#error !== null || (this.#isSpent && c.owner !== this)) return;
    const hasEnded = c.isFinReceived && c.isFinQueued && c.receive.readable === 0;
    if (hasEnded && c.failure === FAILURE.none && (c.isFinAcked || c.state === STATE.closed)) return; // ended both ways: nothing to reset
    this.#error = toNetError(reason);
    c.abort(FAILURE.aborted);
    this.#settle(this.#error);
    this.#stack.wake(c);
  }

  splice(remote: NativeConn, options: RelayOptions): Promise<Totals> {
    const error = this.#failure();
    if (error !== null || this.#isSpent) {
      remote.abort(error ?? SPENT);
      return Promise.resolve({ up: 0, down: 0, error: error ?? SPENT });
    }
    this.#isSpent = true;
    return new Promise((resolve) => {
      const splice = new Splice(this.#stack, this.#connection, remote, options, this.#unread, resolve);
      this.#unread = null;
      splice.begin();
    });
  }

  serve(now: number): void {
    const c = this.#connection;
    if (this.#opening !== null) this.#open(c);
    const error = this.#failure();
    if (error !== null) {
      this.#settle(error);
      return;
    }
    const reader = this.#reader;
    if (reader !== null && (c.receive.readable > 0 || c.isFinReceived)) {
      this.#reader = null;
      if (c.receive.readable > 0) reader.resolve([this.#take(now)]);
      else reader.resolve(null);
    }
    const writer = this.#writer;
    if (writer !== null) {
      if (this.#put(writer)) {
        this.#writer = null;
        writer.resolve();
      } else this.#starve();
    }
  }

  take(): number {
    return 0;
  }

  #open(c: Connection): void {
    const opening = this.#opening;
    if (opening === null || !(c.isSynchronized || c.failure !== FAILURE.none)) return;
    this.#opening = null;
    if (c.failure === FAILURE.none) opening.resolve(this);
    else opening.reject(errorOf(c));
  }

  #take(now: number = this.#stack.now): Uint8Array {
    const c = this.#connection;
    const chunk = c.receive.copyOut(Math.min(c.receive.readable, MOST_PER_READ));
    c.consumed(chunk.length, now);
    return chunk;
  }

  /** Whether all of it was taken. */
  #put(writer: { chunks: Chunks; index: number; at: number }): boolean {
    const c = this.#connection;
    for (; writer.index < writer.chunks.length; writer.index++, writer.at = 0) {
      const chunk = writer.chunks[writer.index];
      if (chunk === undefined) continue;
      writer.at += c.write(chunk, writer.at, chunk.length);
      if (writer.at < chunk.length) return false;
    }
    return true;
  }

  /** Nothing of ours is under way, so no ACK will come and wake us: what holds us back is that the arena is full. */
  #starve(): void {
    if (this.#connection.send.length === 0) this.#stack.starve(this.#connection);
  }

  #failure(): NetError | null {
    if (this.#error === null && this.#connection.failure !== FAILURE.none) this.#error = errorOf(this.#connection);
    return this.#error;
  }

  #settle(error: NetError): void {
    const { reader, writer, opening } = { reader: this.#reader, writer: this.#writer, opening: this.#opening };
    this.#reader = null;
    this.#writer = null;
    this.#opening = null;
    opening?.reject(error);
    reader?.reject(error);
    writer?.reject(error);
  }
}

const SPENT = new NetError('protocol', 'the stream was given away', { code: 'SPENT' });

import { type NetError, toNetError } from '../net/errors.js';
import { left } from '../net/socket-stream.js';
import { byteLength, type Chunks, type NativeConn, type NativeEnd, type Stream } from '../net/stream.js';
import { EVENT } from './addon.js';
import type { EngineLoop, Listening } from './engine-loop.js';
import { EAGAIN, streamError } from './errno.js';
import { EngineConn } from './native-conn.js';

const DONE: Promise<void> = Promise.resolve();
const NOTHING = (): void => {};

/** Several chunks that together are no longer than this are written as one: copying costs less than a call of the system. */
const GATHER = 64 * 1024;

/** Reads in a row that may find something without waiting: half a MiB at most. */
const AT_ONCE = 8;

/** What is read after our own FIN while nobody asks, in bytes. */
const READ_AHEAD = 64 * 1024;

interface Reader {
  resolve(chunks: Chunks | null): void;
  reject(error: NetError): void;
}

interface Writer {
  chunks: Uint8Array[];
  resolve(): void;
  reject(error: NetError): void;
}

/** A socket of the native engine as a Stream, until somebody detaches it. */
export class NativeStream implements Stream, NativeEnd, Listening {
  readonly id: number;
  readonly #loop: EngineLoop;
  #onAbort: (error: NetError) => void;
  #onClose: () => void;
  #unread: Uint8Array[] | null = null;
  #ended = false;
  #finSent = false;
  #error: NetError | null = null;
  #reader: Reader | null = null;
  /** Waits for the loop's turn. */
  #laterReader: Reader | null = null;
  #writer: Writer | null = null;
  /** Reads in a row that found something without waiting. */
  #atOnce = 0;
  /** Who has the socket now. */
  #taker: NativeConn | null = null;

  constructor(loop: EngineLoop, id: number, onAbort: (error: NetError) => void = NOTHING, onClose: () => void = NOTHING) {
    this.id = id;
    this.#loop = loop;
    this.#onAbort = onAbort;
    this.#onClose = onClose;
    loop.conns.add(this);
  }

  get native(): NativeEnd {
    return this;
  }

  read(): Promise<Chunks | null> {
    const unread = this.#unread;
    if (unread !== null) {
      this.#unread = null;
      if (this.#finSent) this.#readAhead();
      return Promise.resolve(unread);
    }
    if (this.#error !== null) return Promise.reject(this.#error);
    if (this.#ended) return Promise.resolve(null);
    if (this.#atOnce >= AT_ONCE) return this.#readLater();
    const { engine, scratch } = this.#loop;
    const got = engine.read(this.id, scratch, 0, scratch.length);
    if (got > 0) {
      this.#atOnce++;
      return Promise.resolve([this.#loop.copy(scratch, 0, got)]);
    }
    this.#atOnce = 0;
    if (got === 0) {
      this.#end();
      return Promise.resolve(null);
    }
    if (got !== -EAGAIN) return Promise.reject(this.#fail(streamError(-got)));
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  /** The loop's turn: a fast peer would otherwise keep it in our microtasks. */
  #readLater(): Promise<Chunks | null> {
    return new Promise((resolve, reject) => {
      const reader = { resolve, reject };
      this.#laterReader = reader;
      setImmediate(() => {
        if (this.#laterReader !== reader) return;
        this.#laterReader = null;
        this.#atOnce = 0;
        this.read().then(resolve, reject);
      });
    });
  }

  unread(chunks: Chunks): void {
    this.#unread = this.#unread === null ? [...chunks] : [...chunks, ...this.#unread];
  }

  stopReading(): void {
    const reader = this.#reader ?? this.#laterReader;
    this.#reader = null;
    this.#laterReader = null;
    reader?.resolve([]); // what comes now is kept, once: the engine reads no further until it is asked
  }

  write(chunks: Chunks): Promise<void> {
    if (this.#error !== null) return Promise.reject(this.#error);
    const rest = this.#put(gather(chunks));
    const failure = this.#failure();
    if (failure !== null) return Promise.reject(failure);
    if (rest === null) return DONE;
    return new Promise((resolve, reject) => {
      this.#writer = { chunks: rest, resolve, reject };
    });
  }

  closeWrite(): Promise<void> {
    if (this.#finSent) return DONE;
    if (this.#error !== null) return Promise.reject(this.#error);
    if (this.#writer !== null) return this.#written().then(() => this.closeWrite()); // FIN is behind what was written
    const done = this.#loop.engine.shutdown(this.id);
    if (done < 0) return Promise.reject(this.#fail(streamError(-done)));
    this.#finSent = true;
    if (this.#ended) this.#over();
    else if (this.#reader === null) this.#readAhead();
    return DONE;
  }

  abort(reason: Error): void {
    this.#taker?.abort(reason);
    if (this.#ended && this.#finSent) return; // closed already
    this.#onAbort = NOTHING; // who aborts knows
    this.#fail(toNetError(reason));
  }

  leave(): void {
    if (this.#ended && this.#finSent) return; // closed already
    this.#onAbort = NOTHING;
    this.#fail(left(), !this.#finSent);
  }

  detach(unread: Chunks): Promise<NativeConn> {
    if (this.#error !== null) return Promise.reject(this.#error);
    return this.#written().then(() => {
      if (this.#error !== null) throw this.#error;
      if (this.#ended && this.#finSent) throw OVER;
      return this.#give(unread);
    });
  }

  detachNow(unread: Chunks): NativeConn | null {
    return this.#error !== null || this.#writer !== null || (this.#ended && this.#finSent) ? null : this.#give(unread);
  }

  #give(unread: Chunks): NativeConn {
    const front = this.#unread === null ? unread : [...unread, ...this.#unread];
    const conn = new EngineConn(this.#loop, this.id, { unread: front, ended: this.#ended, finSent: this.#finSent, onClose: this.#onClose });
    this.#error = SPENT;
    this.#taker = conn;
    this.#onClose = NOTHING;
    this.#onAbort = NOTHING;
    return conn;
  }

  heard(kind: number, a: number, b: number): void {
    switch (kind) {
      case EVENT.data: {
        const reader = this.#reader;
        this.#reader = null;
        const chunk = b === 0 ? null : this.#loop.copy(this.#loop.slab, a, b);
        if (chunk === null) this.#end();
        if (reader !== null) reader.resolve(chunk === null ? null : [chunk]);
        else if (chunk !== null) {
          this.#keep(chunk);
          this.#readAhead();
        }
        return;
      }
      case EVENT.writable: {
        const writer = this.#writer;
        if (writer === null) return;
        const rest = this.#put(writer.chunks);
        if (this.#writer === null) return; // it failed
        if (rest !== null) {
          writer.chunks = rest;
          return;
        }
        this.#writer = null;
        writer.resolve();
        return;
      }
      default:
        this.#fail(streamError(a));
    }
  }

  /** A call, because a write may have failed in between. */
  #failure(): NetError | null {
    return this.#error;
  }

  /** What was not taken, null if nothing is left. */
  #put(chunks: Uint8Array[]): Uint8Array[] | null {
    for (let i = 0; i < chunks.length; i++) {
      const chunk = chunks[i];
      if (chunk === undefined || chunk.length === 0) continue;
      const put = this.#loop.engine.write(this.id, chunk, 0, chunk.length);
      if (put < 0) {
        this.#fail(streamError(-put));
        return null;
      }
      if (put < chunk.length) return [chunk.subarray(put), ...chunks.slice(i + 1)];
    }
    return null;
  }

  /**
   * After our FIN the peer's is the end, and the socket is then closed even if nobody reads: who has said all may not care for what comes. Only
   * so much is taken as a reader may still want.
   */
  #readAhead(): void {
    const { engine, scratch } = this.#loop;
    while (this.#finSent && this.#error === null && !this.#ended && byteLength(this.#unread ?? []) < READ_AHEAD) {
      const got = engine.read(this.id, scratch, 0, scratch.length);
      if (got === -EAGAIN) return; // its event comes here
      if (got < 0) this.#fail(streamError(-got));
      else if (got === 0) this.#end();
      else this.#keep(this.#loop.copy(scratch, 0, got));
    }
  }

  #keep(chunk: Uint8Array): void {
    if (this.#unread === null) this.#unread = [chunk];
    else this.#unread.push(chunk);
  }

  /** Settles when no write is under way. */
  #written(): Promise<void> {
    const writer = this.#writer;
    if (writer === null) return DONE;
    return new Promise((resolve, reject) => {
      this.#writer = {
        chunks: writer.chunks,
        resolve: () => {
          writer.resolve();
          resolve();
        },
        reject: (error) => {
          writer.reject(error);
          reject(error);
        },
      };
    });
  }

  #end(): void {
    this.#ended = true;
    if (this.#finSent) this.#over();
  }

  /** FIN both ways: the socket is of no more use. */
  #over(): void {
    this.#release(false);
  }

  #release(reset: boolean): void {
    this.#loop.conns.delete(this.id);
    this.#loop.engine.close(this.id, reset);
    const onClose = this.#onClose;
    this.#onClose = NOTHING;
    onClose();
  }

  /** Gives the error that it has failed with, the first one. */
  #fail(error: NetError, reset = true): NetError {
    if (this.#error !== null) return this.#error;
    this.#error = error;
    this.#unread = null;
    const { reader, writer } = { reader: this.#reader, writer: this.#writer };
    this.#reader = null;
    this.#writer = null;
    const onAbort = this.#onAbort;
    this.#onAbort = NOTHING;
    this.#release(reset);
    reader?.reject(error);
    writer?.reject(error);
    onAbort(error);
    return error;
  }
}

/** Both sides have said FIN: there is nothing left to give away. */
const OVER = toNetError(Object.assign(new Error('the connection has ended'), { code: 'ENDED' }));

/** What a stream says after it has been detached. */
const SPENT = toNetError(Object.assign(new Error('the stream was given away'), { code: 'SPENT' }));

function gather(chunks: Chunks): Uint8Array[] {
  if (chunks.length > 1 && byteLength(chunks) <= GATHER) return [Buffer.concat(chunks)];
  return [...chunks];
}

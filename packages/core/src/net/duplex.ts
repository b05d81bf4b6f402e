/**
 * The door to the Node world: `tls`, `ws`, `ssh2`, `http2` speak Duplex, we speak Stream. Three lines wrap one in the other.
 */
import { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { abortQuietly, attempt } from './attempt.js';
import { streamFromConn } from './conn-stream.js';
import { NetError, toNetError } from './errors.js';
import { reset } from './socket-stream.js';
import type { Chunks, Stream } from './stream.js';

const DONE: Promise<void> = Promise.resolve();
const NOTHING = (): void => {};

/**
 * A Node Duplex as a Stream. It must be half-open capable (`allowHalfOpen`), in binary mode, and belongs to the stream from here on.
 * Bytes are pulled with `read()`, so its high-water mark bounds what is read ahead.
 */
export function streamFromDuplex(duplex: Duplex): Stream {
  return new DuplexStream(duplex);
}

class DuplexStream implements Stream {
  readonly #duplex: Duplex;
  #ended = false;
  #error: NetError | null = null;
  #reader: { resolve(chunks: Chunks | null): void; reject(error: NetError): void } | null = null;
  #writer: { resolve(): void; reject(error: NetError): void } | null = null;
  #finishing: Promise<void> | null = null;
  #finSent = false;

  constructor(duplex: Duplex) {
    this.#duplex = duplex;
    duplex.on('readable', () => this.#readable());
    duplex.on('end', () => this.#finished());
    duplex.on('drain', () => this.#drained());
    duplex.on('error', (error) => this.#fail(toNetError(error)));
    duplex.on('close', () => this.#closed());
    if (duplex.destroyed) this.#closed(); // its 'close' may have come already
  }

  read(): Promise<Chunks | null> {
    const chunks = this.#take();
    if (chunks !== null) return Promise.resolve(chunks);
    if (this.#error !== null) return Promise.reject(this.#error);
    if (this.#ended || this.#duplex.readableEnded) return Promise.resolve(null);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
      this.#duplex.read(0); // an end that came while nobody read is told only to who asks
    });
  }

  write(chunks: Chunks): Promise<void> {
    if (this.#error !== null) return Promise.reject(this.#error);
    let more = true;
    if (chunks.length > 1) this.#duplex.cork();
    for (const chunk of chunks) more = this.#duplex.write(chunk);
    if (chunks.length > 1) this.#duplex.uncork();
    if (more) return DONE;
    return new Promise((resolve, reject) => {
      this.#writer = { resolve, reject };
    });
  }

  closeWrite(): Promise<void> {
    if (this.#finishing !== null) return this.#finishing;
    if (this.#error !== null) return Promise.reject(this.#error);
    this.#finishing = new Promise((resolve, reject) => {
      const settle = (): void => {
        this.#finSent = this.#error === null;
        if (this.#error === null) resolve();
        else reject(this.#error);
      };
      // Node calls back with the error before it emits it.
      this.#duplex.end((error?: Error | null) => {
        if (error !== undefined && error !== null) this.#fail(toNetError(error));
        settle();
      });
      this.#duplex.once('close', settle);
    });
    this.#finishing.catch(NOTHING); // a later caller may take it up; nobody has to
    return this.#finishing;
  }

  abort(reason: Error): void {
    if (this.#ended && this.#finSent) this.#duplex.destroy();
    else this.#fail(toNetError(reason));
  }

  #take(): Chunks | null {
    if (this.#error !== null || this.#duplex.readableLength === 0) return null;
    const chunk: unknown = this.#duplex.read();
    return chunk instanceof Uint8Array && chunk.length > 0 ? [chunk] : null;
  }

  #readable(): void {
    if (this.#reader === null) return;
    const chunks = this.#take();
    if (chunks === null) {
      this.#duplex.read(0); // lets 'end' come when nothing is left
      return;
    }
    const reader = this.#reader;
    this.#reader = null;
    reader.resolve(chunks);
  }

  #finished(): void {
    this.#ended = true;
    const reader = this.#reader;
    this.#reader = null;
    reader?.resolve(null);
  }

  #drained(): void {
    const writer = this.#writer;
    this.#writer = null;
    writer?.resolve();
  }

  #closed(): void {
    if (this.#ended && this.#finishing !== null) return;
    this.#fail(new NetError('aborted', 'the connection was closed', { code: 'ECONNRESET' }));
  }

  #fail(error: NetError): void {
    if (this.#error !== null) return;
    this.#error = error;
    const { reader, writer } = { reader: this.#reader, writer: this.#writer };
    this.#reader = null;
    this.#writer = null;
    if (this.#duplex instanceof Socket) reset(this.#duplex);
    else this.#duplex.destroy(error);
    reader?.reject(error);
    writer?.reject(error);
  }
}

/** A Stream as a Node Duplex (half-open). The stream belongs to it from here on; `destroy` aborts it unless both sides have ended. */
export function duplexFromStream(stream: Stream): Duplex {
  let reading = false;
  let readDone = false;
  let writeDone = false;
  const write = (chunks: Chunks, callback: (error?: Error) => void): void => {
    attempt(() => stream.write(chunks)).then(
      () => callback(),
      (error: unknown) => callback(toNetError(error)),
    );
  };
  const failed = (error: unknown): void => {
    duplex.destroy(toNetError(error));
  };
  const taken = (chunks: Chunks | null): void => {
    reading = false;
    if (chunks === null) {
      readDone = true;
      duplex.push(null);
      return;
    }
    try {
      for (const chunk of chunks) duplex.push(chunk);
    } catch (error) {
      failed(error); // they were none
    }
  };
  const duplex = new Duplex({
    allowHalfOpen: true,
    read() {
      if (reading) return;
      reading = true;
      attempt(() => stream.read()).then(taken, failed);
    },
    write: (chunk: Uint8Array, _encoding, callback) => write([chunk], callback),
    writev(entries: { chunk: Uint8Array }[], callback) {
      write(
        entries.map((entry) => entry.chunk),
        callback,
      );
    },
    final(callback) {
      writeDone = true;
      attempt(() => stream.closeWrite()).then(
        () => callback(),
        (error: unknown) => callback(toNetError(error)),
      );
    },
    destroy(error, callback) {
      if (!readDone || !writeDone) abortQuietly(stream, error ?? new NetError('aborted', 'the stream was destroyed', { code: 'DESTROYED' }));
      callback(error);
    },
  });
  return duplex;
}

/**
 * The stream for Node's own protocols (`tls`, `http2`): its kernel socket as a `net.Socket` where it has one, which they then read and write without
 * JavaScript between; a Duplex around it where not. Rejects with a NetError if the stream has failed. Aborting the stream still ends what came of it.
 */
export async function toNodeSocket(stream: Stream): Promise<Duplex> {
  const conn = await stream.native?.detach([]);
  if (conn === undefined) return duplexFromStream(stream);
  return conn.toSocket?.() ?? duplexFromStream(streamFromConn(conn));
}

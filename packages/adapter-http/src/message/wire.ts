import { Duplex } from 'node:stream';
import { attempt, type Chunks, type NetError, toNetError } from '@nekit/core';

/** What either direction holds before it asks the other side to wait, in bytes. */
const HIGH_WATER_MARK = 64 * 1024;

const DONE: Promise<void> = Promise.resolve();

/**
 * The "socket" that Node's HTTP code gets: it reads exactly the bytes that it is fed, and what it writes goes to `send`. Destroying it
 * touches no connection; that is its owner's to do.
 */
export class Wire extends Duplex {
  /** What was written has gone, or as much of it as counts: more may follow. */
  onSent: (() => void) | null = null;
  readonly #send: (chunks: Chunks) => Promise<void>;
  #wanted: (() => void) | null = null;
  #failure: NetError | null = null;

  constructor(send: (chunks: Chunks) => Promise<void>) {
    super({ allowHalfOpen: true, highWaterMark: HIGH_WATER_MARK });
    this.#send = send;
    this.setDefaultEncoding('latin1'); // heads come as strings, and a byte of a field is a byte (RFC 9110 section 5.5)
    this.on('error', (error) => {
      this.#failure = toNetError(error);
    });
  }

  /** Why a write failed, or null. */
  get failure(): NetError | null {
    return this.#failure;
  }

  /** Settles when more may be fed; at once, too, when it was destroyed. */
  feed(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0 || this.destroyed || this.push(bytes)) return DONE;
    return new Promise((resolve) => {
      this.#wanted = resolve;
    });
  }

  /** The peer's FIN. */
  feedEnd(): void {
    if (!this.destroyed && !this.readableEnded) this.push(null);
  }

  override _read(): void {
    const wanted = this.#wanted;
    this.#wanted = null;
    wanted?.();
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, callback: (error?: Error) => void): void {
    this.#put([chunk], callback);
  }

  override _writev(entries: { chunk: Uint8Array }[], callback: (error?: Error) => void): void {
    this.#put(
      entries.map((entry) => entry.chunk),
      callback,
    );
  }

  override _final(callback: () => void): void {
    callback();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this._read();
    callback(error);
  }

  #put(chunks: Chunks, callback: (error?: Error) => void): void {
    attempt(() => this.#send(chunks)).then(
      () => {
        this.onSent?.();
        callback();
      },
      (error: unknown) => callback(toNetError(error)),
    );
  }
}

import { type Chunks, type Codec, type NativeConn, type NativeEnd, NetError, type Stream, sealedError, sealedTruncated, toNetError } from '@nekit/core';
import { baseError } from './seal-error.js';
import { PROLOGUE_DELAY, type SealOptions } from './seal-options.js';
import { SealedConn } from './sealed-conn.js';

const DONE: Promise<void> = Promise.resolve();

/**
 * Plain bytes on our side, sealed ones on the base's. Takes base and codec over: nobody else uses them. Where the base is a kernel socket and the codec the addon's,
 * `native.detach` moves the codec into the socket, and no byte is sealed in JavaScript any more.
 */
export class SealedStream implements Stream {
  readonly #base: Stream;
  readonly #codec: Codec;
  readonly #options: SealOptions;
  readonly #native: NativeEnd | null;
  #unread: Chunks | null = null;
  #error: NetError | null = null;
  #finSent = false;
  /** Something could be opened: the keys are right. */
  #opened: boolean;
  /** Stops the wait for the first bytes. */
  #stopWaiting: (() => void) | null = null;
  /** The header, which goes out alone. Whatever else is written waits for it. */
  #prologue: Promise<void> | null = null;
  #lastWrite: Promise<void> = DONE;

  constructor(base: Stream, codec: Codec, options: SealOptions) {
    this.#base = base;
    this.#codec = codec;
    this.#options = options;
    this.#opened = options.peer === 'client'; // a server has opened the request before
    this.#native = options.native && base.native !== undefined ? { detach: (unread) => this.#detach(unread) } : null;
    if (codec.prologuePending) this.#stopWaiting = options.clock.after(PROLOGUE_DELAY, () => this.#sendPrologue());
  }

  /** Gone after our FIN: what the base has read ahead since then is sealed, and would be taken for plain bytes. */
  get native(): NativeEnd | undefined {
    return this.#native === null || this.#finSent ? undefined : this.#native;
  }

  async read(): Promise<Chunks | null> {
    const unread = this.#unread;
    if (unread !== null) {
      this.#unread = null;
      return unread;
    }
    for (;;) {
      if (this.#error !== null) throw this.#error;
      const sealed = await this.#read();
      if (sealed === null) return this.#end();
      const plain: Uint8Array[] = [];
      for (const chunk of sealed) {
        const part = this.#open(chunk);
        if (part.length > 0) plain.push(part);
      }
      if (plain.length > 0) return plain;
    }
  }

  unread(chunks: Chunks): void {
    if (chunks.length > 0) this.#unread = this.#unread === null ? chunks : [...chunks, ...this.#unread];
  }

  write(chunks: Chunks): Promise<void> {
    if (this.#error !== null) return Promise.reject(this.#error);
    const only = chunks[0];
    const plain = chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks);
    if (plain.length === 0) return DONE;
    this.#waitNoLonger();
    let sealed: Uint8Array;
    try {
      sealed = this.#codec.seal(plain);
    } catch (error) {
      return Promise.reject(this.#fail(sealedError(error)));
    }
    return this.#send(sealed);
  }

  closeWrite(): Promise<void> {
    if (this.#error !== null) return Promise.reject(this.#error);
    this.#finSent = true;
    this.#waitNoLonger();
    if (this.#codec.prologuePending) this.#sendPrologue();
    return this.#lastWrite.then(() => this.#base.closeWrite());
  }

  abort(reason: Error): void {
    this.#waitNoLonger();
    this.#unread = null;
    this.#error ??= toNetError(reason);
    this.#base.abort(reason);
  }

  /** Rejects with a NetError. */
  #read(): Promise<Chunks | null> {
    return this.#base.read().catch((error: unknown) => {
      throw this.#told(error);
    });
  }

  #open(sealed: Uint8Array): Uint8Array {
    try {
      const plain = this.#codec.open(sealed);
      this.#opened ||= plain.length > 0;
      return plain;
    } catch (error) {
      throw this.#fail(sealedError(error));
    }
  }

  /** After FIN. */
  #end(): null {
    if (this.#codec.midRecord) throw this.#fail(sealedTruncated());
    return null;
  }

  #send(sealed: Uint8Array): Promise<void> {
    const written = this.#prologue === null ? this.#base.write([sealed]) : this.#prologue.then(() => this.#base.write([sealed]));
    this.#lastWrite = written.catch((error: unknown) => {
      throw this.#told(error);
    });
    return this.#lastWrite;
  }

  #waitNoLonger(): void {
    this.#stopWaiting?.();
    this.#stopWaiting = null;
  }

  #sendPrologue(): void {
    this.#stopWaiting = null;
    try {
      const sent = this.#send(this.#codec.sealPrologue());
      this.#prologue = sent;
      const over = (): void => {
        if (this.#prologue === sent) this.#prologue = null;
      };
      sent.then(over, (error: unknown) => this.#fail(toNetError(error)));
    } catch (error) {
      this.#fail(sealedError(error));
    }
  }

  async #detach(unread: Chunks): Promise<NativeConn> {
    if (this.#error !== null) throw this.#error;
    const native = this.#base.native;
    if (native === undefined) throw spent();
    this.#waitNoLonger();
    await this.#lastWrite; // what is behind the header must not be overtaken
    const conn = await native.detach([]);
    const opened = this.#unread === null ? unread : [...unread, ...this.#unread];
    this.#unread = null;
    this.#error = spent();
    return conn.useCodec?.(this.#codec, opened) === true ? conn : new SealedConn(conn, this.#codec, opened, this.#options);
  }

  /** The base has failed; a reset before the first byte means something here. */
  #told(error: unknown): NetError {
    return this.#fail(baseError(toNetError(error), this.#opened));
  }

  /** The first error stays, and both directions end with it. */
  #fail(error: NetError): NetError {
    if (this.#error !== null) return this.#error;
    this.abort(error);
    return error;
  }
}

/** Base and codec are somebody else's now. */
function spent(): NetError {
  return new NetError('aborted', 'the stream was given away', { code: 'SPENT' });
}

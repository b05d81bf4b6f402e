import { type Chunks, type Codec, type NativeConn, type NativeConnListener, type NetError, sealedError, sealedTruncated } from '@nekit/core';
import { baseError } from './seal-error.js';
import { PROLOGUE_DELAY, type SealOptions } from './seal-options.js';

/** What one look at the wire takes, in bytes. */
const READ = 64 * 1024;

/** Plain bytes that are sealed at once: what the conn does not take of them has to be kept. */
const SEAL = 16 * 1024;

/**
 * A conn that could not take the codec into itself (it belongs to another engine, or holds bytes already), sealed in JavaScript. Nobody's `relay` knows it, so
 * relays pump its bytes.
 */
export class SealedConn implements NativeConn, NativeConnListener {
  readonly #conn: NativeConn;
  readonly #codec: Codec;
  #listener: NativeConnListener | null = null;
  /** Opened, for `receive`. */
  #plain: Uint8Array;
  /** Sealed, for the conn. */
  #sealed: Uint8Array = NOTHING;
  #error: NetError | null = null;
  #finWanted = false;
  #finSeen = false;
  /** Something could be opened: the keys are right. */
  #opened: boolean;
  /** Stops the wait for the first bytes. */
  #stopWaiting: (() => void) | null = null;

  constructor(conn: NativeConn, codec: Codec, opened: Chunks, options: Pick<SealOptions, 'clock' | 'peer'>) {
    this.#conn = conn;
    this.#codec = codec;
    this.#plain = opened.length === 0 ? NOTHING : Buffer.concat(opened);
    this.#opened = options.peer === 'client' || opened.length > 0;
    conn.listener = this;
    if (codec.prologuePending) this.#stopWaiting = options.clock.after(PROLOGUE_DELAY, () => this.#sendPrologue());
  }

  get pending(): number {
    return this.#sealed.length + this.#conn.pending;
  }

  get unsent(): number {
    return this.#sealed.length + (this.#conn.unsent ?? 0);
  }

  get listener(): NativeConnListener | null {
    return this.#listener;
  }

  /** It may have failed before anybody listened: then it is told now. */
  set listener(listener: NativeConnListener | null) {
    this.#listener = listener;
    const error = this.#error;
    if (listener !== null && error !== null) queueMicrotask(() => listener.closed(error));
  }

  /** What the conn tells: there is something to open. */
  readable(): void {
    this.#listener?.readable();
  }

  /** The conn can take more. */
  writable(): void {
    this.#drain();
    if (this.#sealed.length > 0 || this.#error !== null) return;
    if (this.#finWanted) this.#conn.closeWrite();
    else this.#listener?.writable();
  }

  closed(error: NetError | null): void {
    if (this.#error !== null) return;
    this.#stopWaiting?.();
    this.#error = error === null ? null : baseError(error, this.#opened);
    this.#listener?.closed(this.#error);
  }

  relay(): null {
    return null;
  }

  send(bytes: Uint8Array, start: number, end: number): number {
    if (start < end) this.#stopWaiting?.();
    let at = start;
    while (at < end && this.#sealed.length === 0 && this.#error === null && !this.#finWanted) {
      const part = bytes.subarray(at, Math.min(end, at + SEAL));
      if (!this.#put(() => this.#codec.seal(part))) break;
      at += part.length;
    }
    return at - start;
  }

  receive(bytes: Uint8Array, start: number, end: number): number {
    while (this.#plain.length === 0) {
      if (this.#finSeen) return -1;
      if (this.#error !== null || start === end) return 0;
      const wire = new Uint8Array(READ);
      const count = this.#conn.receive(wire, 0, READ);
      if (count === 0) return 0;
      if (count < 0 && this.#codec.midRecord) {
        this.#fail(sealedTruncated());
        return 0;
      }
      if (count < 0) this.#finSeen = true;
      else if (!this.#open(wire.subarray(0, count))) return 0;
    }
    const length = Math.min(end - start, this.#plain.length);
    bytes.set(this.#plain.subarray(0, length), start);
    this.#plain = this.#plain.subarray(length);
    return length;
  }

  closeWrite(): void {
    if (this.#finWanted || this.#error !== null) return;
    this.#sendPrologue();
    this.#finWanted = true;
    if (this.#sealed.length === 0) this.#conn.closeWrite();
  }

  abort(reason: Error): void {
    this.#stopWaiting?.();
    this.#sealed = NOTHING;
    this.#plain = NOTHING;
    this.#conn.abort(reason);
  }

  #open(wire: Uint8Array): boolean {
    try {
      this.#plain = this.#codec.open(wire);
    } catch (error) {
      this.#fail(sealedError(error));
      return false;
    }
    this.#opened ||= this.#plain.length > 0;
    return true;
  }

  #sendPrologue(): void {
    this.#stopWaiting?.();
    if (this.#codec.prologuePending) this.#put(() => this.#codec.sealPrologue());
  }

  /** false: the codec is at its end. */
  #put(seal: () => Uint8Array): boolean {
    try {
      this.#sealed = seal();
    } catch (error) {
      this.#fail(sealedError(error));
      return false;
    }
    this.#drain();
    return true;
  }

  #drain(): void {
    while (this.#sealed.length > 0) {
      const taken = this.#conn.send(this.#sealed, 0, this.#sealed.length);
      if (taken === 0) return;
      this.#sealed = this.#sealed.subarray(taken);
    }
    this.#sealed = NOTHING; // the memory behind it is of no more use
  }

  #fail(error: NetError): void {
    if (this.#error !== null) return;
    this.#conn.abort(error);
    this.closed(error);
  }
}

const NOTHING = new Uint8Array(0);

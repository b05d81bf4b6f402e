import { NetError } from './errors.js';
import type { Chunks, NativeEnd, Stream } from './stream.js';

/**
 * Reads a handshake from a stream in the words of its protocol: `exactly(4)`, `until(CRLF CRLF)`. What was read too far is kept,
 * and `release` gives the stream back with it in front. Write to the stream itself; the reader only reads.
 *
 * An end of stream inside a request rejects with NetError 'aborted'; an overlong one with 'protocol'.
 */
export class StreamReader {
  readonly #stream: Stream;
  /** What was read; its first `#at` bytes are taken. */
  #bytes: Uint8Array = EMPTY;
  #at = 0;
  #ended = false;

  constructor(stream: Stream) {
    this.#stream = stream;
  }

  /** Bytes that were read and not yet taken. */
  get buffered(): number {
    return this.#bytes.length - this.#at;
  }

  /** Takes exactly `length` bytes. */
  async exactly(length: number): Promise<Uint8Array> {
    while (this.buffered < length) await this.#fill();
    return this.#take(length);
  }

  /**
   * Takes one message, at once if all of it is here: then nothing is awaited. `measure` tells the message's length from its first bytes, and
   * 0 while those do not tell. It must come to an end: whatever it gives is waited for.
   */
  message(measure: (first: Uint8Array) => number): Uint8Array | Promise<Uint8Array> {
    const length = measure(this.#rest());
    return length > 0 && length <= this.buffered ? this.#take(length) : this.#message(measure);
  }

  async #message(measure: (first: Uint8Array) => number): Promise<Uint8Array> {
    for (;;) {
      this.#filled(this.#ended ? null : await this.#stream.read()); // no `#fill`: a promise less for each message
      const length = measure(this.#rest());
      if (length > 0 && length <= this.buffered) return this.#take(length);
    }
  }

  /** Takes one byte. */
  async byte(): Promise<number> {
    while (this.buffered === 0) await this.#fill();
    return this.#bytes[this.#at++] ?? 0;
  }

  /** Looks at the first bytes, at least `length` of them, without taking any; fewer only if the stream ends first. */
  async peek(length: number): Promise<Uint8Array> {
    while (this.buffered < length && !this.#ended) this.#keep(await this.#stream.read());
    return this.#rest();
  }

  /** Takes everything up to and including `pattern`, at most `limit` bytes of it. */
  async until(pattern: Uint8Array, limit: number): Promise<Uint8Array> {
    let searched = 0;
    for (;;) {
      const rest = this.#rest();
      const found = Buffer.from(rest.buffer, rest.byteOffset, rest.length).indexOf(pattern, Math.max(0, searched - pattern.length + 1));
      if (found !== -1 && found + pattern.length <= limit) return this.#take(found + pattern.length);
      if (found !== -1 || rest.length >= limit) throw new NetError('protocol', `more than ${limit} bytes before the end of the message`, { code: 'TOO_LONG' });
      searched = rest.length;
      await this.#fill();
    }
  }

  /** Puts bytes in front of what is unread. */
  unread(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#bytes = this.buffered === 0 ? bytes : Buffer.concat([bytes, this.#rest()]);
    this.#at = 0;
  }

  /** The same stream, its `native` included, with what was read too far in front. The reader is spent. No read may be pending. */
  release(): Stream {
    const unread = this.#rest();
    this.#bytes = EMPTY;
    this.#at = 0;
    return unread.length === 0 ? this.#stream : putBack(this.#stream, [unread]);
  }

  async #fill(): Promise<void> {
    this.#filled(this.#ended ? null : await this.#stream.read());
  }

  #filled(chunks: Chunks | null): void {
    if (!this.#keep(chunks)) throw new NetError('aborted', 'the peer closed the connection in the middle of a message', { code: 'UNEXPECTED_END' });
  }

  #keep(chunks: Chunks | null): boolean {
    if (chunks === null) {
      this.#ended = true;
      return false;
    }
    const only = chunks[0];
    if (this.buffered === 0 && chunks.length === 1 && only !== undefined) this.#bytes = only;
    else this.#bytes = Buffer.concat([this.#rest(), ...chunks]);
    this.#at = 0;
    return true;
  }

  #rest(): Uint8Array {
    return this.#at === 0 ? this.#bytes : this.#bytes.subarray(this.#at);
  }

  #take(length: number): Uint8Array {
    const taken = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return taken;
  }
}

const EMPTY = new Uint8Array(0);

/** The stream with bytes in front that were read from it: the same one if it can take them back. */
export function putBack(stream: Stream, chunks: Chunks): Stream {
  if (stream.unread === undefined) return new PrefixedStream(stream, chunks);
  stream.unread(chunks);
  return stream;
}

/** A stream with bytes in front that were read from it before. It changes no byte, so it hands on what the stream can do. */
class PrefixedStream implements Stream {
  readonly #stream: Stream;
  #unread: Chunks | null;
  readonly native?: NativeEnd;
  readonly stopReading?: () => void;
  readonly leave?: () => void;

  constructor(stream: Stream, unread: Chunks) {
    this.#stream = stream;
    this.#unread = unread;
    if (stream.leave !== undefined) this.leave = () => stream.leave?.();
    if (stream.stopReading !== undefined) this.stopReading = () => stream.stopReading?.();
    const native = stream.native;
    if (native !== undefined) {
      this.native = {
        detach: (later) => {
          const front = this.#unread;
          this.#unread = null;
          return native.detach(front === null ? later : [...later, ...front]);
        },
      };
    }
  }

  read(): Promise<Chunks | null> {
    const unread = this.#unread;
    if (unread === null) return this.#stream.read();
    this.#unread = null;
    return Promise.resolve(unread);
  }

  write(chunks: Chunks): Promise<void> {
    return this.#stream.write(chunks);
  }

  closeWrite(): Promise<void> {
    return this.#stream.closeWrite();
  }

  abort(reason: Error): void {
    this.#unread = null;
    this.#stream.abort(reason);
  }
}

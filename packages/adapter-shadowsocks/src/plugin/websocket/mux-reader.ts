import { NetError } from '@nekit/core';
import { END, FAILED, HAS_DATA, KEEP, KEEP_ALIVE, MAX_METADATA, MIN_METADATA, SUB_CONNECTION } from './mux-wire.js';

/** The server's frames, cut anywhere; keeps four bytes of a frame at most. */
export class MuxReader {
  #part: 'length' | 'metadata' | 'data-length' | 'data' = 'length';
  /** Of a length or of the metadata's fixed part, as far as it is here. */
  readonly #field = new Uint8Array(MIN_METADATA);
  #got = 0;
  /** Bytes of the part under way that are still to come. */
  #left = 2;
  /** Whether the data under way is ours; a KeepAlive's, and what came after End, is dropped. */
  #wanted = false;
  #last = false;
  #ended = false;
  /** Our own End was sent: v2ray says after it that the connection failed, whatever became of it. */
  finished = false;

  /** Whether an End was read, with all its data. */
  get ended(): boolean {
    return this.#ended;
  }

  get atBoundary(): boolean {
    return this.#part === 'length' && this.#got === 0;
  }

  /** Adds the sub-connection's bytes in `chunk` to `payload`, as slices of it. Not null: the frames are broken, or the server says that it failed. */
  open(chunk: Uint8Array, payload: Uint8Array[]): NetError | null {
    for (let at = 0; at < chunk.length && !this.#ended; ) {
      const end = Math.min(at + this.#left, chunk.length);
      if (this.#part === 'data') {
        if (this.#wanted) payload.push(chunk.subarray(at, end));
      } else {
        for (let i = at; i < end && this.#got < MIN_METADATA; i++) this.#field[this.#got++] = chunk[i] ?? 0;
      }
      this.#left -= end - at;
      at = end;
      if (this.#left > 0) continue;
      const error = this.#next();
      if (error !== null) return error;
    }
    return null;
  }

  /** The part under way is whole. */
  #next(): NetError | null {
    const [first = 0, second = 0, status = 0, option = 0] = this.#field;
    const number = (first << 8) | second;
    this.#got = 0;
    switch (this.#part) {
      case 'length':
        if (number < MIN_METADATA || number > MAX_METADATA) return broken(`metadata of ${number} bytes`);
        return this.#expect('metadata', number);
      case 'metadata':
        return this.#metadata(number, status, option);
      case 'data-length':
        return number > 0 ? this.#expect('data', number) : this.#frameEnd();
      case 'data':
        return this.#frameEnd();
    }
  }

  #metadata(id: number, status: number, option: number): NetError | null {
    if (status !== KEEP && status !== END && status !== KEEP_ALIVE) return broken(`a frame of status ${status}`);
    if (id !== SUB_CONNECTION && status !== KEEP_ALIVE) return broken('a frame for a connection that was never opened');
    if (status === END && (option & FAILED) !== 0 && !this.finished)
      return new NetError('aborted', 'the server says that its connection failed', { code: 'SS_MUX' });
    this.#last = status === END;
    this.#wanted = status !== KEEP_ALIVE;
    return (option & HAS_DATA) !== 0 ? this.#expect('data-length', 2) : this.#frameEnd();
  }

  #frameEnd(): null {
    this.#ended = this.#last;
    return this.#expect('length', 2);
  }

  #expect(part: 'length' | 'metadata' | 'data-length' | 'data', length: number): null {
    this.#part = part;
    this.#left = length;
    return null;
  }
}

function broken(what: string): NetError {
  return new NetError('protocol', `the server does not speak Mux.Cool (set "mux: false" if it was started with mux=0): ${what}`, { code: 'SS_MUX' });
}

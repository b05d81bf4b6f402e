/**
 * One sub-connection of Mux.Cool, alone on its main connection. Read first: https://www.v2fly.org/en_US/developer/protocols/muxcool.html
 *
 * The server of v2ray-plugin takes every WebSocket for a main connection unless it was started with `mux=0`, so this is needed to speak with it. Main
 * connections are not shared: each stream keeps its own flow control, and a lost packet holds up only one.
 *
 *   frame      L (2)  metadata (L bytes)  [ length (2)  data ]      data only with option 1
 *   metadata   id (2)  status (1)  option (1)  ...
 *   New   1    network (1: TCP)  port (2)  address type (1: IPv4)  address (4)      the client's first frame
 *   Keep  2    more data
 *   End   3    no more from the sender; option 2: it failed. v2ray drops the other direction then, too: see LateFin
 *   KeepAlive 4   nothing, its data is to be dropped
 */
import { byteLength, type Chunks, NetError, type Stream, toNetError } from '@nekit/core';
import { MuxReader } from './mux-reader.js';
import { END, HAS_DATA, KEEP, NEW, SUB_CONNECTION } from './mux-wire.js';

/** Of a frame, in bytes: what v2ray itself sends at most. */
const MAX_DATA = 8 * 1024;

const DONE: Promise<void> = Promise.resolve();

/** The client's half. The first write, or the end, opens the sub-connection. */
export class MuxStream implements Stream {
  readonly #base: Stream;
  readonly #frames = new MuxReader();
  #opened = false;
  #finishing: Promise<void> | null = null;
  #ended = false;

  constructor(base: Stream) {
    this.#base = base;
  }

  async read(): Promise<Chunks | null> {
    for (;;) {
      if (this.#ended) return null;
      const chunks = await this.#base.read();
      if (chunks === null) {
        // Servers end the main connection with the last sub-connection, some without a word about that.
        if (!this.#frames.atBoundary)
          throw this.#fail(new NetError('aborted', 'the server closed the connection in the middle of a frame', { code: 'SS_MUX' }));
        this.#ended = true;
        return null;
      }
      const payload: Uint8Array[] = [];
      for (const chunk of chunks) {
        const broken = this.#frames.open(chunk, payload);
        if (broken !== null) throw this.#fail(broken);
      }
      if (this.#frames.ended) this.#end();
      if (payload.length > 0) return payload;
    }
  }

  write(chunks: Chunks): Promise<void> {
    if (this.#finishing !== null) return Promise.reject(new NetError('protocol', 'write after closeWrite', { code: 'WRITE_AFTER_END' }));
    if (byteLength(chunks) === 0) return DONE;
    const frames: Uint8Array[] = [];
    for (const chunk of chunks) {
      for (let start = 0; start < chunk.length; start += MAX_DATA) {
        const data = chunk.subarray(start, start + MAX_DATA);
        frames.push(this.#opened ? keep(data.length) : this.#open(data.length), data);
      }
    }
    return this.#base.write(frames);
  }

  closeWrite(): Promise<void> {
    this.#finishing ??= this.#finish();
    return this.#finishing;
  }

  abort(reason: Error): void {
    this.#base.abort(reason);
  }

  async #finish(): Promise<void> {
    const frames = this.#opened ? [END_FRAME] : [this.#open(0), END_FRAME];
    this.#frames.finished = true;
    await this.#base.write(frames);
    if (this.#ended) await this.#base.closeWrite();
  }

  /** The server's last word; with ours said too, the main connection has nothing more to do. */
  #end(): void {
    this.#ended = true;
    this.#finishing?.then(() => this.#base.closeWrite()).catch((error: unknown) => this.#base.abort(toNetError(error)));
  }

  #open(length: number): Uint8Array {
    this.#opened = true;
    const data = length > 0 ? [length >> 8, length & 0xff] : [];
    // The address is said for form's sake: the server goes where its own config says.
    return Uint8Array.of(0, 12, 0, SUB_CONNECTION, NEW, length > 0 ? HAS_DATA : 0, 1, 0, 0, 1, 127, 0, 0, 1, ...data);
  }

  #fail(reason: Error): NetError {
    const error = toNetError(reason);
    this.abort(error);
    return error;
  }
}

function keep(length: number): Uint8Array {
  return Uint8Array.of(0, 4, 0, SUB_CONNECTION, KEEP, HAS_DATA, length >> 8, length & 0xff);
}

const END_FRAME = Uint8Array.of(0, 4, 0, SUB_CONNECTION, END, 0);

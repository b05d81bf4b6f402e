/** Looks at a stream's first bytes, and gives them back. */
import type { Chunks, Stream } from '../net/stream.js';
import { putBack } from '../net/stream-reader.js';
import type { TimerWheel } from '../net/timer-wheel.js';
import type { Finding, Found } from './finding.js';

/** Bytes that are looked at. A ClientHello with keys of post-quantum schemes has some 2 KiB, and servers refuse longer HTTP heads. */
export const MAX_FIRST_BYTES = 16 * 1024;

/** A client that has begun may take so many times as long as for its first byte. */
const REST = 3;

const TIME_UP = Symbol('time is up');

export interface Looked {
  /** With every byte that was looked at in front. */
  readonly stream: Stream;
  readonly found: Found | null;
}

/**
 * Reads until `look`, which is given everything so far, has decided; at most MAX_FIRST_BYTES. `ms`: how long the first byte is waited for, and a third of how long the
 * rest of a message is. Rejects if the stream fails.
 */
export async function lookAtFirst(stream: Stream, look: (bytes: Uint8Array) => Finding, ms: number, timers: TimerWheel): Promise<Looked> {
  let bytes: Uint8Array = EMPTY;
  let end = (): void => {};
  const timeUp = new Promise<typeof TIME_UP>((resolve) => {
    end = () => resolve(TIME_UP);
  });
  const deadline = timers.after(ms, end);
  try {
    for (;;) {
      const read = stream.read();
      const chunks = await Promise.race([read, timeUp]);
      if (chunks === TIME_UP) return { stream: await withoutRead(stream, read, bytes), found: null };
      if (chunks !== null && bytes.length === 0) deadline.move(ms * REST);
      bytes = joined(bytes, chunks ?? []);
      const finding = chunks === null ? 'none' : look(bytes);
      if (finding === 'more' && bytes.length < MAX_FIRST_BYTES) continue;
      return { stream: inFront(stream, bytes), found: typeof finding === 'string' ? null : finding };
    }
  } finally {
    deadline.cancel();
  }
}

const EMPTY = new Uint8Array(0);

function joined(bytes: Uint8Array, chunks: Chunks): Uint8Array {
  const [only] = chunks;
  if (bytes.length === 0 && chunks.length === 1 && only !== undefined) return only;
  return chunks.length === 0 ? bytes : Buffer.concat([bytes, ...chunks]);
}

function inFront(stream: Stream, bytes: Uint8Array): Stream {
  return bytes.length === 0 ? stream : putBack(stream, [bytes]);
}

/** The stream when time is up in the middle of a read: that is taken back, or, where nobody can, its answer is the first that the next reader gets. */
async function withoutRead(stream: Stream, read: Promise<Chunks | null>, bytes: Uint8Array): Promise<Stream> {
  if (stream.stopReading === undefined) return new ReadAhead(stream, bytes.length === 0 ? [] : [bytes], read);
  stream.stopReading();
  return inFront(stream, joined(bytes, (await read) ?? []));
}

/** A stream that has a read pending. Its socket cannot be given away any more. */
class ReadAhead implements Stream {
  readonly #stream: Stream;
  #first: Chunks;
  #pending: Promise<Chunks | null> | null;

  constructor(stream: Stream, first: Chunks, pending: Promise<Chunks | null>) {
    this.#stream = stream;
    this.#first = first;
    this.#pending = pending;
  }

  read(): Promise<Chunks | null> {
    const first = this.#first;
    if (first.length > 0) {
      this.#first = [];
      return Promise.resolve(first);
    }
    const pending = this.#pending;
    this.#pending = null;
    return pending ?? this.#stream.read();
  }

  write(chunks: Chunks): Promise<void> {
    return this.#stream.write(chunks);
  }

  closeWrite(): Promise<void> {
    return this.#stream.closeWrite();
  }

  abort(reason: Error): void {
    this.#first = [];
    this.#stream.abort(reason);
  }
}

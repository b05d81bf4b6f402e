import type { Chunks, Stream, StreamReader } from '@nekit/core';

/** A stream on which a reader is still waiting: its bytes come first, then the stream's own. For the moment when nobody may take the wait back. */
export class AfterRead implements Stream {
  readonly #stream: Stream;
  readonly #reader: StreamReader;
  readonly leave?: () => void;
  #waiting: Promise<unknown> | null;

  /** `waiting`: the reader's call; how it ends does not matter, the stream's next read says the same. */
  constructor(stream: Stream, reader: StreamReader, waiting: Promise<unknown>) {
    this.#stream = stream;
    this.#reader = reader;
    this.#waiting = waiting;
    if (stream.leave !== undefined) this.leave = () => stream.leave?.();
  }

  async read(): Promise<Chunks | null> {
    if (this.#waiting !== null) {
      await Promise.allSettled([this.#waiting]);
      this.#waiting = null;
      if (this.#reader.buffered > 0) return [await this.#reader.exactly(this.#reader.buffered)];
    }
    return this.#stream.read();
  }

  write(chunks: Chunks): Promise<void> {
    return this.#stream.write(chunks);
  }

  closeWrite(): Promise<void> {
    return this.#stream.closeWrite();
  }

  abort(reason: Error): void {
    this.#stream.abort(reason);
  }
}

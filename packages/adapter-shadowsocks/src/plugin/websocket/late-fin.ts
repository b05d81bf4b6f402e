import { type Chunks, type Deadline, NetError, type Stream, type TimerWheel, toNetError } from '@nekit/core';

const DONE: Promise<void> = Promise.resolve();

/**
 * A stream whose peer takes our end for the end of everything, as v2ray does: it throws away what is still on its way to us. So our FIN is held back while
 * something comes, and given on after `quietMs` without a byte, or with the peer's own.
 */
export class LateFin implements Stream {
  readonly #base: Stream;
  readonly #timers: TimerWheel;
  readonly #quietMs: number;
  #finishing = false;
  /** The peer has said its own. */
  #ended = false;
  #deadline: Deadline | null = null;

  constructor(base: Stream, timers: TimerWheel, quietMs: number) {
    this.#base = base;
    this.#timers = timers;
    this.#quietMs = quietMs;
  }

  async read(): Promise<Chunks | null> {
    const chunks = await this.#base.read();
    if (chunks === null) {
      this.#ended = true;
      this.#finish();
    }
    if (chunks !== null && this.#deadline !== null) this.#deadline.at = this.#timers.now() + this.#quietMs;
    return chunks;
  }

  write(chunks: Chunks): Promise<void> {
    if (this.#finishing) return Promise.reject(new NetError('protocol', 'write after closeWrite', { code: 'WRITE_AFTER_END' }));
    return this.#base.write(chunks);
  }

  closeWrite(): Promise<void> {
    if (this.#finishing) return DONE;
    this.#finishing = true;
    if (this.#ended) return this.#base.closeWrite();
    this.#deadline = this.#timers.after(this.#quietMs, () => this.#finish());
    return DONE;
  }

  abort(reason: Error): void {
    this.#deadline?.cancel();
    this.#deadline = null;
    this.#base.abort(reason);
  }

  #finish(): void {
    if (this.#deadline === null) return;
    this.#deadline.cancel();
    this.#deadline = null;
    this.#base.closeWrite().catch((error: unknown) => this.#base.abort(toNetError(error)));
  }
}

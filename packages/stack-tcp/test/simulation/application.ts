import { createHash } from 'node:crypto';
import { isNetError, NetError, type Stream } from '@nekit/core';
import { SeededRandom } from '@nekit/core/ip';
import type { SimClock } from '../support/sim-clock.js';

export interface ApplicationOptions {
  readonly clock: SimClock;
  /** What must not happen. */
  readonly problems: string[];
  /** What it has to say, in pieces that are drawn from the seed. */
  readonly bytes: Uint8Array;
  readonly seed: number;
  /** ms between two reads. */
  readonly pauseMs: number;
  /** It writes only after it has read everything. */
  readonly waitsForEnd: boolean;
}

/** Reads, writes, ends. */
export class Application {
  received = 0;
  isDone = false;
  error: NetError | null = null;
  readonly #options: ApplicationOptions;
  readonly #hash = createHash('sha256');
  #stream: Stream | null = null;
  #isAborted = false;

  constructor(options: ApplicationOptions) {
    this.#options = options;
  }

  /** Of what it has read. */
  digest(): string {
    return this.#hash.copy().digest('hex');
  }

  abort(): void {
    this.#isAborted = true;
    this.#stream?.abort(new NetError('aborted', 'the test cuts it off'));
  }

  /** Settles at the end of both directions, or with the first failure, which is kept in `error`. */
  async run(opening: Promise<Stream>): Promise<void> {
    try {
      const stream = await opening;
      this.#stream = stream;
      if (this.#isAborted) stream.abort(new NetError('aborted', 'the test cuts it off'));
      if (this.#options.waitsForEnd) {
        await this.#readAll(stream);
        await this.#writeAll(stream);
      } else await Promise.all([this.#readAll(stream), this.#writeAll(stream)]);
    } catch (error) {
      if (isNetError(error)) this.error = error;
      else this.#options.problems.push(`not a NetError: ${String(error)}`);
    }
    this.isDone = true;
  }

  pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#options.clock.after(ms, resolve));
  }

  async #readAll(stream: Stream): Promise<void> {
    const { pauseMs } = this.#options;
    for (let chunks = await stream.read(); chunks !== null; chunks = await stream.read()) {
      for (const chunk of chunks) {
        this.received += chunk.length;
        this.#hash.update(chunk);
      }
      if (pauseMs > 0) await this.pause(pauseMs);
    }
  }

  async #writeAll(stream: Stream): Promise<void> {
    const { bytes, seed } = this.#options;
    const random = new SeededRandom(seed);
    for (let at = 0; at < bytes.length; ) {
      const length = 1 + random.below(random.chance(0.2) ? 40_000 : 3_000);
      await stream.write([bytes.slice(at, at + length)]);
      at += length;
    }
    await stream.closeWrite();
  }
}

export function pattern(length: number, seed: number): Uint8Array {
  return new SeededRandom(seed ^ 0x1234_5678).bytes(length);
}

export function digestOf(chunks: readonly Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const chunk of chunks) hash.update(chunk);
  return hash.digest('hex');
}

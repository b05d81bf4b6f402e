import { NetError, type StreamReader, toNetError } from '@nekit/core';
import { BodyMeter, type Framing } from '../message/body-meter.js';
import type { Wire } from '../message/wire.js';

export interface IntakeOptions {
  readonly framing: Framing;
  /** Whether a FIN behind the request means that the client has left. Not when it said that this request is its last: FIN only repeats it. */
  readonly watch: boolean;
  /** The client left before its response was complete. */
  readonly left: (error: NetError) => void;
}

/** Reads on while a request is served: first the body, which goes to the parser, then for a sign that the client has left. */
export class Intake {
  readonly #reader: StreamReader;
  readonly #wire: Wire;
  readonly #options: IntakeOptions;
  #active = true;
  /** Settles when no read is pending any more; the next request's first byte does that, too. Never rejects. */
  readonly over: Promise<void>;

  constructor(reader: StreamReader, wire: Wire, options: IntakeOptions) {
    this.#reader = reader;
    this.#wire = wire;
    this.#options = options;
    this.over = this.#run();
  }

  /** The response is complete: what the client does from here on concerns the next request. */
  stop(): void {
    this.#active = false;
  }

  async #run(): Promise<void> {
    const { framing, watch, left } = this.#options;
    const meter = new BodyMeter(framing);
    try {
      while (!meter.done) {
        const bytes = await this.#reader.peek(1);
        if (!this.#isActive()) return;
        if (this.#reader.buffered === 0) {
          left(clientLeft());
          return;
        }
        await this.#wire.feed(await this.#reader.exactly(meter.measure(bytes)));
        if (!this.#isActive()) return;
      }
      if (!watch || this.#reader.buffered > 0) return;
      await this.#reader.peek(1);
      if (this.#isActive() && this.#reader.buffered === 0) left(clientLeft());
    } catch (error) {
      if (this.#isActive()) left(toNetError(error));
    }
  }

  /** A call, because `stop` comes while we wait. */
  #isActive(): boolean {
    return this.#active;
  }
}

function clientLeft(): NetError {
  return new NetError('aborted', 'the client left before its response was complete', { code: 'CLIENT_LEFT' });
}

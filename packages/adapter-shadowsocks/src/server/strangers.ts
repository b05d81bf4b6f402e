import { type Cancel, type Deadline, NetError, type Stream, type TimerWheel } from '@nekit/core';

/**
 * How long a connection may be open without a valid request, in ms. Longer than the handshake timeout, because whoever tries out a port gives up within 10 s or so
 * (IMC 2020) and then it was the one who closed; about as long as other servers bear with silence.
 */
export const PATIENCE = 60_000;

/** Connections without a valid request at one time. Those that are meant have one after a round trip; a flood of others must not fill the kernel's connection limit. */
const MAX_STRANGERS = 4_096;

const TOO_LONG = new NetError('timeout', 'no valid request within the time', { code: 'SS_PROTOCOL' });
const TOO_MANY = new NetError('denied', 'too many connections without a valid request', { code: 'SS_PROTOCOL' });
const RETIRED = new NetError('aborted', 'the listener has stopped', { code: 'RETIRED' });

/**
 * The connections of a listener that have not shown a valid request: some wait for the rest of one, some have failed. They share one limit and one deadline, so that
 * neither tells from outside which it is. Where the limit is reached the oldest has to go.
 */
export class Strangers {
  readonly #timers: TimerWheel;
  readonly #patience: number;
  readonly #limit: number;
  /** The oldest first. */
  readonly #all = new Set<Stranger>();

  constructor(timers: TimerWheel, patience: number, limit = MAX_STRANGERS) {
    this.#timers = timers;
    this.#patience = patience;
    this.#limit = limit;
  }

  get size(): number {
    return this.#all.size;
  }

  admit(stream: Stream): Stranger {
    const [oldest] = this.#all.size >= this.#limit ? this.#all : [];
    oldest?.cut(TOO_MANY);
    const stranger: Stranger = new Stranger(
      stream,
      this.#timers.after(this.#patience, () => stranger.cut(TOO_LONG)),
      () => this.#all.delete(stranger),
    );
    this.#all.add(stranger);
    return stranger;
  }

  /** The listener stops: it takes no further requests. */
  cutAll(): void {
    for (const stranger of [...this.#all]) stranger.cut(RETIRED);
  }
}

/** One connection that has not shown a valid request. `leave` must be called, once it has or has ended. */
export class Stranger {
  readonly #stream: Stream;
  readonly #deadline: Deadline;
  readonly #forget: () => void;
  #wake: () => void = NOTHING;
  #release: () => void = NOTHING;

  constructor(stream: Stream, deadline: Deadline, forget: () => void) {
    this.#stream = stream;
    this.#deadline = deadline;
    this.#forget = forget;
  }

  /** RST, whether or not bytes are unread: FIN or RST would otherwise tell how many of them were wanted. */
  cut(reason: NetError): void {
    this.leave();
    this.#stream.abort(reason);
    this.#wake();
  }

  leave(): void {
    this.#deadline.cancel();
    this.#release();
    this.#forget();
  }

  /** Settles when it was cut, or when `signal` has fired. */
  over(signal: Cancel): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#release = signal.onCancel(() => resolve());
    });
  }
}

function NOTHING(): void {}

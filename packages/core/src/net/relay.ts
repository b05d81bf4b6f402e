import { abortQuietly, attempt } from './attempt.js';
import type { CancelListener } from './cancel.js';
import { streamFromConn } from './conn-stream.js';
import { NetError, toNetError } from './errors.js';
import { byteLength, type Chunks, type NativeConn, type NativeEnd, type RelayOptions, type Stream, type Totals } from './stream.js';
import type { Deadline, TimerWheel } from './timer-wheel.js';

/**
 * Moves bytes both ways until both directions have ended, and owns the end of life: a FIN is passed on and starts the half-close
 * timer, an error or the signal aborts both ends, silence runs into a timeout. Never rejects; both streams are spent afterwards.
 *
 * `a` is the client's side: bytes from a to b count as up.
 */
export function relay(a: Stream, b: Stream, options: RelayOptions, timers: TimerWheel): Promise<Totals> {
  if (b.native === undefined) return pump(a, b, options, timers);
  if (a.native !== undefined) return relayNative(a, b, a.native, b.native, options, timers);
  return a.splice === undefined ? pump(a, b, options, timers) : relaySpliced(a, b, b.native, options);
}

/** A flow of an IP stack and a kernel socket: the stack moves the bytes itself. */
function relaySpliced(a: Stream, b: Stream, endB: NativeEnd, options: RelayOptions): Promise<Totals> {
  const stop = (thrown: unknown): Totals => {
    const error = toNetError(thrown);
    abortQuietly(a, error);
    abortQuietly(b, error);
    return { up: 0, down: 0, error };
  };
  const splice = (conn: NativeConn): Totals | Promise<Totals> => {
    try {
      return a.splice?.(conn, options) ?? stop(new NetError('aborted', 'the stack has lost the stream'));
    } catch (thrown) {
      return stop(thrown);
    }
  };
  try {
    const conn = endB.detachNow?.([]) ?? null;
    if (conn !== null) return Promise.resolve(splice(conn));
  } catch (thrown) {
    return Promise.resolve(stop(thrown));
  }
  const forget = options.signal.onCancel(stop);
  return attempt(() => endB.detach([]))
    .finally(forget)
    .then(splice, stop);
}

/** Kernel sockets on both sides: their bytes stay out of JavaScript, where the engine has both. Nothing waits here while they move. */
function relayNative(a: Stream, b: Stream, endA: NativeEnd, endB: NativeEnd, options: RelayOptions, timers: TimerWheel): Promise<Totals> {
  let connA: NativeConn | null = null;
  const stop = (thrown: unknown): Totals => {
    const error = toNetError(thrown);
    for (const end of [a, b, connA]) abortQuietly(end, error);
    return { up: 0, down: 0, error };
  };
  const join = (first: NativeConn, second: NativeConn): Totals | Promise<Totals> => {
    try {
      return first.relay(second, options) ?? pump(streamFromConn(first), streamFromConn(second), options, timers);
    } catch (thrown) {
      return stop(thrown);
    }
  };
  try {
    connA = endA.detachNow?.([]) ?? null;
    const connB = connA === null ? null : (endB.detachNow?.([]) ?? null);
    if (connA !== null && connB !== null) return Promise.resolve(join(connA, connB));
  } catch (thrown) {
    return Promise.resolve(stop(thrown));
  }
  const detachBoth = async (): Promise<[NativeConn, NativeConn]> => {
    connA ??= await endA.detach([]);
    return [connA, await endB.detach([])];
  };
  const forget = options.signal.onCancel(stop);
  return detachBoth()
    .finally(forget)
    .then(([first, second]) => join(first, second), stop);
}

function pump(a: Stream, b: Stream, options: RelayOptions, timers: TimerWheel): Promise<Totals> {
  return new Promise((resolve) => new Relay(a, b, options, timers, resolve));
}

/** ms that a relay which has failed waits for the calls under way: what was written meanwhile is counted, and a broken stream whose calls stay pending keeps nothing. */
const AFTERMATH_MS = 1_000;

/** Both directions of one relay: what they share. It is over when both have ended. */
class Relay implements CancelListener {
  readonly options: RelayOptions;
  readonly #timers: TimerWheel;
  #deadline: Deadline;
  #silenceMs: number;
  readonly #a: Stream;
  readonly #b: Stream;
  readonly #resolve: (totals: Totals) => void;
  #error: NetError | null = null;
  #running = 2;

  constructor(a: Stream, b: Stream, options: RelayOptions, timers: TimerWheel, resolve: (totals: Totals) => void) {
    this.options = options;
    this.#timers = timers;
    this.#silenceMs = options.idleMs;
    this.#a = a;
    this.#b = b;
    this.#resolve = resolve;
    this.#deadline = timers.after(this.#silenceMs, () =>
      this.stop(new NetError('timeout', `no byte for ${this.#silenceMs / 1000} s`, { code: 'IDLE_TIMEOUT' })),
    );
    options.signal.add(this);
    new Pump(this, a, b, options.slot).next();
    new Pump(this, b, a, options.slot + 1).next();
  }

  /** From here on the counters may be another relay's. */
  get isOver(): boolean {
    return this.#running === 0;
  }

  cancelled(reason: Error): void {
    this.stop(reason);
  }

  stop(reason: unknown): void {
    if (this.#error !== null || this.isOver) return;
    const error = toNetError(reason);
    this.#error = error;
    this.#deadline.cancel();
    this.#deadline = this.#timers.after(AFTERMATH_MS, () => this.#end());
    abortQuietly(this.#a, error);
    abortQuietly(this.#b, error);
  }

  /** Bytes have moved. */
  moved(): void {
    if (this.#error === null) this.#deadline.at = this.#timers.now() + this.#silenceMs;
  }

  /** FIN from one side: from here on less silence is borne. */
  halfClosed(): void {
    if (this.#error !== null) return;
    this.#silenceMs = this.options.halfCloseMs;
    this.#deadline.move(this.#silenceMs);
  }

  /** One direction has ended. */
  ended(): void {
    if (this.#running === 1) this.#end();
    else if (this.#running > 1) this.#running--;
  }

  #end(): void {
    this.#running = 0;
    this.#deadline.cancel();
    this.options.signal.remove(this);
    const { counters, slot } = this.options;
    this.#resolve({ up: counters[slot] ?? 0, down: counters[slot + 1] ?? 0, error: this.#error });
  }
}

/**
 * One direction. Callbacks, made once, rather than a loop that awaits: its frame would keep the last chunks alive for as long as the next
 * read waits, and each round would make it new promises.
 */
class Pump {
  readonly #relay: Relay;
  readonly #from: Stream;
  readonly #to: Stream;
  readonly #counter: number;
  /** Bytes in the write under way. */
  #writing = 0;

  constructor(relay: Relay, from: Stream, to: Stream, counter: number) {
    this.#relay = relay;
    this.#from = from;
    this.#to = to;
    this.#counter = counter;
  }

  next(): void {
    if (this.#relay.isOver) return;
    try {
      this.#from.read().then(this.#take, this.#fail);
    } catch (thrown) {
      this.#fail(thrown); // it should have rejected
    }
  }

  readonly #take = (chunks: Chunks | null): void => {
    if (this.#relay.isOver) return;
    try {
      if (chunks === null) {
        this.#relay.halfClosed();
        this.#to.closeWrite().then(this.#end, this.#fail);
      } else {
        this.#writing = byteLength(chunks);
        this.#to.write(chunks).then(this.#written, this.#fail);
      }
    } catch (thrown) {
      this.#fail(thrown);
    }
  };

  readonly #written = (): void => {
    if (this.#relay.isOver) return;
    const { counters } = this.#relay.options;
    counters[this.#counter] = (counters[this.#counter] ?? 0) + this.#writing;
    this.#relay.moved();
    this.next();
  };

  readonly #end = (): void => this.#relay.ended();

  readonly #fail = (reason: unknown): void => {
    this.#relay.stop(reason);
    this.#relay.ended();
  };
}

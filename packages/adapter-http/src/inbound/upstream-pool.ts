import { abortQuietly, attempt, type Deadline, NetError, type Stream, StreamReader, type TimerWheel, toNetError } from '@nekit/core';

/** How many may wait. */
export interface PoolLimits {
  /** To one endpoint for one user. */
  readonly perKey: number;
  readonly inAll: number;
}

/** Browsers open six to a host. */
const LIMITS: PoolLimits = { perKey: 8, inAll: 256 };
/** How long a connection that is not wanted any more may take to end properly, in ms. */
const FAREWELL_MS = 2_000;

/** One for all: nobody waits for an idle connection. */
const CLOSED = new NetError('aborted', 'nobody is left who could use the connection', { code: 'STOPPED' });

/** A connection to an origin. Between two requests it is watched: an origin has nothing to say then. */
export interface Upstream {
  readonly stream: Stream;
  readonly reader: StreamReader;
  readonly key: string;
  /** Requests that it has carried before. */
  readonly reused: boolean;
  /** It knows who its client is: it may serve nobody else. */
  readonly bound: boolean;
  /** Settles when the read that watched it while it was idle is over; wait for it before reading. Never rejects. */
  readonly watched: Promise<void>;
}

/** A fresh connection. */
export function newUpstream(stream: Stream, key: string): Upstream {
  return { stream, reader: new StreamReader(stream), key, reused: false, bound: false, watched: Promise.resolve() };
}

interface Idle {
  readonly upstream: Upstream;
  readonly since: number;
  readonly deadline: Deadline;
  taken: boolean;
}

/**
 * Idle connections to origins, by (adapter, endpoint, user). One that gets a byte or a FIN while it is idle is closed: the byte could only
 * answer a request that was never made. Bounded; the oldest goes first.
 */
export class UpstreamPool {
  readonly #timers: TimerWheel;
  readonly #idleMs: number;
  readonly #limits: PoolLimits;
  readonly #idle = new Map<string, Idle[]>();
  #size = 0;
  #closed = false;

  constructor(timers: TimerWheel, idleMs: number, limits = LIMITS) {
    this.#timers = timers;
    this.#idleMs = idleMs;
    this.#limits = limits;
  }

  /** Connections that wait. */
  get size(): number {
    return this.#size;
  }

  /** The one that was used last, if it waits no longer than `maxIdleMs`. */
  take(key: string, maxIdleMs: number): Upstream | null {
    const idle = this.#idle.get(key)?.at(-1);
    if (idle === undefined || this.#timers.now() - idle.since > maxIdleMs) return null;
    this.#remove(idle);
    return idle.upstream;
  }

  /** Keeps a connection whose last response has come to its end, not a byte more. It is the pool's from here on. */
  put({ stream, reader, key, bound }: Upstream): void {
    if (this.#closed) {
      abortQuietly(stream, CLOSED);
      return;
    }
    const idle: Idle = {
      upstream: {
        stream,
        reader,
        key,
        reused: true,
        bound,
        watched: reader.peek(1).then(
          () => this.#woke(idle),
          () => this.#woke(idle),
        ),
      },
      since: this.#timers.now(),
      deadline: this.#timers.after(this.#idleMs, () => this.#dismiss(idle)),
      taken: false,
    };
    const list = this.#idle.get(key) ?? [];
    list.push(idle);
    this.#idle.set(key, list);
    this.#size++;
    const oldest = list.length > this.#limits.perKey ? list[0] : this.#size > this.#limits.inAll ? this.#oldest() : undefined;
    if (oldest !== undefined) this.#dismiss(oldest);
  }

  /** Drops everything at once, and whatever is put later. */
  close(): void {
    this.#closed = true;
    for (const list of [...this.#idle.values()]) {
      for (const idle of [...list]) {
        this.#remove(idle);
        abortQuietly(idle.upstream.stream, CLOSED);
      }
    }
  }

  /** FIN, reset or a byte out of turn. One that was taken meanwhile is its user's. */
  #woke(idle: Idle): void {
    if (idle.taken) return;
    this.#remove(idle);
    abortQuietly(idle.upstream.stream, new NetError('protocol', 'the origin spoke out of turn or left', { code: 'HTTP_IDLE_CLOSED' }));
  }

  #dismiss(idle: Idle): void {
    if (idle.taken) return;
    this.#remove(idle);
    const { stream, watched } = idle.upstream;
    const deadline = this.#timers.after(FAREWELL_MS, () =>
      abortQuietly(stream, new NetError('timeout', 'the origin did not close', { code: 'LINGER_TIMEOUT' })),
    );
    attempt(() => stream.closeWrite()).catch((error: unknown) => abortQuietly(stream, toNetError(error)));
    void watched.then(() => {
      deadline.cancel();
      abortQuietly(stream, new NetError('aborted', 'the connection was idle', { code: 'HTTP_IDLE_CLOSED' })); // nothing happens to one that has ended
    });
  }

  #remove(idle: Idle): void {
    idle.taken = true;
    idle.deadline.cancel();
    const { key } = idle.upstream;
    const list = (this.#idle.get(key) ?? []).filter((other) => other !== idle);
    if (list.length === 0) this.#idle.delete(key);
    else this.#idle.set(key, list);
    this.#size--;
  }

  /** Lists are in the order of time, and so are the keys' first entries to within the bound per key. */
  #oldest(): Idle | undefined {
    let oldest: Idle | undefined;
    for (const [first] of this.#idle.values()) if (first !== undefined && (oldest === undefined || first.since < oldest.since)) oldest = first;
    return oldest;
  }
}

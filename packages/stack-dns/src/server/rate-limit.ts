/** How many questions a client may ask: a bucket of tokens for each address. */

/** Clients that are remembered; a new one beyond takes the place of the one that was silent for longest. */
const MAX_CLIENTS = 4_096;
/** A bucket holds so many seconds of questions. */
const BURST = 2;

interface Bucket {
  tokens: number;
  at: number;
}

export class RateLimit {
  readonly #perSecond: number;
  readonly #clients = new Map<number | string, Bucket>();

  /** 0: no limit. */
  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  /** Whether this question may be answered. `client`: what stands for its address; `now` in ms. */
  take(client: number | string, now: number): boolean {
    if (this.#perSecond === 0) return true;
    const most = this.#perSecond * BURST;
    const bucket = this.#clients.get(client) ?? this.#enter(client, most, now);
    bucket.tokens = Math.min(most, bucket.tokens + ((now - bucket.at) / 1000) * this.#perSecond);
    bucket.at = now;
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }

  #enter(client: number | string, tokens: number, at: number): Bucket {
    if (this.#clients.size >= MAX_CLIENTS) this.#forget();
    const bucket = { tokens, at };
    this.#clients.set(client, bucket);
    return bucket;
  }

  /** A quarter of them, the silent first, so that this is done seldom. */
  #forget(): void {
    const byTime = [...this.#clients].sort(([, one], [, other]) => one.at - other.at);
    for (const [client] of byTime.slice(0, MAX_CLIENTS / 4)) this.#clients.delete(client);
  }
}

import { BoundedMap, type Clock, type Endpoint, EVENTS, type InboundContext, type NetError } from '@nekit/core';

/** A peer is told of no more often than this, in ms: who tries out a port does it many times. */
const AGAIN = 60_000;

/** Peers that are remembered. */
const MAX_PEERS = 1_024;

/** Tells of clients that failed, by `request.failed`: at most one event for each address in a minute. */
export class PeerReports {
  readonly #clock: Clock;
  /** When each was told of last; the oldest first. */
  readonly #told = new BoundedMap<string, number>(MAX_PEERS);

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  failed(source: Endpoint, { code, message }: NetError, context: InboundContext): void {
    const events = context.get(EVENTS);
    if (!events.wants('request.failed')) return;
    const now = this.#clock.now();
    const last = this.#told.get(source.host);
    if (last !== undefined && now - last < AGAIN) return;
    this.#told.delete(source.host);
    this.#told.set(source.host, now);
    events.emit('request.failed', { listener: context.name, source, code, message });
  }
}

import type { Adapter } from '../adapter/adapter.js';
import type { SharedBound } from '../net/bounded-map.js';
import { CancelSource } from '../net/cancel.js';
import type { Clock } from '../net/clock.js';
import type { NetError } from '../net/errors.js';
import type { Events, SessionSummary } from '../net/events.js';
import type { Session } from '../net/session.js';

/** How often `session.traffic` is told while somebody listens, in ms. */
const TRAFFIC_INTERVAL = 1_000;

/** Of all datagrams that wait for adapters, in bytes. */
const MOST_WAITING_BYTES = 32 * 1024 * 1024;

/** Peers of all UDP associations, of some 200 bytes each. */
const MOST_PEERS = 65_536;

/** Sessions whose counters share one array. Arrays are never moved: a relay thread may be writing to them. */
const BLOCK = 512;

/** Byte counters in flat arrays, two per session (up, down), so that a relay in any language writes them without a call. */
class CounterPool {
  /** What is free: arrays, and at the same index the slot in each. */
  readonly #arrays: Float64Array[] = [];
  readonly #slots: number[] = [];

  take(): { counters: Float64Array; slot: number } {
    if (this.#slots.length === 0) {
      const block = new Float64Array(BLOCK * 2);
      for (let slot = BLOCK * 2 - 2; slot >= 0; slot -= 2) this.give(block, slot);
    }
    const counters = this.#arrays.pop() ?? new Float64Array(2);
    const slot = this.#slots.pop() ?? 0;
    counters[slot] = 0;
    counters[slot + 1] = 0;
    return { counters, slot };
  }

  give(counters: Float64Array, slot: number): void {
    this.#arrays.push(counters);
    this.#slots.push(slot);
  }
}

/** A snapshot of one open session, for `kernel.sessions()`. */
export interface SessionInfo extends Omit<SessionSummary, 'error' | 'ms'> {
  readonly id: number;
  /** Wall clock, ms since the epoch. */
  readonly startedAt: number;
  readonly ms: number;
}

/** Everything a kernel knows of one open session. */
export class SessionRecord {
  /** Its id never changes; whoever learns more puts another one here before it is routed. */
  session: Session;
  /** The session's own signal: fires with the client's, or when this session is to be ended. */
  readonly cancel: CancelSource;
  readonly counters: Float64Array;
  readonly slot: number;
  readonly startedAt = Date.now();
  rule: string | null = null;
  adapter: Adapter | null = null;
  /** Runs when it ends. */
  onClose: (() => void) | null = null;
  readonly #table: SessionTable;
  readonly #begin: number;
  #chosen: Map<string, string> | null = null;
  #closed = false;

  constructor(session: Session, table: SessionTable, { counters, slot }: { counters: Float64Array; slot: number }, begin: number) {
    this.session = session;
    this.cancel = new CancelSource(session.signal);
    this.#table = table;
    this.counters = counters;
    this.slot = slot;
    this.#begin = begin;
  }

  /** A group on the way chose a member (DialOptions.chosen). */
  choose(group: string, member: string): void {
    this.#chosen ??= new Map();
    this.#chosen.set(group, member);
  }

  /** From the adapter that the rule named to the leaf. */
  chain(): string[] {
    const chain: string[] = [];
    for (let at: Adapter | undefined = this.adapter ?? undefined; at !== undefined && chain.length < 32; ) {
      chain.push(at.tag);
      const { members, now } = at;
      const chosen = this.#chosen?.get(at.tag);
      at = members?.find((member) => member.tag === chosen) ?? now?.();
    }
    return chain;
  }

  ms(now: number): number {
    return Math.round(now - this.#begin);
  }

  /** Once; later calls do nothing. */
  close(error: NetError | null): void {
    if (this.#closed) return;
    this.#closed = true;
    this.cancel.release();
    this.onClose?.();
    this.#table.closed(this, error);
    this.#table.counters.give(this.counters, this.slot);
  }
}

/** The open sessions of one kernel. */
export class SessionTable {
  readonly counters = new CounterPool();
  /** Datagrams that wait for a peer to be routed, or for an adapter that is being dialled, of all flows, in bytes. */
  readonly waiting: SharedBound = { now: 0, most: MOST_WAITING_BYTES };
  /** Peers that UDP associations remember. */
  readonly peers: SharedBound = { now: 0, most: MOST_PEERS };
  readonly #open = new Map<number, SessionRecord>();
  readonly #clock: Clock;
  readonly #events: Events;
  #nextId = 1;
  #whenEmpty: (() => void)[] = [];
  #stopTraffic: (() => void) | null = null;
  readonly #told = new Map<number, number>();

  constructor(clock: Clock, events: Events) {
    this.#clock = clock;
    this.#events = events;
  }

  get size(): number {
    return this.#open.size;
  }

  nextId(): number {
    return this.#nextId++;
  }

  open(session: Session): SessionRecord {
    const record = new SessionRecord(session, this, this.counters.take(), this.#clock.now());
    this.#open.set(session.id, record);
    if (this.#events.wants('request.received')) this.#events.emit('request.received', { session: session.id, details: session });
    if (this.#events.wants('session.opened')) this.#events.emit('session.opened', { session: session.id, details: session });
    if (this.#stopTraffic === null && this.#events.wants('session.traffic')) this.#tellTraffic();
    return record;
  }

  list(): SessionInfo[] {
    const now = this.#clock.now();
    return [...this.#open.values()].map((record) => ({ id: record.session.id, startedAt: record.startedAt, ...summary(record, now) }));
  }

  /** Ends one session, or all of them. */
  abort(reason: Error, id?: number): void {
    const records = id === undefined ? [...this.#open.values()] : [this.#open.get(id)];
    for (const record of records) record?.cancel.cancel(reason);
  }

  /** Settles when no session is open, now or later. */
  empty(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenEmpty.push(resolve));
  }

  /** @internal a record closed itself */
  closed(record: SessionRecord, error: NetError | null): void {
    this.#open.delete(record.session.id);
    this.#told.delete(record.session.id);
    if (this.#events.wants('session.closed')) {
      const failed = error === null ? null : { code: error.code, failure: error.failure, message: error.message };
      this.#events.emit('session.closed', { session: record.session.id, ...summary(record, this.#clock.now()), error: failed });
    }
    if (this.#open.size > 0) return;
    this.#stopTraffic?.();
    this.#stopTraffic = null;
    const waiting = this.#whenEmpty;
    this.#whenEmpty = [];
    for (const resolve of waiting) resolve();
  }

  #tellTraffic(): void {
    this.#stopTraffic = this.#clock.after(TRAFFIC_INTERVAL, () => {
      this.#stopTraffic = null;
      if (!this.#events.wants('session.traffic') || this.#open.size === 0) return;
      this.#tellTraffic();
      for (const [id, { counters, slot }] of this.#open) {
        const up = counters[slot] ?? 0;
        const down = counters[slot + 1] ?? 0;
        if ((this.#told.get(id) ?? 0) === up + down) continue;
        this.#told.set(id, up + down);
        this.#events.emit('session.traffic', { session: id, up, down });
      }
    });
  }
}

function summary(record: SessionRecord, now: number): Omit<SessionInfo, 'id' | 'startedAt'> {
  const { session, counters, slot } = record;
  const chain = record.chain();
  return {
    network: session.network,
    inbound: session.inbound,
    inboundType: session.inboundType,
    source: session.source,
    destination: session.destination,
    sniffed: session.sniffed ?? null,
    user: session.user ?? null,
    rule: record.rule,
    adapter: chain.at(-1) ?? null,
    chain: chain.slice(0, -1),
    up: counters[slot] ?? 0,
    down: counters[slot + 1] ?? 0,
    ms: record.ms(now),
  };
}

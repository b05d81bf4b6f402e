import { FLAG } from '@nekit/core/ip';
import type { Connection } from './connection.js';
import { COUNT } from './counters.js';
import type { TcpEnvironment } from './environment.js';
import { FLOW, Flow, type FlowTable } from './flow.js';
import type { Segment } from './segment.js';
import { before, distance } from './sequence.js';

/** What is left of a connection that we closed first: so much that late segments find an answer. Read first: RFC 9293 section 3.10.7.4, RFC 6191 (reuse). */
export class Resting extends Flow {
  readonly kind = FLOW.timeWait;
  readonly sndNxt: number;
  readonly rcvNxt: number;
  readonly window: number;
  readonly hasTimestamps: boolean;
  readonly timestampOffset: number;
  readonly tsRecent: number;
  expiresAt: number;
  answeredAt: number;

  constructor(c: Connection, now: number, expiresAt: number) {
    super(c);
    this.sndNxt = c.sndNxt;
    this.rcvNxt = c.rcvNxt;
    this.window = Math.min(0xffff, Math.max(0, distance(c.rcvNxt, c.rcvEdge)) >> c.rcvScale);
    this.hasTimestamps = c.hasTimestamps;
    this.timestampOffset = c.timestampOffset;
    this.tsRecent = c.tsRecent;
    this.expiresAt = expiresAt;
    this.answeredAt = (now - ANSWER_MS) | 0;
  }
}

/** Answers to one tuple at rest, at most so often, in ms. */
const ANSWER_MS = 500;

export class TimeWait {
  readonly #env: TcpEnvironment;
  readonly #table: FlowTable;
  /** The oldest first: all of them wait equally long. */
  readonly #resting = new Set<Resting>();

  constructor(env: TcpEnvironment, table: FlowTable) {
    this.#env = env;
    this.#table = table;
  }

  get size(): number {
    return this.#resting.size;
  }

  /** The connection has ended; its place in the table is taken by what remembers it. */
  add(c: Connection, now: number): void {
    const { maxTimeWait, timeWaitMs } = this.#env.settings;
    for (const oldest of this.#resting) {
      if (this.#resting.size < maxTimeWait) break;
      this.delete(oldest);
      this.#env.count(COUNT.evictedTimeWait);
    }
    const resting = new Resting(c, now, (now + timeWaitMs) | 0);
    this.#table.add(resting);
    this.#resting.add(resting);
  }

  delete(resting: Resting): void {
    this.#table.delete(resting);
    this.#resting.delete(resting);
  }

  /** A segment for a tuple at rest. true: it is a SYN that may begin a new connection; if it does, the tuple is to be deleted. */
  arrive(resting: Resting, s: Segment, now: number): boolean {
    if (s.has(FLAG.rst)) {
      if (s.sequence === resting.rcvNxt) this.delete(resting);
      else this.#env.count(COUNT.dropReset);
      return false;
    }
    if (s.has(FLAG.syn) && !s.has(FLAG.ack) && isNewer(resting, s)) return true;
    if (s.has(FLAG.fin) && ((s.sequence + s.length + 1) | 0) === resting.rcvNxt) {
      // Its FIN again: our ACK was lost, and the wait begins anew.
      resting.expiresAt = (now + this.#env.settings.timeWaitMs) | 0;
      this.#resting.delete(resting);
      this.#resting.add(resting);
    } else if (s.sequence === resting.rcvNxt && s.length === 0 && (s.flags & (FLAG.syn | FLAG.fin)) === 0) return false;
    this.#answer(resting, now);
    return false;
  }

  /** Forgets what has rested long enough. */
  expire(now: number): void {
    for (const oldest of this.#resting) {
      if (before(now, oldest.expiresAt)) return;
      this.delete(oldest);
    }
  }

  /** When the oldest may be forgotten; only while there is one. */
  get nextExpiry(): number {
    for (const oldest of this.#resting) return oldest.expiresAt;
    return 0;
  }

  clear(): void {
    for (const resting of this.#resting) this.delete(resting);
  }

  #answer(resting: Resting, now: number): void {
    if (distance(resting.answeredAt, now) < ANSWER_MS) return;
    resting.answeredAt = now;
    const { replies } = this.#env;
    const isTaken = resting.hasTimestamps
      ? replies.acknowledge(resting, resting.sndNxt, resting.rcvNxt, resting.window, (now + resting.timestampOffset) | 0, resting.tsRecent)
      : replies.segment(resting, resting.sndNxt, resting.rcvNxt, FLAG.ack, resting.window);
    if (!isTaken) this.#env.count(COUNT.dropReply);
  }
}

/** RFC 6191: by timestamp where both have one, else by sequence number. */
function isNewer(resting: Resting, s: Segment): boolean {
  if (resting.hasTimestamps && s.hasTimestamps && s.timestamp !== resting.tsRecent) return before(resting.tsRecent, s.timestamp);
  return before(resting.rcvNxt, s.sequence) || s.sequence === resting.rcvNxt;
}

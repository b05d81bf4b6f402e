// Read first: SIP022 section 3.2.4.
import { REPLAYABLE } from './main-header.js';
import { SlidingWindow } from './sliding-window.js';

/**
 * Sessions of one generation that have ended and are remembered; there are two, so that each is known for `REPLAYABLE` at least. One costs about 100 bytes, and 262,144
 * in 64 s are 4,096 in every second. To forget one early would let it be played back: new ones are refused instead.
 */
const MAX_ENDED = 262_144;

/** So many users it takes to fill it: one alone gets no more than its part, and locks out nobody but itself. */
const USERS_TO_FILL = 4;

/** A session, as whoever opens its packets has it. */
export interface SeenSession {
  /** Stands for the user's key: indices change with a reload. */
  readonly user: string;
  readonly id: string;
  readonly window: SlidingWindow;
}

interface Held {
  readonly session: SeenSession;
  /** Listeners at which it is open. */
  holders: number;
}

/** What was seen of the sessions of one method and key, while they are open and after their ends, at all listeners that have the key. */
export class SeenSessions {
  readonly #now: () => number;
  readonly #limit: number;
  readonly #held = new Map<string, Held>();
  #newer = new Generation();
  #older = new Generation();
  #began: number;

  /** `now`: ms of a clock that never goes back. */
  constructor(now: () => number, limit = MAX_ENDED) {
    this.#now = now;
    this.#limit = limit;
    this.#began = now();
  }

  /** Sessions that have ended and are remembered. */
  get ended(): number {
    return this.#newer.size + this.#older.size;
  }

  /**
   * A session that begins, is open at another listener, or goes on after its end: what was seen of it is still refused. null: too many have ended to remember one more.
   * `users`: how many share the room.
   */
  find(user: string, id: string, users: number): SeenSession | null {
    const held = this.#held.get(user + id);
    if (held !== undefined) return held.session;
    this.#turn();
    const newer = this.#newer.lastOf(user, id);
    if (newer === undefined && this.#isFull(user, users)) return null;
    const last = newer ?? this.#older.lastOf(user, id);
    return { user, id, window: last === undefined ? new SlidingWindow() : SlidingWindow.after(last) };
  }

  /** It is open at one more listener. */
  hold(session: SeenSession): void {
    const name = session.user + session.id;
    const held = this.#held.get(name);
    if (held === undefined) this.#held.set(name, { session, holders: 1 });
    else held.holders++;
  }

  /** It has ended at one. */
  release({ user, id, window }: SeenSession): void {
    const held = this.#held.get(user + id);
    if (held === undefined || --held.holders > 0) return;
    this.#held.delete(user + id);
    this.#turn();
    this.#newer.set(user, id, window.last);
  }

  /** Where the room is full a user still has an equal part of it, so all that is remembered is twice as much at most, and what was open when it filled. */
  #isFull(user: string, users: number): boolean {
    const own = this.#newer.countOf(user);
    return own >= this.#limit / Math.min(users, USERS_TO_FILL) || (this.#newer.size >= this.#limit && own >= this.#limit / users);
  }

  #turn(): void {
    const now = this.#now();
    const age = now - this.#began;
    if (age < REPLAYABLE) return;
    this.#older = age < 2 * REPLAYABLE ? this.#newer : new Generation();
    this.#newer = new Generation();
    this.#began = now;
  }
}

/**
 * The last packet id of each session, by user. All up to it are refused: a window would tell late packets from repeated ones, but has 1 KiB, and hardly any come late
 * when a session has ended.
 */
class Generation {
  readonly #users = new Map<string, Map<string, number>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  countOf(user: string): number {
    return this.#users.get(user)?.size ?? 0;
  }

  lastOf(user: string, id: string): number | undefined {
    return this.#users.get(user)?.get(id);
  }

  set(user: string, id: string, last: number): void {
    let sessions = this.#users.get(user);
    if (sessions === undefined) {
      sessions = new Map();
      this.#users.set(user, sessions);
    }
    if (!sessions.has(id)) this.#size++;
    sessions.set(id, last);
  }
}

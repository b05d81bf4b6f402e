import type { Connection } from './connection.js';
import { distance } from './sequence.js';

/** So long nobody else has moved much who is alone, in ms. */
const ALONE_MS = 500;

/** Whether connections that move much at once take turns. Times are int32 ms. */
export class BulkTurns {
  /** Who did so last, and when. */
  #last: Connection | null = null;
  #lastAt = 0;
  /** Whether they took turns, and when they did last. */
  #isShared = false;
  #sharedAt = 0;

  /** The connection moves much now. Whether no other has done so of late. */
  isAlone(connection: Connection, now: number): boolean {
    if (this.#last !== connection) {
      if (this.#last !== null && isRecent(this.#lastAt, now)) this.#isShared = true;
      if (this.#isShared) this.#sharedAt = now;
      this.#last = connection;
    }
    this.#lastAt = now;
    if (this.#isShared && !isRecent(this.#sharedAt, now)) this.#isShared = false;
    return !this.#isShared;
  }

  /** It has ended. */
  delete(connection: Connection): void {
    if (this.#last === connection) this.#last = null;
  }
}

/** Less than ALONE_MS ago; the clock begins anew every 49.7 days. */
function isRecent(at: number, now: number): boolean {
  const ago = distance(at, now);
  return ago >= 0 && ago < ALONE_MS;
}

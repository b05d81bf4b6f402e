import type { Connection } from './connection.js';
import type { Timers } from './timers.js';

/** What the owner of a connection needs of the stack. */
export interface ConnectionHost {
  /** Int32 milliseconds. */
  readonly now: number;
  readonly timers: Timers;
  /** What this flush may still take out of sockets, in bytes, all connections together. */
  flushRoom: number;
  /** The connection moves much at once. Whether no other has done so of late. */
  isAlone(connection: Connection): boolean;
  /** `flush` is to look at the connection, in this turn. */
  wake(connection: Connection): void;
  /** It wants to write, has nothing under way, and the arena is full: look at it again when memory has come back. */
  starve(connection: Connection): void;
}

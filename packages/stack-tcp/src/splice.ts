/**
 * A client's connection and a kernel socket, joined: bytes go from the packet, or the ring, to the socket by `send`, and from the socket to the ring by `receive`. No promise and
 * no copy in between; a full socket closes the client's window, a full ring leaves the rest in the socket.
 */
import {
  type Cancel,
  type CancelListener,
  type Chunks,
  type NativeConn,
  type NativeConnListener,
  NetError,
  type RelayOptions,
  type Totals,
  toNetError,
} from '@nekit/core';
import { type Connection, FAILURE, type Owner } from './connection.js';
import { errorOf } from './errors.js';
import type { ConnectionHost } from './host.js';
import { distance } from './sequence.js';
import type { Timed } from './timers.js';

/** So many bytes at once are left in the socket. */
const HELD = 128 * 1024;

export class Splice implements Owner, CancelListener, NativeConnListener, Timed {
  timerAt = 0;
  timerSlot = -1;
  readonly #stack: ConnectionHost;
  readonly #connection: Connection;
  readonly #remote: NativeConn;
  readonly #signal: Cancel;
  readonly #counters: Float64Array;
  readonly #slot: number;
  readonly #halfCloseMs: number;
  readonly #resolve: (totals: Totals) => void;
  /** Goes to the remote first. */
  #unread: Chunks | null;
  /** The socket has taken less than it was offered. */
  #isFull = false;
  #isReadable = true;
  #isUpDone = false;
  #isDownDone = false;
  #isOver = false;
  /** Much came at once. */
  #isMuch = false;
  #silenceMs: number;
  /** Int32 ms: when a byte last moved, or the client last acknowledged some. */
  #movedAt: number;
  #acknowledged: number;
  /** In the socket, when silence was last too long; -1: it was not. */
  #unsent = -1;

  constructor(
    stack: ConnectionHost,
    connection: Connection,
    remote: NativeConn,
    options: RelayOptions,
    unread: Chunks | null,
    resolve: (totals: Totals) => void,
  ) {
    this.#stack = stack;
    this.#connection = connection;
    this.#remote = remote;
    this.#signal = options.signal;
    this.#counters = options.counters;
    this.#slot = options.slot;
    this.#halfCloseMs = options.halfCloseMs;
    this.#unread = unread;
    this.#resolve = resolve;
    this.#silenceMs = options.idleMs;
    this.#movedAt = stack.now;
    this.#acknowledged = connection.send.start;
  }

  get takesAtOnce(): boolean {
    return !this.#isFull && this.#unread === null && !this.#isOver;
  }

  begin(): void {
    this.#connection.owner = this;
    this.#isDownDone = this.#connection.isFinQueued; // nothing can follow
    this.#stack.timers.set(this, (this.#movedAt + this.#silenceMs) | 0);
    this.#remote.listener = this;
    this.#signal.add(this);
    this.#stack.wake(this.#connection);
  }

  take(bytes: Uint8Array, start: number, end: number): number {
    // A short segment in front is sent by itself: to gather all that follows it costs a copy of each byte.
    this.#sendReadable(this.#stack.now);
    if (this.#isFull || this.#isOver) return 0;
    const taken = this.#remote.send(bytes, start, end);
    if (taken < end - start) this.#isFull = true;
    if (taken > 0) this.#moved(this.#slot, taken, this.#stack.now);
    return taken;
  }

  serve(now: number): void {
    const c = this.#connection;
    if (this.#isOver) return;
    if (c.failure !== FAILURE.none) {
      this.#end(errorOf(c));
      return;
    }
    if (c.send.start !== this.#acknowledged) {
      this.#acknowledged = c.send.start;
      c.send.release();
      if (this.#hasEnded()) return;
      this.#movedAt = now;
    }
    this.#up(c, now);
    if (!this.#hasEnded()) this.#down(c, now);
    if (!this.#hasEnded() && this.#isUpDone && this.#isDownDone) this.#end(null);
  }

  /** The relay's signal. */
  cancelled(reason: Error): void {
    this.#end(toNetError(reason));
  }

  /** The time of silence may be up. */
  due(now: number): void {
    if (this.#isOver) return;
    const silence = distance(this.#movedAt, now);
    if (silence < this.#silenceMs) {
      this.#unsent = -1;
      this.#stack.timers.set(this, (this.#movedAt + this.#silenceMs) | 0);
      return;
    }
    // A slow reader may still take what the socket has long taken over.
    const { unsent = 0 } = this.#remote;
    const isFirst = this.#unsent === -1 && unsent > 0;
    if (isFirst || unsent < this.#unsent) {
      this.#unsent = unsent;
      if (!isFirst) this.#movedAt = now;
      this.#stack.timers.set(this, (now + (isFirst ? this.#silenceMs / 2 : this.#silenceMs)) | 0);
      return;
    }
    this.#end(new NetError('timeout', `no byte for ${this.#silenceMs / 1_000} s`, { code: 'IDLE_TIMEOUT' }));
  }

  readable(): void {
    if (this.#isReadable) return; // it waits for room, or for its turn
    this.#isReadable = true;
    this.#stack.wake(this.#connection);
  }

  writable(): void {
    this.#isFull = false;
    this.#stack.wake(this.#connection);
  }

  closed(error: NetError | null): void {
    if (error !== null) this.#end(error);
  }

  /** A call, because a call of the socket may have ended it. */
  #hasEnded(): boolean {
    return this.#isOver;
  }

  #up(c: Connection, now: number): void {
    const { receive } = c;
    if (this.#unread !== null && !this.#sendUnread(now)) return;
    this.#sendReadable(now);
    if (this.#hasEnded()) return;
    if (c.isFinReceived && receive.readable === 0 && !this.#isUpDone) {
      if (this.#remote.pending > 0) {
        this.#isFull = true; // half of it is closed when they are in the kernel, not before
        return;
      }
      this.#isUpDone = true;
      this.#remote.closeWrite();
      this.#halfClosed(now);
    }
  }

  #sendReadable(now: number): void {
    const { receive } = this.#connection;
    while (!this.#isFull && receive.readable > 0) {
      const { offset, run } = receive;
      const taken = this.#remote.send(receive.bytes, offset, offset + run);
      if (taken < run) this.#isFull = true;
      if (this.#hasEnded()) return;
      if (taken > 0) {
        this.#connection.consumed(taken, now);
        this.#moved(this.#slot, taken, now);
      }
    }
  }

  #sendUnread(now: number): boolean {
    while (this.#unread !== null && !this.#isFull) {
      const [first, ...rest] = this.#unread;
      if (first === undefined) {
        this.#unread = null;
        break;
      }
      const taken = this.#remote.send(first, 0, first.length);
      if (this.#hasEnded()) return false;
      this.#moved(this.#slot, taken, now);
      if (taken < first.length) this.#isFull = true;
      this.#unread = taken < first.length ? [first.subarray(taken), ...rest] : rest;
    }
    return this.#unread === null;
  }

  #down(c: Connection, now: number): void {
    const { send } = c;
    // As much as there is room for: with less at a time, the sender is told more often, which is what costs most.
    while (this.#isReadable && !this.#isDownDone) {
      const left = this.#stack.flushRoom;
      if (left <= 0 && c.sendRoom > 0) {
        this.#stack.wake(c);
        break;
      }
      const room = c.sendRoom === 0 ? 0 : send.room(Math.min(left, c.sendRoom), c.sendLimit);
      if (room === 0) {
        if (send.length === 0) this.#stack.starve(c);
        break;
      }
      const held = this.#hold(c, Math.min(left, c.sendRoom));
      if (this.#hasEnded()) return;
      const offset = send.tailOffset;
      const got = held >= 0 ? held : this.#remote.receive(send.bytes, offset, offset + room);
      if (this.#hasEnded()) return;
      if (got > 0) {
        if (held < 0) {
          send.commit(got);
          this.#isMuch = got >= HELD && this.#stack.isAlone(c);
        }
        this.#moved(this.#slot + 1, got, now);
        this.#stack.flushRoom -= got;
      } else {
        this.#isReadable = false;
        if (got < 0) {
          this.#isDownDone = true;
          c.finish();
          this.#halfClosed(now);
        }
      }
    }
    send.releaseIfEmpty();
  }

  /**
   * Leaves bytes in the socket, where there are many: how many; 0: none wait; -1: they have to be received. It is worth it where one connection has the device to itself: no ring passes through
   * the processor's cache besides what is copied (bench/README.md).
   */
  #hold(c: Connection, most: number): number {
    const { send } = c;
    const held = this.#isMuch && c.takesLarge && c.env.sink.lendFrom !== undefined ? (this.#remote.held ?? null) : null;
    const ahead = held === null ? -1 : held.ahead(send.heldLength);
    if (held !== null && (send.held === null ? ahead >= HELD : ahead >= 0) && this.#stack.isAlone(c))
      return ahead === 0 ? 0 : send.hold(held, Math.min(ahead, most), c.sendLimit);
    this.#isMuch = false;
    return send.fill() ? -1 : 0;
  }

  #moved(slot: number, bytes: number, now: number): void {
    this.#counters[slot] = (this.#counters[slot] ?? 0) + bytes;
    this.#movedAt = now;
    this.#unsent = -1;
  }

  #halfClosed(now: number): void {
    this.#silenceMs = this.#halfCloseMs;
    this.#movedAt = now;
    this.#unsent = -1;
    this.#stack.timers.delete(this);
    this.#stack.timers.set(this, (now + this.#silenceMs) | 0);
  }

  /** With an error both ends are cut off. */
  #end(error: NetError | null): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const c = this.#connection;
    this.#stack.timers.delete(this);
    this.#signal.remove(this);
    this.#remote.listener = null;
    if (c.owner === this) c.owner = null;
    if (error !== null) {
      this.#remote.abort(error);
      c.abort(FAILURE.aborted); // of one that has ended, too: what nobody has taken is nobody's now
      this.#stack.wake(c);
    }
    this.#resolve({ up: this.#counters[this.#slot] ?? 0, down: this.#counters[this.#slot + 1] ?? 0, error });
  }
}

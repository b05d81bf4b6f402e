import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { CancelListener } from '../net/cancel.js';
import { NetError, toNetError } from '../net/errors.js';
import type { Chunks, HeldBytes, NativeConn, NativeConnListener, RelayOptions, Totals } from '../net/stream.js';
import { EVENT, RELAY_END } from './addon.js';
import type { EngineLoop, Listening } from './engine-loop.js';
import { EAGAIN, ECONNRESET, EOPNOTSUPP, streamError } from './errno.js';
import { parseSealedError } from './sealed-error.js';

interface Given {
  /** In front of what comes. */
  readonly unread: Chunks;
  readonly ended: boolean;
  readonly finSent: boolean;
  readonly onClose: () => void;
}

const NOTHING = (): void => {};

/** A socket of the engine that was given away: for a relay, or for who moves its bytes himself. */
export class EngineConn implements NativeConn, HeldBytes, Listening {
  readonly id: number;
  /** Of the first byte in the socket, counted from when this listened to it. */
  position = 0;
  readonly #loop: EngineLoop;
  readonly #onClosed: () => void;
  #mayHold = true;
  #listener: NativeConnListener | null = null;
  /** What it has failed with. */
  #error: NetError | null = null;
  #unread: Uint8Array;
  #socket: Socket | null = null;
  #relay: EngineRelay | null = null;
  #sealed = false;
  #closed = false;
  #edge = false;
  #finSeen: boolean;
  #finSent: boolean;
  /** A FIN waits until what goes before it is in the kernel. */
  #finDue = false;

  constructor(loop: EngineLoop, id: number, given: Given) {
    this.id = id;
    this.#loop = loop;
    this.#onClosed = given.onClose;
    this.#unread = given.unread.length === 0 ? NO_BYTES : Buffer.concat(given.unread);
    this.#finSeen = given.ended;
    this.#finSent = given.finSent;
    loop.conns.add(this);
  }

  /** Of a conn with a codec; the others leave nothing pending. */
  get pending(): number {
    return this.#sealed && !this.#closed ? Math.max(0, this.#loop.engine.pending(this.id)) : 0;
  }

  get unsent(): number {
    return this.#closed ? 0 : Math.max(0, this.#loop.engine.unsent(this.id));
  }

  get listener(): NativeConnListener | null {
    return this.#listener;
  }

  /** It may have failed before anybody listened: then it is told now. */
  set listener(listener: NativeConnListener | null) {
    this.#listener = listener;
    if (listener === null) return;
    this.#listen();
    const error = this.#error;
    if (error !== null) queueMicrotask(() => listener.closed(error));
  }

  relay(other: NativeConn, options: RelayOptions): Promise<Totals> | null {
    if (!(other instanceof EngineConn) || other.#loop !== this.#loop) return null;
    const failed = this.#error ?? other.#error;
    if (failed !== null) {
      this.abort(failed);
      other.abort(failed);
      return Promise.resolve({ up: 0, down: 0, error: failed });
    }
    const { counters, slot, idleMs, halfCloseMs } = options;
    const { engine } = this.#loop;
    const id = engine.relay(this.id, other.id, idleMs, halfCloseMs, this.#loop.countersOf(counters), slot);
    if (id < 0) {
      const error = streamError(-id);
      this.abort(error);
      other.abort(error);
      return Promise.resolve({ up: 0, down: 0, error });
    }
    if (this.#unread.length > 0) engine.prepend(id, true, this.#unread, 0, this.#unread.length);
    if (other.#unread.length > 0) engine.prepend(id, false, other.#unread, 0, other.#unread.length);
    this.#leave();
    other.#leave();
    return new Promise((resolve) => {
      const relay = new EngineRelay(this.#loop, id, options, resolve, this.#onClosed, other.#onClosed);
      this.#relay = relay;
      other.#relay = relay;
    });
  }

  send(bytes: Uint8Array, start: number, end: number): number {
    if (this.#closed || this.#finSent || this.#finDue) return 0;
    const put = this.#loop.engine.write(this.id, bytes, start, end);
    if (put >= 0) return put;
    this.#fail(-put);
    return 0;
  }

  receive(bytes: Uint8Array, start: number, end: number): number {
    if (start === end) return 0;
    if (this.#unread.length > 0) {
      const length = Math.min(end - start, this.#unread.length);
      bytes.set(this.#unread.subarray(0, length), start);
      this.#unread = this.#unread.subarray(length);
      return length;
    }
    if (this.#finSeen) return -1;
    if (this.#closed) return 0;
    this.#listen();
    const got = this.#loop.engine.read(this.id, bytes, start, end);
    if (got > 0) {
      this.position = (this.position + got) >>> 0;
      return got;
    }
    if (got === 0) {
      this.#finSeen = true;
      this.#endIfDone();
      return -1;
    }
    if (got !== -EAGAIN) this.#fail(-got);
    return 0;
  }

  get held(): HeldBytes | null {
    return this.#unread.length > 0 || this.#sealed || this.#finSeen || this.#closed || !this.#mayHold ? null : this;
  }

  get engine(): object {
    return this.#loop.engine;
  }

  ahead(count: number): number {
    if (this.#closed) return 0;
    this.#listen();
    const more = this.#loop.engine.ahead(this.id, count);
    if (more > 0) return more;
    if (more === -EAGAIN) return 0;
    if (more === -EOPNOTSUPP) this.#mayHold = false;
    return -1;
  }

  skip(count: number): void {
    if (this.#closed) return;
    const skipped = this.#loop.engine.skip(this.id, count);
    if (skipped === count) this.position = (this.position + count) >>> 0;
    else this.#fail(skipped < 0 ? -skipped : ECONNRESET);
  }

  closeWrite(): void {
    if (this.#closed || this.#finSent) return;
    const done = this.#loop.engine.shutdown(this.id);
    this.#finDue = done === -EAGAIN;
    if (this.#finDue) return;
    this.#finSent = true;
    if (done < 0) this.#fail(-done);
    else this.#endIfDone();
  }

  useCodec(codec: object, opened: Chunks = []): boolean {
    if (this.#closed || this.#sealed || this.#edge || this.#unread.length > 0) return false;
    this.#sealed = this.#loop.engine.setCodec(this.id, codec);
    if (this.#sealed && opened.length > 0) this.#unread = Buffer.concat(opened);
    return this.#sealed;
  }

  abort(reason: Error): void {
    if (this.#socket !== null) this.#socket.destroy(toNetError(reason));
    else if (this.#relay !== null) this.#relay.cancelled(reason);
    else this.#cut(toNetError(reason));
  }

  toSocket(): Socket | null {
    if (this.#sealed) return null;
    const fd = this.#closed ? -1 : this.#loop.engine.detach(this.id);
    if (fd < 0) throw streamError(-fd);
    this.#leave();
    const socket = socketOf(fd);
    this.#socket = socket;
    socket.on('error', NOTHING); // its user listens too; nobody may have begun yet
    socket.once('close', this.#onClosed);
    if (this.#unread.length > 0) socket.unshift(this.#unread);
    return socket;
  }

  heard(kind: number, a: number, b: number): void {
    if (kind === EVENT.data) this.#ahead(a, b);
    else if (kind === EVENT.readable) this.#listener?.readable();
    else if (kind === EVENT.writable && this.#finDue) this.closeWrite();
    else if (kind === EVENT.writable) this.#listener?.writable();
    else if (kind === EVENT.failed) this.#fail(a);
  }

  /** The answer to a read that the stream had begun by itself before it was detached. */
  #ahead(start: number, length: number): void {
    if (length === 0) {
      this.#finSeen = true;
      this.#endIfDone();
    } else this.#unread = Buffer.concat([this.#unread, this.#loop.copy(this.#loop.slab, start, length)]);
    this.#listener?.readable();
  }

  #listen(): void {
    if (this.#edge || this.#closed) return;
    this.#edge = true;
    this.#loop.engine.setEdge(this.id);
  }

  #endIfDone(): void {
    if (!this.#finSeen || !this.#finSent || this.#closed) return;
    this.#close(false);
    this.#listener?.closed(null);
  }

  #fail(errno: number): void {
    if (this.#closed) return;
    const why = this.#sealed ? this.#loop.engine.whyConnFailed(this.id, errno) : '';
    this.#cut(why === '' ? streamError(errno) : parseSealedError(why));
  }

  /** Whoever moves its bytes is told, also where somebody else has aborted it. */
  #cut(error: NetError): void {
    if (this.#closed) return;
    this.#error = error;
    this.#close(true);
    this.#listener?.closed(error);
  }

  #close(reset: boolean): void {
    if (this.#closed) return;
    this.#leave();
    this.#loop.engine.close(this.id, reset);
    this.#onClosed();
  }

  /** The id is no longer ours to hear of. */
  #leave(): void {
    this.#closed = true;
    this.#loop.conns.delete(this.id);
  }
}

const NO_BYTES = new Uint8Array(0);

/** Nobody else would close the descriptor. */
function socketOf(fd: number): Socket {
  try {
    return new Socket({ fd, allowHalfOpen: true });
  } catch (error) {
    closeSync(fd);
    throw toNetError(error);
  }
}

/** A relay that runs in the engine. */
class EngineRelay implements Listening, CancelListener {
  readonly id: number;
  readonly #loop: EngineLoop;
  readonly #options: RelayOptions;
  readonly #resolve: (totals: Totals) => void;
  readonly #closedA: () => void;
  readonly #closedB: () => void;
  #reason: NetError | null = null;
  #ended = false;

  constructor(loop: EngineLoop, id: number, options: RelayOptions, resolve: (totals: Totals) => void, closedA: () => void, closedB: () => void) {
    this.id = id;
    this.#loop = loop;
    this.#options = options;
    this.#resolve = resolve;
    this.#closedA = closedA;
    this.#closedB = closedB;
    loop.relays.add(this);
    options.signal.add(this);
  }

  /** By its signal, or by who has kept one of its ends. */
  cancelled(reason: Error): void {
    if (this.#ended) return;
    this.#reason ??= toNetError(reason);
    this.#loop.engine.abortRelay(this.id);
  }

  heard(_kind: number, reason: number): void {
    const { counters, slot, signal } = this.#options;
    this.#ended = true;
    this.#loop.relays.delete(this.id);
    signal.remove(this);
    this.#resolve({ up: counters[slot] ?? 0, down: counters[slot + 1] ?? 0, error: this.#errorOf(reason) });
    // Who waits for the relay has its end before the connections' own.
    this.#loop.later(this.#closedA);
    this.#loop.later(this.#closedB);
  }

  #errorOf(reason: number): NetError | null {
    const { idleMs, halfCloseMs } = this.#options;
    if (reason === 0) return null;
    if (reason === RELAY_END.idle) return silence(idleMs);
    if (reason === RELAY_END.halfClose) return silence(halfCloseMs);
    if (reason === RELAY_END.sealed) return parseSealedError(this.#loop.engine.whyRelayEnded(this.id));
    if (reason < 0) return this.#reason ?? new NetError('aborted', 'the relay was aborted', { code: 'ABORTED' });
    return streamError(reason);
  }
}

function silence(ms: number): NetError {
  return new NetError('timeout', `no byte for ${ms / 1000} s`, { code: 'IDLE_TIMEOUT' });
}

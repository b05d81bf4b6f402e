import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { TLSSocket } from 'node:tls';
import { NetError, toNetError } from './errors.js';
import { byteLength, type Chunks, type Stream } from './stream.js';

/**
 * What is read ahead before the socket is paused, in bytes: one chunk of libuv's. More does not make a pump faster, but keeps more memory
 * young and busy, and 5,000 stalled connections must stay bounded.
 */
const READ_AHEAD = 64 * 1024;

const DONE: Promise<void> = Promise.resolve();
const NOTHING = (): void => {};

/**
 * A connected `net.Socket` or `tls.TLSSocket` as a Stream. It must have been made with `allowHalfOpen: true`, and belongs to the
 * stream from here on. `onAbort` runs once, if the peer resets it or it fails; not after FIN from both sides. `onClose` runs once, when the
 * socket is closed, however it came to that.
 */
export function streamFromSocket(socket: Socket, onAbort: (error: NetError) => void = NOTHING, onClose: () => void = NOTHING): Stream {
  return new SocketStream(socket, onAbort, onClose);
}

class SocketStream implements Stream {
  readonly #socket: Socket;
  #onAbort: (error: NetError) => void;
  #onClose: () => void;
  #queue: Uint8Array[] = [];
  #queued = 0;
  #paused = false;
  #ended = false;
  /** It was reset, which is told behind the bytes that came before. */
  #cut = false;
  #error: NetError | null = null;
  #reader: { resolve(chunks: Chunks | null): void; reject(error: NetError): void } | null = null;
  #writer: { resolve(): void; reject(error: NetError): void } | null = null;
  #finishing: Promise<void> | null = null;
  #finisher: { resolve(): void; reject(error: NetError): void } | null = null;
  #finSent = false;
  #drains = false;

  constructor(socket: Socket, onAbort: (error: NetError) => void, onClose: () => void) {
    this.#socket = socket;
    this.#onAbort = onAbort;
    this.#onClose = onClose;
    socket.on('data', (chunk: Uint8Array) => this.#received(chunk));
    socket.on('end', () => this.#endRead());
    socket.on('error', (error) => this.#fail(toNetError(error)));
    socket.on('close', () => this.#closed());
    if (socket.destroyed) this.#closed(); // its 'close' may have come already
  }

  read(): Promise<Chunks | null> {
    if (this.#queued > 0) {
      const chunks = this.#queue;
      this.#queue = [];
      this.#queued = 0;
      if (this.#paused) {
        this.#paused = false;
        this.#socket.resume();
      }
      return Promise.resolve(chunks);
    }
    if (this.#cut) this.#fail(cutOff());
    if (this.#error !== null) return Promise.reject(this.#error);
    if (this.#ended) return Promise.resolve(null);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  unread(chunks: Chunks): void {
    this.#queue.unshift(...chunks);
    this.#queued += byteLength(chunks);
  }

  stopReading(): void {
    const reader = this.#reader;
    this.#reader = null;
    reader?.resolve([]);
  }

  write(chunks: Chunks): Promise<void> {
    if (this.#error !== null) return Promise.reject(this.#error);
    const socket = this.#socket;
    let more = true;
    if (chunks.length === 1) {
      const only = chunks[0];
      if (only !== undefined) more = socket.write(only);
    } else {
      socket.cork();
      for (const chunk of chunks) more = socket.write(chunk);
      socket.uncork();
    }
    if (more) return DONE;
    if (!this.#drains) {
      this.#drains = true; // most sockets never fill up, and each listener has its price
      socket.on('drain', () => this.#drained());
    }
    return new Promise((resolve, reject) => {
      this.#writer = { resolve, reject };
    });
  }

  closeWrite(): Promise<void> {
    if (this.#finishing !== null) return this.#finishing;
    if (this.#error !== null) return Promise.reject(this.#error);
    this.#finishing = new Promise((resolve, reject) => {
      this.#finisher = { resolve, reject };
      this.#socket.end(() => this.#finished());
    });
    return this.#finishing;
  }

  abort(reason: Error): void {
    if (this.#ended && this.#finSent) {
      this.#socket.destroy(); // over already: RST would throw away what the kernel still has to send
      return;
    }
    this.#onAbort = NOTHING; // who aborts knows
    this.#fail(toNetError(reason));
  }

  leave(): void {
    this.#onAbort = NOTHING;
    this.#fail(left(), this.#finSent ? 'close' : 'reset');
  }

  #received(chunk: Uint8Array): void {
    const reader = this.#reader;
    if (reader !== null) {
      this.#reader = null;
      reader.resolve([chunk]);
      return;
    }
    this.#queue.push(chunk);
    this.#queued += chunk.length;
    if (this.#queued >= READ_AHEAD && !this.#paused) {
      this.#paused = true;
      this.#socket.pause();
    }
  }

  #endRead(): void {
    if (!this.#socket.writableEnded && isCut(this.#socket)) {
      this.#cut = true;
      if (this.#queued === 0) this.#fail(cutOff());
      return;
    }
    this.#ended = true;
    const reader = this.#reader;
    this.#reader = null;
    reader?.resolve(null);
  }

  /** The FIN is handed over, or the socket failed first. */
  #finished(): void {
    if (this.#error !== null) return;
    this.#finSent = true;
    this.#drained(); // Node tells of no drain behind an end
    this.#finisher?.resolve();
  }

  #drained(): void {
    const writer = this.#writer;
    this.#writer = null;
    writer?.resolve();
  }

  #closed(): void {
    if (this.#error === null && !(this.#ended && this.#finSent)) this.#fail(new NetError('aborted', 'the connection was closed', { code: 'ECONNRESET' }));
    const onClose = this.#onClose;
    this.#onClose = NOTHING;
    onClose();
  }

  #fail(error: NetError, how: 'reset' | 'close' = 'reset'): void {
    if (this.#error !== null) return;
    this.#error = error;
    this.#queue = [];
    this.#queued = 0;
    const { reader, writer } = { reader: this.#reader, writer: this.#writer };
    this.#reader = null;
    this.#writer = null;
    if (how === 'reset') reset(this.#socket);
    else this.#socket.destroy();
    reader?.reject(error);
    writer?.reject(error);
    this.#finisher?.reject(error);
    const onAbort = this.#onAbort;
    this.#onAbort = NOTHING;
    onAbort(error);
  }
}

/** What a stream says that was given up after its FIN. */
export const left = (): NetError => new NetError('aborted', 'the connection was given up after our FIN', { code: 'LEFT' });

const cutOff = (): NetError => new NetError('aborted', 'the peer reset the connection', { code: 'ECONNRESET' });

/**
 * Whether an end is a reset: to libuv, bytes with RST right behind them are bytes and FIN. While we have sent no FIN the kernel still knows the
 * peer's address after a FIN of its, and no longer after a reset. `_handle` is Node's own, so it may be anything; a TLS end is told by TLS.
 */
function isCut(socket: Socket): boolean {
  if (socket instanceof TLSSocket || !('_handle' in socket)) return false;
  const handle = socket._handle;
  if (typeof handle !== 'object' || handle === null || !('getpeername' in handle) || typeof handle.getpeername !== 'function') return false;
  const answer: unknown = Reflect.apply(handle.getpeername, handle, [{}]);
  return answer === -constants.errno.ENOTCONN;
}

/** RST where there is a TCP socket to reset; a Unix or TLS socket has none, and is just destroyed (TLS: without close_notify). */
export function reset(socket: Socket): void {
  if (socket.destroyed) return;
  if (socket instanceof TLSSocket || socket.remoteFamily === undefined) socket.destroy();
  // While FIN is on its way libuv refuses to reset (EINVAL), and Node then never closes the socket; one turn later it does.
  else if (socket.writableEnded && !socket.writableFinished && socket.writableLength === 0) socket.once('finish', () => reset(socket));
  else socket.resetAndDestroy();
}

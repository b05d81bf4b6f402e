/**
 * A WebSocket as a Stream. Read first: RFC 6455.
 *
 * Bytes are binary messages, whose borders mean nothing. WebSocket has no half-close: `closeWrite` sends Close, and a peer that has read it says no more
 * than its own. A Close with 1000, 1001 or no code is FIN, everything else, and an end without Close, is RST.
 */
import { byteLength, type Chunks, NetError, type Stream, toNetError } from '@nekit/core';
import type { RawData, WebSocket } from 'ws';

/** Messages that nobody has read yet, in bytes: what is read ahead before the socket is paused. */
const READ_AHEAD = 64 * 1024;

/** What `write` lets lie in the socket's queue before it waits, in bytes. */
const WRITE_AHEAD = 64 * 1024;

/** Of one message that we send, in bytes: chunks are joined up to this length, and cut above it. */
const MAX_MESSAGE = 64 * 1024;

const NORMAL = 1000;
const GOING_AWAY = 1001;
const NO_CODE = 1005;

const DONE: Promise<void> = Promise.resolve();

/** An open WebSocket; it belongs to the stream from here on. Messages that came before must not be lost: make it in the turn of 'open'. */
export class WebSocketStream implements Stream {
  readonly #socket: WebSocket;
  #queue: Uint8Array[] = [];
  #queued = 0;
  #ended = false;
  #closed = false;
  #closing: Promise<void> | null = null;
  #error: NetError | null = null;
  #reader: { resolve(chunks: Chunks | null): void; reject(error: NetError): void } | null = null;
  #writer: { resolve(): void; reject(error: NetError): void } | null = null;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.binaryType = 'nodebuffer';
    socket.on('message', (data) => this.#received(data));
    socket.on('error', (error) => this.#fail(reasonOf(error)));
    socket.on('close', (code) => this.#over(code));
  }

  read(): Promise<Chunks | null> {
    if (this.#error !== null) return Promise.reject(this.#error);
    if (this.#queued > 0) {
      const chunks = this.#queue;
      this.#queue = [];
      this.#queued = 0;
      if (this.#socket.isPaused) this.#socket.resume();
      return Promise.resolve(chunks);
    }
    if (this.#ended) return Promise.resolve(null);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  unread(chunks: Chunks): void {
    this.#queue.unshift(...chunks);
    this.#queued += byteLength(chunks);
  }

  write(chunks: Chunks): Promise<void> {
    if (this.#error !== null) return Promise.reject(this.#error);
    if (this.#closing !== null || this.#socket.readyState !== this.#socket.OPEN)
      return Promise.reject(new NetError('aborted', 'the WebSocket is closed for writing', { code: 'EPIPE' }));
    for (const message of messagesOf(chunks)) this.#socket.send(message, OPTIONS, this.#sent);
    if (this.#socket.bufferedAmount < WRITE_AHEAD) return DONE;
    return new Promise((resolve, reject) => {
      this.#writer = { resolve, reject };
    });
  }

  closeWrite(): Promise<void> {
    if (this.#closing !== null) return this.#closing;
    if (this.#error !== null) return Promise.reject(this.#error);
    this.#closing = DONE;
    if (this.#socket.isPaused) this.#socket.resume(); // its Close must be read to end this
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.close(NORMAL);
    return this.#closing;
  }

  abort(reason: Error): void {
    if (this.#closed) return; // both have ended
    this.#fail(toNetError(reason));
  }

  #received(data: RawData): void {
    const chunks = bytesOf(data);
    if (this.#error !== null || chunks.length === 0) return;
    const reader = this.#reader;
    if (reader !== null && this.#queued === 0) {
      this.#reader = null;
      reader.resolve(chunks);
      return;
    }
    this.#queue.push(...chunks);
    this.#queued += byteLength(chunks);
    if (this.#queued >= READ_AHEAD && this.#closing === null) this.#socket.pause();
  }

  /** One message has gone to the stream below, or failed to. */
  readonly #sent = (error?: Error): void => {
    if (error !== undefined && error !== null) {
      this.#fail(reasonOf(error));
      return;
    }
    if (this.#writer === null || this.#socket.bufferedAmount >= WRITE_AHEAD) return;
    const writer = this.#writer;
    this.#writer = null;
    writer.resolve();
  };

  #over(code: number): void {
    this.#closed = true;
    if (code !== NORMAL && code !== GOING_AWAY && code !== NO_CODE) {
      this.#fail(new NetError('aborted', `the server cut the WebSocket off (code ${code})`, { code: 'SS_WEBSOCKET_CLOSED' }));
      return;
    }
    this.#ended = true;
    const { reader, writer } = { reader: this.#reader, writer: this.#writer };
    this.#reader = null;
    this.#writer = null;
    reader?.resolve(null);
    writer?.reject(new NetError('aborted', 'the server closed the WebSocket', { code: 'EPIPE' }));
  }

  #fail(error: NetError): void {
    if (this.#error !== null || this.#ended) return;
    this.#error = error;
    this.#queue = [];
    this.#queued = 0;
    const { reader, writer } = { reader: this.#reader, writer: this.#writer };
    this.#reader = null;
    this.#writer = null;
    this.#socket.terminate();
    reader?.reject(error);
    writer?.reject(error);
  }
}

const OPTIONS = { binary: true, compress: false, fin: true };

function messagesOf(chunks: Chunks): Uint8Array[] {
  const messages: Uint8Array[] = [];
  let part: Uint8Array[] = [];
  let length = 0;
  const finish = (): void => {
    const [first] = part;
    if (first !== undefined) messages.push(part.length === 1 ? first : Buffer.concat(part, length));
    part = [];
    length = 0;
  };
  for (const chunk of chunks) {
    for (let start = 0; start < chunk.length; ) {
      const end = Math.min(chunk.length, start + MAX_MESSAGE - length);
      part.push(chunk.subarray(start, end));
      length += end - start;
      start = end;
      if (length === MAX_MESSAGE) finish();
    }
  }
  finish();
  return messages;
}

function bytesOf(data: RawData): Uint8Array[] {
  const parts = Array.isArray(data) ? data : [data instanceof ArrayBuffer ? new Uint8Array(data) : data];
  return parts.filter((part) => part.length > 0);
}

/** Errors of `ws` about the peer's frames have codes of their own (`WS_ERR_…`): a broken protocol. */
function reasonOf(error: Error): NetError {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return code.startsWith('WS_ERR_')
    ? new NetError('protocol', `the WebSocket is broken: ${error.message}`, { code: 'SS_WEBSOCKET', cause: error })
    : toNetError(error);
}

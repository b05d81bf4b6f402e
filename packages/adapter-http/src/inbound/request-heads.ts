import { type InboundConnection, type NetError, type Stream, type StreamReader, type Timeouts, type TimerWheel, toNetError } from '@nekit/core';
import { readHead } from '../message/head.js';
import { AfterRead } from './after-read.js';
import { badRequest, RequestRefused } from './refusal.js';

/** Empty lines in front of a request line that are overlooked (RFC 9112 section 2.2), in bytes. */
const MAX_BLANK = 16;

const CR = 0x0d;
const LF = 0x0a;

export type NextHead =
  | { readonly kind: 'head'; readonly bytes: Uint8Array }
  /** The client has ended the connection. */
  | { readonly kind: 'end' }
  /** `error` says why there is none; HTTP_IDLE is no fault. `rest`: the connection's stream, on which our read may still be pending. */
  | { readonly kind: 'none'; readonly error: NetError; readonly rest: Stream };

/** Cuts request heads out of a connection, within the time limits: none may take long, and none may be long in coming. */
export class RequestHeads {
  readonly #connection: InboundConnection;
  readonly #reader: StreamReader;
  readonly #timers: TimerWheel;
  readonly #timeouts: Timeouts;
  #first = true;

  constructor(connection: InboundConnection, reader: StreamReader, timers: TimerWheel, timeouts: Timeouts) {
    this.#connection = connection;
    this.#reader = reader;
    this.#timers = timers;
    this.#timeouts = timeouts;
  }

  /** `pending`: what to wait for before reading. Never rejects. */
  async next(pending: Promise<void>): Promise<NextHead> {
    const { handshake, httpKeepAlive } = this.#timeouts;
    let begun = this.#first;
    let expire: (reason: RequestRefused) => void;
    const late = new Promise<never>((_resolve, reject) => {
      expire = reject;
    });
    const deadline = this.#timers.after(begun ? handshake : httpKeepAlive, () => {
      if (begun) expire(new RequestRefused(408, 'HTTP_HEAD_TIMEOUT', `no complete request within ${handshake / 1000} s`, { fatal: true }));
      else expire(new RequestRefused(408, 'HTTP_IDLE', 'no further request', { fatal: true }));
    });
    // Who waits between two requests when the listener stops is let go: what the listener allowed may not hold any more.
    const forget = this.#connection.retired.onCancel(() => {
      if (!begun) expire(new RequestRefused(408, 'HTTP_IDLE', 'the listener has stopped', { fatal: true }));
    });
    const reading = this.#read(pending, () => {
      if (!begun) deadline.move(handshake);
      begun = true;
    });
    try {
      const bytes = await Promise.race([reading, late]);
      this.#first = false;
      return bytes === null ? { kind: 'end' } : { kind: 'head', bytes };
    } catch (thrown) {
      return { kind: 'none', error: headError(thrown), rest: new AfterRead(this.#connection.stream, this.#reader, reading) };
    } finally {
      deadline.cancel();
      forget();
    }
  }

  async #read(pending: Promise<void>, begun: () => void): Promise<Uint8Array | null> {
    await pending;
    for (let blank = 0; ; blank++) {
      const byte = (await this.#reader.peek(1))[0];
      if (byte === undefined) return null;
      begun();
      if (byte !== CR && byte !== LF) return readHead(this.#reader);
      if (blank >= MAX_BLANK) throw badRequest('HTTP_BAD_REQUEST', 'empty lines instead of a request');
      await this.#reader.byte();
    }
  }
}

function headError(thrown: unknown): NetError {
  const error = toNetError(thrown);
  if (error.code === 'HTTP_HEAD_TOO_LONG') return new RequestRefused(431, error.code, error.message, { fatal: true });
  return error.code === 'HTTP_BARE_LF' ? badRequest(error.code, error.message) : error;
}

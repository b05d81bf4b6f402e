/**
 * The server as a Stream: questions are written to it, answers read from it, each behind its length. Read first: RFC 1035 section 4.2.2, RFC 7766 sections 6.2 and 7.
 *
 * Answers come as they are ready, in any order. Who does not read them is not asked further: `write` settles when there is room again.
 */
import { type Chunks, type Deadline, NetError, type Stream, type TimerWheel, toNetError } from '@nekit/core';
import { MAX_MESSAGE, read16, write16 } from '../wire/message.js';
import type { Answerer } from './answerer.js';

/** Questions of one connection that are under way. */
const MAX_PENDING = 64;
/** Answers that wait to be read, in bytes; one more may come on top. */
const MAX_UNREAD = 256 * 1024;

/** A client that asks nothing is let go after this long, in ms (RFC 7766 section 6.2.3: some seconds). */
export const QUESTION_IDLE = 30_000;

interface Waiting<T> {
  resolve(value: T): void;
  reject(error: NetError): void;
}

export class DnsStream implements Stream {
  readonly #server: Answerer;
  readonly #out = new Uint8Array(MAX_MESSAGE);
  /** What came of a question that is not all there yet. */
  #partial: Uint8Array = EMPTY;
  #answers: Uint8Array[] = [];
  #unread = 0;
  #pending = 0;
  #ended = false;
  #error: NetError | null = null;
  #reader: Waiting<Chunks | null> | null = null;
  #writer: Waiting<void> | null = null;
  readonly #idle: Deadline | null;

  /** `timers`: ends by itself when nobody has asked for `QUESTION_IDLE`. Without them that is for its user to do. */
  constructor(server: Answerer, timers: TimerWheel | null = null) {
    this.#server = server;
    this.#idle = timers?.after(QUESTION_IDLE, () => void this.closeWrite().catch(() => undefined)) ?? null; // it has failed, which its reader knows
  }

  read(): Promise<Chunks | null> {
    if (this.#error !== null) return Promise.reject(this.#error);
    if (this.#answers.length > 0) {
      const answers = this.#answers;
      this.#answers = [];
      this.#unread = 0;
      this.#proceed();
      return Promise.resolve(answers);
    }
    if (this.#isOver) return Promise.resolve(null);
    if (this.#reader !== null) return Promise.reject(new NetError('protocol', 'a read is already pending', { code: 'READ_PENDING' }));
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  write(chunks: Chunks): Promise<void> {
    if (this.#error !== null) return Promise.reject(this.#error);
    if (this.#ended) return Promise.reject(new NetError('protocol', 'write after closeWrite', { code: 'WRITE_AFTER_END' }));
    this.#partial = Buffer.concat([this.#partial, ...chunks]);
    this.#work();
    if (!this.#isFull) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#writer = { resolve, reject };
    });
  }

  closeWrite(): Promise<void> {
    if (this.#error !== null) return Promise.reject(this.#error);
    this.#ended = true;
    this.#idle?.cancel();
    if (this.#isOver) this.#give(null);
    return Promise.resolve();
  }

  abort(reason: Error): void {
    if (this.#error !== null || (this.#isOver && this.#unread === 0)) return;
    this.#error = toNetError(reason);
    this.#idle?.cancel();
    this.#answers = [];
    this.#partial = EMPTY;
    const { reader, writer } = { reader: this.#reader, writer: this.#writer };
    this.#reader = null;
    this.#writer = null;
    reader?.reject(this.#error);
    writer?.reject(this.#error);
  }

  get #isOver(): boolean {
    return this.#ended && this.#pending === 0 && this.#answers.length === 0 && !this.#hasQuestion;
  }

  get #isFull(): boolean {
    return this.#pending >= MAX_PENDING || this.#unread >= MAX_UNREAD;
  }

  get #hasQuestion(): boolean {
    return this.#partial.length >= 2 && this.#partial.length >= 2 + read16(this.#partial, 0);
  }

  /** Questions that are all there, while there is room. */
  #work(): void {
    let at = 0;
    const bytes = this.#partial;
    while (!this.#isFull && at + 2 <= bytes.length) {
      const end = at + 2 + read16(bytes, at);
      if (end > bytes.length) break;
      this.#question(bytes, at + 2, end);
      at = end;
    }
    // A copy, or a few bytes would hold the whole of what they came in.
    if (at > 0) this.#partial = at === bytes.length ? EMPTY : bytes.slice(at);
    this.#flush();
  }

  #question(bytes: Uint8Array, start: number, end: number): void {
    if (!this.#ended) this.#idle?.move(QUESTION_IDLE);
    const length = this.#server.respond(bytes, start, end, 'tcp', this.#out);
    if (typeof length === 'number') {
      if (length > 0) this.#put(this.#out.subarray(0, length));
      return;
    }
    this.#pending++;
    length
      .then((answer) => {
        this.#pending--;
        if (this.#error !== null) return;
        if (answer !== null) this.#put(answer);
        this.#proceed();
        this.#flush();
        if (this.#isOver) this.#give(null);
      })
      .catch((error: unknown) => this.abort(toNetError(error)));
  }

  /** Goes on with what had no room. */
  #proceed(): void {
    if (this.#isFull) return;
    if (this.#hasQuestion) this.#work();
    if (this.#isFull) return;
    const writer = this.#writer;
    this.#writer = null;
    writer?.resolve();
  }

  #put(answer: Uint8Array): void {
    const framed = new Uint8Array(answer.length + 2);
    write16(framed, 0, answer.length);
    framed.set(answer, 2);
    this.#answers.push(framed);
    this.#unread += framed.length;
  }

  #flush(): void {
    if (this.#reader === null || this.#answers.length === 0) return;
    const answers = this.#answers;
    this.#answers = [];
    this.#unread = 0;
    this.#give(answers);
    this.#proceed();
  }

  #give(answers: Chunks | null): void {
    const reader = this.#reader;
    this.#reader = null;
    reader?.resolve(answers);
  }
}

const EMPTY: Uint8Array = new Uint8Array(0);

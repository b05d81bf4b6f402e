/** Questions over one connection, many at a time: TCP, and TLS. Read first: RFC 7766 sections 6 and 7, RFC 7858. */
import { abortQuietly, type Cancel, CancelSource, type Deadline, NetError, type Stream, StreamReader, toNetError } from '@nekit/core';
import { HEADER, read16, write16 } from '../wire/message.js';
import { matchOf, type Question, queryMessage } from '../wire/question.js';
import { Life } from './life.js';
import { type Upstream, type UpstreamContext, unlessCancelled } from './upstream.js';

/** A connection that nobody asks anything is closed after this long, in ms; servers do the same after some seconds (RFC 7766 section 6.2.3). */
const IDLE = 10_000;

/** Questions on one connection at a time. */
const MAX_PENDING = 512;

/** `open` dials, and puts TLS on it. */
export class TcpUpstream implements Upstream {
  readonly name: string;
  readonly #open: (signal: Cancel) => Promise<Stream>;
  readonly #context: Pick<UpstreamContext, 'timers' | 'random'>;
  readonly #life = new Life();
  #link: Link | null = null;
  #dialling: { readonly life: Cancel; readonly link: Promise<Link> } | null = null;

  constructor(name: string, open: (signal: Cancel) => Promise<Stream>, context: Pick<UpstreamContext, 'timers' | 'random'>) {
    this.name = name;
    this.#open = open;
    this.#context = context;
  }

  ask(question: Question, signal: Cancel): Promise<Uint8Array> {
    return this.#life.during(() => this.#ask(question, signal));
  }

  close(): void {
    this.#life.close();
  }

  async #ask(question: Question, signal: Cancel): Promise<Uint8Array> {
    for (let tries = 0; ; tries++) {
      const link = await this.#linked(signal);
      try {
        return await link.ask(question, signal);
      } catch (error) {
        // The server may close a connection that was quiet just when we ask, or another question's time was up on a dead one: a new one is worth a try, once.
        if (tries > 0 || !(link.wasUsed || link.isSilent) || link.error === null || signal.reason !== null) throw error;
      }
    }
  }

  /** The connection, or a new one; who asks meanwhile waits for the same. */
  #linked(signal: Cancel): Promise<Link> {
    if (this.#link?.isOpen === true) return Promise.resolve(this.#link);
    const life = this.#life.signal;
    if (this.#dialling?.life !== life) {
      const link = this.#dial(life).finally(() => {
        if (this.#dialling?.link === link) this.#dialling = null;
      });
      this.#dialling = { life, link };
    }
    return unlessCancelled(this.#dialling.link, signal);
  }

  async #dial(life: Cancel): Promise<Link> {
    const { timers, random } = this.#context;
    const dialling = new CancelSource(life);
    const deadline = timers.after(IDLE, () => dialling.cancel(new NetError('timeout', `${this.name} took longer than ${IDLE} ms to connect`)));
    try {
      const stream = await this.#open(dialling);
      if (life.reason !== null) {
        stream.abort(life.reason); // it came all the same
        throw life.reason;
      }
      this.#link = new Link(this.name, stream, timers, random, life);
      return this.#link;
    } catch (error) {
      throw toNetError(error, this.name);
    } finally {
      deadline.cancel();
      dialling.release();
    }
  }
}

interface Asked {
  readonly sent: Uint8Array;
  readonly length: number;
  resolve(message: Uint8Array): void;
  reject(error: NetError): void;
}

class Link {
  error: NetError | null = null;
  /** An answer has come by it. */
  wasUsed = false;
  /** It was given up: nothing came by it while there was something to be answered. */
  isSilent = false;
  readonly #name: string;
  readonly #stream: Stream;
  readonly #random: (length: number) => Uint8Array;
  readonly #pending = new Map<number, Asked>();
  readonly #idle: Deadline;
  readonly #release: () => void;
  #writing: Promise<void> = Promise.resolve();
  /** Messages that came. */
  #received = 0;
  /** Something was asked since the last of them. */
  #isWaiting = false;

  constructor(name: string, stream: Stream, timers: UpstreamContext['timers'], random: (length: number) => Uint8Array, life: Cancel) {
    this.#name = name;
    this.#stream = stream;
    this.#random = random;
    this.#idle = timers.after(IDLE, () => this.#quiet());
    this.#release = life.onCancel((reason) => this.#fail(toNetError(reason)));
    this.#read().catch((error: unknown) => this.#fail(toNetError(error, name)));
  }

  get isOpen(): boolean {
    return this.error === null && this.#pending.size < MAX_PENDING;
  }

  ask(question: Question, signal: Cancel): Promise<Uint8Array> {
    if (this.error !== null) return Promise.reject(this.error);
    const id = this.#freeId();
    const sent = queryMessage(question, { id, spelling: null, edns: true });
    const framed = new Uint8Array(sent.length + 2);
    write16(framed, 0, sent.length);
    framed.set(sent, 2);
    // Not while others wait: questions that keep coming would keep a dead connection.
    if (!this.#isWaiting) this.#idle.move(IDLE);
    this.#isWaiting = true;
    const before = this.#received;
    return new Promise((resolve, reject) => {
      const forget = signal.onCancel((reason) => {
        this.#pending.delete(id); // a late answer finds nobody
        const error = toNetError(reason);
        reject(error);
        if (error.failure === 'timeout' && this.#received === before) this.#silent(error);
      });
      this.#pending.set(id, {
        sent,
        length: question.wire.length + 4,
        resolve: (message) => {
          forget();
          resolve(message);
        },
        reject: (error) => {
          forget();
          reject(error);
        },
      });
      // One write at a time, as Stream wants it.
      this.#writing = this.#writing.then(() => this.#stream.write([framed])).catch((error: unknown) => this.#fail(toNetError(error, this.#name)));
    });
  }

  async #read(): Promise<void> {
    const reader = new StreamReader(this.#stream);
    for (;;) {
      const head = await reader.exactly(2);
      const length = read16(head, 0);
      if (length < HEADER) throw new NetError('protocol', `${this.#name} sent a message of ${length} bytes`, { code: 'DNS_BAD_MESSAGE' });
      const message = Uint8Array.from(await reader.exactly(length));
      const id = read16(message, 0);
      const asked = this.#pending.get(id);
      this.#received++;
      this.#isWaiting = false;
      this.#idle.move(IDLE);
      if (asked === undefined) continue; // its asker has gone
      if (matchOf(asked.sent, asked.length, message) === 'no')
        throw new NetError('protocol', `${this.#name} answered something that was not asked`, { code: 'DNS_BAD_MESSAGE' });
      this.wasUsed = true;
      this.#pending.delete(id);
      asked.resolve(message);
    }
  }

  #quiet(): void {
    if (this.#isWaiting) this.#silent(new NetError('timeout', `${this.#name} has not answered for ${IDLE} ms`));
    else this.#fail(new NetError('aborted', `${this.#name} was not asked for ${IDLE} ms`, { code: 'DNS_IDLE' }));
  }

  /** A NAT may have forgotten the connection, which nobody would ever tell us: the next question opens another (RFC 7766 section 6.2). */
  #silent(error: NetError): void {
    this.isSilent = true;
    this.#fail(error);
  }

  #fail(error: NetError): void {
    if (this.error !== null) return;
    this.error = error;
    this.#idle.cancel();
    this.#release();
    abortQuietly(this.#stream, error);
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const asked of pending) asked.reject(error);
  }

  #freeId(): number {
    for (;;) {
      const random = this.#random(2);
      const id = read16(random, 0);
      if (!this.#pending.has(id)) return id; // of 65,536 at most 512 are taken
    }
  }
}

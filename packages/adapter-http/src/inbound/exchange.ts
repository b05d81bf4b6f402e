/** Read first: RFC 9112 sections 9.3.2 (a response belongs to the oldest request), 9.5 (failures), RFC 9110 section 15.2 (1xx). */
import http, { type ClientRequest, type IncomingMessage, type InformationEvent } from 'node:http';
import { abortQuietly, byteLength, type Chunks, NetError, type Stream, toNetError } from '@nekit/core';
import { BodyMeter, type Framing } from '../message/body-meter.js';
import { trailerPairs } from '../message/fields.js';
import { isHttpResponse, MAX_HEAD, readHead } from '../message/head.js';
import { Wire } from '../message/wire.js';
import type { OutgoingHead } from './outgoing-request.js';
import { badRequest } from './refusal.js';
import { badResponse, isPersistent } from './response-head.js';
import type { Upstream } from './upstream-pool.js';

/** One head from the origin. */
export type Answer =
  | { readonly kind: 'interim'; readonly head: InformationEvent }
  | { readonly kind: 'upgrade'; readonly response: IncomingMessage }
  | { readonly kind: 'final'; readonly response: IncomingMessage };

export interface Progress {
  /** Bytes that went to the origin. */
  sent(bytes: number): void;
  /** Bytes that came from it. */
  received(bytes: number): void;
}

/** Interim responses before the final one; more of them are no conversation. */
const MAX_INTERIM = 64;

/**
 * One request and its response on an upstream connection. Node's client writes and parses on a wire of its own, which lasts as long
 * as the exchange; which bytes of the connection belong to it is measured here, so that the connection can go on without it.
 */
export class Exchange {
  readonly upstream: Upstream;
  readonly #progress: Progress;
  readonly #wire: Wire;
  readonly #request: ClientRequest;
  #settle: ((answer: Answer | NetError) => void) | null = null;
  #failure: NetError | null = null;
  #received = false;
  #interim = 0;
  #reusable = false;

  /** Sends the head as soon as something is asked of it. Throws RequestRefused for one that cannot be sent. */
  constructor(upstream: Upstream, head: OutgoingHead, progress: Progress) {
    this.upstream = upstream;
    this.#progress = progress;
    this.#wire = new Wire((chunks) => this.#send(chunks));
    try {
      this.#request = http.request({
        method: head.method,
        path: head.path,
        headers: head.fields,
        maxHeaderSize: MAX_HEAD,
        insecureHTTPParser: false,
        createConnection: () => this.#wire,
      });
    } catch (error) {
      throw badRequest('HTTP_BAD_REQUEST', `the request cannot be forwarded: ${error instanceof Error ? error.message : String(error)}`);
    }
    this.#request.maxHeadersCount = 0; // bounded by their bytes; Node's own limit drops fields in silence
    this.#request.on('information', (information) => this.#tell({ kind: 'interim', head: information }));
    this.#request.on('upgrade', (response) => this.#tell({ kind: 'upgrade', response }));
    this.#request.on('response', (response) => this.#tell({ kind: 'final', response }));
    this.#request.on('error', (error) => this.#tell(this.#failure ?? this.#wire.failure ?? badResponse(error.message, error)));
  }

  /** Whether a byte came back. */
  get wasAnswered(): boolean {
    return this.#received;
  }

  /** The request has no body. */
  sendNothing(): void {
    this.#request.end();
  }

  /** Sends what the client sends, with backpressure; its trailer, too. */
  sendBody(source: IncomingMessage): void {
    this.#request.flushHeaders();
    source.once('end', () => {
      const trailers = trailerPairs(source.rawTrailers);
      if (trailers.length > 0 && !this.#request.destroyed) this.#request.addTrailers(trailers);
      this.#request.end();
    });
    source.pipe(this.#request, { end: false });
  }

  /** The next head. Rejects with a NetError. */
  async next(): Promise<Answer> {
    await this.upstream.watched;
    let head: Uint8Array | null;
    try {
      head = await readHead(this.upstream.reader);
    } catch (thrown) {
      const error = toNetError(thrown);
      this.#received ||= error.failure === 'protocol' || this.upstream.reader.buffered > 0;
      throw this.#failure ?? error;
    }
    if (head === null) throw this.#failure ?? new NetError('aborted', 'the origin closed the connection without a response', { code: 'HTTP_NO_RESPONSE' });
    this.#received = true;
    this.#progress.received(head.length);
    if (!isHttpResponse(head)) throw badResponse('it is not HTTP');
    const answer = await this.#parse(head);
    if (answer.kind === 'interim' && ++this.#interim > MAX_INTERIM) throw badResponse('interim responses without end');
    return answer;
  }

  /** After the final head: gives the body to the response. Settles when all of it was given or it broke off; never rejects. */
  async receiveBody(response: IncomingMessage, framing: Framing): Promise<void> {
    const { reader } = this.upstream;
    const meter = new BodyMeter(framing);
    try {
      while (!meter.done) {
        const bytes = await reader.peek(1);
        if (reader.buffered === 0) break; // FIN: the parser knows whether that is an end
        const count = meter.measure(bytes);
        this.#progress.received(count);
        await this.#wire.feed(await reader.exactly(count));
        if (this.#failure !== null || this.#wire.destroyed) return;
      }
      this.#reusable = meter.done && reader.buffered === 0 && isPersistent(response);
      this.#wire.feedEnd();
    } catch (error) {
      this.#fail(toNetError(error));
    }
  }

  /** After an upgrade: the connection, with what came behind the head in front. */
  release(): Stream {
    this.#wire.destroy();
    return this.upstream.reader.release();
  }

  /** Why it broke off, or null. */
  get failure(): NetError | null {
    return this.#failure ?? this.#wire.failure;
  }

  /** Ends it after the whole response was taken. True: the connection is ready for another request; else it is closed. */
  finish(response: IncomingMessage): boolean {
    const ready = this.#reusable && response.complete && this.#request.writableFinished && this.failure === null;
    this.#wire.destroy();
    if (!ready) abortQuietly(this.upstream.stream, new NetError('aborted', 'the exchange is over', { code: 'DONE' }));
    return ready;
  }

  /** Breaks it off, and its connection. */
  abort(error: NetError): void {
    this.#fail(error);
    abortQuietly(this.upstream.stream, error);
  }

  #fail(error: NetError): void {
    this.#failure ??= error;
    this.#tell(this.#failure);
    this.#wire.destroy();
  }

  #send(chunks: Chunks): Promise<void> {
    this.#progress.sent(byteLength(chunks));
    return this.upstream.stream.write(chunks);
  }

  #parse(head: Uint8Array): Promise<Answer> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#settle = (answer) => (answer instanceof Error ? reject(answer) : resolve(answer));
      void this.#wire.feed(head);
    });
  }

  #tell(answer: Answer | NetError): void {
    if (answer instanceof Error) this.#failure ??= answer;
    const settle = this.#settle;
    this.#settle = null;
    settle?.(answer);
  }
}

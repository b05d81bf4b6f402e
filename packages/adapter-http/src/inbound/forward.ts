/** Read first: RFC 9110 sections 7.6 (forwarding), 7.8 (Upgrade), 9.2.2 (idempotent methods), 10.1.1 (Expect). */
import type { IncomingMessage, InformationEvent, ServerResponse } from 'node:http';
import {
  abortQuietly,
  type Cancel,
  type Deadline,
  NetError,
  type RoutedStream,
  relay,
  type Stream,
  type Timeouts,
  type TimerWheel,
  throwIfCancelled,
  toNetError,
} from '@nekit/core';
import { authenticatesConnection, challengesConnection } from '../message/connection-auth.js';
import { endToEnd, type Fields, formatHead, trailerPairs, without } from '../message/fields.js';
import type { Wire } from '../message/wire.js';
import type { ClientUpstreams } from './client-upstreams.js';
import { type Answer, Exchange } from './exchange.js';
import { isIdempotent, type OutgoingHead } from './outgoing-request.js';
import { RequestRefused } from './refusal.js';
import { badResponse, responseFraming } from './response-head.js';
import { newUpstream, type Upstream } from './upstream-pool.js';

/**
 * A request that may not be sent twice only goes on a connection that was used within this time, in ms: origins close idle ones after
 * 5 s or more, and what crosses a FIN is lost for good.
 */
const FRESH_MS = 2_000;

/** The client's side of one request. */
export interface ClientSide {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** What `response` writes to. */
  readonly wire: Wire;
  /** Fires when the client leaves, its body breaks the protocol, or the kernel stops. */
  readonly cancel: Cancel;
  /** Its connection, for another protocol. `response` and `wire` are spent. */
  takeStream(): Stream;
}

export interface ForwardOptions {
  readonly routed: RoutedStream;
  /** Streams of one key are alike and of one user. */
  readonly key: string;
  readonly upstreams: ClientUpstreams;
  readonly timers: TimerWheel;
  readonly timeouts: Timeouts;
  /** Our pseudonym. */
  readonly via: string;
}

/**
 * Sends a request on and its response back. Settles when the client has the whole response, or the upgraded connection has ended.
 * Rejects with a NetError; then nothing, or a part, of a response went to the client.
 */
export function forward(client: ClientSide, head: OutgoingHead, options: ForwardOptions): Promise<void> {
  return new Forwarding(client, head, options).run();
}

class Forwarding {
  readonly #client: ClientSide;
  readonly #head: OutgoingHead;
  readonly #options: ForwardOptions;
  #exchange: Exchange | null = null;
  #deadline: Deadline | null = null;
  #silenceMs: number;
  /** The final head has gone to the client: from here on its silence counts, too. */
  #responding = false;
  #over = false;

  constructor(client: ClientSide, head: OutgoingHead, options: ForwardOptions) {
    this.#client = client;
    this.#head = head;
    this.#options = options;
    this.#silenceMs = options.timeouts.firstByte;
  }

  async run(): Promise<void> {
    const abort = (reason: Error): void => this.#exchange?.abort(toNetError(reason));
    const forgetClient = this.#client.cancel.onCancel(abort);
    const forgetSession = this.#options.routed.signal.onCancel(abort);
    try {
      const { exchange, answer } = await this.#ask();
      if (answer.kind === 'upgrade') await this.#tunnel(exchange, answer.response);
      else await this.#respond(exchange, answer.response);
    } catch (thrown) {
      const error = toNetError(this.#client.cancel.reason ?? this.#options.routed.signal.reason ?? thrown);
      this.#exchange?.abort(error);
      throw error;
    } finally {
      this.#over = true;
      this.#client.wire.onSent = null;
      forgetClient();
      forgetSession();
      this.#deadline?.cancel();
    }
  }

  /** Up to the final head; once more, on a new connection, if a reused one broke before it gave a byte. */
  async #ask(): Promise<{ exchange: Exchange; answer: Exclude<Answer, { kind: 'interim' }> }> {
    const { routed, key, upstreams } = this.#options;
    this.#mustGoOn();
    const repeatable = isIdempotent(this.#head.method) && this.#head.framing.kind === 'none';
    const idle = upstreams.take(key, repeatable ? Number.POSITIVE_INFINITY : FRESH_MS);
    if (idle !== null) {
      const exchange = this.#begin(idle);
      try {
        return { exchange, answer: await this.#final(exchange) };
      } catch (thrown) {
        const error = toNetError(thrown);
        if (!repeatable || exchange.wasAnswered || error.failure !== 'aborted' || this.#client.cancel.reason !== null) throw error;
        exchange.abort(error);
      }
    }
    const stream = await routed.dial();
    try {
      this.#mustGoOn();
    } catch (reason) {
      abortQuietly(stream, toNetError(reason));
      throw reason;
    }
    const exchange = this.#begin(newUpstream(stream, key));
    return { exchange, answer: await this.#final(exchange) };
  }

  /** What is wrong with the request's body, or a client that left, may have come before there was anything to abort. */
  #mustGoOn(): void {
    throwIfCancelled(this.#client.cancel);
    throwIfCancelled(this.#options.routed.signal);
  }

  #begin(upstream: Upstream): Exchange {
    const { counters, slot } = this.#options.routed;
    const count = (at: number, bytes: number): void => {
      if (this.#over) return; // the counters may be another session's by now
      counters[at] = (counters[at] ?? 0) + bytes;
      this.#moved();
    };
    let exchange: Exchange;
    try {
      exchange = new Exchange(upstream, this.#head, { sent: (bytes) => count(slot, bytes), received: (bytes) => count(slot + 1, bytes) });
    } catch (error) {
      abortQuietly(upstream.stream, toNetError(error));
      throw error;
    }
    this.#exchange = exchange;
    this.#deadline?.cancel();
    this.#deadline = this.#options.timers.after(this.#silenceMs, () => this.#expire());
    if (this.#head.framing.kind === 'none') exchange.sendNothing();
    else exchange.sendBody(this.#client.request);
    return exchange;
  }

  /** A byte went on, in either direction. */
  #moved(): void {
    if (this.#deadline !== null) this.#deadline.at = this.#options.timers.now() + this.#silenceMs;
  }

  /** The origin may have said all that it had to say, and be at another client's service by now: then there is only the client to break off from. */
  #expire(): void {
    const error = this.#silence();
    this.#exchange?.abort(error);
    if (this.#responding) this.#client.wire.destroy(error);
  }

  /** Whose silence it was. */
  #silence(): NetError {
    const seconds = this.#silenceMs / 1000;
    const { wire } = this.#client;
    if (this.#responding && wire.writableLength > 0) {
      return new NetError('timeout', `the client took nothing of the response for ${seconds} s`, { code: 'HTTP_CLIENT_TIMEOUT' });
    }
    if (!this.#client.request.complete) return new RequestRefused(408, 'HTTP_BODY_TIMEOUT', `the request's body stopped for ${seconds} s`, { fatal: true });
    return new NetError('timeout', `no answer from the origin for ${seconds} s`, { code: 'HTTP_RESPONSE_TIMEOUT' });
  }

  async #final(exchange: Exchange): Promise<Exclude<Answer, { kind: 'interim' }>> {
    for (;;) {
      const answer = await exchange.next();
      if (answer.kind !== 'interim') return answer;
      this.#forwardInterim(answer.head);
    }
  }

  #forwardInterim({ statusCode, statusMessage, rawHeaders }: InformationEvent): void {
    if (this.#client.request.httpVersion === '1.0') return; // RFC 9110 section 15.2: never to such a client
    // Through Node, which has to know that the client was told to go on.
    if (statusCode === 100) this.#client.response.writeContinue();
    else {
      const fields = [...without(endToEnd(rawHeaders), 'content-length'), 'Via', `1.1 ${this.#options.via}`];
      this.#client.wire.write(formatHead(`HTTP/1.1 ${statusCode} ${statusMessage}`, fields));
    }
  }

  async #respond(exchange: Exchange, message: IncomingMessage): Promise<void> {
    const { request, response, wire } = this.#client;
    if (message.statusCode === 101) throw badResponse('it switches protocols without being asked');
    const framing = responseFraming(this.#head.method, message);
    this.#silenceMs = this.#options.timeouts.idle;
    this.#deadline?.move(this.#silenceMs); // it may come sooner than what was set before
    response.sendDate = false; // the origin's affair
    const fields = this.#responseFields(message);
    if (!request.complete) fields.push('Connection', 'close'); // the rest of the request may never come
    try {
      response.writeHead(message.statusCode ?? 502, message.statusMessage ?? '', fields);
    } catch (error) {
      throw badResponse(error instanceof Error ? error.message : String(error), error);
    }
    wire.cork(); // head and first bytes in one packet, where they come together
    response.flushHeaders();
    setImmediate(() => wire.uncork());
    this.#responding = true;
    wire.onSent = () => this.#moved();
    const receiving = exchange.receiveBody(message, framing);
    try {
      await copied(message, response, wire);
    } catch (thrown) {
      throw exchange.failure ?? thrown;
    }
    await receiving;
    this.#exchange = null; // it may be another client's at once
    if (exchange.finish(message)) {
      const { upstream } = exchange;
      const bound = upstream.bound || authenticatesConnection(this.#head.fields) || challengesConnection(message.rawHeaders);
      this.#options.upstreams.put({ ...upstream, bound });
    }
    const trailers = trailerPairs(message.rawTrailers);
    if (trailers.length > 0) response.addTrailers(trailers);
    response.end();
    await closed(response, wire);
    throwIfCancelled(this.#client.cancel);
  }

  /** RFC 9110 section 7.8: from here on the two ends speak another protocol, and we only carry it. */
  async #tunnel(exchange: Exchange, message: IncomingMessage): Promise<void> {
    const { routed, timers, timeouts } = this.#options;
    if (this.#head.upgrade === null) throw badResponse('it switches protocols without being asked');
    const upstream = exchange.release();
    const client = this.#client.takeStream();
    this.#deadline?.cancel();
    this.#exchange = null;
    const upgrade = message.headers.upgrade ?? this.#head.upgrade;
    const fields = [...this.#responseFields(message), 'Upgrade', upgrade, 'Connection', 'Upgrade'];
    try {
      await client.write([formatHead(`HTTP/1.1 101 ${message.statusMessage ?? ''}`, fields)]);
    } catch (error) {
      abortQuietly(upstream, toNetError(error));
      throw error;
    }
    const { counters, slot } = routed;
    const { error } = await relay(
      client,
      upstream,
      { signal: this.#client.cancel, idleMs: timeouts.idle, halfCloseMs: timeouts.halfClose, counters, slot },
      timers,
    );
    if (error !== null) throw error;
  }

  #responseFields(message: IncomingMessage): string[] {
    const kept: Fields = endToEnd(message.rawHeaders);
    const fields = message.statusCode === 204 || message.statusCode === 101 ? without(kept, 'content-length') : kept; // RFC 9110 section 8.6
    const own = ['Via', `${message.httpVersion} ${this.#options.via}`];
    // Without it a client may not answer such a challenge through a proxy (RFC 4559 section 6).
    if (challengesConnection(kept)) own.push('Proxy-Support', 'Session-Based-Authentication');
    return [...fields, ...own];
  }
}

/** Settles when the whole body has gone to the client's response; rejects when either side broke off. */
function copied(message: IncomingMessage, response: ServerResponse, wire: Wire): Promise<void> {
  return new Promise((resolve, reject) => {
    const clientGone = (): void => settle(wire.failure ?? new NetError('aborted', 'the client left', { code: 'CLIENT_LEFT' }));
    const originGone = (): void => settle(new NetError('aborted', 'the response broke off', { code: 'HTTP_TRUNCATED' }));
    const settle = (error: NetError | null): void => {
      wire.removeListener('close', clientGone);
      message.removeListener('close', originGone);
      if (error === null) resolve();
      else reject(error);
    };
    wire.once('close', clientGone);
    message.once('close', originGone);
    message.once('end', () => settle(null));
    message.once('error', (error) => settle(toNetError(error, 'the response broke off')));
    if (wire.destroyed) clientGone();
    message.pipe(response, { end: false });
  });
}

/** Settles when the response was written, or never will be. */
export function closed(response: ServerResponse, wire: Wire): Promise<void> {
  if (response.closed || wire.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      wire.removeListener('close', done);
      response.removeListener('close', done);
      resolve();
    };
    wire.once('close', done);
    response.once('close', done);
  });
}

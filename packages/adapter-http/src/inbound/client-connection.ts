/**
 * Read first: RFC 9112 section 9 (connection management).
 *
 * One client's connection: heads are cut out of it one at a time and judged by Node's parser, each request is served to its end before
 * the next is looked at, and what lies behind a CONNECT or an Upgrade stays on the stream for the tunnel.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  CancelSource,
  type Endpoint,
  EVENTS,
  errorCode,
  finish,
  INSTANCE_ID,
  type InboundConnection,
  type InboundContext,
  type NetError,
  type Session,
  type Stream,
  StreamReader,
  TIMEOUTS,
  TIMERS,
  type Timeouts,
  type TimerWheel,
  timeoutError,
  toNetError,
} from '@nekit/core';
import type { Framing } from '../message/body-meter.js';
import { isHttp2Preface, isHttpRequest } from '../message/head.js';
import { cameThrough, type ViaTrail, viaName } from '../message/via.js';
import { Wire } from '../message/wire.js';
import { AfterRead } from './after-read.js';
import { checkExpectation, checkFraming } from './check-request.js';
import { ClientUpstreams } from './client-upstreams.js';
import { authenticate } from './credentials.js';
import { closed, forward } from './forward.js';
import { Intake } from './intake.js';
import { isForUs, outgoingHead } from './outgoing-request.js';
import { badRequest, RequestRefused, refusalBytes, refusalOf } from './refusal.js';
import { RequestHeads } from './request-heads.js';
import type { Parsed, RequestParser } from './request-parser.js';
import { parseAbsoluteForm, parseAuthorityForm } from './target.js';
import type { UpstreamPool } from './upstream-pool.js';

const ESTABLISHED = Buffer.from('HTTP/1.1 200 Connection established\r\n\r\n');

/** What the connections of one kernel have in common. */
export interface Shared {
  readonly parser: RequestParser;
  readonly pool: UpstreamPool;
  readonly trail: ViaTrail;
}

export class ClientConnection {
  readonly #connection: InboundConnection;
  readonly #context: InboundContext;
  readonly #upstreams: ClientUpstreams;
  readonly #trail: ViaTrail;
  readonly #reader: StreamReader;
  readonly #heads: RequestHeads;
  readonly #wire: Wire;
  readonly #timers: TimerWheel;
  readonly #timeouts: Timeouts;
  readonly #via: string;
  /** Waits for what the parser makes of a head. */
  #judge: ((parsed: Parsed) => void) | null = null;
  /** The request that is served now. */
  #current: CancelSource | null = null;
  /** The read that the last request left pending. */
  #pending: Promise<void> = Promise.resolve();

  constructor(connection: InboundConnection, context: InboundContext, { parser, pool, trail }: Shared) {
    this.#connection = connection;
    this.#context = context;
    this.#trail = trail;
    this.#reader = new StreamReader(connection.stream);
    this.#wire = new Wire((chunks) => connection.stream.write(chunks));
    this.#timers = context.get(TIMERS);
    this.#timeouts = context.get(TIMEOUTS);
    this.#upstreams = new ClientUpstreams(pool, this.#timers, this.#timeouts.httpKeepAlive);
    this.#heads = new RequestHeads(connection, this.#reader, this.#timers, this.#timeouts);
    this.#via = viaName(context.get(INSTANCE_ID));
    this.#wire.once('close', () => this.#heard({ kind: 'error', error: new Error('the parser gave up') }));
    parser.attach(this.#wire, (parsed) => this.#heard(parsed));
  }

  /** Serves the connection to its end. */
  async run(): Promise<void> {
    try {
      while (await this.#next());
    } finally {
      this.#wire.destroy();
      this.#upstreams.close();
    }
  }

  /** One request. False: there will be no other. */
  async #next(): Promise<boolean> {
    const next = await this.#heads.next(this.#pending);
    if (next.kind === 'end') {
      await this.#end(this.#connection.stream, null);
      return false;
    }
    if (next.kind === 'none') return this.#turnAway(next.error, next.rest);
    if (isHttp2Preface(next.bytes)) return this.#turnAway(new RequestRefused(505, 'HTTP_VERSION', 'HTTP/1.1 is spoken here', { fatal: true }));
    const parsed = await this.#parse(next.bytes);
    if (!isHttpRequest(next.bytes)) return this.#turnAway(badRequest('HTTP_BAD_REQUEST', 'the protocol of this port is HTTP'));
    switch (parsed.kind) {
      case 'error':
        return this.#turnAway(parserError(parsed.error));
      case 'connect':
        return this.#serveConnect(parsed.request);
      case 'request':
        return this.#serveRequest(parsed.request, parsed.response);
    }
  }

  #parse(head: Uint8Array): Promise<Parsed> {
    return new Promise((resolve) => {
      const { handshake } = this.#timeouts;
      const deadline = this.#timers.after(handshake, () => this.#heard({ kind: 'error', error: new Error('the parser wants more than a head') }));
      this.#judge = (parsed) => {
        this.#judge = null;
        deadline.cancel();
        resolve(parsed);
      };
      void this.#wire.feed(head);
    });
  }

  /** From the parser: what a head is, or, while a request is served, what is wrong with its body. */
  #heard(parsed: Parsed): void {
    if (this.#judge !== null) this.#judge(parsed);
    else
      this.#current?.cancel(
        this.#wire.failure ??
          (parsed.kind === 'error' ? parserError(parsed.error) : badRequest('HTTP_FRAMING', 'more than one request where one was expected')),
      );
  }

  async #serveConnect(request: IncomingMessage): Promise<boolean> {
    this.#wire.destroy();
    this.#upstreams.close();
    const { stream } = this.#connection;
    let session: Session;
    try {
      checkFraming(request);
      const user = authenticate(request, this.#connection.users);
      this.#checkLoop(request);
      session = this.#session('HTTPS', parseAuthorityForm(request.url ?? ''), user, this.#connection.signal);
      this.#trail.note(session, request.rawHeaders);
    } catch (thrown) {
      return this.#turnAway(toNetError(thrown));
    }
    const farewell: Promise<void>[] = [];
    await this.#context.handleStream({
      session,
      accept: async () => {
        await stream.write([ESTABLISHED]);
        return this.#reader.release();
      },
      reject: (error) => {
        farewell.push(this.#end(stream, refusalBytes(error)));
      },
    });
    await Promise.all(farewell);
    return false;
  }

  async #serveRequest(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const cancel = new CancelSource(this.#connection.signal);
    this.#current = cancel;
    let framing: Framing | null = null;
    let intake: Intake | null = null;
    try {
      framing = checkFraming(request);
      const user = authenticate(request, this.#connection.users);
      checkExpectation(request);
      this.#checkLoop(request);
      if (isForUs(request)) {
        response.writeHead(200, ['Allow', 'OPTIONS', 'Content-Length', '0', ...(framing.kind === 'none' ? [] : ['Connection', 'close'])]).end();
      } else {
        const target = parseAbsoluteForm(request.method ?? '', request.url ?? '');
        const head = outgoingHead(request, target, framing, this.#via);
        const session = this.#session('HTTP', target.endpoint, user, cancel);
        this.#trail.note(session, request.rawHeaders);
        const taking = new Intake(this.#reader, this.#wire, { framing, watch: response.shouldKeepAlive, left: (error) => cancel.cancel(error) });
        intake = taking;
        this.#pending = taking.over;
        const takeStream = (): Stream => {
          taking.stop();
          this.#current = null; // the parser has no say any more
          this.#wire.destroy();
          this.#upstreams.close();
          return new AfterRead(this.#connection.stream, this.#reader, taking.over);
        };
        await this.#route(session, (routed) => {
          const { host, port } = target.endpoint;
          const key = JSON.stringify([routed.key, host, port, user ?? null]);
          return forward({ request, response, wire: this.#wire, cancel, takeStream }, head, {
            routed,
            key,
            upstreams: this.#upstreams,
            timers: this.#timers,
            timeouts: this.#timeouts,
            via: this.#via,
          });
        });
      }
    } catch (thrown) {
      const error = toNetError(thrown);
      intake?.stop();
      if (intake === null) this.#report(error);
      if (this.#wire.destroyed || response.headersSent || (cancel.reason !== null && !(cancel.reason instanceof RequestRefused))) {
        this.#connection.stream.abort(error); // a response that broke off must look like one
        return false;
      }
      respondRefusal(response, error, framing?.kind === 'none');
    } finally {
      intake?.stop();
      cancel.release();
      this.#current = null;
    }
    await this.#sent(response);
    if (this.#wire.destroyed) return false;
    if (!this.#wire.writableEnded && request.complete) return true;
    await this.#end(new AfterRead(this.#connection.stream, this.#reader, this.#pending), null);
    return false;
  }

  /** Settles when a response was written, or will never be: one of our own goes no further either if the client takes nothing. */
  async #sent(response: ServerResponse): Promise<void> {
    const { idle } = this.#timeouts;
    const deadline = this.#timers.after(idle, () => this.#wire.destroy(timeoutError('the end of the response', idle)));
    await closed(response, this.#wire);
    deadline.cancel();
  }

  /** Reports the session as ended, whatever comes of it. */
  async #route(session: Session, use: (routed: Awaited<ReturnType<InboundContext['route']>>) => Promise<void>): Promise<void> {
    const routed = await this.#context.route(session);
    let error: NetError | null = null;
    try {
      await use(routed);
    } catch (thrown) {
      error = toNetError(thrown);
      throw error;
    } finally {
      routed.end(error);
    }
  }

  #session(inboundType: string, destination: Endpoint, user: string | undefined, signal: CancelSource): Session {
    const { source, port } = this.#connection;
    const session = {
      id: this.#context.nextId(),
      network: 'tcp',
      inbound: this.#context.name,
      inboundType,
      inboundPort: port,
      source,
      requested: destination,
      destination,
      signal,
    } as const;
    return user === undefined ? session : { ...session, user };
  }

  #checkLoop({ rawHeaders }: IncomingMessage): void {
    if (cameThrough(rawHeaders, this.#via)) throw new RequestRefused(508, 'LOOP', 'this request has come through this proxy before');
  }

  /** Says why and ends the connection. */
  async #turnAway(error: NetError, rest: Stream = this.#connection.stream): Promise<false> {
    const idle = error.code === 'HTTP_IDLE';
    if (!idle && this.#connection.signal.reason === null) this.#report(error); // who just left has done nothing wrong
    await this.#end(rest, error instanceof RequestRefused && !idle ? refusalBytes(error) : null);
    return false;
  }

  /** There will be no other request. */
  #end(stream: Stream, lastWord: Uint8Array | null): Promise<void> {
    this.#upstreams.close();
    return finish(stream, lastWord, this.#timers, this.#timeouts.halfClose);
  }

  #report({ code, message }: NetError): void {
    const events = this.#context.get(EVENTS);
    if (events.wants('request.failed')) events.emit('request.failed', { listener: this.#context.name, source: this.#connection.source, code, message });
  }
}

/** The connection goes on only if no body is on its way. */
function respondRefusal(response: ServerResponse, error: NetError, bodyless: boolean): void {
  const { status, reason, fields, body } = refusalOf(error);
  const last = !bodyless || (error instanceof RequestRefused && error.fatal);
  response.writeHead(status, reason, [...fields, ...(last ? ['Connection', 'close'] : [])]);
  response.end(body);
}

function parserError(error: Error): RequestRefused {
  const code = errorCode(error);
  if (code === 'HPE_HEADER_OVERFLOW') return new RequestRefused(431, 'HTTP_HEAD_TOO_LONG', 'the header fields are too long', { fatal: true });
  if (code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW') return new RequestRefused(413, 'HTTP_BAD_REQUEST', 'the chunk extensions are too long', { fatal: true });
  return badRequest('HTTP_BAD_REQUEST', error.message);
}

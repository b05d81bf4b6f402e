/** Questions over HTTP/2, through any adapter. Read first: RFC 8484. */
import http2 from 'node:http2';
import { abortQuietly, type Cancel, CancelSource, duplexFromStream, NetError, type Stream, toNetError } from '@nekit/core';
import { HEADER, MAX_MESSAGE } from '../wire/message.js';
import { matchOf, type Question, queryMessage } from '../wire/question.js';
import { CLOSED, Life } from './life.js';
import { type Upstream, type UpstreamContext, unlessCancelled } from './upstream.js';

const CONTENT = 'application/dns-message';

/** A session that nobody asks anything is closed after this long, in ms. */
const IDLE = 30_000;
/** Until it is there. */
const CONNECT = 10_000;

export class HttpsUpstream implements Upstream {
  readonly name: string;
  readonly #url: URL;
  readonly #open: (signal: Cancel) => Promise<Stream>;
  readonly #timers: UpstreamContext['timers'];
  readonly #life = new Life();
  #session: http2.ClientHttp2Session | null = null;
  #connecting: { readonly life: Cancel; readonly session: Promise<http2.ClientHttp2Session> } | null = null;
  /** Parts of answers that came. */
  #received = 0;

  /** `open` dials, and puts TLS with ALPN h2 on it. */
  constructor(name: string, url: URL, open: (signal: Cancel) => Promise<Stream>, context: Pick<UpstreamContext, 'timers'>) {
    this.name = name;
    this.#url = url;
    this.#open = open;
    this.#timers = context.timers;
  }

  ask(question: Question, signal: Cancel): Promise<Uint8Array> {
    return this.#life.during(() => this.#ask(question, signal));
  }

  close(): void {
    this.#life.close();
  }

  async #ask(question: Question, signal: Cancel): Promise<Uint8Array> {
    for (let tries = 0; ; tries++) {
      const session = await this.#opened(signal);
      try {
        return await this.#post(session, question, signal);
      } catch (error) {
        // A session that had ended while we took it, or that the server let go of (GOAWAY): once more with a new one.
        if (tries > 0 || !(session.destroyed || session.closed) || signal.reason !== null) throw error;
      }
    }
  }

  /** The session, or a new one; who asks meanwhile waits for the same. */
  #opened(signal: Cancel): Promise<http2.ClientHttp2Session> {
    const present = this.#session;
    if (present !== null && !present.destroyed && !present.closed) return Promise.resolve(present);
    const life = this.#life.signal;
    if (this.#connecting?.life !== life) {
      const session = this.#connect(life).finally(() => {
        if (this.#connecting?.session === session) this.#connecting = null;
      });
      this.#connecting = { life, session };
    }
    return unlessCancelled(this.#connecting.session, signal);
  }

  async #connect(life: Cancel): Promise<http2.ClientHttp2Session> {
    const dialling = new CancelSource(life);
    const deadline = this.#timers.after(CONNECT, () => dialling.cancel(new NetError('timeout', `${this.name} took longer than ${CONNECT} ms to connect`)));
    try {
      const stream = await this.#open(dialling);
      if (life.reason !== null) {
        abortQuietly(stream, life.reason); // it came all the same
        throw life.reason;
      }
      const session = http2.connect(this.#url.origin, { createConnection: () => duplexFromStream(stream) });
      session.on('error', () => abortQuietly(stream, CLOSED)); // its requests are told
      session.setTimeout(IDLE, () => session.close());
      const forget = life.onCancel(() => session.destroy());
      session.once('close', forget);
      this.#session = session;
      return session;
    } catch (error) {
      throw toNetError(error, this.name);
    } finally {
      deadline.cancel();
      dialling.release();
    }
  }

  #post(session: http2.ClientHttp2Session, question: Question, signal: Cancel): Promise<Uint8Array> {
    // Id 0, so that caches on the way see equal questions (RFC 8484 section 4.1).
    const sent = queryMessage(question, { id: 0, spelling: null, edns: true });
    const before = this.#received;
    return new Promise((resolve, reject) => {
      const request = session.request({
        ':method': 'POST',
        ':path': `${this.#url.pathname}${this.#url.search}`,
        'content-type': CONTENT,
        accept: CONTENT,
        'content-length': sent.length,
      });
      const parts: Buffer[] = [];
      let length = 0;
      const fail = (error: NetError): void => {
        forget();
        request.close(http2.constants.NGHTTP2_CANCEL);
        reject(error);
      };
      const bad = (what: string): void => fail(new NetError('protocol', `${this.name} ${what}`, { code: 'DNS_BAD_MESSAGE' }));
      const forget = signal.onCancel((reason) => {
        const error = toNetError(reason);
        fail(error);
        // A NAT may have forgotten the connection, which nobody would ever tell us: the next question opens another.
        if (error.failure === 'timeout' && this.#received === before) session.destroy();
      });
      request.on('error', (error) => fail(toNetError(error, this.name)));
      request.on('close', () => fail(new NetError('aborted', `${this.name} closed the request`, { code: 'UNEXPECTED_END' })));
      request.on('response', (headers) => {
        this.#received++;
        const status = headers[':status'] ?? 0;
        if (status !== 200) bad(`answers with HTTP status ${status}`);
        else if (!(headers['content-type'] ?? '').startsWith(CONTENT)) bad(`does not speak DNS: its answer is no ${CONTENT}`);
      });
      request.on('data', (part: Buffer) => {
        this.#received++;
        length += part.length;
        if (length > MAX_MESSAGE) bad('sent a message that is too long');
        else parts.push(part);
      });
      request.on('end', () => {
        const message = Uint8Array.from(Buffer.concat(parts));
        if (message.length < HEADER || matchOf(sent, question.wire.length + 4, message) === 'no') {
          bad('answered something that was not asked');
          return;
        }
        forget();
        resolve(message);
      });
      request.end(sent);
    });
  }
}

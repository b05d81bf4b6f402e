/**
 * A CONNECT tunnel in HTTP/2. Read first: RFC 9113 section 8.5 (CONNECT), RFC 9209 section 2.3 (Proxy-Status).
 *
 *   us:    HEADERS  :method CONNECT   :authority example.com:443   (no :scheme, no :path)
 *   proxy: HEADERS  :status 200       then DATA both ways; END_STREAM is FIN, RST_STREAM is RST
 *
 * The protocol is Node's: `node:http2` speaks to a Duplex, so our stream becomes one on the way in and one becomes our stream on the way
 * out. One HTTP/2 connection carries one tunnel here; what is shared among tunnels would need limits and a pool.
 */
import http2, { type ClientHttp2Stream, type IncomingHttpHeaders } from 'node:http2';
import {
  type Chunks,
  duplexFromStream,
  type Endpoint,
  type Failure,
  formatEndpoint,
  NetError,
  type Stream,
  streamFromDuplex,
  type TimerWheel,
  toNetError,
} from '@nekit/core';

/** How much the proxy may send ahead, in bytes: 1 MiB keeps 80 Mbit/s busy over 100 ms; 64 KiB (the default) would not. */
const WINDOW = 1024 * 1024;

/** How long the proxy may take to close the connection after the tunnel has ended, in ms. */
const CLOSE_MS = 2_000;

export interface TunnelOptions {
  readonly destination: Endpoint;
  /** Value of Proxy-Authorization. */
  readonly authorization: string | null;
  readonly timers: TimerWheel;
}

/** Takes `base`, which leads to the proxy. Rejects with a NetError; abort `base` to cut it short. */
export async function openTunnel(base: Stream, { destination, authorization, timers }: TunnelOptions): Promise<Stream> {
  const duplex = duplexFromStream(base);
  // The authority of the session is never sent: a CONNECT has its own.
  const session = http2.connect('http://proxy.invalid', { createConnection: () => duplex, settings: { initialWindowSize: WINDOW, enablePush: false } });
  session.once('connect', () => session.setLocalWindowSize(WINDOW)); // the connection has a window of its own
  const broken: { error: NetError | null } = { error: null };
  session.on('error', (error) => {
    broken.error ??= toNetError(error, 'the HTTP/2 connection to the proxy');
  });
  const request = session.request(
    { ':method': 'CONNECT', ':authority': formatEndpoint(destination), ...(authorization === null ? {} : { 'proxy-authorization': authorization }) },
    { endStream: false },
  );
  request.once('close', () => {
    if (request.rstCode !== http2.constants.NGHTTP2_NO_ERROR) {
      session.destroy(); // which aborts the base, so that the reset reaches the proxy whatever is in between
      return;
    }
    session.close();
    const deadline = timers.after(CLOSE_MS, () => duplex.destroy());
    duplex.once('close', () => deadline.cancel());
  });
  const tunnel = new TunnelStream(request); // before the answer: what comes right behind it must find a listener
  try {
    const headers = await responseHeaders(request);
    const status = headers[':status'] ?? 0;
    if (status < 200 || status > 299) throw refusal(status, headers['proxy-status']);
    return tunnel;
  } catch (error) {
    session.destroy();
    throw broken.error ?? error;
  }
}

/** The head of the response, or a NetError if the stream ends before it. */
function responseHeaders(request: ClientHttp2Stream): Promise<IncomingHttpHeaders & { ':status'?: number }> {
  return new Promise((resolve, reject) => {
    request.once('response', resolve);
    request.once('error', (error) => reject(toNetError(error, 'the HTTP/2 proxy')));
    request.once('close', () => reject(new NetError('protocol', 'the HTTP/2 proxy closed the tunnel without an answer', { code: 'H2C_NO_ANSWER' })));
  });
}

/** RFC 9209 section 2.3: what a proxy may say about its failure. */
const BY_PROXY_STATUS: Readonly<Record<string, Failure>> = {
  connection_refused: 'refused',
  connection_timeout: 'timeout',
  connection_terminated: 'aborted',
  destination_ip_prohibited: 'denied',
  destination_ip_unroutable: 'unreachable',
  destination_not_found: 'name',
  destination_unavailable: 'unreachable',
  dns_error: 'name',
  dns_timeout: 'timeout',
  http_request_denied: 'denied',
};

const BY_STATUS: Readonly<Record<number, Failure>> = { 401: 'auth', 403: 'denied', 407: 'auth', 502: 'unreachable', 503: 'unreachable', 504: 'timeout' };

function refusal(status: number, proxyStatus: unknown): NetError {
  const word = typeof proxyStatus === 'string' ? (/;\s*error=([a-z_]{1,40})/.exec(proxyStatus)?.[1] ?? '') : '';
  const failure = (Object.hasOwn(BY_PROXY_STATUS, word) ? BY_PROXY_STATUS[word] : BY_STATUS[status]) ?? 'protocol';
  const code = status === 407 || status === 401 ? 'H2C_PROXY_AUTH' : 'H2C_REFUSED';
  return new NetError(failure, `the HTTP/2 proxy answered ${status}${word === '' ? '' : ` (${word})`}`, { code });
}

/** The tunnel as our stream. Only `read` needs a hand: Node ends a stream that was reset like one that was finished. */
class TunnelStream implements Stream {
  readonly #request: ClientHttp2Stream;
  readonly #stream: Stream;

  constructor(request: ClientHttp2Stream) {
    this.#request = request;
    this.#stream = streamFromDuplex(request);
  }

  async read(): Promise<Chunks | null> {
    const chunks = await this.#stream.read();
    const reset = this.#request.rstCode;
    if (chunks !== null || reset === http2.constants.NGHTTP2_NO_ERROR) return chunks;
    throw new NetError('aborted', `the tunnel was reset (HTTP/2 error ${reset})`, { code: 'H2C_RESET' });
  }

  write(chunks: Chunks): Promise<void> {
    return this.#stream.write(chunks);
  }

  closeWrite(): Promise<void> {
    return this.#stream.closeWrite();
  }

  abort(reason: Error): void {
    this.#stream.abort(reason);
  }
}

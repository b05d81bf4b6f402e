/** One HTTP/1.1 request over a stream of its own, by node:http. Read first: RFC 9112 section 6.3. */
import { type IncomingMessage, request } from 'node:http';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { abortQuietly } from '../net/attempt.js';
import { type Cancel, throwIfCancelled } from '../net/cancel.js';
import type { StreamDialer } from '../net/dialer.js';
import { duplexFromStream } from '../net/duplex.js';
import type { Endpoint } from '../net/endpoint.js';
import { errorCode, NetError, toNetError } from '../net/errors.js';
import type { Session } from '../net/session.js';
import type { Stream } from '../net/stream.js';
import { TlsLayer } from './tls.js';

export interface Target {
  readonly url: URL;
  readonly endpoint: Endpoint;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export interface ExchangeOptions {
  readonly dialer: StreamDialer;
  readonly session: Session;
  readonly signal: Cancel;
  readonly maxBytes: number;
  readonly method: 'GET' | 'HEAD';
  readonly headers: Readonly<Record<string, string>>;
  readonly ca: string | undefined;
  /** Whether the body of an answer with this status is read. */
  readonly bodyOf: (status: number) => boolean;
}

const NOTHING = new Uint8Array(0);
const unpack = promisify(gunzip);

/** Rejects with a NetError or with whatever the signal fired with. The stream is closed before it settles. */
export async function exchange(target: Target, options: ExchangeOptions): Promise<Answer> {
  const { signal } = options;
  throwIfCancelled(signal);
  const raw = await dial(target.endpoint, options);
  const over = new NetError('aborted', 'the request is over', { code: 'DONE' });
  const forget = signal.onCancel((reason) => abortQuietly(raw, reason));
  try {
    const stream = target.url.protocol === 'https:' ? await secure(raw, target, options.ca) : raw;
    const answer = await unlessCancelled(send(stream, target, options), signal);
    return await unlessCancelled(unpacked(answer, options.maxBytes, target), signal);
  } finally {
    forget();
    abortQuietly(raw, over);
  }
}

/** However the dialer behaves, it is over when the signal fires. */
function dial(endpoint: Endpoint, { dialer, session, signal }: ExchangeOptions): Promise<Stream> {
  const dialling = dialer.dialStream(endpoint, { session: { ...session, requested: endpoint, destination: endpoint, signal }, signal });
  void dialling.then(
    (stream) => {
      if (signal.reason !== null) abortQuietly(stream, signal.reason);
    },
    () => undefined, // told below
  );
  return unlessCancelled(dialling, signal);
}

function unlessCancelled<T>(promise: Promise<T>, signal: Cancel): Promise<T> {
  return new Promise((resolve, reject) => {
    const forget = signal.onCancel(reject);
    promise.then(resolve, reject).finally(forget);
  });
}

function secure(stream: Stream, { url, endpoint }: Target, ca: string | undefined): Promise<Stream> {
  const layer = new TlsLayer({ server: endpoint.host, tls: true, 'skip-cert-verify': false, ca }, url.origin, ['http/1.1']);
  return layer.secure(stream);
}

function send(stream: Stream, { url }: Target, { maxBytes, method, headers, bodyOf }: ExchangeOptions): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const message = request({
      method,
      path: `${url.pathname}${url.search}`,
      // Ours last: nobody may change how the message ends, or ask for a coding that we cannot read.
      headers: { ...authorization(url), ...headers, host: url.host, 'accept-encoding': 'gzip', connection: 'close' },
      createConnection: () => duplexFromStream(stream),
    });
    const fail = (error: unknown): void => {
      reject(describe(error, url));
      message.destroy();
    };
    // 101 and whatever else Node closes without a word.
    const silent = (): void => fail(new NetError('protocol', `${url.origin} closed the connection without an answer`, { code: 'UNEXPECTED_END' }));
    message.on('error', fail);
    message.on('close', silent);
    message.on('response', (response) => {
      message.off('close', silent); // from here on the response knows more
      const status = response.statusCode ?? 0;
      const found = { status, headers: joined(response) };
      const done = (body: Uint8Array): void => {
        resolve({ ...found, body });
        message.destroy();
      };
      if (method === 'HEAD' || !bodyOf(status)) done(NOTHING);
      else read(response, maxBytes, url, done, fail);
    });
    message.end();
  });
}

function read(response: IncomingMessage, maxBytes: number, url: URL, done: (body: Uint8Array) => void, fail: (error: unknown) => void): void {
  if (Number(response.headers['content-length'] ?? 0) > maxBytes) {
    fail(tooLarge(url, maxBytes));
    return;
  }
  const chunks: Uint8Array[] = [];
  let length = 0;
  response.on('error', fail);
  response.on('data', (chunk: Uint8Array) => {
    length += chunk.length;
    if (length > maxBytes) fail(tooLarge(url, maxBytes));
    else chunks.push(chunk);
  });
  response.on('end', () => done(Buffer.concat(chunks)));
}

async function unpacked(answer: Answer, maxBytes: number, { url }: Target): Promise<Answer> {
  const coding = answer.headers['content-encoding']?.trim().toLowerCase() ?? 'identity';
  if (answer.body.length === 0 || coding === 'identity' || coding === '') return answer;
  if (coding !== 'gzip' && coding !== 'x-gzip')
    throw new NetError('protocol', `${url.origin} answers in the coding "${coding}", which was not asked for`, { code: 'BAD_ENCODING' });
  try {
    return { ...answer, body: await unpack(answer.body, { maxOutputLength: maxBytes }) };
  } catch (error) {
    if (errorCode(error) === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(url, maxBytes);
    throw new NetError('protocol', `what ${url.origin} sent as gzip is none, or only a part: ${messageOf(error)}`, { code: 'BAD_ENCODING', cause: error });
  }
}

function tooLarge(url: URL, maxBytes: number): NetError {
  return new NetError('denied', `what ${url.origin} sends is longer than the ${maxBytes} bytes that are allowed`, { code: 'TOO_LARGE' });
}

/** What node:http calls a hang-up or a parse error, as people would say it. */
function describe(error: unknown, url: URL): NetError {
  const code = errorCode(error);
  if (code.startsWith('HPE_'))
    return new NetError('protocol', `${url.origin} does not speak HTTP as it should: ${messageOf(error)}`, { code: 'BAD_HTTP', cause: error });
  if (code === 'ECONNRESET') return new NetError('aborted', `${url.origin} closed the connection in the middle of its answer`, { code, cause: error });
  return toNetError(error, `asking ${url.origin}`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function authorization({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {};
  return { authorization: `Basic ${Buffer.from(`${decode(username)}:${decode(password)}`).toString('base64')}` };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a '%' that stands for itself
  }
}

function joined(response: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(response.headers)) if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(', ') : value;
  return headers;
}

/**
 * Read first: RFC 9110 section 9.3.6 (CONNECT), RFC 9112 section 3.2.3 (authority-form), RFC 7617 (Basic).
 *
 *   CONNECT example.com:443 HTTP/1.1 CRLF fields CRLF      ->
 *   HTTP/1.1 200 … CRLF fields CRLF  then the tunnel's bytes  <-
 */
import http from 'node:http';
import { type Endpoint, formatEndpoint, NetError, type Stream, StreamReader, toNetError } from '@nekit/core';
import { formatHead } from '../message/fields.js';
import { isHttpResponse, MAX_HEAD, readHead } from '../message/head.js';
import { Wire } from '../message/wire.js';

/** Longer names do not fit where they go in the end (RFC 1035; a SOCKS5 hop has one byte for the length). */
const MAX_HOST = 255;
/** Interim responses before the final one; more of them are no conversation. */
const MAX_INTERIM = 16;

export interface ConnectOptions {
  /** `user:password`, or null. */
  readonly credentials: string | null;
  readonly headers: Readonly<Record<string, string>>;
}

/** The whole request, in one piece; `via`: where it comes from, see message/via.ts. Throws NetError `HOST_TOO_LONG` or `BAD_HOST` for what an authority cannot hold. */
export function connectRequest(destination: Endpoint, via: string, options: ConnectOptions): Uint8Array {
  if (destination.host.length > MAX_HOST)
    throw new NetError('name', `a name of ${destination.host.length} bytes is longer than ${MAX_HOST}`, { code: 'HOST_TOO_LONG' });
  // Canonical hosts hold nothing else; a zone (fe80::1%eth0) means something on this machine only.
  if (!/^[0-9A-Za-z._:-]+$/.test(destination.host)) throw new NetError('name', 'the host cannot be sent to an HTTP proxy', { code: 'BAD_HOST' });
  const authority = formatEndpoint(destination);
  const own = Object.entries(options.headers);
  const given = new Set(own.map(([name]) => name.toLowerCase()));
  const fields: string[] = [];
  if (!given.has('host')) fields.push('Host', authority);
  if (options.credentials !== null && !given.has('proxy-authorization')) {
    fields.push('Proxy-Authorization', `Basic ${Buffer.from(options.credentials).toString('base64')}`);
  }
  for (const [name, value] of own) fields.push(name, value);
  fields.push('Via', via);
  return formatHead(`CONNECT ${authority} HTTP/1.1`, fields);
}

/**
 * Asks for the tunnel and waits for the answer. Gives the stream back with the tunnel's first bytes in front, its `native` end included.
 * Rejects with a NetError when the proxy says no or breaks the protocol.
 */
export async function openTunnel(stream: Stream, request: Uint8Array): Promise<Stream> {
  const reader = new StreamReader(stream);
  await stream.write([request]);
  for (let interim = 0; interim <= MAX_INTERIM; interim++) {
    const head = await readHead(reader);
    if (head === null) throw new NetError('aborted', 'the HTTP proxy closed the connection without an answer', { code: 'UNEXPECTED_END' });
    if (!isHttpResponse(head)) throw new NetError('protocol', 'the HTTP proxy does not speak HTTP', { code: 'HTTP_PROXY_PROTOCOL' });
    const status = await parseStatus(head);
    if (status >= 200 && status <= 299) return reader.release();
    if (status < 100 || status > 199 || status === 101) throw refusal(status);
  }
  throw new NetError('protocol', 'the HTTP proxy sends interim responses without end', { code: 'HTTP_PROXY_PROTOCOL' });
}

/** The status of a response head, judged by Node's parser: a request that is never sent gets it as its response. */
function parseStatus(head: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) => {
    const wire = new Wire(() => Promise.resolve());
    const request = http.request({ method: 'CONNECT', path: '-', maxHeaderSize: MAX_HEAD, insecureHTTPParser: false, createConnection: () => wire });
    const refuse = (error: Error): void =>
      reject(new NetError('protocol', `the HTTP proxy's answer is malformed: ${error.message}`, { code: 'HTTP_PROXY_PROTOCOL', cause: error }));
    request.maxHeadersCount = 0; // bounded by their bytes; Node's own limit drops fields in silence
    request.on('error', refuse);
    request.on('connect', (response) => {
      wire.destroy();
      resolve(response.statusCode ?? 0);
    });
    request.end();
    void wire.feed(head);
    wire.feedEnd(); // what is no head by then never will be
  });
}

/** What the reader can do something about has a code of its own. The reason phrase is the proxy's text and stays out. */
function refusal(status: number): NetError {
  switch (status) {
    case 407:
      return new NetError('auth', 'the HTTP proxy wants a user name and password, or other ones (407)', { code: 'HTTP_PROXY_AUTH' });
    case 403:
      return new NetError('denied', 'the HTTP proxy refuses this destination (403)', { code: 'HTTP_PROXY_STATUS' });
    case 508:
      return new NetError('protocol', 'the HTTP proxy says that this connection goes round in a loop (508)', { code: 'LOOP' });
    case 502:
    case 503:
      return new NetError('unreachable', `the HTTP proxy cannot reach the destination (${status})`, { code: 'HTTP_PROXY_STATUS' });
    case 504:
      return new NetError('timeout', 'the HTTP proxy got no answer from the destination (504)', { code: 'HTTP_PROXY_STATUS' });
    default:
      return new NetError('protocol', `the HTTP proxy answered CONNECT with status ${status}`, { code: 'HTTP_PROXY_STATUS' });
  }
}

/** For a failed handshake: anything thrown, as a NetError that says where. */
export function handshakeError(error: unknown): NetError {
  return toNetError(error, 'handshake with the HTTP proxy');
}

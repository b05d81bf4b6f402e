/** Read first: RFC 9110 section 7.6 (message forwarding), RFC 9112 section 3.2.2. */
import type { IncomingMessage } from 'node:http';
import type { Framing } from '../message/body-meter.js';
import { endToEnd, type Fields, listOf, valuesOf, without } from '../message/fields.js';
import { RequestRefused } from './refusal.js';
import type { Target } from './target.js';

/** What goes to the origin, but for the body. */
export interface OutgoingHead {
  readonly method: string;
  readonly path: string;
  /** In order, framing and Connection included: nothing is to be added. */
  readonly fields: Fields;
  readonly framing: Framing;
  /** The protocol that the client would like to go on with (`websocket`), or null. */
  readonly upgrade: string | null;
}

/** Methods that a request without body says nothing about the length of it with. */
const BODILESS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE']);

/** RFC 9110 section 9.2.2, and those that WebDAV adds: sent twice they mean the same. */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE', 'PROPFIND', 'REPORT', 'SEARCH']);

export function isIdempotent(method: string): boolean {
  return IDEMPOTENT.has(method);
}

/** The origin's head of a client's request. Nothing of the client's address is added. */
export function outgoingHead(request: IncomingMessage, target: Target, framing: Framing, via: string): OutgoingHead {
  const method = request.method ?? 'GET';
  const upgrade = wantedUpgrade(request, framing);
  let fields = without(endToEnd(request.rawHeaders), 'host');
  if (request.httpVersion === '1.0') fields = without(fields, 'expect'); // RFC 9110 section 10.1.1
  const forwards = maxForwards(request);
  if (forwards !== null) fields = [...without(fields, 'max-forwards'), 'Max-Forwards', String(forwards - 1)];
  const own = ['Via', `${request.httpVersion} ${via}`];
  if (framing.kind === 'chunked') own.push('Transfer-Encoding', 'chunked');
  if (framing.kind === 'none' && !BODILESS.has(method)) own.push('Content-Length', '0');
  if (upgrade === null) own.push('Connection', 'keep-alive');
  else own.push('Upgrade', upgrade, 'Connection', 'Upgrade');
  return { method, path: target.path, fields: ['Host', target.host, ...fields, ...own], framing, upgrade };
}

/** h2c is left out: it would carry requests that nobody here looks at, and is gone from HTTP/2 (RFC 9113 section 3.1). */
function wantedUpgrade({ httpVersion, rawHeaders }: IncomingMessage, framing: Framing): string | null {
  if (httpVersion !== '1.1' || framing.kind !== 'none' || !listOf(rawHeaders, 'connection').includes('upgrade')) return null;
  const wanted = valuesOf(rawHeaders, 'upgrade').join(', ');
  return wanted === '' || listOf(rawHeaders, 'upgrade').some((protocol) => protocol === 'h2c' || protocol === 'h2') ? null : wanted;
}

/**
 * How many more hops the client allows, or null; it counts for OPTIONS and TRACE (RFC 9110 section 7.6.2).
 * Throws RequestRefused where we are the last one.
 */
export function maxForwards({ method, rawHeaders }: IncomingMessage): number | null {
  if (method !== 'OPTIONS' && method !== 'TRACE') return null;
  const value = valuesOf(rawHeaders, 'max-forwards')[0];
  return value !== undefined && /^[0-9]{1,9}$/.test(value) ? Number(value) : null;
}

/** Whether the request is for this proxy itself: `OPTIONS *`, or the last hop that Max-Forwards allows. */
export function isForUs(request: IncomingMessage): boolean {
  if (maxForwards(request) !== 0) return request.method === 'OPTIONS' && request.url === '*';
  if (request.method === 'TRACE') throw new RequestRefused(405, 'HTTP_TRACE', 'this proxy does not show requests', { fields: ['Allow', 'OPTIONS'] });
  return true;
}

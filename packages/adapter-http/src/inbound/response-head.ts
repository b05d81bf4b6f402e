/** Read first: RFC 9112 section 6.3 (message body length), section 9.3 (persistence). */
import type { IncomingMessage } from 'node:http';
import { NetError } from '@nekit/core';
import { type Framing, NO_BODY } from '../message/body-meter.js';
import { listOf, trimOws, valuesOf } from '../message/fields.js';

/** How the response's body is framed. Throws NetError `HTTP_BAD_RESPONSE` where two readers could disagree. */
export function responseFraming(method: string, response: IncomingMessage): Framing {
  const { httpVersion, rawHeaders } = response;
  const status = response.statusCode ?? 0;
  if (httpVersion !== '1.1' && httpVersion !== '1.0') throw badResponse(`it is of HTTP/${httpVersion}`);
  const codings = valuesOf(rawHeaders, 'transfer-encoding');
  const lengths = valuesOf(rawHeaders, 'content-length');
  if (codings.length > 0 && (httpVersion !== '1.1' || codings.length > 1 || trimOws(codings[0] ?? '').toLowerCase() !== 'chunked'))
    throw badResponse('its Transfer-Encoding is not "chunked"');
  if (lengths.length > 1 || (lengths.length > 0 && codings.length > 0)) throw badResponse('it says twice how long it is');
  const text = lengths[0];
  const length = text === undefined ? null : /^[0-9]{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (length !== null && !Number.isSafeInteger(length)) throw badResponse('its Content-Length is not a length');
  if (method === 'HEAD' || status === 304) return NO_BODY;
  if (status === 204) {
    if (codings.length > 0 || (length !== null && length > 0)) throw badResponse('a 204 has no body');
    return NO_BODY;
  }
  if (codings.length > 0) return { kind: 'chunked' };
  return length === null ? { kind: 'until-close' } : { kind: 'length', length };
}

/** Whether the origin keeps the connection open behind this response. */
export function isPersistent({ httpVersion, rawHeaders }: IncomingMessage): boolean {
  const options = listOf(rawHeaders, 'connection');
  return httpVersion === '1.1' ? !options.includes('close') : options.includes('keep-alive');
}

export function badResponse(why: string, cause?: unknown): NetError {
  return new NetError('protocol', `the origin's response is malformed: ${why}`, { code: 'HTTP_BAD_RESPONSE', cause });
}

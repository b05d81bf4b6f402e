/** Read first: RFC 9112 sections 3.2 (Host), 6.1 and 6.3 (framing), 11.2 (request smuggling). What Node's parser lets through and we do not. */
import type { IncomingMessage } from 'node:http';
import { parseEndpoint } from '@nekit/core';
import { type Framing, NO_BODY } from '../message/body-meter.js';
import { listOf, trimOws, valuesOf } from '../message/fields.js';
import { badRequest, RequestRefused } from './refusal.js';

/** How the request's body is framed. Throws a fatal RequestRefused where two readers could disagree. */
export function checkFraming(request: IncomingMessage): Framing {
  const { httpVersion, method, rawHeaders } = request;
  if (httpVersion === '0.9') throw badRequest('HTTP_VERSION', 'HTTP/0.9 is not spoken here');
  if (httpVersion !== '1.1' && httpVersion !== '1.0') throw new RequestRefused(505, 'HTTP_VERSION', 'HTTP/1.1 is spoken here', { fatal: true });
  checkHost(request);
  const codings = valuesOf(rawHeaders, 'transfer-encoding');
  const lengths = valuesOf(rawHeaders, 'content-length');
  if (method === 'CONNECT' && (codings.length > 0 || lengths.length > 0)) throw badRequest('HTTP_CONNECT_BODY', 'CONNECT has no body');
  if (codings.length > 0) {
    if (lengths.length > 0) throw badRequest('HTTP_FRAMING', 'Content-Length and Transfer-Encoding exclude each other');
    if (httpVersion === '1.0') throw badRequest('HTTP_FRAMING', 'HTTP/1.0 has no Transfer-Encoding');
    if (codings.length > 1 || trimOws(codings[0] ?? '').toLowerCase() !== 'chunked')
      throw badRequest('HTTP_FRAMING', 'the only Transfer-Encoding is "chunked", once');
    return { kind: 'chunked' };
  }
  const length = lengths[0];
  if (length === undefined) return NO_BODY;
  if (lengths.length > 1) throw badRequest('HTTP_FRAMING', 'more than one Content-Length');
  return { kind: 'length', length: parseLength(length) };
}

function parseLength(text: string): number {
  const length = /^[0-9]{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(length)) throw badRequest('HTTP_FRAMING', 'Content-Length is not a length');
  return length;
}

function checkHost({ httpVersion, method, rawHeaders }: IncomingMessage): void {
  const hosts = valuesOf(rawHeaders, 'host');
  if (hosts.length > 1) throw badRequest('HTTP_HOST', 'more than one Host field');
  const host = hosts[0];
  if (host === undefined) {
    // For CONNECT the authority has said it all, and not every client repeats it.
    if (httpVersion === '1.1' && method !== 'CONNECT') throw badRequest('HTTP_HOST', 'HTTP/1.1 needs a Host field');
  } else if (host !== '' && parseEndpoint(host.endsWith(':') ? host.slice(0, -1) : host, 80) === null) {
    throw badRequest('HTTP_HOST', 'the Host field is not a host');
  }
}

/** Throws RequestRefused 417 for an expectation other than 100-continue (RFC 9110 section 10.1.1). */
export function checkExpectation({ rawHeaders }: IncomingMessage): void {
  if (listOf(rawHeaders, 'expect').some((expectation) => expectation !== '100-continue')) {
    throw new RequestRefused(417, 'HTTP_EXPECTATION', 'the only expectation that can be met is 100-continue');
  }
}

/** Read first: RFC 9112 section 3.2 (request-target), RFC 9110 section 4.2.1 (http URI). */
import { type Endpoint, parseEndpoint } from '@nekit/core';
import { badRequest } from './refusal.js';

const HTTP_PORT = 80;

export interface Target {
  readonly endpoint: Endpoint;
  /** For the origin's request line. */
  readonly path: string;
  /** For its Host field. */
  readonly host: string;
}

/** `http://host[:port][/path]` to its parts. Throws RequestRefused 400 for any other form. */
export function parseAbsoluteForm(method: string, uri: string): Target {
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(uri);
  if (scheme === null) throw badRequest('HTTP_NOT_ABSOLUTE', 'this is a proxy: the request target must be an absolute http:// URI');
  if (scheme[1]?.toLowerCase() !== 'http') throw badRequest('HTTP_BAD_SCHEME', 'only http:// URIs can be forwarded; use CONNECT for anything else');
  if (!isPathText(uri)) throw badRequest('HTTP_BAD_TARGET', 'the request target holds characters that a URI cannot');
  const rest = uri.slice(scheme[0].length);
  const end = rest.search(/[/?]/);
  const authority = end === -1 ? rest : rest.slice(0, end);
  const tail = end === -1 ? '' : rest.slice(end);
  // RFC 9110 section 4.2.4: user information in a URI that came from elsewhere is an error (it dresses up hosts).
  if (authority.includes('@')) throw badRequest('HTTP_USERINFO', 'the request target must not hold a user name');
  const endpoint = parseEndpoint(authority.endsWith(':') ? authority.slice(0, -1) : authority, HTTP_PORT);
  if (endpoint === null || endpoint.port === 0) throw badRequest('HTTP_BAD_TARGET', 'the request target names no host and port that could be reached');
  return { endpoint, path: originForm(method, tail), host: hostField(endpoint) };
}

/** The authority of a CONNECT; the port is mandatory. Throws RequestRefused 400. */
export function parseAuthorityForm(authority: string): Endpoint {
  const endpoint = parseEndpoint(authority);
  if (endpoint === null || endpoint.port === 0) throw badRequest('HTTP_BAD_TARGET', 'CONNECT needs host:port, with an IPv6 address in brackets');
  return endpoint;
}

/** RFC 9112 section 3.2.1; section 3.2.4: OPTIONS for a whole server becomes `*` at the last proxy. */
function originForm(method: string, tail: string): string {
  if (tail === '') return method === 'OPTIONS' ? '*' : '/';
  return tail.startsWith('?') ? `/${tail}` : tail;
}

function hostField({ host, port }: Endpoint): string {
  const name = host.includes(':') ? `[${host}]` : host;
  return port === HTTP_PORT ? name : `${name}:${port}`;
}

/** Visible characters; a fragment is the client's own affair and never sent. */
function isPathText(text: string): boolean {
  return /^[\x21\x22\x24-\x7e\x80-\xff]*$/.test(text);
}

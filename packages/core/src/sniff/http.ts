/** HTTP/1.x: the name of the request target, or the Host field. Read first: RFC 9112 sections 2.1, 3.2 and 5, RFC 9110 section 7.2. */
import { parsePort } from '../net/endpoint.js';
import { type Finding, found } from './finding.js';

/** The longest method in use, with room. */
const MAX_METHOD = 24;
const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const REQUEST_LINE = /^([^ ]+) ([^ ]+) HTTP\/1\.[01]$/;
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*)$/;
/** `http://user@host:port/path`: the authority ends where the path, the query or the fragment begins. */
const ABSOLUTE = /^https?:\/\/([^/?#]*)/i;

const CR = 0x0d;
const END_OF_HEAD = Buffer.from('\r\n\r\n');

/** Looks at everything that the client has sent so far. A head that is not all there could still hold a second Host, and says nothing. */
export function sniffHttp(bytes: Uint8Array): Finding {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const space = view.indexOf(0x20);
  const method = view.toString('latin1', 0, Math.min(space === -1 ? view.length : space, MAX_METHOD + 1));
  if (method.length > MAX_METHOD || (space !== -1 && method === '') || (method !== '' && !METHOD.test(method))) return 'none';
  const end = view.indexOf(END_OF_HEAD);
  if (end === -1) return mayBeRequest(view) ? 'more' : 'none';
  const [first = '', ...fields] = view.toString('latin1', 0, end).split('\r\n');
  const [, , target = ''] = REQUEST_LINE.exec(first) ?? [];
  if (target === '' || method === 'CONNECT') return 'none'; // the name of a CONNECT is where the next proxy is to go
  const host = hostOf(fields);
  if (host === null) return 'none';
  const absolute = ABSOLUTE.exec(target);
  if (absolute !== null) return nameIn(absolute[1] ?? ''); // it counts for more than Host (RFC 9112 section 3.2.2)
  return target.startsWith('/') || target === '*' ? nameIn(host) : 'none';
}

/** As soon as the first line is there it must be one of HTTP/1.x, so that nobody waits for the end of something else. */
function mayBeRequest(view: Buffer): boolean {
  const end = view.indexOf('\n');
  return end === -1 || (view[end - 1] === CR && REQUEST_LINE.test(view.toString('latin1', 0, end - 1)));
}

/** '' without a Host; null for two of them, and for what is no field: servers disagree on what such a request means. */
function hostOf(fields: readonly string[]): string | null {
  let host: string | null = null;
  for (const line of fields) {
    const [, name, value = ''] = FIELD.exec(line) ?? [];
    if (name === undefined) return null;
    if (name.toLowerCase() !== 'host') continue;
    if (host !== null) return null;
    host = withoutBlanksBehind(value);
  }
  return host ?? '';
}

/** By hand: an expression would take quadratic time for a value that is nothing but blanks. */
function withoutBlanksBehind(value: string): string {
  let end = value.length;
  while (end > 0 && (value[end - 1] === ' ' || value[end - 1] === '\t')) end--;
  return value.slice(0, end);
}

/** `host` or `host:port`. */
function nameIn(authority: string): Finding {
  const colon = authority.indexOf(':');
  if (colon === -1) return found(authority);
  const port = authority.slice(colon + 1);
  return port === '' || parsePort(port) !== null ? found(authority.slice(0, colon)) : 'none';
}

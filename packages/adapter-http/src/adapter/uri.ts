import { unpackUserInfo } from '@nekit/core';

/** What a query may set, and as what. */
const OPTIONS: Readonly<Record<string, 'text' | 'flag'>> = { sni: 'text', fingerprint: 'text', 'skip-cert-verify': 'flag' };

/**
 * `http://[user[:password]@]host[:port]` and `https://…` as an entry of `proxies:`. Ports default to 80 and 443. A query may hold
 * `sni`, `fingerprint` and `skip-cert-verify`. Name and password may be in base64, both as one, as v2rayN writes them. Throws an Error that does not repeat the URI, which may hold a password.
 */
export function parseProxyUri(uri: string): Record<string, unknown> {
  let url: URL;
  try {
    url = new URL(unpackUserInfo(uri));
  } catch (error) {
    throw new Error('the proxy URI cannot be read; write http://user:password@host:port, with special characters percent-encoded', { cause: codeOf(error) });
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new Error(`a proxy URI of this kind starts with http:// or https://, not with ${url.protocol}//`);
  if (url.pathname !== '/') throw new Error('a proxy URI has no path');
  const tls = url.protocol === 'https:';
  const entry: Record<string, unknown> = { type: 'http', server: bare(url.hostname), port: url.port === '' ? (tls ? 443 : 80) : Number(url.port) };
  if (tls) entry.tls = true;
  if (url.username !== '') entry.username = decode(url.username, 'user name');
  if (url.password !== '') entry.password = decode(url.password, 'password');
  for (const [key, value] of url.searchParams) {
    const kind = Object.hasOwn(OPTIONS, key) ? OPTIONS[key] : undefined;
    // Not repeated: behind a "?" that nobody encoded it is a part of the password.
    if (kind === undefined)
      throw new Error(`a proxy URI has an option that is not known: ${Object.keys(OPTIONS).join(', ')} are (a "?" in a user name or password is written %3F)`);
    entry[key] = kind === 'text' ? value : flag(key, value);
  }
  return entry;
}

function flag(key: string, value: string): boolean {
  if (value === '' || value === '1' || value === 'true') return true;
  if (value === '0' || value === 'false') return false;
  throw new Error(`the option "${key}" of a proxy URI is true or false`);
}

function decode(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    throw new Error(`the ${what} in the proxy URI is not well percent-encoded`, { cause: codeOf(error) });
  }
}

/** Errors of the platform quote their input; only their kind is passed on. */
function codeOf(error: unknown): string {
  return error instanceof Error ? error.name : typeof error;
}

function bare(host: string): string {
  return host.startsWith('[') ? host.slice(1, -1) : host;
}

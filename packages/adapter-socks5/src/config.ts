import { normaliseHost, parsePort, tlsKeys, unpackUserInfo } from '@nekit/core';
import { z } from 'zod';
import { MAX_TEXT } from './wire.js';

/** The port that SOCKS has with IANA. */
const DEFAULT_PORT = 1080;

const credential = z.string().refine((text) => Buffer.byteLength(text) <= MAX_TEXT, `must not be longer than ${MAX_TEXT} bytes (RFC 1929)`);

/** `type: socks5`, with the keys that Clash files have, plus `ca`. */
export const socks5Config = z
  .object({
    server: z
      .string()
      .refine((host) => normaliseHost(host) !== null, 'must be an IP address or a domain')
      .describe('Address or name of the SOCKS5 server'),
    port: z.int().min(1).max(65535),
    username: credential.optional(),
    password: credential.optional(),
    ...tlsKeys,
    udp: z.boolean().default(false).describe('Whether the server carries UDP (UDP ASSOCIATE)'),
  })
  .refine((config) => (config.password ?? '') === '' || (config.username ?? '') !== '', { path: ['password'], message: 'needs a username' });

export type Socks5Config = z.infer<typeof socks5Config>;

export const URI_SCHEMES = ['socks5', 'socks5h', 'socks', 'socks5+tls'] as const;

/**
 * `socks5://[user[:password]@]host[:port][?udp=true&sni=…&skip-cert-verify=true&fingerprint=…]` as an entry of `proxies`.
 * Name and password may be in base64, both as one (`socks://BASE64(user:password)@…`, as v2rayN writes it). The name is always resolved by the server, so `socks5h` means nothing else than `socks5`. Errors do not repeat the URI: it may hold a password.
 */
export function parseSocks5Uri(uri: string): Record<string, unknown> {
  const url = urlOf(uri);
  const scheme = url.protocol.slice(0, -1);
  if (!URI_SCHEMES.some((known) => known === scheme)) throw new Error(`${scheme}:// is none of ${URI_SCHEMES.join(', ')}`);
  const server = normaliseHost(decode(url.hostname, 'host'));
  if (server === null) throw new Error('the host is neither an IP address nor a domain');
  const port = url.port === '' ? DEFAULT_PORT : parsePort(url.port);
  if (port === null || port === 0) throw new Error('the port must be 1 to 65535');
  const entry: Record<string, unknown> = { type: 'socks5', server, port };
  if (url.username !== '') entry.username = decode(url.username, 'username');
  if (url.password !== '') entry.password = decode(url.password, 'password');
  if (scheme === 'socks5+tls') entry.tls = true;
  for (const [key, value] of url.searchParams) setParameter(entry, key, value);
  return entry;
}

/** Not by URL.canParse: in Node 20 it gives wrong answers for some names once it is optimised. */
function urlOf(uri: string): URL {
  try {
    return new URL(unpackUserInfo(uri));
  } catch (error) {
    throw new Error('not a URI: socks5://[user:password@]host[:port] is expected', { cause: error });
  }
}

function setParameter(entry: Record<string, unknown>, key: string, value: string): void {
  if (key === 'sni' || key === 'fingerprint' || key === 'ca') entry[key] = value;
  else if (key === 'udp' || key === 'tls' || key === 'skip-cert-verify') {
    if (!/^(?:true|false|1|0)$/.test(value)) throw new Error(`${key} must be true or false`);
    entry[key] = value === 'true' || value === '1';
  } else {
    // Not repeated: behind a "?" that nobody encoded it is a part of the password.
    throw new Error('unknown parameter: udp, tls, sni, skip-cert-verify, fingerprint and ca are known (a "?" in a username or password is written %3F)');
  }
}

function decode(text: string, part: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    throw new Error(`the ${part} has a broken percent-encoding`, { cause: error });
  }
}

import { normaliseHost, parsePort } from '@nekit/core';
import { z } from 'zod';

/** An entry of `proxies:` with `type: h2c`. `name`, `type` and `dialer-proxy` are core's. */
export const h2cConfig = z
  .object({
    server: z
      .string()
      .refine((host) => normaliseHost(host) !== null, 'must be an IP address or a domain')
      .describe('Address or name of the HTTP/2 proxy'),
    port: z.int().min(1).max(65535),
    username: z
      .string()
      .refine((name) => !name.includes(':'), 'must not contain a colon (RFC 7617)')
      .optional(),
    password: z.string().optional(),
  })
  .refine((config) => config.password === undefined || config.username !== undefined, { path: ['password'], message: 'needs a username' });

export type H2cConfig = z.infer<typeof h2cConfig>;

/** `h2c://[user[:password]@]host:port` as an entry. Errors do not repeat the URI, because it may hold a password. */
export function parseH2cUri(uri: string): Record<string, unknown> {
  if (!URL.canParse(uri)) throw new Error('not a URI: h2c://[user:password@]host:port is expected');
  const url = new URL(uri);
  const server = normaliseHost(url.hostname);
  const port = parsePort(url.port);
  if (server === null) throw new Error('the host is neither an IP address nor a domain');
  if (port === null || port === 0) throw new Error('the port must be 1 to 65535');
  const entry: Record<string, unknown> = { type: 'h2c', server, port };
  if (url.username !== '') entry.username = decodeURIComponent(url.username);
  if (url.password !== '') entry.password = decodeURIComponent(url.password);
  return entry;
}

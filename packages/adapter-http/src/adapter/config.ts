import { validateHeaderName, validateHeaderValue } from 'node:http';
import { normaliseHost, tlsKeys } from '@nekit/core';
import { z } from 'zod';

/** Fields that frame the message or keep loops away: ours to write. */
const RESERVED: ReadonlySet<string> = new Set(['connection', 'content-length', 'transfer-encoding', 'via']);

/** A control character would end the field it is written into. */
function isPlain(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code === 0x7f) return false;
  }
  return true;
}

function isField(name: string, value: string): boolean {
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value);
    return !RESERVED.has(name.toLowerCase());
  } catch (error) {
    return !(error instanceof Error); // Node says no by throwing; the reader gets one message for all of it
  }
}

/** An entry of `proxies:` with `type: http` (or `https`, which is `http` with `tls: true`). Keys as Clash has them, and `ca`. */
export const httpAdapterConfig = z.object({
  server: z
    .string()
    .refine((text) => normaliseHost(text) !== null, { error: 'must be a name or an address, without a port' })
    .describe('Name or address of the proxy'),
  port: z.int().min(1).max(65_535),
  username: z
    .string()
    .refine((text) => isPlain(text) && !text.includes(':'), { error: 'must hold no colon and no control characters (RFC 7617)' })
    .optional(),
  password: z.string().refine(isPlain, { error: 'must hold no control characters (RFC 7617)' }).optional(),
  ...tlsKeys,
  headers: z
    .record(z.string(), z.string())
    .refine((headers) => Object.entries(headers).every(([name, value]) => isField(name, value)), {
      error:
        'holds a field that cannot be sent: names are tokens, values hold no line breaks, and Connection, Content-Length, Transfer-Encoding and Via are ours',
    })
    .default({})
    .describe('Header fields to send with CONNECT'),
});

export type HttpAdapterConfig = z.infer<typeof httpAdapterConfig>;

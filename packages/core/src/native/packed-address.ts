import { formatAddress } from '../net/address.js';
import type { Endpoint } from '../net/endpoint.js';

/** An address as the engine packs it (PACKED_ADDRESS), in canonical form; null where there is none. */
export function unpackAddress(bytes: Uint8Array, at: number): Endpoint | null {
  const family = bytes[at + 18];
  const port = (bytes[at + 16] ?? 0) | ((bytes[at + 17] ?? 0) << 8);
  if (family === 4) return { host: `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`, port };
  if (family !== 6) return null;
  const scope = ((bytes[at + 20] ?? 0) | ((bytes[at + 21] ?? 0) << 8) | ((bytes[at + 22] ?? 0) << 16) | ((bytes[at + 23] ?? 0) << 24)) >>> 0;
  const host = formatAddress(bytes.subarray(at, at + 16));
  return { host: scope === 0 || !host.includes(':') ? host : `${host}%${scope}`, port };
}

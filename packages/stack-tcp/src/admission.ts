import { type PacketBatch, read32 } from '@nekit/core/ip';

/**
 * Whether a segment of no connection has addresses that no honest client has. A packet for 127.0.0.1 from a TUN must not reach this host's own services, and one that names its destination as its source
 * answers itself (CVE-1999-0016). Private sources and this host's other addresses are fine: what a gateway carries.
 */
export function isRefused(batch: PacketBatch, index: number): boolean {
  const { bytes } = batch;
  const start = batch.start[index] ?? 0;
  if (batch.version[index] === 4) {
    const source = read32(bytes, start + 12);
    const destination = read32(bytes, start + 16);
    return source === destination || isOddIPv4(source) || isOddIPv4(destination);
  }
  return isSame(bytes, start + 8, start + 24) || isOddIPv6(bytes, start + 8) || isOddIPv6(bytes, start + 24);
}

/** 0/8, 127/8, 224/4, 255.255.255.255. */
function isOddIPv4(address: number): boolean {
  const first = address >>> 24;
  return first === 0 || first === 127 || (first >= 224 && first < 240) || address === -1;
}

/** ::, ::1, ff00::/8, and IPv4-mapped ones, which would reach IPv4 addresses behind the back of the rules above. */
function isOddIPv6(bytes: Uint8Array, at: number): boolean {
  if (bytes[at] === 0xff) return true;
  if (read32(bytes, at) !== 0 || read32(bytes, at + 4) !== 0) return false;
  const third = read32(bytes, at + 8);
  if (third === 0xffff) return true;
  const last = read32(bytes, at + 12);
  return third === 0 && (last === 0 || last === 1);
}

function isSame(bytes: Uint8Array, a: number, b: number): boolean {
  for (let i = 0; i < 16; i += 4) if (read32(bytes, a + i) !== read32(bytes, b + i)) return false;
  return true;
}

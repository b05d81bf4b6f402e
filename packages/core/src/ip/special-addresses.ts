/** Addresses that no packet of a TUN may come from or go to. Read first: RFC 1122 section 3.2.1.3, RFC 6890, RFC 4291. */
import { read32 } from './bytes.js';
import type { PacketBatch } from './packet-batch.js';

/**
 * Whether both addresses of a packet are hosts': not loopback (127/8, ::1), not "this network" (0/8, ::), not multicast, not broadcast, and not the same
 * (CVE-1999-0016). Private and link-local ones are hosts', and so is 240/4, as Linux has it. What is IPv4-mapped inside of IPv6 is nobody's on a wire.
 */
export function isHostPair(batch: PacketBatch, index: number): boolean {
  return areHosts(batch.bytes, batch.start[index] ?? 0, batch.version[index] === 4 ? 4 : 6);
}

/** The same of an IP packet that begins at `start`. */
export function areHosts(bytes: Uint8Array, start: number, version: 4 | 6): boolean {
  if (version === 4) {
    return read32(bytes, start + 12) !== read32(bytes, start + 16) && isHostAddress(bytes, start + 12, 4) && isHostAddress(bytes, start + 16, 4);
  }
  return !isSame(bytes, start + 8, start + 24) && isHostAddress(bytes, start + 8, 6) && isHostAddress(bytes, start + 24, 6);
}

/** The same of one address, whose 4 or 16 bytes lie at `at`. */
export function isHostAddress(bytes: Uint8Array, at: number, version: 4 | 6): boolean {
  return version === 4 ? isHost4(read32(bytes, at)) : isHost6(bytes, at);
}

function isHost4(address: number): boolean {
  const first = address >>> 24;
  // 224/4 is multicast, 255.255.255.255 broadcast.
  return first !== 0 && first !== 127 && first >>> 4 !== 14 && address !== -1;
}

function isHost6(bytes: Uint8Array, at: number): boolean {
  if (bytes[at] === 0xff) return false;
  const isLow = read32(bytes, at) === 0 && read32(bytes, at + 4) === 0;
  if (!isLow) return true;
  const third = read32(bytes, at + 8);
  if (third === 0xffff) return false;
  return third !== 0 || read32(bytes, at + 12) >>> 0 > 1;
}

function isSame(bytes: Uint8Array, one: number, other: number): boolean {
  for (let i = 0; i < 16; i += 4) if (read32(bytes, one + i) !== read32(bytes, other + i)) return false;
  return true;
}

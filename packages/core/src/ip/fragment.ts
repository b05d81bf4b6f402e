/**
 * Read first: RFC 791 section 2.3, RFC 8200 section 4.5. A packet that is longer than the MTU leaves as fragments, every one but the last with a multiple of 8 bytes.
 */
import { copyBytes, read32, write16, write32 } from './bytes.js';
import { writeIPv4Checksum } from './checksum.js';
import type { PacketSink } from './packet-device.js';
import type { PathMtus } from './path-mtu.js';
import { IPV4_HEADER, IPV6_HEADER, PROTOCOL } from './protocol.js';

const FRAGMENT_HEADER = 8;
const MORE_4 = 0x2000;
const MORE_6 = 1;

/**
 * Writes the IP packet `bytes[start, end)` (no options, no extension headers, all checksums done) to the sink, in fragments if it is longer than the sink's MTU.
 * `identification` tells its fragments from those of other packets: 16 bits of it count for IPv4, 32 for IPv6. What leaves whole and may be cut on its way (IPv4 without DF) gets it too, as long as it has none
 * (RFC 6864 section 4.1). `paths`: what is known of IPv6 paths that are narrower. false: there is no room, or the MTU is no MTU.
 */
export function writeFragments(
  sink: PacketSink,
  bytes: Uint8Array,
  start: number,
  end: number,
  identification: number,
  paths: PathMtus | null = null,
): boolean {
  const isIPv4 = (bytes[start] ?? 0) >>> 4 === 4;
  const mtu = isIPv4 || paths === null ? sink.mtu : Math.min(sink.mtu, paths.to(bytes, start + 24));
  if (end - start <= mtu) {
    const at = sink.reserve(end - start, 0);
    if (at === -1) return false;
    copyBytes(sink.bytes, at, bytes, start, end);
    if (isIPv4 && read32(bytes, start + 4) === 0) {
      write16(sink.bytes, at + 4, identification & 0xffff);
      writeIPv4Checksum(sink.bytes, at);
    }
    return true;
  }
  const head = isIPv4 ? IPV4_HEADER : IPV6_HEADER;
  const room = (mtu - head - (isIPv4 ? 0 : FRAGMENT_HEADER)) & ~7;
  if (room < 8) return false;
  for (let from = start + head; from < end; from += room) {
    const to = Math.min(end, from + room);
    const offset = from - start - head;
    const at = isIPv4
      ? fragment4(sink, bytes, start, from, to, (offset >>> 3) | (to < end ? MORE_4 : 0), identification)
      : fragment6(sink, bytes, start, from, to, offset | (to < end ? MORE_6 : 0), identification);
    if (at === -1) return false; // those before are lost with it, as with any other
  }
  return true;
}

function fragment4(sink: PacketSink, bytes: Uint8Array, start: number, from: number, to: number, field: number, identification: number): number {
  const length = IPV4_HEADER + to - from;
  const at = sink.reserve(length, 0);
  if (at === -1) return at;
  copyBytes(sink.bytes, at, bytes, start, start + IPV4_HEADER);
  copyBytes(sink.bytes, at + IPV4_HEADER, bytes, from, to);
  write16(sink.bytes, at + 2, length);
  write16(sink.bytes, at + 4, identification & 0xffff);
  write16(sink.bytes, at + 6, field);
  writeIPv4Checksum(sink.bytes, at);
  return at;
}

function fragment6(sink: PacketSink, bytes: Uint8Array, start: number, from: number, to: number, field: number, identification: number): number {
  const at = sink.reserve(IPV6_HEADER + FRAGMENT_HEADER + to - from, 0);
  if (at === -1) return at;
  const header = at + IPV6_HEADER;
  copyBytes(sink.bytes, at, bytes, start, start + IPV6_HEADER);
  copyBytes(sink.bytes, header + FRAGMENT_HEADER, bytes, from, to);
  write16(sink.bytes, at + 4, FRAGMENT_HEADER + to - from);
  sink.bytes[header] = bytes[start + 6] ?? 0;
  sink.bytes[header + 1] = 0;
  sink.bytes[at + 6] = PROTOCOL.fragment;
  write16(sink.bytes, header + 2, field);
  write32(sink.bytes, header + 4, identification);
  return at;
}

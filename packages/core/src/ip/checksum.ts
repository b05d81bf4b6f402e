/**
 * The Internet checksum.
 * Read first: RFC 1071, RFC 9293 section 3.1 (the pseudo header of IPv4), RFC 8200 section 8.1 (that of IPv6).
 */
import { read16, write16 } from './bytes.js';
import { FLAG, PROTOCOL } from './protocol.js';

/** The sum of the 16-bit words of `bytes[start, end)`, added to `sum`; not folded. An odd last byte counts as if a zero followed. */
export function sumOf(bytes: Uint8Array, start: number, end: number, sum: number): number {
  let at = start;
  let high = 0;
  let low = 0;
  // Bytes of even and of odd places apart: 8 at a time stay small integers up to 64 KiB.
  for (const whole = end - 7; at < whole; at += 8) {
    high += (bytes[at] ?? 0) + (bytes[at + 2] ?? 0) + (bytes[at + 4] ?? 0) + (bytes[at + 6] ?? 0);
    low += (bytes[at + 1] ?? 0) + (bytes[at + 3] ?? 0) + (bytes[at + 5] ?? 0) + (bytes[at + 7] ?? 0);
  }
  for (; at + 1 < end; at += 2) {
    high += bytes[at] ?? 0;
    low += bytes[at + 1] ?? 0;
  }
  if (at < end) high += bytes[at] ?? 0;
  return sum + high * 256 + low;
}

/** The 16 bits that a header carries: folded and turned round. */
export function fold(sum: number): number {
  let folded = sum % 0x1_0000_0000;
  folded = (folded >>> 16) + (folded & 0xffff) + Math.floor(sum / 0x1_0000_0000);
  while (folded > 0xffff) folded = (folded >>> 16) + (folded & 0xffff);
  return ~folded & 0xffff;
}

/** The pseudo header of the packet that starts at `start`, for a transport part of `length` bytes; not folded. */
export function pseudoSum(bytes: Uint8Array, start: number, protocol: number, length: number): number {
  const isIPv4 = (bytes[start] ?? 0) >>> 4 === 4;
  const addresses = isIPv4 ? sumOf(bytes, start + 12, start + 20, 0) : sumOf(bytes, start + 8, start + 40, 0);
  return addresses + protocol + (length >>> 16) + (length & 0xffff);
}

/** Whether the transport part, checksum included, adds up. */
export function isTransportRight(bytes: Uint8Array, start: number, protocol: number, transport: number, end: number): boolean {
  const pseudo = protocol === PROTOCOL.icmp ? 0 : pseudoSum(bytes, start, protocol, end - transport);
  return fold(sumOf(bytes, transport, end, pseudo)) === 0;
}

/** Where the checksum of a transport header is, from its first byte; -1: it has none that we know. */
function checksumOffset(protocol: number): number {
  if (protocol === PROTOCOL.tcp) return 16;
  if (protocol === PROTOCOL.udp) return 6;
  return protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6 ? 2 : -1;
}

/** Fills in the checksum of a transport header that lies at `transport`. */
export function writeTransportChecksum(bytes: Uint8Array, start: number, protocol: number, transport: number, end: number): void {
  const offset = checksumOffset(protocol);
  if (offset === -1) return;
  write16(bytes, transport + offset, 0);
  const pseudo = protocol === PROTOCOL.icmp ? 0 : pseudoSum(bytes, start, protocol, end - transport);
  const checksum = fold(sumOf(bytes, transport, end, pseudo));
  write16(bytes, transport + offset, checksum === 0 && protocol === PROTOCOL.udp ? 0xffff : checksum); // 0 in UDP means none (RFC 768)
}

/** Fills in the checksum of the IPv4 header at `start`. */
export function writeIPv4Checksum(bytes: Uint8Array, start: number): void {
  write16(bytes, start + 10, 0);
  write16(bytes, start + 10, fold(sumOf(bytes, start, start + ((bytes[start] ?? 0) & 0x0f) * 4, 0)));
}

/** The pieces of a super-packet: their number for a payload of so many bytes. */
export function pieceCount(payload: number, segmentSize: number): number {
  return Math.max(1, Math.ceil(payload / segmentSize));
}

/** Turns the header of a super-packet of TCP or UDP that was copied in front of piece `index` into the piece's own, checksums included. */
export function finishPiece(bytes: Uint8Array, start: number, transport: number, end: number, index: number, segmentSize: number, isLast: boolean): void {
  const isIPv4 = (bytes[start] ?? 0) >>> 4 === 4;
  if (isIPv4) {
    write16(bytes, start + 2, end - start);
    write16(bytes, start + 4, (read16(bytes, start + 4) + index) & 0xffff);
    writeIPv4Checksum(bytes, start);
  } else write16(bytes, start + 4, end - start - 40);
  if (bytes[start + (isIPv4 ? 9 : 6)] === PROTOCOL.udp) {
    write16(bytes, transport + 4, end - transport);
    writeTransportChecksum(bytes, start, PROTOCOL.udp, transport, end);
    return;
  }
  const sequence = ((read16(bytes, transport + 4) << 16) | read16(bytes, transport + 6)) + index * segmentSize;
  write16(bytes, transport + 4, (sequence >>> 16) & 0xffff);
  write16(bytes, transport + 6, sequence & 0xffff);
  if (!isLast) bytes[transport + 13] = (bytes[transport + 13] ?? 0) & ~(FLAG.fin | FLAG.psh);
  if (index > 0) bytes[transport + 13] = (bytes[transport + 13] ?? 0) & ~FLAG.cwr;
  writeTransportChecksum(bytes, start, PROTOCOL.tcp, transport, end);
}

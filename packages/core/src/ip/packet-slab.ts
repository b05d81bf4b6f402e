import { copyBytes, read16 } from './bytes.js';
import { finishPiece, pieceCount, writeTransportChecksum } from './checksum.js';
import type { PacketSink } from './packet-device.js';
import { IPV4_HEADER, IPV6_HEADER, PROTOCOL, UDP_HEADER } from './protocol.js';

/** A part of a slab where packets are written, with what it takes to send them without the help of a kernel. */
export class PacketSlab implements PacketSink {
  readonly bytes: Uint8Array;
  readonly mtu: number;
  readonly largest: number;
  readonly start: Uint32Array;
  readonly end: Uint32Array;
  readonly segmentSize: Uint16Array;
  /** Packets in it. */
  count = 0;
  /** Packets that found no room. */
  full = 0;
  readonly #first: number;
  readonly #limit: number;
  #at: number;

  /** `bytes[first, limit)`, for `capacity` packets at most. */
  constructor(bytes: Uint8Array, first: number, limit: number, capacity: number, mtu: number, largest: number) {
    this.bytes = bytes;
    this.mtu = mtu;
    this.largest = largest;
    this.#first = first;
    this.#limit = limit;
    this.#at = first;
    this.start = new Uint32Array(capacity);
    this.end = new Uint32Array(capacity);
    this.segmentSize = new Uint16Array(capacity);
  }

  reserve(length: number, segmentSize: number): number {
    const at = this.#at;
    if (this.count === this.start.length || at + length > this.#limit || length > (segmentSize === 0 ? this.mtu : Math.max(this.mtu, this.largest))) {
      this.full++;
      return -1;
    }
    this.start[this.count] = at;
    this.end[this.count] = at + length;
    this.segmentSize[this.count] = segmentSize;
    this.count++;
    this.#at = (at + length + 7) & ~7;
    return at;
  }

  clear(): void {
    this.count = 0;
    this.#at = this.#first;
  }
}

/** Where the transport header of a packet without extension headers and with our own IPv4 options (none) begins. */
export function transportOf(bytes: Uint8Array, start: number): number {
  const first = bytes[start] ?? 0;
  return start + (first >>> 4 === 4 ? Math.max(IPV4_HEADER, (first & 0x0f) * 4) : IPV6_HEADER);
}

/** The protocol of the same packet. */
export function protocolOf(bytes: Uint8Array, start: number): number {
  return bytes[start + ((bytes[start] ?? 0) >>> 4 === 4 ? 9 : 6)] ?? 0;
}

/** Fills in the checksum of TCP or UDP of a packet that was written to a sink. */
export function finishPacket(bytes: Uint8Array, start: number, end: number): void {
  // A fragment carries a part of what its checksum is about.
  if ((bytes[start] ?? 0) >>> 4 === 4 && (read16(bytes, start + 6) & 0x3fff) !== 0) return;
  const protocol = protocolOf(bytes, start);
  if (protocol === PROTOCOL.tcp || protocol === PROTOCOL.udp) writeTransportChecksum(bytes, start, protocol, transportOf(bytes, start), end);
}

/** The length of the headers of a packet of TCP or UDP. */
function headerOf(bytes: Uint8Array, start: number): number {
  const transport = transportOf(bytes, start);
  return transport - start + (protocolOf(bytes, start) === PROTOCOL.udp ? UDP_HEADER : ((bytes[transport + 12] ?? 0) >>> 4) * 4);
}

/** Whether it is several packets: with datagrams it may be so below the MTU, too. */
export function isSuper(bytes: Uint8Array, start: number, end: number, segmentSize: number): boolean {
  return segmentSize > 0 && end - start - headerOf(bytes, start) > segmentSize;
}

/** Cuts a super-packet of TCP or UDP and hands each piece, checksums included, to `take`; the bytes are lent. `room` holds one piece. */
export function cutPacket(bytes: Uint8Array, start: number, end: number, segmentSize: number, room: Uint8Array, take: (piece: Uint8Array) => void): void {
  const transport = transportOf(bytes, start);
  const header = headerOf(bytes, start);
  const count = pieceCount(end - start - header, segmentSize);
  for (let i = 0; i < count; i++) {
    const from = start + header + i * segmentSize;
    const to = Math.min(end, from + segmentSize);
    copyBytes(room, 0, bytes, start, start + header);
    copyBytes(room, header, bytes, from, to);
    const length = header + to - from;
    finishPiece(room, 0, transport - start, length, i, segmentSize, i === count - 1);
    take(room.subarray(0, length));
  }
}

/**
 * Captures, as tcpdump and Wireshark read and write them. Read first: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-05.html (the classic format).
 *
 *     file:   | magic 4 | major 2 | minor 2 | 0, 0 | longest 4 | link type 4 |     record:  | seconds 4 | fraction 4 | length here 4 | real length 4 | bytes |
 */

import { copyOf } from './bytes.js';

/** Microseconds in the fraction, and the newer form with nanoseconds. */
const MAGIC_MICRO = 0xa1b2c3d4;
const MAGIC_NANO = 0xa1b23c4d;
/** LINKTYPE_RAW: records begin with the IP header. */
const RAW = 101;
const FILE_HEADER = 24;
const RECORD_HEADER = 16;
/** Longer records are refused: nothing that we read is. */
const LONGEST = 262_144;

export interface CapturedPacket {
  /** Milliseconds, of whatever clock wrote it. */
  readonly at: number;
  readonly bytes: Uint8Array;
  /** How long it was on the wire, in bytes: more than there is of it where the capture has cut it. */
  readonly originalLength: number;
}

/** What a capture file begins with. */
export function pcapHeader(): Uint8Array {
  const bytes = new Uint8Array(FILE_HEADER);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC_MICRO, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, LONGEST, true);
  view.setUint32(20, RAW, true);
  return bytes;
}

/** One packet of a capture file. `originalLength`: as in CapturedPacket; by default all of it is there. */
export function pcapRecord(packet: Uint8Array, at: number, originalLength = packet.length): Uint8Array {
  const bytes = new Uint8Array(RECORD_HEADER + packet.length);
  const view = new DataView(bytes.buffer);
  const micros = Math.round(at * 1_000); // once: what was read is written with the same time
  view.setUint32(0, Math.floor(micros / 1_000_000), true);
  view.setUint32(4, micros % 1_000_000, true);
  view.setUint32(8, packet.length, true);
  view.setUint32(12, originalLength, true);
  bytes.set(packet, RECORD_HEADER);
  return bytes;
}

/** The packets of a capture of raw IP, in either byte order; null for anything else. A record that is cut off ends it. */
export function readPcap(bytes: Uint8Array): CapturedPacket[] | null {
  if (bytes.length < FILE_HEADER) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const isLittle = [MAGIC_MICRO, MAGIC_NANO].includes(view.getUint32(0, true));
  const magic = view.getUint32(0, isLittle);
  if (magic !== MAGIC_MICRO && magic !== MAGIC_NANO) return null;
  if ((view.getUint32(20, isLittle) & 0xffff) !== RAW) return null;
  const fraction = magic === MAGIC_NANO ? 1_000_000 : 1_000;
  const packets: CapturedPacket[] = [];
  for (let at = FILE_HEADER; at + RECORD_HEADER <= bytes.length; ) {
    const length = view.getUint32(at + 8, isLittle);
    if (length > LONGEST || at + RECORD_HEADER + length > bytes.length) break;
    packets.push({
      at: view.getUint32(at, isLittle) * 1_000 + view.getUint32(at + 4, isLittle) / fraction,
      bytes: copyOf(bytes, at + RECORD_HEADER, at + RECORD_HEADER + length),
      originalLength: Math.max(length, view.getUint32(at + 12, isLittle)), // some writers leave it at 0
    });
    at += RECORD_HEADER + length;
  }
  return packets;
}

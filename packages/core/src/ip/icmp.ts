/**
 * ICMP messages about packets, as bytes.
 * Read first: RFC 792, RFC 4443, RFC 1812 section 4.3.2 (how much to quote, and what is never answered).
 */
import { copyOf, write16, write32 } from './bytes.js';
import { writeIPv4Checksum, writeTransportChecksum } from './checksum.js';
import type { PacketBatch } from './packet-batch.js';
import { IPV4_HEADER, IPV6_HEADER, PROTOCOL } from './protocol.js';

export const ECHO_REQUEST = 8;
export const ECHO_REQUEST_6 = 128;
const ECHO_REPLY = 0;
const ECHO_REPLY_6 = 129;
const UNREACHABLE = 3;
const UNREACHABLE_6 = 1;
const PROTOCOL_UNREACHABLE = 2;
const PARAMETER_PROBLEM_6 = 4;
const UNRECOGNIZED_HEADER = 1;
const TIME_EXCEEDED = 11;
const TIME_EXCEEDED_6 = 3;
/** In reassembly; of both versions. */
const REASSEMBLY_TIME = 1;

const ICMP_HEADER = 8;
const TTL = 64;

/** An error with its quotation is no longer than this: 576 bytes (RFC 1812), and the minimum MTU of IPv6 (RFC 4443). */
const LONGEST_ERROR = 576;
const LONGEST_ERROR_6 = 1280;

/** Why something cannot be reached, with the codes of both versions. */
export const UNREACHABLE_CODES = {
  network: { v4: 0, v6: 0 },
  host: { v4: 1, v6: 3 },
  port: { v4: 3, v6: 4 },
  prohibited: { v4: 13, v6: 1 },
} as const;

/** How much of a packet an error about it quotes at most, in bytes: as much as fits (RFC 4443 section 2.4; RFC 1812 section 4.3.2.3). */
export const MOST_QUOTED = { v4: LONGEST_ERROR - IPV4_HEADER - ICMP_HEADER, v6: LONGEST_ERROR_6 - IPV6_HEADER - ICMP_HEADER } as const;

export type UnreachableReason = keyof typeof UNREACHABLE_CODES;

/** The answer to an echo request of a batch. */
export function echoReply(batch: PacketBatch, index: number): Uint8Array {
  const isIPv4 = batch.version[index] === 4;
  const message = copyOf(batch.bytes, batch.transport[index] ?? 0, batch.end[index] ?? 0);
  message[0] = isIPv4 ? ECHO_REPLY : ECHO_REPLY_6;
  return answerTo(batch.bytes, batch.start[index] ?? 0, message);
}

/**
 * "Destination unreachable" about the IP packet `bytes[start, end)`, which it quotes. It must not be sent for an error message, for a fragment other than the first, or for
 * what went to or came from many.
 */
export function unreachable(bytes: Uint8Array, start: number, end: number, reason: UnreachableReason): Uint8Array {
  const { v4, v6 } = UNREACHABLE_CODES[reason];
  return (bytes[start] ?? 0) >>> 4 === 4 ? errorAbout(bytes, start, end, UNREACHABLE, v4) : errorAbout(bytes, start, end, UNREACHABLE_6, v6);
}

/** "Fragment reassembly time exceeded" about the first fragment `bytes[start, end)` (RFC 1122 section 3.3.2, RFC 8200 section 4.5). For whom, see `unreachable`. */
export function reassemblyTimeExceeded(bytes: Uint8Array, start: number, end: number): Uint8Array {
  return errorAbout(bytes, start, end, (bytes[start] ?? 0) >>> 4 === 4 ? TIME_EXCEEDED : TIME_EXCEEDED_6, REASSEMBLY_TIME);
}

/**
 * That nobody takes the protocol of the packet `bytes[start, end)`, which begins at `transport`: "protocol unreachable" (RFC 1122 section 3.2.2.1), or "parameter problem" with the place of the
 * Next Header that says so (RFC 8200 section 4). For whom, see `unreachable`.
 */
export function unknownProtocol(bytes: Uint8Array, start: number, transport: number, end: number): Uint8Array {
  if ((bytes[start] ?? 0) >>> 4 === 4) return errorAbout(bytes, start, end, UNREACHABLE, PROTOCOL_UNREACHABLE);
  let pointer = start + 6;
  for (let at = start + IPV6_HEADER; at < transport; ) {
    const isFragment = bytes[pointer] === PROTOCOL.fragment;
    pointer = at;
    at += isFragment ? 8 : ((bytes[at + 1] ?? 0) + 1) * 8;
  }
  return errorAbout(bytes, start, end, PARAMETER_PROBLEM_6, UNRECOGNIZED_HEADER, pointer - start);
}

function errorAbout(bytes: Uint8Array, start: number, end: number, type: number, code: number, pointer = 0): Uint8Array {
  const isIPv4 = (bytes[start] ?? 0) >>> 4 === 4;
  const quoted = bytes.subarray(start, Math.min(end, start + MOST_QUOTED[isIPv4 ? 'v4' : 'v6']));
  const message = new Uint8Array(ICMP_HEADER + quoted.length);
  message[0] = type;
  message[1] = code;
  write32(message, 4, pointer);
  message.set(quoted, ICMP_HEADER);
  return answerTo(bytes, start, message);
}

/** An ICMP packet from where that one went to, to where it came from. */
function answerTo(bytes: Uint8Array, start: number, message: Uint8Array): Uint8Array {
  const isIPv4 = (bytes[start] ?? 0) >>> 4 === 4;
  const head = isIPv4 ? IPV4_HEADER : IPV6_HEADER;
  const size = isIPv4 ? 4 : 16;
  const at = isIPv4 ? 12 : 8;
  const packet = new Uint8Array(head + message.length);
  packet.set(message, head);
  packet.set(bytes.subarray(start + at + size, start + at + 2 * size), at);
  packet.set(bytes.subarray(start + at, start + at + size), at + size);
  if (isIPv4) {
    packet[0] = 0x45;
    write16(packet, 2, packet.length);
    packet[8] = TTL;
    packet[9] = PROTOCOL.icmp;
    writeIPv4Checksum(packet, 0);
  } else {
    packet[0] = 0x60;
    write16(packet, 4, message.length);
    packet[6] = PROTOCOL.icmpv6;
    packet[7] = TTL;
  }
  writeTransportChecksum(packet, 0, isIPv4 ? PROTOCOL.icmp : PROTOCOL.icmpv6, head, packet.length);
  return packet;
}

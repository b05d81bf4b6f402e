import { FLAG, IPV4_HEADER, IPV6_HEADER, PROTOCOL, read16, TCP_HEADER, write16, write32, writeIPv4Checksum } from '@nekit/core/ip';
import type { FlowAddress } from './flow.js';

/** Hops, as Linux has it. */
const HOP_LIMIT = 64;

/** What a length field of 16 bits says; 0 where it cannot (see `PacketSink.largestLent`). */
const inField = (length: number): number => (length > 0xffff ? 0 : length);

/** Writes the IP header of a packet of `length` bytes from our side of the flow to the client: where the transport header begins. */
export function writeIpHeader(bytes: Uint8Array, at: number, flow: FlowAddress, length: number, protocol: number): number {
  if (flow.version === 4) {
    write32(bytes, at, 0x45000000 | inField(length));
    write32(bytes, at + 4, 0x00004000); // whole by itself, so the identification says nothing (RFC 6864); do not fragment
    write32(bytes, at + 8, (HOP_LIMIT << 24) | (protocol << 16));
    write32(bytes, at + 12, flow.local0);
    write32(bytes, at + 16, flow.remote0);
    let sum = 0;
    for (let i = at; i < at + IPV4_HEADER; i += 2) sum += read16(bytes, i);
    sum = (sum & 0xffff) + (sum >>> 16);
    write16(bytes, at + 10, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff);
    return at + IPV4_HEADER;
  }
  write32(bytes, at, 0x60000000);
  write32(bytes, at + 4, (inField(length - IPV6_HEADER) << 16) | (protocol << 8) | HOP_LIMIT);
  write32(bytes, at + 8, flow.local0);
  write32(bytes, at + 12, flow.local1);
  write32(bytes, at + 16, flow.local2);
  write32(bytes, at + 20, flow.local3);
  write32(bytes, at + 24, flow.remote0);
  write32(bytes, at + 28, flow.remote1);
  write32(bytes, at + 32, flow.remote2);
  write32(bytes, at + 36, flow.remote3);
  return at + IPV6_HEADER;
}

/** Routers may cut the packet of IPv4, and whoever puts it together again finds its pieces by the identification (RFC 6864 section 4). */
export function allowFragments(bytes: Uint8Array, at: number, identification: number): void {
  write32(bytes, at + 4, identification << 16);
  writeIPv4Checksum(bytes, at);
}

/**
 * Writes the headers of a segment without its options, for which `options` bytes are left: where the options begin. The checksum is the sink's.
 *
 *     | source port 2 | destination port 2 | sequence 4 | acknowledgment 4 | words, flags 2 | window 2 | checksum 2 | urgent 2 | options |
 */
export function writeHeaders(
  bytes: Uint8Array,
  at: number,
  flow: FlowAddress,
  length: number,
  options: number,
  sequence: number,
  acknowledgment: number,
  flags: number,
  window: number,
): number {
  const tcp = writeIpHeader(bytes, at, flow, length, PROTOCOL.tcp);
  write32(bytes, tcp, (flow.localPort << 16) | flow.remotePort);
  write32(bytes, tcp + 4, sequence);
  write32(bytes, tcp + 8, (flags & FLAG.ack) === 0 ? 0 : acknowledgment);
  write32(bytes, tcp + 12, ((TCP_HEADER + options) << 26) | (flags << 16) | window | 0);
  write32(bytes, tcp + 16, 0);
  return tcp + TCP_HEADER;
}

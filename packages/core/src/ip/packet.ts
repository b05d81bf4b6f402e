/**
 * Packets as values, for tools, tests and small stacks: `parsePacket` checks everything, `buildPacket` fills in lengths and checksums.
 *
 *     const request = parsePacket(bytes);
 *     if (request?.kind === 'icmp' && request.type === 8) reply(buildPacket({ ...request, source: request.destination, destination: request.source, type: 0 }));
 *
 * Where every microsecond counts read a PacketBatch instead.
 */
import { formatAddress, isMapped, parseAddress } from '../net/address.js';
import { BatchParser } from './batch-parser.js';
import { copyOf, read16, read32, write16, write32 } from './bytes.js';
import { writeIPv4Checksum, writeTransportChecksum } from './checksum.js';
import { IPV4_HEADER, IPV6_HEADER, LONGEST_PACKET, PROTOCOL, TCP_HEADER, UDP_HEADER } from './protocol.js';
import { buildTcpOptions, parseTcpOptions, type TcpOptions } from './tcp-options.js';

interface IpFields {
  /** Canonical text; both of one family. */
  readonly source: string;
  readonly destination: string;
  /** TTL or hop limit; 64. */
  readonly hopLimit?: number;
  readonly payload: Uint8Array;
}

export interface TcpPacket extends IpFields {
  readonly kind: 'tcp';
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** As uint32. */
  readonly sequence: number;
  readonly acknowledgment: number;
  /** See FLAG. */
  readonly flags: number;
  readonly window: number;
  readonly urgent?: number;
  readonly options?: TcpOptions;
}

export interface UdpPacket extends IpFields {
  readonly kind: 'udp';
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** ICMP, or ICMPv6 where the addresses are IPv6. */
export interface IcmpPacket extends IpFields {
  readonly kind: 'icmp';
  readonly type: number;
  readonly code: number;
  /** The four bytes behind the checksum: identifier and sequence of an echo, the MTU of "too big". */
  readonly rest: number;
}

/** Anything else, as it is; a fragment, too, with the protocol number 44: one of IPv4 cannot be built again. */
export interface OtherPacket extends IpFields {
  readonly kind: 'other';
  readonly protocol: number;
}

export type Packet = TcpPacket | UdpPacket | IcmpPacket | OtherPacket;

const NO_KEY = new Uint8Array(8);

/** null for what is no whole, well-formed packet with the right checksums. The payload is a copy. */
export function parsePacket(bytes: Uint8Array): Packet | null {
  const parser = new BatchParser(bytes, 1, NO_KEY);
  return parser.add(0, bytes.length, 0, false) ? packetAt(parser, 0) : null;
}

/** A packet of a batch, copied out of it. */
export function packetAt(batch: BatchParser | Parameters<typeof addressesAt>[0], index: number): Packet {
  const { bytes } = batch;
  const transport = batch.transport[index] ?? 0;
  const payload = copyOf(bytes, batch.payload[index] ?? 0, batch.end[index] ?? 0);
  const protocol = batch.protocol[index] ?? 0;
  const ip = { ...addressesAt(batch, index), payload };
  switch (protocol) {
    case PROTOCOL.tcp:
      return {
        kind: 'tcp',
        ...ip,
        sourcePort: read16(bytes, transport),
        destinationPort: read16(bytes, transport + 2),
        sequence: read32(bytes, transport + 4) >>> 0,
        acknowledgment: read32(bytes, transport + 8) >>> 0,
        flags: bytes[transport + 13] ?? 0,
        window: read16(bytes, transport + 14),
        urgent: read16(bytes, transport + 18),
        options: parseTcpOptions(bytes, transport + TCP_HEADER, batch.payload[index] ?? 0),
      };
    case PROTOCOL.udp:
      return { kind: 'udp', ...ip, sourcePort: read16(bytes, transport), destinationPort: read16(bytes, transport + 2) };
    case PROTOCOL.icmp:
    case PROTOCOL.icmpv6:
      if ((protocol === PROTOCOL.icmp) === (batch.version[index] === 4))
        return { kind: 'icmp', ...ip, type: bytes[transport] ?? 0, code: bytes[transport + 1] ?? 0, rest: read32(bytes, transport + 4) >>> 0 };
  }
  return { kind: 'other', ...ip, protocol };
}

/** Source and destination of a packet of a batch, as text. */
export function addressesAt(
  batch: Pick<BatchParser, 'bytes' | 'start' | 'end' | 'transport' | 'payload' | 'version' | 'protocol'>,
  index: number,
): { source: string; destination: string; hopLimit: number } {
  const { bytes } = batch;
  const start = batch.start[index] ?? 0;
  const isIPv4 = batch.version[index] === 4;
  const length = isIPv4 ? 4 : 16;
  const at = start + (isIPv4 ? 12 : 8);
  return {
    source: addressText(bytes.subarray(at, at + length)),
    destination: addressText(bytes.subarray(at + length, at + 2 * length)),
    hopLimit: bytes[start + (isIPv4 ? 8 : 7)] ?? 0,
  };
}

/** As `formatAddress`, but what was IPv6 on the wire stays IPv6: an IPv4-mapped address there is nobody's. */
function addressText(bytes: Uint8Array): string {
  return bytes.length === 16 && isMapped(bytes) ? `::ffff:${formatAddress(bytes.subarray(12))}` : formatAddress(bytes);
}

/** The bytes of a packet. Throws a RangeError for addresses that are none or of two families, and for what is too long. */
export function buildPacket(packet: Packet): Uint8Array {
  const source = parseAddress(packet.source);
  const destination = parseAddress(packet.destination);
  if (source === null || destination === null || source.length !== destination.length) {
    throw new RangeError(`${packet.source} and ${packet.destination} are no addresses of one family`);
  }
  const isIPv4 = source.length === 4;
  const transport = isIPv4 ? IPV4_HEADER : IPV6_HEADER;
  const options = packet.kind === 'tcp' ? buildTcpOptions(packet.options ?? {}) : NO_KEY.subarray(8);
  const header = packet.kind === 'tcp' ? TCP_HEADER + options.length : packet.kind === 'other' ? 0 : UDP_HEADER;
  const length = transport + header + packet.payload.length;
  const longest = isIPv4 ? LONGEST_PACKET : IPV6_HEADER + LONGEST_PACKET; // IPv6 does not count its header
  if (length > longest) throw new RangeError(`a packet of ${length} bytes; ${longest} are the most`);
  const bytes = new Uint8Array(length);
  const protocol = protocolOf(packet, isIPv4);
  bytes.set(packet.payload, transport + header);
  if (isIPv4) {
    bytes[0] = 0x45;
    write16(bytes, 2, length);
    write16(bytes, 6, 0x4000); // do not fragment
    bytes[8] = packet.hopLimit ?? 64;
    bytes[9] = protocol;
    bytes.set(source, 12);
    bytes.set(destination, 16);
    writeIPv4Checksum(bytes, 0);
  } else {
    bytes[0] = 0x60;
    write16(bytes, 4, length - IPV6_HEADER);
    bytes[6] = protocol;
    bytes[7] = packet.hopLimit ?? 64;
    bytes.set(source, 8);
    bytes.set(destination, 24);
  }
  writeTransport(bytes, transport, packet, options);
  if (packet.kind !== 'other') writeTransportChecksum(bytes, 0, protocol, transport, length);
  return bytes;
}

function protocolOf(packet: Packet, isIPv4: boolean): number {
  if (packet.kind === 'icmp') return isIPv4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
  return packet.kind === 'other' ? packet.protocol : PROTOCOL[packet.kind];
}

function writeTransport(bytes: Uint8Array, at: number, packet: Packet, options: Uint8Array): void {
  if (packet.kind === 'icmp') {
    bytes[at] = packet.type;
    bytes[at + 1] = packet.code;
    write32(bytes, at + 4, packet.rest);
  } else if (packet.kind !== 'other') {
    write16(bytes, at, packet.sourcePort);
    write16(bytes, at + 2, packet.destinationPort);
    if (packet.kind === 'udp') write16(bytes, at + 4, bytes.length - at);
    else {
      write32(bytes, at + 4, packet.sequence);
      write32(bytes, at + 8, packet.acknowledgment);
      bytes[at + 12] = ((TCP_HEADER + options.length) / 4) << 4;
      bytes[at + 13] = packet.flags;
      write16(bytes, at + 14, packet.window);
      write16(bytes, at + 18, packet.urgent ?? 0);
      bytes.set(options, at + TCP_HEADER);
    }
  }
}

// IP packets by their parts, right in all of them.
import { IPV4_HEADER, IPV6_HEADER, PROTOCOL, type SeededRandom, UDP_HEADER, write16, write32, writeIPv4Checksum, writeTransportChecksum } from '@nekit/core/ip';

export interface Pair {
  readonly version: 4 | 6;
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
}

export const four = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes);

/** An IPv6 address of its first two and its last two bytes. */
export const six = (first: number, second: number, penultimate: number, last: number): Uint8Array => {
  const address = new Uint8Array(16);
  address.set([first, second]);
  address.set([penultimate, last], 14);
  return address;
};

export function oneOf<T>(random: SeededRandom, values: readonly [T, ...T[]] | readonly T[]): T {
  const value = values[random.below(values.length)];
  if (value === undefined) throw new RangeError('one of none');
  return value;
}

/** An IP packet around what stands behind its header; IPv4 with its checksum. `field`: flags and offset of IPv4. */
export function ipPacket({ version, source, destination }: Pair, protocol: number, body: Uint8Array, identification = 0, field = 0): Uint8Array {
  const head = version === 4 ? IPV4_HEADER : IPV6_HEADER;
  const packet = new Uint8Array(head + body.length);
  packet.set(body, head);
  packet.set(source, version === 4 ? 12 : 8);
  packet.set(destination, version === 4 ? 16 : 24);
  packet[0] = version === 4 ? 0x45 : 0x60;
  if (version === 4) {
    write16(packet, 2, packet.length & 0xffff);
    write16(packet, 4, identification);
    write16(packet, 6, field);
    packet[8] = 64;
    packet[9] = protocol;
    writeIPv4Checksum(packet, 0);
  } else {
    write16(packet, 4, body.length & 0xffff);
    packet[6] = protocol;
    packet[7] = 64;
  }
  return packet;
}

/** The same with the checksum of what is in it. */
export function wholePacket(pair: Pair, protocol: number, body: Uint8Array): Uint8Array {
  const packet = ipPacket(pair, protocol, body);
  finish(packet, protocol, pair.version === 4 ? IPV4_HEADER : IPV6_HEADER);
  return packet;
}

const SHORTEST = new Map<number, number>([
  [PROTOCOL.tcp, 20],
  [PROTOCOL.udp, 8],
  [PROTOCOL.icmp, 8],
  [PROTOCOL.icmpv6, 8],
]);

/** Makes the checksums right, where there is room for one. */
export function finish(packet: Uint8Array, protocol: number, transport: number): void {
  if ((packet[0] ?? 0) >>> 4 === 4 && packet.length >= IPV4_HEADER) writeIPv4Checksum(packet, 0);
  const shortest = SHORTEST.get(protocol);
  if (shortest !== undefined && packet.length >= transport + shortest) writeTransportChecksum(packet, 0, protocol, transport, packet.length);
}

export function udpBody(sourcePort: number, destinationPort: number, payload: Uint8Array): Uint8Array {
  const body = new Uint8Array(UDP_HEADER + payload.length);
  write16(body, 0, sourcePort);
  write16(body, 2, destinationPort);
  write16(body, 4, body.length & 0xffff);
  body.set(payload, UDP_HEADER);
  return body;
}

export function icmpBody(type: number, code: number, rest: number, payload: Uint8Array): Uint8Array {
  const body = new Uint8Array(8 + payload.length);
  body[0] = type;
  body[1] = code;
  write32(body, 4, rest);
  body.set(payload, 8);
  return body;
}

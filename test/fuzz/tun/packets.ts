// Packets that a TUN may see of a broken or a hostile program. Most are right enough to get past the first checks; what is wrong with them lies deeper.
import {
  FLAG,
  IPV4_HEADER,
  IPV6_HEADER,
  PROTOCOL,
  read16,
  type SeededRandom,
  UDP_HEADER,
  write16,
  write32,
  writeIPv4Checksum,
  writeTransportChecksum,
} from '@nekit/core/ip';
import { finish, four, icmpBody, ipPacket, oneOf, type Pair, six, udpBody, wholePacket } from './build.js';
import { fragmentsOf } from './fragments.js';

const GOOD_4 = [four(198, 18, 0, 1), four(10, 0, 0, 2), four(192, 0, 2, 1), four(203, 0, 113, 7), four(169, 254, 1, 1)];
const ODD_4 = [
  four(0, 0, 0, 0),
  four(127, 0, 0, 1),
  four(224, 0, 0, 1),
  four(239, 255, 255, 250),
  four(255, 255, 255, 255),
  four(240, 0, 0, 1),
  four(0, 1, 2, 3),
];
const GOOD_6 = [six(0xfd, 0, 0, 1), six(0x20, 1, 0, 1), six(0x20, 1, 0, 2), six(0xfe, 0x80, 0, 1)];
const MAPPED = Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1]);
const ODD_6 = [six(0, 0, 0, 0), six(0, 0, 0, 1), six(0xff, 2, 0, 1), six(0xff, 2, 0, 0xfb), six(0xff, 0xff, 0xff, 0xff), MAPPED];

/** Fake addresses that stand for nothing. */
export const NOWHERE = { 4: four(198, 19, 99, 99), 6: six(0xfd, 0xfe, 0, 99) } as const;

const PORTS = [0, 1, 53, 443, 5353, 0xffff];
const PROTOCOLS = [0, 1, 2, 4, 6, 17, 41, 43, 44, 50, 51, 58, 59, 60, 132, 255];
const VALUES = [0, 1, 7, 8, 9, 0x14, 0x28, 0x7f, 0x80, 0xff, 0x0100, 0x7fff, 0x8000, 0xfff8, 0xffff];

export function pairOf(random: SeededRandom): Pair {
  const version = random.chance(0.5) ? 4 : 6;
  const [good, odd] = version === 4 ? [GOOD_4, ODD_4] : [GOOD_6, ODD_6];
  const address = (): Uint8Array => oneOf(random, random.chance(0.93) ? good : odd);
  return { version, source: address(), destination: random.chance(0.03) ? NOWHERE[version] : address() };
}

/** What our side has said last of a TCP connection: what answers it gets into one. */
export interface Heard {
  readonly pair: Pair;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgment: number;
}

function tcpBody(random: SeededRandom, heard: Heard | null): Uint8Array {
  const body = new Uint8Array(20 + (random.chance(0.2) ? 4 * random.below(11) : 0));
  const length = body.length;
  const isAnswer = heard !== null;
  write16(body, 0, isAnswer ? heard.destinationPort : 1 + random.below(300));
  write16(body, 2, isAnswer ? heard.sourcePort : oneOf(random, [80, 443, 0]));
  write32(body, 4, isAnswer ? heard.acknowledgment : random.next());
  write32(body, 8, isAnswer ? heard.sequence + 1 : random.next());
  body[12] = (length / 4) << 4;
  body[13] = isAnswer && random.chance(0.8) ? FLAG.ack | (random.chance(0.1) ? FLAG.fin : 0) : random.chance(0.6) ? FLAG.syn : random.below(256);
  write16(body, 14, random.chance(0.5) ? 0xffff : oneOf(random, VALUES));
  body.set(random.bytes(length - 20), 20);
  return Buffer.concat([body, random.bytes(random.chance(0.5) ? 0 : random.below(200))]);
}

/** How long the payload is: short mostly, and of nothing now and then. */
function lengthOf(random: SeededRandom): number {
  return random.chance(0.1) ? 0 : random.chance(0.85) ? random.below(80) : random.below(1_400);
}

interface Message {
  readonly protocol: number;
  readonly body: Uint8Array;
}

function messageOf(random: SeededRandom, { version }: Pair, heard: Heard | null, length = lengthOf(random)): Message {
  const icmp = random.chance(0.97) === (version === 4) ? PROTOCOL.icmp : PROTOCOL.icmpv6;
  const what = random.below(100);
  const port = (): number => (random.chance(0.9) ? 1_024 + random.below(400) : oneOf(random, PORTS));
  if (what < 45) return { protocol: PROTOCOL.udp, body: udpBody(port(), random.chance(0.3) ? 53 : port(), random.bytes(length)) };
  if (what < 65)
    return { protocol: icmp, body: icmpBody(version === 4 ? 8 : 128, random.chance(0.9) ? 0 : random.below(256), random.next(), random.bytes(length)) };
  if (what < 80) {
    const quoted = random.chance(0.7)
      ? ipPacket(pairOf(random), oneOf(random, [1, 6, 17, 44, 58]), random.bytes(random.below(40)), 7, random.chance(0.3) ? random.below(0x4000) : 0)
      : random.bytes(length);
    return {
      protocol: icmp,
      body: icmpBody(random.chance(0.6) ? oneOf(random, [1, 2, 3, 4, 5, 11, 12]) : random.below(256), random.below(16), random.next(), quoted),
    };
  }
  if (what < 92) return { protocol: PROTOCOL.tcp, body: tcpBody(random, heard) };
  return { protocol: oneOf(random, PROTOCOLS), body: random.bytes(length) };
}

/** IPv4 options, or IPv6 extension headers, between the header and what stood behind it. */
function withMore(random: SeededRandom, packet: Uint8Array): Uint8Array {
  if ((packet[0] ?? 0) >>> 4 === 4) return withOptions(random, packet);
  const headers: Uint8Array[] = [];
  let next = packet[6] ?? 0;
  for (let i = random.chance(0.9) ? random.below(4) : random.below(12); i >= 0; i--) {
    const isFirst = i === 0;
    const kind = isFirst && random.chance(0.4) ? 0 : oneOf(random, random.chance(0.97) ? [43, 60, 60] : [0, 43, 44, 60]);
    const header = new Uint8Array(kind === 44 || random.chance(0.8) ? 8 : 8 * (1 + random.below(6)));
    if (kind === 43 || kind === 44 || random.chance(0.1)) header.set(random.bytes(header.length - 2), 2);
    else header.set([oneOf(random, [1, 1, 5, 0x1e]), header.length - 4], 2); // one option that fills it
    header[0] = next;
    header[1] = random.chance(0.98) ? header.length / 8 - 1 : random.below(256);
    if (kind === 43) header.set([random.chance(0.9) ? 2 + random.below(3) : 0, random.chance(0.9) ? 0 : 1], 2);
    if (kind === 44) write16(header, 2, random.chance(0.6) ? 0 : random.next() & 0xffff);
    headers.unshift(header);
    next = kind;
  }
  const longer = Buffer.concat([packet.subarray(0, IPV6_HEADER), ...headers, packet.subarray(IPV6_HEADER)]);
  write16(longer, 4, (longer.length - IPV6_HEADER) & 0xffff);
  longer[6] = next;
  return longer;
}

function withOptions(random: SeededRandom, packet: Uint8Array): Uint8Array {
  const options = random.bytes(4 * (1 + random.below(10)));
  if (random.chance(0.6)) options.fill(1, 0, random.below(options.length + 1));
  if (random.chance(0.1)) options.set([oneOf(random, [0x83, 0x89, 0x07, 0x44]), random.below(12), random.below(12)]);
  const longer = Buffer.concat([packet.subarray(0, IPV4_HEADER), options, packet.subarray(IPV4_HEADER)]);
  longer[0] = 0x45 + options.length / 4;
  write16(longer, 2, longer.length & 0xffff);
  writeIPv4Checksum(longer, 0);
  return longer;
}

/** Bytes changed, the end cut off or added to. In half of them the checksums are made right again, as otherwise nobody but the parser would see it. */
function mutate(random: SeededRandom, packet: Uint8Array, protocol: number): Uint8Array {
  if (packet.length === 0) return packet;
  const isIPv4 = (packet[0] ?? 0) >>> 4 === 4;
  const head = isIPv4 ? IPV4_HEADER : IPV6_HEADER;
  const last = random.chance(0.9) ? Math.min(packet.length, head + 24) : packet.length;
  for (let i = random.below(4); i >= 0; i--) packet[random.below(last)] = random.chance(0.5) ? random.next() : oneOf(random, VALUES);
  const changed = random.chance(0.1) ? packet.subarray(0, random.below(packet.length)) : random.chance(0.1) ? Buffer.concat([packet, random.bytes(9)]) : packet;
  if (random.chance(0.5)) {
    // The length right as well, mostly.
    if (changed.length > head && random.chance(0.8)) write16(changed, isIPv4 ? 2 : 4, isIPv4 ? changed.length : changed.length - IPV6_HEADER);
    if (isIPv4 && (changed[0] ?? 0) >>> 4 === 4 && changed.length >= 60) writeIPv4Checksum(changed, 0);
    if ((changed[0] ?? 0) >>> 4 === (isIPv4 ? 4 : 6)) finish(changed, protocol, head);
  }
  return changed;
}

/** UDP that says it is shorter than its packet, has no checksum, or zeros behind it. */
function askew(random: SeededRandom, packet: Uint8Array, protocol: number): Uint8Array {
  const head = (packet[0] ?? 0) >>> 4 === 4 ? IPV4_HEADER : IPV6_HEADER;
  if (protocol !== PROTOCOL.udp || random.chance(0.3)) return Buffer.concat([packet, new Uint8Array(random.below(30))]);
  if (random.chance(0.5)) write16(packet, head + 6, 0);
  else {
    const length = UDP_HEADER + random.below(read16(packet, head + 4) - UDP_HEADER + 1);
    write16(packet, head + 4, length);
    writeTransportChecksum(packet, 0, protocol, head, head + length);
  }
  return packet;
}

function garbage(random: SeededRandom): Uint8Array {
  const bytes = random.bytes(random.chance(0.8) ? random.below(80) : random.below(1_500));
  if (bytes.length > 0) bytes[0] = oneOf(random, [0x45, 0x60, 0x4f, 0x6f, 0x40, random.below(256)]);
  if (bytes.length > 9 && random.chance(0.7)) {
    const isIPv4 = (bytes[0] ?? 0) >>> 4 === 4;
    write16(bytes, isIPv4 ? 2 : 4, isIPv4 ? bytes.length : bytes.length - IPV6_HEADER);
    bytes[isIPv4 ? 9 : 6] = oneOf(random, PROTOCOLS);
    if (isIPv4 && bytes.length >= 60) writeIPv4Checksum(bytes, 0);
  }
  return bytes;
}

/** One packet, or the fragments of one. */
export function packetsOf(random: SeededRandom, heard: Heard | null): Uint8Array[] {
  if (random.chance(0.08)) return [garbage(random)];
  const isAnswer = heard !== null && random.chance(0.5);
  const pair = isAnswer ? { ...heard.pair, source: heard.pair.destination, destination: heard.pair.source } : pairOf(random);
  const isCut = random.chance(0.12);
  const { protocol, body } = messageOf(random, pair, isAnswer ? heard : null, isCut ? 1 + random.below(random.chance(0.02) ? 60_000 : 300) : lengthOf(random));
  const packet = wholePacket(pair, protocol, body);
  const isMutated = random.chance(0.2);
  if (isCut) {
    const parts = fragmentsOf(random, pair, protocol, packet.subarray(packet.length - body.length)).map((part) =>
      random.chance(0.1) ? withMore(random, part) : part,
    );
    return isMutated ? parts.map((part) => (random.chance(0.3) ? mutate(random, part, 0) : part)) : parts;
  }
  const what = random.below(100);
  const changed = what < 15 ? withMore(random, packet) : what < 25 ? askew(random, packet, protocol) : packet;
  return [isMutated ? mutate(random, changed, protocol) : changed];
}

// Packets that are wrong for certain, each in one way: nobody may answer one.
import { IPV4_HEADER, IPV6_HEADER, PROTOCOL, read16, type SeededRandom, write16, writeIPv4Checksum } from '@nekit/core/ip';
import { four, icmpBody, oneOf, type Pair, six, udpBody, wholePacket } from './build.js';

const GROUPS = { 4: four(224, 0, 0, 1), 6: six(0xff, 2, 0, 1) } as const;

type Lie = (random: SeededRandom, pair: Pair, port: number) => Uint8Array;

const echo = ({ version }: Pair, payload: Uint8Array): [number, Uint8Array] =>
  version === 4 ? [PROTOCOL.icmp, icmpBody(8, 0, 1, payload)] : [PROTOCOL.icmpv6, icmpBody(128, 0, 1, payload)];

function flipped(packet: Uint8Array, at: number): Uint8Array {
  packet[at] = (packet[at] ?? 0) ^ 1;
  return packet;
}

const LIES: readonly Lie[] = [
  // ICMP that asks nothing.
  (random, pair) => {
    const isIPv4 = pair.version === 4;
    const type = oneOf(random, isIPv4 ? [0, 3, 4, 5, 11, 12, 128] : [1, 2, 3, 4, 8, 129, 133]);
    return wholePacket(pair, isIPv4 ? PROTOCOL.icmp : PROTOCOL.icmpv6, icmpBody(type, 0, 1, random.bytes(40)));
  },
  // One bit changed on the way.
  (random, pair, port) => {
    const packet = random.chance(0.5)
      ? wholePacket(pair, ...echo(pair, random.bytes(20)))
      : wholePacket(pair, PROTOCOL.udp, udpBody(30_000, port, random.bytes(20)));
    return flipped(packet, packet.length - 1 - random.below(20));
  },
  // Longer than it is, by the IP header and by UDP's, or by UDP's alone; without a checksum, so that only its length tells.
  (random, pair, port) => {
    const packet = wholePacket(pair, PROTOCOL.udp, udpBody(30_000, port, random.bytes(20)));
    const head = pair.version === 4 ? IPV4_HEADER : IPV6_HEADER;
    const more = 1 + random.below(40);
    if (random.chance(0.5)) write16(packet, pair.version === 4 ? 2 : 4, read16(packet, pair.version === 4 ? 2 : 4) + more);
    write16(packet, head + 4, read16(packet, head + 4) + more);
    write16(packet, head + 6, 0);
    if (pair.version === 4) writeIPv4Checksum(packet, 0);
    return packet;
  },
  // The header of IPv4 changed, the end of IPv6 cut off.
  (random, pair) => {
    const packet = wholePacket(pair, ...echo(pair, random.bytes(20)));
    if (pair.version === 6) return packet.subarray(0, packet.length - 1 - random.below(20));
    return flipped(packet, 8);
  },
  // By a route of its own.
  (random, pair) => {
    const [protocol, body] = echo(pair, random.bytes(20));
    const packet = wholePacket(pair, protocol, body);
    const head = packet.length - body.length;
    const route = pair.version === 4 ? Uint8Array.of(oneOf(random, [0x83, 0x89]), 3, 4, 0) : Uint8Array.of(protocol, 0, 0, 1, 0, 0, 0, 0);
    const longer = Buffer.concat([packet.subarray(0, head), route, packet.subarray(head)]);
    if (pair.version === 4) {
      longer[0] = 0x46;
      write16(longer, 2, longer.length);
      writeIPv4Checksum(longer, 0);
    } else {
      write16(longer, 4, longer.length - IPV6_HEADER);
      longer[6] = 43;
    }
    return longer;
  },
  // To many.
  (random, pair, port) => {
    const toMany = { ...pair, destination: GROUPS[pair.version] };
    return random.chance(0.5)
      ? wholePacket(toMany, ...echo(toMany, random.bytes(20)))
      : wholePacket(toMany, PROTOCOL.udp, udpBody(30_000, port, random.bytes(20)));
  },
];

/** `port`: one where UDP that is right is answered. */
export function lieOf(random: SeededRandom, pair: Pair, port: number): Uint8Array {
  return oneOf(random, LIES)(random, pair, port);
}

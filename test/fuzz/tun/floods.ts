// Many of a kind at once: each goes for one of the bounds.
import { FLAG, PROTOCOL, type SeededRandom, write16 } from '@nekit/core/ip';
import { four, icmpBody, oneOf, type Pair, six, udpBody, wholePacket } from './build.js';
import { fragmentsInOrder } from './fragments.js';

const MANY = 300;

/** Pairs with a source of their own each. */
function pairFrom(random: SeededRandom, isIPv4: boolean): Pair {
  const [a, b] = [random.below(256), 1 + random.below(254)];
  return isIPv4
    ? { version: 4, source: four(10, 99, a, b), destination: four(192, 0, 2, 1) }
    : { version: 6, source: six(0xfd, 9, a, b), destination: six(0x20, 1, 0, 1) };
}

function times(count: number, make: (index: number) => Uint8Array): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => make(i));
}

type Flood = (random: SeededRandom, isIPv4: boolean) => Uint8Array[];

const FLOODS: readonly Flood[] = [
  // The beginnings of as many datagrams, all with one identification.
  (random, isIPv4) => times(MANY, () => fragmentsInOrder(pairFrom(random, isIPv4), PROTOCOL.udp, random.bytes(64), 32, 1)[0] ?? new Uint8Array(0)),
  // Long datagrams that lack their last part.
  (random, isIPv4) =>
    Array.from({ length: 20 }, () =>
      fragmentsInOrder(pairFrom(random, isIPv4), PROTOCOL.udp, new Uint8Array(60_000), 1_400, random.next()).slice(0, -1),
    ).flat(),
  // One that is longer than any can be (ping of death), whole.
  (random, isIPv4) => fragmentsInOrder(pairFrom(random, isIPv4), isIPv4 ? PROTOCOL.icmp : PROTOCOL.icmpv6, new Uint8Array(65_600), 1_368, random.next()),
  // One datagram in too many parts.
  (random, isIPv4) => fragmentsInOrder(pairFrom(random, isIPv4), isIPv4 ? PROTOCOL.icmp : PROTOCOL.icmpv6, random.bytes(8 * MANY), 8, random.next()),
  // Client ports, and one client port with many remotes.
  (random, isIPv4) =>
    times(MANY, (i) => wholePacket(pairFrom(random, isIPv4), PROTOCOL.udp, udpBody(1 + i, oneOf(random, [53, 443]), random.bytes(random.below(600))))),
  (random, isIPv4) => {
    const pair = pairFrom(random, isIPv4);
    return times(MANY, (i) => wholePacket(pair, PROTOCOL.udp, udpBody(4_000, 1 + i, random.bytes(random.below(600)))));
  },
  (random, isIPv4) =>
    times(MANY, (i) =>
      wholePacket(pairFrom(random, isIPv4), isIPv4 ? PROTOCOL.icmp : PROTOCOL.icmpv6, icmpBody(isIPv4 ? 8 : 128, 0, i, random.bytes(random.below(600)))),
    ),
  (random, isIPv4) =>
    times(MANY, (i) => {
      const body = new Uint8Array(20);
      write16(body, 0, 1 + i);
      write16(body, 2, 443);
      body.set(random.bytes(4), 4);
      body.set([0x50, FLAG.syn, 0xff, 0xff], 12);
      return wholePacket(pairFrom(random, isIPv4), PROTOCOL.tcp, body);
    }),
];

export function flood(random: SeededRandom): Uint8Array[] {
  return oneOf(random, FLOODS)(random, random.chance(0.5));
}

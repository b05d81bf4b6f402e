// Fragments as they should be, and as those make them who want to harm the one that puts them together.
import { PROTOCOL, type SeededRandom, write16, write32 } from '@nekit/core/ip';
import { ipPacket, oneOf, type Pair } from './build.js';

interface Part {
  offset: number;
  bytes: Uint8Array;
  more: boolean;
}

/** A fragment of an IP packet: `offset` in bytes. */
function fragment(pair: Pair, protocol: number, { offset, bytes, more }: Part, identification: number): Uint8Array {
  if (pair.version === 4) return ipPacket(pair, protocol, bytes, identification & 0xffff, ((offset >>> 3) & 0x1fff) | (more ? 0x2000 : 0));
  const body = new Uint8Array(8 + bytes.length);
  body[0] = protocol;
  write16(body, 2, (offset & 0xfff8) | (more ? 1 : 0));
  write32(body, 4, identification);
  body.set(bytes, 8);
  return ipPacket(pair, PROTOCOL.fragment, body);
}

function cut(body: Uint8Array, size: number): Part[] {
  const parts: Part[] = [];
  for (let at = 0; at < body.length; at += size) parts.push({ offset: at, bytes: body.subarray(at, at + size), more: at + size < body.length });
  return parts;
}

/** All the parts of a packet, right and in order. */
export function fragmentsInOrder(pair: Pair, protocol: number, body: Uint8Array, size: number, identification: number): Uint8Array[] {
  return cut(body, size).map((part) => fragment(pair, protocol, part, identification));
}

export function shuffle<T>(random: SeededRandom, all: T[]): T[] {
  for (let i = all.length - 1; i > 0; i--) {
    const other = random.below(i + 1);
    [all[i], all[other]] = [all[other] as T, all[i] as T];
  }
  return all;
}

type Spoil = (random: SeededRandom, parts: Part[]) => Part[];

/** Each changes what it needs; a list of one part may stay as it is. */
const SPOILS: readonly Spoil[] = [
  (_random, parts) => parts,
  (_random, parts) => parts.reverse(),
  (random, parts) => shuffle(random, parts),
  // One that never comes, one that comes twice, one alone.
  (random, parts) => parts.filter((_, i) => i !== parts.length - 1 - random.below(2)),
  (random, parts) => [...parts, oneOf(random, parts)],
  (random, parts) => [oneOf(random, parts)],
  (_random, parts) => parts.slice(0, 1).map((part) => ({ ...part, more: true })),
  // Overlapping, by a little or by all (teardrop).
  (random, parts) => change(random, parts, (part) => ({ ...part, offset: Math.max(0, part.offset + oneOf(random, [-8, 8, -16, 64])) })),
  (random, parts) => [...parts.slice(0, 1), { offset: 8, bytes: random.bytes(8 * random.below(4)), more: random.chance(0.5) }, ...parts.slice(1)],
  // Behind the end of what a packet can be (ping of death).
  (random, parts) => [...parts, { offset: 0xfff8 - 8 * random.below(3), bytes: random.bytes(8 + random.below(1_000)), more: random.chance(0.3) }],
  // No multiple of eight with more to follow, nothing at all, two ends, no end.
  (random, parts) => change(random, parts, (part) => ({ ...part, bytes: part.bytes.subarray(0, random.below(8)), more: true })),
  (random, parts) => change(random, parts, (part) => ({ ...part, bytes: part.bytes.subarray(0, 0) })),
  (random, parts) => change(random, parts, (part) => ({ ...part, more: !part.more })),
  (_random, parts) => parts.map((part) => ({ ...part, more: true })),
];

function change(random: SeededRandom, parts: Part[], to: (part: Part) => Part): Part[] {
  const index = random.below(parts.length);
  return parts.map((part, i) => (i === index ? to(part) : part));
}

/** Of a packet whose part behind the IP header is `body`. Identifications repeat, so that datagrams get into one another, or never do. */
export function fragmentsOf(random: SeededRandom, pair: Pair, protocol: number, body: Uint8Array): Uint8Array[] {
  const size = body.length > 2_000 ? 1_400 : oneOf(random, [8, 16, 64, 256]);
  const parts = cut(body, Math.max(size, 8 * Math.ceil(body.length / 8 / 50)));
  const identification = random.chance(0.7) ? random.next() : random.below(3);
  const spoilt = oneOf(random, SPOILS)(random, parts);
  const other = random.chance(0.05) ? random.below(256) : protocol;
  return spoilt.map((part, i) => fragment(pair, i === 0 ? protocol : other, part, identification));
}

/** The named packets of native/fuzz/corpus/packets.txt, and how the two parsers, C++ and TypeScript, are held to the same answers about them (native/test/packet-corpus.hh). */
import { readFileSync } from 'node:fs';
import { BatchParser, PARSE_DROP } from '../../dist/ip/batch-parser.js';
import { writeIPv4Checksum } from '../../dist/ip/checksum.js';

export interface NamedPacket {
  readonly name: string;
  /** The device vouches for the transport checksum. */
  readonly vouched: boolean;
  readonly segmentSize: number;
  readonly outcome: string;
  /** Over the outcomes of the packet's mutants. */
  readonly digest: string;
  readonly bytes: Uint8Array;
}

const FILE = new URL('../../../../native/fuzz/corpus/packets.txt', import.meta.url);

const MUTANTS = 500;

const DROPS = Object.keys(PARSE_DROP);

export function readCorpus(): NamedPacket[] {
  const lines = readFileSync(FILE, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  return lines.map((line) => {
    const [name = '', vouched, size, outcome = '', digest = '', hex = ''] = line.split(' ');
    return { name, vouched: vouched === '1', segmentSize: Number(size), outcome, digest, bytes: Buffer.from(hex, 'hex') };
  });
}

/** What becomes of a packet: the reason of its drop, or version/start of transport/of payload/end/protocol, and of TCP and UDP what else there is. */
export function outcomeOf(bytes: Uint8Array, vouched: boolean, segmentSize: number): string {
  const parser = new BatchParser(bytes, 1, new Uint8Array(8));
  if (!parser.add(0, bytes.length, segmentSize, vouched)) return DROPS[parser.drops.indexOf(1)] ?? '';
  const { version, transport, payload, end, protocol, sourcePort, destinationPort, flags, sequence, acknowledgment, window } = parser;
  const parts: (number | undefined)[] = [version[0], transport[0], payload[0], end[0], protocol[0]];
  if (protocol[0] === 6 || protocol[0] === 17) parts.push(sourcePort[0], destinationPort[0]);
  if (protocol[0] === 6) parts.push(flags[0], sequence[0], acknowledgment[0], window[0]);
  return parts.join('/');
}

/** FNV-1a over the outcomes of the mutants, each followed by a line feed. */
export function digestOf({ name, bytes }: Pick<NamedPacket, 'name' | 'bytes'>): string {
  let digest = FNV_BASIS;
  const random = xorshift(fnv(FNV_BASIS, name));
  for (let i = 0; i < MUTANTS; i++) {
    const mutant = mutate(bytes, random);
    digest = fnv(digest, `${outcomeOf(mutant, random() % 2 === 1, 0)}\n`);
  }
  return (digest >>> 0).toString(16).padStart(8, '0');
}

/** One to three changes; then, for every second one, the header's checksum is set right, so that what stands behind it is looked at. */
function mutate(packet: Uint8Array, random: () => number): Uint8Array {
  let bytes = new Uint8Array(packet);
  for (let changes = 1 + (random() % 3); changes > 0; changes--) {
    const kind = random() % 4;
    const at = random() % (kind === 3 ? Math.min(bytes.length, 60) : bytes.length);
    const value = random();
    if (kind === 0) bytes[at] = (bytes[at] ?? 0) ^ (1 << (value % 8));
    else if (kind === 1 && at > 0) bytes = bytes.subarray(0, at);
    else bytes[at] = value & 0xff;
  }
  const header = ((bytes[0] ?? 0) & 0x0f) * 4;
  if (random() % 2 === 1 && (bytes[0] ?? 0) >>> 4 === 4 && header >= 20 && header <= bytes.length) writeIPv4Checksum(bytes, 0);
  return bytes;
}

const FNV_BASIS = 0x811c9dc5;

function fnv(hash: number, text: string): number {
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** Marsaglia's, 32 bits. */
function xorshift(seed: number): () => number {
  let x = seed === 0 ? 1 : seed;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    x >>>= 0;
    return x;
  };
}

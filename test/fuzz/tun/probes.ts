// Honest programs among the others: what they send is answered, whatever else comes.
import { PROTOCOL, type SeededRandom } from '@nekit/core/ip';
import { four, icmpBody, type Pair, six, udpBody, wholePacket } from './build.js';
import { ECHO_PORT } from './carrier.js';
import { fragmentsInOrder, shuffle } from './fragments.js';
import type { Whole } from './judge.js';
import { lieOf } from './lies.js';

const PAIRS: readonly Pair[] = [
  { version: 4, source: four(198, 18, 7, 7), destination: four(192, 0, 2, 77) },
  { version: 6, source: six(0xfd, 0, 7, 7), destination: six(0x20, 1, 7, 77) },
];

export class Probes {
  answered = 0;
  readonly #random: SeededRandom;
  readonly #isUdpCarried: boolean;
  readonly #awaited = new Set<string>();
  #number = 0;

  constructor(random: SeededRandom, isUdpCarried: boolean) {
    this.#random = random;
    this.#isUdpCarried = isUdpCarried;
  }

  /** The packets of a question whose answer is awaited from here on. */
  ask(): Uint8Array[] {
    const random = this.#random;
    const pair = PAIRS[random.below(2)] as Pair;
    const isPing = !this.#isUdpCarried || random.chance(0.5);
    const payload = random.bytes(random.chance(0.7) ? random.below(200) : random.below(8_000));
    const number = ++this.#number;
    const isIPv4 = pair.version === 4;
    const protocol = isPing ? (isIPv4 ? PROTOCOL.icmp : PROTOCOL.icmpv6) : PROTOCOL.udp;
    const port = 20_000 + (number % 40_000);
    const body = isPing ? icmpBody(isIPv4 ? 8 : 128, 0, number, payload) : udpBody(port, ECHO_PORT, payload);
    const answer = isPing ? icmpBody(isIPv4 ? 0 : 129, 0, number, payload) : udpBody(ECHO_PORT, port, payload);
    this.#awaited.add(keyOf(pair.destination, pair.source, protocol, answer));
    const packet = wholePacket(pair, protocol, body);
    if (payload.length < 1_400 && random.chance(0.7)) return [packet];
    const size = payload.length > 1_400 ? 1_400 : 64;
    return shuffle(random, fragmentsInOrder(pair, protocol, packet.subarray(packet.length - body.length), size, number));
  }

  /** A packet of the same clients that nobody may answer. */
  lie(): Uint8Array {
    return lieOf(this.#random, PAIRS[this.#random.below(2)] as Pair, ECHO_PORT);
  }

  /** Something that has come out: one of the answers? */
  take({ source, destination, protocol, body }: Whole): void {
    if (!PAIRS.some((pair) => Buffer.compare(pair.source, destination) === 0)) return;
    if (!this.#awaited.delete(keyOf(source, destination, protocol, body))) throw new Error('an answer to what was not asked');
    this.answered++;
  }

  /** Takes note that no more will come: how many were not answered. */
  missed(): number {
    const { size } = this.#awaited;
    this.#awaited.clear();
    return size;
  }
}

/** Without the checksum, which the judge has looked at. */
function keyOf(source: Uint8Array, destination: Uint8Array, protocol: number, body: Uint8Array): string {
  const at = protocol === PROTOCOL.udp ? 6 : 2;
  return Buffer.concat([source, destination, Uint8Array.of(protocol), body.subarray(0, at), body.subarray(at + 2)]).toString('latin1');
}

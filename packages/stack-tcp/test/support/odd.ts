// What nobody would send, and a socket that nobody would like to have.
import type { NativeConn, NativeConnListener } from '@nekit/core';
import { FLAG, finishPacket, IPV4_HEADER, IPV6_HEADER, type SeededRandom } from '@nekit/core/ip';
import type { Client } from './wire.js';

const VALUES = [0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

/** A segment that has something to do with the connection, or not. */
export function segmentOf(random: SeededRandom, client: Client): Uint8Array {
  const near = (around: number): number => (random.chance(0.9) ? around + random.below(3_000) - 1_500 : random.next()) >>> 0;
  const odd = (): number => VALUES[random.below(VALUES.length)] ?? 0;
  const flags = random.chance(0.7) ? FLAG.ack | (random.chance(0.1) ? FLAG.fin : 0) : random.below(256);
  const stamps = random.chance(0.7) ? { timestamps: { value: 10_000 + random.below(2_000), echo: odd() } } : {};
  const sack = random.chance(0.4) ? { sack: Array.from({ length: 1 + random.below(2) }, (): [number, number] => [near(client.ack), near(client.ack)]) } : {};
  const syn = (flags & FLAG.syn) === 0 ? {} : { mss: odd() & 0xffff, windowScale: random.below(256) };
  const options = { ...stamps, ...sack, ...syn };
  return client.segment({
    sequence: random.chance(0.5) ? client.seq : near(client.seq),
    acknowledgment: random.chance(0.5) ? client.ack : near(client.ack),
    flags: random.chance(0.98) ? flags & ~FLAG.rst : flags,
    window: odd() & 0xffff,
    options,
    payload: random.bytes(random.chance(0.5) ? 0 : random.below(1_400)),
    urgent: odd() & 0xffff,
  });
}

/** Bytes changed, the end cut off. In half of them only behind the IP header, with the checksum made right again, as otherwise the parser alone would see it. */
export function mutate(random: SeededRandom, packet: Uint8Array): Uint8Array {
  const isFinished = random.chance(0.5);
  const first = !isFinished ? 0 : (packet[0] ?? 0) >>> 4 === 4 ? IPV4_HEADER : IPV6_HEADER;
  // The TCP header, mostly: of the text nothing depends.
  const last = random.chance(0.8) ? Math.min(packet.length, first + 60) : packet.length;
  for (let i = random.below(4); i >= 0; i--) packet[first + random.below(last - first)] = random.next();
  if (isFinished) finishPacket(packet, 0, packet.length);
  return random.chance(0.1) ? packet.subarray(0, random.below(packet.length)) : packet;
}

/** Takes some of what it is offered or nothing, gives something or nothing, ends or fails at some time. */
export class FickleConn implements NativeConn {
  pending = 0;
  listener: NativeConnListener | null = null;
  readonly #random: SeededRandom;
  #left: number;
  #isAborted = false;

  constructor(random: SeededRandom) {
    this.#random = random;
    this.#left = random.below(200_000);
  }

  /** Tells the one that moves the bytes something that is true now and then. */
  stir(): void {
    const what = this.#random.below(200);
    if (what < 60) this.listener?.readable();
    else if (what < 120) this.listener?.writable();
    else if (what === 120) this.listener?.closed(null);
  }

  send(_bytes: Uint8Array, start: number, end: number): number {
    return this.#random.chance(0.5) ? end - start : this.#random.below(end - start + 1);
  }

  receive(bytes: Uint8Array, start: number, end: number): number {
    if (this.#left === 0) return -1;
    if (this.#isAborted || this.#random.chance(0.3)) return 0;
    const count = Math.min(this.#left, this.#random.below(end - start + 1));
    bytes.fill(count, start, start + count);
    this.#left -= count;
    return count;
  }

  closeWrite(): void {}

  abort(): void {
    this.#isAborted = true;
  }

  relay(): null {
    return null;
  }
}

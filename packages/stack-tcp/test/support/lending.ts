import type { HeldBytes } from '@nekit/core';
import { copyBytes, FLAG, IPV4_HEADER, IPV6_HEADER, type PacketDevice, type PacketSink, read16, read32, write16, write32 } from '@nekit/core/ip';

/** What the addon's is. */
const LARGEST_LENT = 250 * 1024;

/** A packet, or a part of one that was larger than packets are. */
interface Part {
  /** Where it is written, where its payload lies now (in a socket: from which position on), and how much that is. */
  readonly at: number;
  readonly from: number;
  readonly held: Peekable | null;
  readonly length: number;
  /** Of the whole, whose headers were written to `headers`. */
  readonly headers: number;
  readonly headerLength: number;
  readonly offset: number;
  /** Of the payload of the whole. */
  readonly all: number;
}

/** A socket of these tests. */
export interface Peekable extends HeldBytes {
  at(position: number, count: number): Uint8Array | null;
}

/** A sink that takes payloads from where they lie, as late as it may, and more of them than a packet holds. */
export class LendingSink implements PacketSink {
  /** How many payloads it was lent, and the longest packet of them. */
  lent = 0;
  longest = 0;
  /** Bytes that it took out of sockets. */
  peeked = 0;
  /** It takes none. */
  refusesHeld = false;
  readonly #sink: PacketSink;
  readonly #pending: Part[] = [];

  constructor(sink: PacketSink) {
    this.#sink = sink;
  }

  get bytes(): Uint8Array {
    return this.#sink.bytes;
  }

  get mtu(): number {
    return this.#sink.mtu;
  }

  get largest(): number {
    return this.#sink.largest;
  }

  get largestLent(): number {
    return this.largest === 0 ? 0 : LARGEST_LENT;
  }

  reserve(length: number, segmentSize: number): number {
    return this.#sink.reserve(length, segmentSize);
  }

  lend(headerLength: number, from: number, more: number, segmentSize: number): number {
    return this.#lend(headerLength, null, from, more, segmentSize);
  }

  lendFrom(headerLength: number, held: HeldBytes, position: number, more: number, segmentSize: number): number {
    return this.refusesHeld || !('at' in held) ? -1 : this.#lend(headerLength, held as Peekable, position, more, segmentSize);
  }

  #lend(headerLength: number, held: Peekable | null, from: number, more: number, segmentSize: number): number {
    const largest = segmentSize === 0 ? this.mtu : Math.max(this.mtu, this.largest);
    if (headerLength + more > Math.max(largest, this.largestLent)) return -1;
    const most = headerLength + more <= largest ? more : Math.floor((largest - headerLength) / segmentSize) * segmentSize;
    let headers = -1;
    for (let offset = 0; offset < more; offset += most) {
      const length = Math.min(most, more - offset);
      const at = this.#sink.reserve(headerLength + length, segmentSize);
      if (at === -1) break; // what has no room is lost
      if (offset === 0) headers = at;
      this.bytes.fill(0xee, at + headerLength, at + headerLength + length);
      this.#pending.push({ at, from: from + offset, held, length, headers, headerLength, offset, all: more });
    }
    if (headers === -1) return -1;
    this.lent++;
    this.longest = Math.max(this.longest, headerLength + more);
    return headers;
  }

  flush(): void {
    const { bytes } = this;
    // From behind: those of the whole are the first part's in the end.
    for (const part of this.#pending.reverse()) {
      const { at, from, held, length, headers, headerLength, all } = part;
      if (held === null) copyBytes(bytes, at + headerLength, bytes, from, from + length);
      else {
        const payload = held.at(from, length);
        if (payload === null) throw new Error(`${length} bytes from ${from} on were let go before they were sent`);
        bytes.set(payload, at + headerLength);
        this.peeked += length;
      }
      if (length === all) continue;
      if (at !== headers) copyBytes(bytes, at, bytes, headers, headers + headerLength);
      this.#say(part);
    }
    this.#pending.length = 0;
  }

  /** Makes the headers of the whole those of a part. */
  #say({ at, length, headerLength, offset, all }: Part): void {
    const { bytes } = this;
    const isIPv6 = (bytes[at] ?? 0) >>> 4 === 6;
    const ip = isIPv6 ? IPV6_HEADER : IPV4_HEADER;
    const field = at + (isIPv6 ? 4 : 2);
    const whole = headerLength + all - (isIPv6 ? ip : 0);
    if (offset === 0 && read16(bytes, field) !== (whole > 0xffff ? 0 : whole)) throw new Error(`the header says ${read16(bytes, field)}, not ${whole}`);
    const said = headerLength + length - (isIPv6 ? ip : 0);
    write16(bytes, field, said);
    if (!isIPv6) {
      // RFC 1624, where the length was 0: what is longer is cut, and of IPv4 all that is longer says so.
      const sum = (~read16(bytes, at + 10) & 0xffff) + said;
      write16(bytes, at + 10, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff);
    }
    write32(bytes, at + ip + 4, (read32(bytes, at + ip + 4) + offset) | 0);
    if (offset + length < all) bytes[at + ip + 13] = (bytes[at + ip + 13] ?? 0) & ~(FLAG.psh | FLAG.fin);
  }
}

/** The device with such a sink. */
export function lending(device: PacketDevice): PacketDevice {
  return {
    name: device.name,
    sink: new LendingSink(device.sink),
    arena: device.arena,
    start: (handlers) => device.start(handlers),
    flush: () => device.flush(),
    close: () => device.close(),
  };
}

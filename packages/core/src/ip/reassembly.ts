/**
 * Read first: RFC 791 section 3.2, RFC 8200 section 4.5, RFC 5722 (overlapping fragments), RFC 8900 (why this is fragile).
 *
 * Fragments of both IP versions put together within bounds: a fragment that overlaps another, or contradicts it, ends its whole datagram, as does its time. What does
 * not fit any more makes the oldest datagram go (CVE-2018-5391 is what happens without bounds).
 */

import { copyOf, latin1, write16 } from './bytes.js';
import { writeIPv4Checksum } from './checksum.js';
import { IPV4_HEADER, IPV6_HEADER, LONGEST_PACKET } from './protocol.js';

export interface ReassemblyLimits {
  /** Datagrams under way. */
  readonly datagrams: number;
  /** Bytes of all of them. */
  readonly bytes: number;
  /** Fragments of one. 64 KiB in pieces of 576 bytes are 120. */
  readonly fragments: number;
  /** From the first fragment on, in ms. */
  readonly timeout: number;
}

/** The time is that of RFC 8200 section 4.5; RFC 1122 section 3.3.2 asks for 60 to 120 s. */
export const DEFAULT_LIMITS: ReassemblyLimits = { datagrams: 64, bytes: 1024 * 1024, fragments: 256, timeout: 60_000 };

const FRAGMENT_HEADER = 8;

/** Of packets put together; nobody forwards them. */
const TTL = 64;

interface Part {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

interface Datagram {
  readonly key: string;
  readonly began: number;
  readonly version: 4 | 6;
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** The headers of the first part, for an ICMP message; null: it has not come. */
  head: Uint8Array | null;
  protocol: number;
  readonly parts: Part[];
  bytes: number;
  /** Known when the last fragment is there. */
  whole: number;
}

/** A fragment as its headers tell. */
interface Fragment {
  readonly key: string;
  readonly offset: number;
  readonly more: boolean;
  readonly protocol: number;
}

/** Given the first fragment of a datagram as it came, where its payload begins, and what that is. */
export type LateListener = (first: Uint8Array, payload: number, protocol: number) => void;

export class Reassembly {
  readonly #limits: ReassemblyLimits;
  readonly #late: LateListener | null;
  readonly #datagrams = new Map<string, Datagram>();
  #bytes = 0;
  #dropped = 0;

  /** `late`: told of each datagram whose time was over, if its first fragment had come. */
  constructor(limits: ReassemblyLimits = DEFAULT_LIMITS, late: LateListener | null = null) {
    this.#limits = limits;
    this.#late = late;
  }

  /** Datagrams that were given up: too late, too many, overlapping or contradicting. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Datagrams under way. */
  get size(): number {
    return this.#datagrams.size;
  }

  /** Bytes that are kept of them. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Takes one fragment, copying what it keeps: an IP packet at `[start, end)` whose fragment header (IPv6) or payload (IPv4) begins at `transport`. The whole IP packet,
   * if this was what it lacked, without options and extension headers; its transport checksum has not been looked at. `now` in ms.
   */
  add(bytes: Uint8Array, start: number, end: number, transport: number, version: number, now: number): Uint8Array | null {
    this.expire(now);
    const fragment = version === 4 ? readFragment4(bytes, start) : readFragment6(bytes, start, transport);
    const from = version === 4 ? transport : transport + FRAGMENT_HEADER;
    const length = end - from;
    if (length <= 0) return null;
    const { offset, more } = fragment;
    // Nobody's: one that a sender cannot have made does not end a datagram.
    if ((more && length % 8 !== 0) || offset + length > LONGEST_PACKET - (version === 4 ? IPV4_HEADER : 0)) return null;
    const datagram = this.#datagrams.get(fragment.key) ?? this.#begin(fragment, bytes, start, version === 4 ? 4 : 6, now);
    if (has(datagram, offset, bytes, from, end, more)) return null;
    if (!fits(datagram, offset, length, more) || datagram.parts.length === this.#limits.fragments) {
      this.#drop(datagram);
      return null;
    }
    if (offset === 0) {
      datagram.protocol = fragment.protocol;
      if (this.#late !== null) datagram.head = copyOf(bytes, start, from);
    }
    if (!more) datagram.whole = offset + length;
    datagram.parts.push({ offset, bytes: copyOf(bytes, from, end) });
    datagram.bytes += length;
    this.#bytes += length;
    if (datagram.bytes === datagram.whole) {
      this.#forget(datagram);
      return put(datagram);
    }
    this.#makeRoom(datagram);
    return null;
  }

  /** Gives up what has waited too long. */
  expire(now: number): void {
    for (const datagram of this.#datagrams.values()) {
      if (now - datagram.began < this.#limits.timeout) return; // in the order of their begin
      this.#drop(datagram);
      const { head, parts } = datagram;
      const first = parts.find(({ offset }) => offset === 0);
      if (head !== null && first !== undefined) this.#late?.(Buffer.concat([head, first.bytes]), head.length, datagram.protocol);
    }
  }

  /** When `expire` has something to do, on the clock of `now`; Infinity: nothing waits. */
  nextExpiry(): number {
    for (const { began } of this.#datagrams.values()) return began + this.#limits.timeout;
    return Number.POSITIVE_INFINITY;
  }

  clear(): void {
    this.#datagrams.clear();
    this.#bytes = 0;
  }

  #begin({ key, protocol }: Fragment, bytes: Uint8Array, start: number, version: 4 | 6, now: number): Datagram {
    const at = start + (version === 4 ? 12 : 8);
    const length = version === 4 ? 4 : 16;
    const source = copyOf(bytes, at, at + length);
    const destination = copyOf(bytes, at + length, at + 2 * length);
    const datagram: Datagram = { key, began: now, version, source, destination, head: null, protocol, parts: [], bytes: 0, whole: -1 };
    this.#datagrams.set(key, datagram);
    return datagram;
  }

  #makeRoom(newest: Datagram): void {
    for (const datagram of this.#datagrams.values()) {
      if (this.#datagrams.size <= this.#limits.datagrams && this.#bytes <= this.#limits.bytes) return;
      if (datagram !== newest || this.#datagrams.size === 1) this.#drop(datagram);
    }
  }

  #drop(datagram: Datagram): void {
    this.#forget(datagram);
    this.#dropped++;
  }

  #forget(datagram: Datagram): void {
    this.#datagrams.delete(datagram.key);
    this.#bytes -= datagram.bytes;
  }
}

function readFragment4(bytes: Uint8Array, start: number): Fragment {
  const field = ((bytes[start + 6] ?? 0) << 8) | (bytes[start + 7] ?? 0);
  const protocol = bytes[start + 9] ?? 0;
  // Source and destination, identification and protocol (RFC 791).
  const key = `4${latin1(bytes, start + 12, start + 20)}${latin1(bytes, start + 4, start + 6)}${String.fromCharCode(protocol)}`;
  return { key, offset: (field & 0x1fff) * 8, more: (field & 0x2000) !== 0, protocol };
}

function readFragment6(bytes: Uint8Array, start: number, transport: number): Fragment {
  const field = ((bytes[transport + 2] ?? 0) << 8) | (bytes[transport + 3] ?? 0);
  const key = `6${latin1(bytes, start + 8, start + IPV6_HEADER)}${latin1(bytes, transport + 4, transport + 8)}`;
  return { key, offset: field & 0xfff8, more: (field & 1) !== 0, protocol: bytes[transport] ?? 0 };
}

/** Whether it is a part that is there, byte for byte: a path may deliver twice (RFC 791 section 3.2; RFC 8200 section 4.5 allows it). */
function has({ parts, whole }: Datagram, offset: number, bytes: Uint8Array, from: number, end: number, more: boolean): boolean {
  if ((whole === offset + end - from) === more) return false;
  return parts.some((part) => part.offset === offset && Buffer.compare(part.bytes, bytes.subarray(from, end)) === 0);
}

/** Whether a part lies beside what is there, and the end stays where it was said to be. */
function fits({ parts, whole }: Datagram, offset: number, length: number, more: boolean): boolean {
  if (whole !== -1 && (!more || offset + length > whole)) return false;
  for (const part of parts) {
    if (offset < part.offset + part.bytes.length && part.offset < offset + length) return false;
    if (!more && part.offset >= offset + length) return false;
  }
  return true;
}

function put({ version, protocol, source, destination, parts, whole }: Datagram): Uint8Array {
  const head = version === 4 ? IPV4_HEADER : IPV6_HEADER;
  const packet = new Uint8Array(head + whole);
  for (const { offset, bytes } of parts) packet.set(bytes, head + offset);
  packet.set(source, version === 4 ? 12 : 8);
  packet.set(destination, version === 4 ? 16 : 24);
  packet[0] = version === 4 ? 0x45 : 0x60;
  if (version === 4) {
    write16(packet, 2, packet.length);
    packet[8] = TTL;
    packet[9] = protocol;
    writeIPv4Checksum(packet, 0);
  } else {
    write16(packet, 4, whole);
    packet[6] = protocol;
    packet[7] = TTL;
  }
  return packet;
}

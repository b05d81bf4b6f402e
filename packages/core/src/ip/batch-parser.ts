/**
 * Checks packets and lays them out as a batch, as native code does for a TUN.
 * Read first: RFC 791 section 3.1, RFC 8200 section 4 and RFC 5095 (IPv6 and its extension headers), RFC 9293 section 3.1, RFC 768, RFC 792, RFC 4443.
 */

import { BatchArrays, portsOf, sourceAt } from './batch-arrays.js';
import { read16, read32 } from './bytes.js';
import { fold, isTransportRight, sumOf } from './checksum.js';
import { FlowHash } from './flow-hash.js';
import type { PacketBatch } from './packet-batch.js';
import { IPV4_HEADER, IPV6_HEADER, PROTOCOL, TCP_HEADER, UDP_HEADER } from './protocol.js';

/** Why packets are dropped; an index into `drops`. */
export const PARSE_DROP = { version: 0, short: 1, length: 2, header: 3, checksum: 4, extension: 5, sourceRoute: 6, transport: 7, full: 8 } as const;
export type ParseDrop = keyof typeof PARSE_DROP;

/** More extension headers than this are nobody's honest packet. */
const MOST_EXTENSIONS = 8;

/** IPv4 options that name a route (RFC 791): refused, as every host does. */
const LOOSE_ROUTE = 0x83;
const STRICT_ROUTE = 0x89;

export class BatchParser extends BatchArrays {
  /** Packets dropped so far, by PARSE_DROP. */
  readonly drops = new Float64Array(Object.keys(PARSE_DROP).length);
  readonly #capacity: number;
  readonly #hash: FlowHash;

  /** A batch of `capacity` packets at most, in the slab `bytes`; `key`: 8 random bytes for the flow hash. */
  constructor(bytes: Uint8Array, capacity: number, key: Uint8Array) {
    super(bytes, capacity);
    this.#capacity = capacity;
    this.#hash = new FlowHash(key);
  }

  get isFull(): boolean {
    return this.length === this.#capacity;
  }

  /** Begins the next batch. */
  clear(): void {
    this.length = 0;
  }

  /**
   * Takes the packet at `bytes[start, end)` into the batch, or counts why not and gives false. `vouched`: the device has checked the transport checksum (or nobody has computed one,
   * because the packet never left this machine).
   */
  add(start: number, end: number, segmentSize: number, vouched: boolean): boolean {
    if (this.length === this.#capacity) return this.#drop(PARSE_DROP.full);
    if (end - start < IPV4_HEADER) return this.#drop(PARSE_DROP.short);
    this.segmentSize[this.length] = segmentSize;
    const version = (this.bytes[start] ?? 0) >>> 4;
    if (version === 4) return this.#ipv4(start, end, vouched);
    return version === 6 ? this.#ipv6(start, end, vouched) : this.#drop(PARSE_DROP.version);
  }

  #ipv4(start: number, limit: number, vouched: boolean): boolean {
    const { bytes } = this;
    const transport = start + ((bytes[start] ?? 0) & 0x0f) * 4;
    const end = start + read16(bytes, start + 2);
    if (transport - start < IPV4_HEADER || transport > end) return this.#drop(PARSE_DROP.header);
    if (end > limit) return this.#drop(PARSE_DROP.length);
    if (fold(sumOf(bytes, start, transport, 0)) !== 0) return this.#drop(PARSE_DROP.checksum);
    if (transport - start > IPV4_HEADER && hasSourceRoute(bytes, start + IPV4_HEADER, transport)) return this.#drop(PARSE_DROP.sourceRoute);
    const isFragment = (read16(bytes, start + 6) & 0x3fff) !== 0;
    return this.#transport(start, end, transport, 4, isFragment ? PROTOCOL.fragment : (bytes[start + 9] ?? 0), vouched);
  }

  #ipv6(start: number, limit: number, vouched: boolean): boolean {
    const { bytes } = this;
    if (limit - start < IPV6_HEADER) return this.#drop(PARSE_DROP.short);
    const end = start + IPV6_HEADER + read16(bytes, start + 4);
    if (end > limit) return this.#drop(PARSE_DROP.length);
    let protocol = bytes[start + 6] ?? 0;
    let at = start + IPV6_HEADER;
    for (let count = 0; isExtension(protocol); count++) {
      if (count === MOST_EXTENSIONS || at + 8 > end) return this.#drop(PARSE_DROP.extension);
      if (protocol === HOP_BY_HOP && count > 0) return this.#drop(PARSE_DROP.extension);
      // A route that is not at its end yet is not ours to follow; one that is says nothing, whatever its type (RFC 8200 section 4.4, RFC 5095 section 3).
      if (protocol === ROUTING && bytes[at + 3] !== 0) return this.#drop(PARSE_DROP.sourceRoute);
      if (protocol === PROTOCOL.fragment) {
        if ((read16(bytes, at + 2) & 0xfff9) !== 0) break; // an atomic one (RFC 6946) is a whole packet
        protocol = bytes[at] ?? 0;
        at += 8;
        continue;
      }
      const next = at + ((bytes[at + 1] ?? 0) + 1) * 8;
      if (next > end || (protocol !== ROUTING && mustRefuse(bytes, at + 2, next))) return this.#drop(PARSE_DROP.extension);
      protocol = bytes[at] ?? 0;
      at = next;
    }
    return this.#transport(start, end, at, 6, protocol, vouched);
  }

  #transport(start: number, end: number, transport: number, version: number, protocol: number, vouched: boolean): boolean {
    const { bytes, length: index } = this;
    let payload = transport;
    let last = end;
    let isChecked = false;
    let ports = 0;
    this.flags[index] = 0;
    this.sourcePort[index] = 0;
    this.destinationPort[index] = 0;
    if (protocol === PROTOCOL.tcp) {
      if (end - transport < TCP_HEADER) return this.#drop(PARSE_DROP.transport);
      payload = transport + ((bytes[transport + 12] ?? 0) >>> 4) * 4;
      if (payload - transport < TCP_HEADER || payload > end) return this.#drop(PARSE_DROP.transport);
      this.flags[index] = bytes[transport + 13] ?? 0;
      this.sequence[index] = read32(bytes, transport + 4);
      this.acknowledgment[index] = read32(bytes, transport + 8);
      this.window[index] = read16(bytes, transport + 14);
      isChecked = true;
    } else if (protocol === PROTOCOL.udp) {
      if (end - transport < UDP_HEADER) return this.#drop(PARSE_DROP.transport);
      last = transport + read16(bytes, transport + 4);
      if (last - transport < UDP_HEADER || last > end) return this.#drop(PARSE_DROP.transport);
      payload = transport + UDP_HEADER;
      const none = read16(bytes, transport + 6) === 0;
      if (none && version === 6 && !vouched) return this.#drop(PARSE_DROP.checksum);
      isChecked = !none;
    } else if (protocol === (version === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6)) {
      if (end - transport < 8) return this.#drop(PARSE_DROP.transport);
      payload = transport + 8;
      isChecked = true;
    }
    if (isChecked && !vouched && !isTransportRight(bytes, start, protocol, transport, last)) return this.#drop(PARSE_DROP.checksum);
    if (protocol === PROTOCOL.tcp || protocol === PROTOCOL.udp) {
      ports = read32(bytes, transport);
      this.sourcePort[index] = ports >>> 16;
      this.destinationPort[index] = ports & 0xffff;
    }
    this.start[index] = start;
    this.end[index] = last;
    this.transport[index] = transport;
    this.payload[index] = payload;
    this.version[index] = version;
    this.protocol[index] = protocol;
    this.flow[index] = this.#hash.of(bytes, sourceAt(version, start), version === 4 ? 2 : 8, ports, protocol);
    this.length = index + 1;
    return true;
  }

  flowOf(other: PacketBatch, index: number): number {
    const version = other.version[index] ?? 0;
    return this.#hash.of(other.bytes, sourceAt(version, other.start[index] ?? 0), version === 4 ? 2 : 8, portsOf(other, index), other.protocol[index] ?? 0);
  }

  #drop(reason: number): false {
    this.drops[reason] = (this.drops[reason] ?? 0) + 1;
    return false;
  }
}

const HOP_BY_HOP = 0;
const ROUTING = 43;
const DESTINATION = 60;

/** An option of one byte, and the bits of a kind that say what to do where it is unknown. */
const PAD_1 = 0;
const REFUSE = 0xc0;

function isExtension(protocol: number): boolean {
  return protocol === HOP_BY_HOP || protocol === ROUTING || protocol === DESTINATION || protocol === PROTOCOL.fragment;
}

/** Options of IPv6 that ask to be refused by who does not know them, or that do not end where their header does: RFC 8200 section 4.2. */
function mustRefuse(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; ) {
    const kind = bytes[at] ?? 0;
    if (kind === PAD_1) {
      at++;
      continue;
    }
    if ((kind & REFUSE) !== 0 || at + 1 >= end) return true;
    at += 2 + (bytes[at + 1] ?? 0);
    if (at > end) return true;
  }
  return false;
}

function hasSourceRoute(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; ) {
    const kind = bytes[at] ?? 0;
    if (kind === LOOSE_ROUTE || kind === STRICT_ROUTE) return true;
    if (kind === 0) return false;
    at += kind === 1 ? 1 : Math.max(2, bytes[at + 1] ?? 0);
  }
  return false;
}

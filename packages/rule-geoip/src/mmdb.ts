/**
 * MaxMind DB files: from an address to its record.
 * Read first: MaxMind DB File Format Specification 2.0.
 *
 *   search tree                 nodes of two records each: where to go on a 0 and on a 1 of the address
 *   16 zero bytes
 *   data section                values (mmdb-value.ts)
 *   AB CD EF "MaxMind.com"      the last one counts
 *   metadata                    a map
 *
 *   a record    < nodes: the next node   = nodes: nothing is known   > nodes: nodes + 16 + place in the data section
 *   28 bits     left 23..0 │ left 27..24, right 27..24 │ right 23..0
 *
 * In a tree of IPv6, IPv4 addresses lie below ::/96.
 */
import { formatAddress, ipv4ToNumber, isMapped, parseAddress } from '@nekit/core';
import { type MmdbValue, readValue } from './mmdb-value.js';

const MARKER = Buffer.from('\xab\xcd\xefMaxMind.com', 'latin1');
/** Between the tree and the data. */
const GAP = 16;

/** `lookup` found nothing. */
export const NOT_FOUND = -1;
/** No record: nodes and data together would have to be larger than any file. */
const UNKNOWN = 0xffff_ffff;

export class Mmdb {
  readonly #bytes: Buffer;
  readonly #data: Buffer;
  readonly #nodes: number;
  readonly #recordBits: 24 | 28 | 32;
  readonly #ipv6: boolean;
  /** The record where IPv4 addresses begin. */
  readonly #ipv4Root: number;
  /** Where the first two bytes of an IPv4 address lead, once somebody has gone there. */
  readonly #halves = new Uint32Array(65_536).fill(UNKNOWN);

  /** Throws a plain Error that says why it is no such file. */
  constructor(bytes: Buffer) {
    const marker = bytes.lastIndexOf(MARKER);
    if (marker === -1) throw new Error('it is no MMDB file, or its end is missing');
    const metadata = readValue(bytes.subarray(marker + MARKER.length), 0);
    const version = numberIn(metadata, 'binary_format_major_version');
    if (version !== 2) throw new Error(`its format has version ${version}, and only 2 is known`);
    const bits = numberIn(metadata, 'record_size');
    if (bits !== 24 && bits !== 28 && bits !== 32) throw new Error(`its records have ${bits} bits`);
    const family = numberIn(metadata, 'ip_version');
    if (family !== 4 && family !== 6) throw new Error(`it is about IPv${family}`);
    this.#nodes = numberIn(metadata, 'node_count');
    const treeSize = this.#nodes * (bits / 4);
    if (treeSize + GAP > marker) throw new Error('it is too short for its tree');
    this.#bytes = bytes;
    this.#data = bytes.subarray(treeSize + GAP, marker);
    this.#recordBits = bits;
    this.#ipv6 = family === 6;
    let root = 0;
    if (this.#ipv6) for (let zeros = 0; zeros < 96; zeros += 16) root = this.#descend(root, 0, 16);
    this.#ipv4Root = root;
  }

  /** Where the record of an address begins, or NOT_FOUND. Throws where the file is damaged. */
  lookup(address: string): number {
    const ipv4 = ipv4ToNumber(address);
    if (ipv4 !== -1) return this.#place(this.#lookUpIPv4(ipv4));
    const bytes = parseAddress(address);
    if (bytes === null) return NOT_FOUND;
    if (bytes[0] === 0 && isMapped(bytes)) return this.#place(this.#lookUpIPv4(ipv4ToNumber(formatAddress(bytes))));
    if (!this.#ipv6) return NOT_FOUND;
    let node = 0;
    for (let i = 0; i < bytes.length && node < this.#nodes; i++) node = this.#descend(node, bytes[i] ?? 0, 8);
    return this.#place(node);
  }

  /** What stands there. Throws where the file is damaged. */
  read(place: number): MmdbValue {
    return readValue(this.#data, place);
  }

  #place(record: number): number {
    const place = record - this.#nodes - GAP;
    if (record === this.#nodes) return NOT_FOUND;
    if (place < 0 || place >= this.#data.length) throw new Error('its tree leads out of the file');
    return place;
  }

  #lookUpIPv4(address: number): number {
    const half = address >>> 16;
    let node = this.#halves[half] ?? UNKNOWN;
    if (node === UNKNOWN) {
      node = this.#descend(this.#ipv4Root, half, 16);
      this.#halves[half] = node;
    }
    return this.#descend(node, address & 0xffff, 16);
  }

  /** The next `length` bits of the way down, the highest first; less where it ends before. */
  #descend(record: number, way: number, length: number): number {
    const bytes = this.#bytes;
    const nodes = this.#nodes;
    const bits = this.#recordBits;
    let node = record;
    for (let shift = length - 1; shift >= 0 && node < nodes; shift--) {
      const right = (way >>> shift) & 1;
      if (bits === 24) {
        const at = node * 6 + right * 3;
        node = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
      } else if (bits === 28) {
        const at = node * 7;
        const middle = bytes[at + 3] ?? 0;
        const low = at + right * 4;
        const high = right === 1 ? middle & 0x0f : middle >> 4;
        node = (high << 24) | ((bytes[low] ?? 0) << 16) | ((bytes[low + 1] ?? 0) << 8) | (bytes[low + 2] ?? 0);
      } else {
        const at = node * 8 + right * 4;
        node = (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0;
      }
    }
    return node;
  }
}

function numberIn(metadata: MmdbValue, key: string): number {
  const value = metadata instanceof Map ? metadata.get(key) : undefined;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw new Error(`its metadata has no ${key}`);
  return value;
}

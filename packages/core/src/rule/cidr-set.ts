/** Networks in CIDR form (RFC 4632, RFC 4291 section 2.3), one by one and as a set that is exact, compact and quick to ask. */
import { formatAddress, ipv4ToNumber, isMapped, maskedTo, parseAddress } from '../net/address.js';
import { NetworkTable } from './set/network-table.js';
import { atOnce } from './set/pace.js';

export interface Cidr {
  /** 4 or 16 bytes; the host bits are zero. */
  readonly address: Uint8Array;
  /** 0 to 32 or 128 bits. */
  readonly prefix: number;
}

/**
 * `10.0.0.0/8`, `2001:db8::/32`; a bare address is a network of one; host bits are cleared; `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
 * Throws a plain Error that says what is wrong.
 */
export function parseCidr(text: string): Cidr {
  const slash = text.indexOf('/');
  const head = slash === -1 ? text : text.slice(0, slash);
  if (head.includes('%')) throw new Error(`"${text}" names an interface: a network has no zone, write fe80::/10`);
  const bytes = parseAddress(head);
  if (bytes === null) throw new Error(`"${text}" is no network: write an address and the length of its prefix, as in 10.0.0.0/8 or 2001:db8::/32`);
  const bits = bytes.length * 8;
  let prefix = bits;
  if (slash !== -1) {
    const tail = text.slice(slash + 1);
    prefix = /^[0-9]{1,3}$/.test(tail) ? Number.parseInt(tail, 10) : -1;
    if (prefix < 0) throw new Error(`"${text}" has no prefix length behind the slash: write a number of bits, as in ${head}/${bits === 32 ? 24 : 64}`);
    if (prefix > bits)
      throw new Error(`"${text}" has a prefix of ${prefix} bits: an IPv${bits === 32 ? 4 : 6} network has 0 to ${bits}, as in ${head}/${bits}`);
  }
  if (prefix >= 96 && isMapped(bytes)) return { address: maskedTo(bytes.slice(12), prefix - 96), prefix: prefix - 96 };
  return { address: maskedTo(bytes, prefix), prefix };
}

export function formatCidr(cidr: Cidr): string {
  return `${formatAddress(cidr.address)}/${cidr.prefix}`;
}

/**
 * Sorted ranges in two flat arrays: 8 bytes for an IPv4 network, 32 for an IPv6 one, and a binary search. Networks nest or are apart,
 * so those that lie within others are left out and no two ranges touch wrongly.
 */
export class CidrSet {
  /** first, last, first, last … */
  readonly #v4: Uint32Array;
  /** The same in words of 32 bits, four for each end. */
  readonly #v6: Uint32Array;

  constructor(networks: Iterable<Cidr> | CidrRanges) {
    const { v4, v6 } = 'v4' in networks ? networks : rangesOf(networks);
    this.#v4 = v4;
    this.#v6 = v6;
  }

  /** Ranges it holds, after leaving out nested ones. */
  get size(): number {
    return this.#v4.length / 2 + this.#v6.length / 8;
  }

  /** Whether a canonical address is in one of the networks; its zone does not matter. Anything that is no address is not. */
  has(address: string): boolean {
    const value = ipv4ToNumber(address);
    if (value !== -1) return this.#v4.length > 0 && this.#hasV4(value);
    if (!address.includes(':')) return false;
    if (this.#v6.length === 0 && !address.startsWith('::')) return false; // no IPv4-mapped one, as sockets give them
    const bytes = parseAddress(address);
    if (bytes === null) return false;
    if (isMapped(bytes)) return this.#hasV4(word(bytes, 12));
    return this.#v6.length > 0 && this.#hasV6(word(bytes, 0), word(bytes, 4), word(bytes, 8), word(bytes, 12));
  }

  #hasV4(value: number): boolean {
    const ranges = this.#v4;
    let low = 0;
    let high = ranges.length / 2;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((ranges[middle * 2] ?? 0) <= value) low = middle + 1;
      else high = middle;
    }
    return low > 0 && value <= (ranges[low * 2 - 1] ?? 0);
  }

  #hasV6(a: number, b: number, c: number, d: number): boolean {
    const ranges = this.#v6;
    let low = 0;
    let high = ranges.length / 8;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (atMost(ranges, middle * 8, a, b, c, d)) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return false;
    const end = low * 8 - 4; // the last address of the range in front
    return !atMost(ranges, end, a, b, c, d) || same(ranges, end, a, b, c, d);
  }
}

/** As `CidrSetBuilder` lays them out. */
export interface CidrRanges {
  readonly v4: Uint32Array;
  readonly v6: Uint32Array;
}

function rangesOf(cidrs: Iterable<Cidr>): CidrRanges {
  const builder = new CidrSetBuilder();
  for (const cidr of cidrs) builder.addCidr(cidr);
  return atOnce(builder.ranges());
}

/** Collects networks for a CidrSet, without an object for any of them. */
export class CidrSetBuilder {
  readonly #v4 = new NetworkTable(1);
  readonly #v6 = new NetworkTable(4);

  /** Networks that were added, the same one twice too. */
  get entries(): number {
    return this.#v4.size + this.#v6.size;
  }

  get ipv6Entries(): number {
    return this.#v6.size;
  }

  addCidr({ address, prefix }: Cidr): void {
    if (address.length === 4) this.#v4.add(prefix, word(address, 0), 0, 0, 0);
    else this.#v6.add(prefix, word(address, 0), word(address, 4), word(address, 8), word(address, 12));
  }

  /** As `parseCidr` reads it. Throws a plain Error. */
  add(text: string): void {
    this.addCidr(parseCidr(text));
  }

  /**
   * An IPv4 network or address, straight from a file. false: it is something else, and nothing was added; `add` can tell.
   */
  addBytes(bytes: Uint8Array, start: number, end: number): boolean {
    let address = 0;
    let parts = 0;
    let value = -1;
    let at = start;
    for (; at < end; at++) {
      const code = bytes[at] ?? 0;
      if (code === DOT) {
        if (value < 0 || parts === 3) return false;
        address = address * 256 + value;
        parts++;
        value = -1;
        continue;
      }
      if (code === SLASH) break;
      const digit = code - ZERO;
      if (digit < 0 || digit > 9 || value === 0) return false;
      value = value < 0 ? digit : value * 10 + digit;
      if (value > 255) return false;
    }
    if (parts !== 3 || value < 0) return false;
    const prefix = at === end ? 32 : prefixIn(bytes, at + 1, end);
    if (prefix < 0 || prefix > 32) return false;
    this.#v4.add(prefix, address * 256 + value, 0, 0, 0);
    return true;
  }

  append(other: CidrSetBuilder): void {
    this.#v4.append(other.#v4);
    this.#v6.append(other.#v6);
  }

  build(): CidrSet {
    return atOnce(this.steps());
  }

  /** `build`, with pauses. */
  *steps(): Generator<undefined, CidrSet> {
    return new CidrSet(yield* this.ranges());
  }

  *ranges(): Generator<undefined, CidrRanges> {
    return { v4: yield* this.#v4.ranges(), v6: yield* this.#v6.ranges() };
  }
}

const DOT = 0x2e;
const SLASH = 0x2f;
const ZERO = 0x30;

/** One to three digits, or -1. */
function prefixIn(bytes: Uint8Array, start: number, end: number): number {
  if (end - start < 1 || end - start > 3) return -1;
  let prefix = 0;
  for (let i = start; i < end; i++) {
    const digit = (bytes[i] ?? 0) - ZERO;
    if (digit < 0 || digit > 9) return -1;
    prefix = prefix * 10 + digit;
  }
  return prefix;
}

/** Whether the four words at `at` are at most a:b:c:d. */
function atMost(words: Uint32Array, at: number, a: number, b: number, c: number, d: number): boolean {
  const w0 = words[at] ?? 0;
  if (w0 !== a) return w0 < a;
  const w1 = words[at + 1] ?? 0;
  if (w1 !== b) return w1 < b;
  const w2 = words[at + 2] ?? 0;
  if (w2 !== c) return w2 < c;
  return (words[at + 3] ?? 0) <= d;
}

function same(words: Uint32Array, at: number, a: number, b: number, c: number, d: number): boolean {
  return words[at] === a && words[at + 1] === b && words[at + 2] === c && words[at + 3] === d;
}

function word(bytes: Uint8Array, at: number): number {
  return (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0;
}

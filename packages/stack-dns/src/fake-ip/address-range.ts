/** A network whose addresses are handed out by number. */
import { addressFamily, formatAddress, ipv4ToNumber, parseAddress } from '@nekit/core';
import { read32, write32 } from '../wire/message.js';

/**
 * Never handed out: the network's own address, the gateway (.1, which is the TUN's), and what else lies in the /30 that the TUN has by default. Nor is the last one: it is
 * the broadcast.
 */
const FIRST = 4;
const LAST = 1;

/** More names than that nobody uses at a time; it bounds the memory of an IPv6 range. */
export const MAX_NAMES = 1 << 17;

/** The largest IPv4 range is a /8. */
const MAX_HOST_BITS = 24;

export class AddressRange {
  readonly family: 4 | 6;
  /** Addresses that are handed out. */
  readonly capacity: number;
  /** Canonical, as `198.18.0.0/16`: equal for equal ranges. */
  readonly key: string;
  readonly #base: Uint8Array;
  readonly #prefix: number;

  /** Throws a plain Error for what is no network, or one without room. */
  constructor(text: string, family: 4 | 6) {
    const [address = '', bits = '', more] = text.split('/');
    const bytes = parseAddress(address);
    const prefix = /^\d{1,3}$/.test(bits) ? Number(bits) : -1;
    const example = family === 4 ? '198.18.0.1/16' : 'fdfe:dcba:9876::1/64';
    if (bytes === null || more !== undefined || addressFamily(address) !== family || address.includes('%'))
      throw new Error(`"${text}" is no IPv${family} network: write ${example}`);
    const width = bytes.length * 8;
    if (prefix < (family === 4 ? width - MAX_HOST_BITS : 16) || prefix > width - 3)
      throw new Error(`"${text}" is no range of fake addresses: its prefix is /${family === 4 ? width - MAX_HOST_BITS : 16} to /${width - 3}`);
    mask(bytes, prefix);
    this.family = family;
    this.#base = bytes;
    this.#prefix = prefix;
    this.key = `${formatAddress(bytes)}/${prefix}`;
    this.capacity = width - prefix > MAX_HOST_BITS ? MAX_NAMES : Math.min(2 ** (width - prefix) - FIRST - LAST, family === 4 ? 2 ** MAX_HOST_BITS : MAX_NAMES);
  }

  /** 4 or 16 bytes at `out[at]`. */
  write(index: number, out: Uint8Array, at: number): void {
    const base = this.#base;
    for (let i = 0; i < base.length; i++) out[at + i] = base[i] ?? 0;
    const low = at + base.length - 4;
    write32(out, low, read32(out, low) + FIRST + index); // no carry: the bits of the host are zero, and enough
  }

  text(index: number): string {
    const bytes = new Uint8Array(this.#base.length);
    this.write(index, bytes, 0);
    return formatAddress(bytes);
  }

  /** -1: it is none that is handed out. `address` is canonical. */
  indexOf(address: string): number {
    const offset = this.family === 4 ? this.#offset4(address) : this.#offset6(address);
    const index = offset - FIRST;
    return index >= 0 && index < this.capacity ? index : -1;
  }

  /** Whether it lies in the network, handed out or not. */
  contains(address: string): boolean {
    return (this.family === 4 ? this.#offset4(address) : this.#offset6(address)) >= 0;
  }

  /** Its place in the network; -1: it is not in it. */
  #offset4(address: string): number {
    const value = ipv4ToNumber(address);
    const offset = value - read32(this.#base, 0);
    return value >= 0 && offset >= 0 && offset < 2 ** (32 - this.#prefix) ? offset : -1;
  }

  /** The same; Infinity: it is in it, beyond what is counted. */
  #offset6(address: string): number {
    if (addressFamily(address) !== 6) return -1;
    const bytes = parseAddress(address);
    if (bytes?.length !== 16) return -1;
    const network = Uint8Array.from(bytes);
    mask(network, this.#prefix);
    for (let i = 0; i < 16; i++) if (network[i] !== this.#base[i]) return -1;
    for (let i = 0; i < 12; i++) if (bytes[i] !== this.#base[i]) return Number.POSITIVE_INFINITY;
    return read32(bytes, 12) - read32(this.#base, 12);
  }
}

function mask(bytes: Uint8Array, prefix: number): void {
  for (let i = 0; i < bytes.length; i++) {
    const bits = Math.max(0, Math.min(8, prefix - i * 8));
    bytes[i] = (bytes[i] ?? 0) & (0xff << (8 - bits));
  }
}

import { ipv4ToNumber, isMapped, parseAddress } from '../net/address.js';
import type { AddressKey } from './rule.js';

/**
 * Rules on networks that stand one after the other, as one table: which is the first that holds for an address? Networks nest or are apart, so
 * the addresses fall into stretches, each of which has one first rule.
 */
export class AddressRun {
  readonly #v4: Stretches<number>;
  readonly #v6: Stretches<bigint>;

  constructor(keys: readonly AddressKey[]) {
    const v4: Network<number>[] = [];
    const v6: Network<bigint>[] = [];
    keys.forEach(({ cidr: { address, prefix } }, ordinal) => {
      if (address.length === 4) {
        const first = Number(toBigInt(address));
        v4.push({ first, last: first + 2 ** (32 - prefix) - 1, ordinal });
      } else {
        const first = toBigInt(address);
        v6.push({ first, last: first + (1n << BigInt(128 - prefix)) - 1n, ordinal });
      }
    });
    this.#v4 = new Stretches(v4, (value) => value + 1);
    this.#v6 = new Stretches(v6, (value) => value + 1n);
  }

  /** The ordinal of the first rule that holds for a canonical address; -1: none, also for what is no address. */
  first(address: string): number {
    const value = ipv4ToNumber(address);
    if (value !== -1) return this.#v4.find(value);
    const bytes = parseAddress(address);
    if (bytes === null) return -1;
    if (bytes.length === 4 || isMapped(bytes)) return this.#v4.find(Number(toBigInt(bytes.subarray(-4))));
    return this.#v6.find(toBigInt(bytes));
  }
}

interface Network<T> {
  readonly first: T;
  readonly last: T;
  readonly ordinal: number;
}

class Stretches<T extends number | bigint> {
  /** Where each begins, ascending. It ends where the next begins. */
  readonly #starts: T[] = [];
  /** -1: no rule. */
  readonly #ordinals: number[] = [];

  constructor(networks: Network<T>[], next: (value: T) => T) {
    networks.sort((a, b) => compare(a.first, b.first) || compare(b.last, a.last) || a.ordinal - b.ordinal);
    /** Those around the place that has been reached, outermost first, each with the first rule of it and all around it. */
    const open: { readonly last: T; readonly ordinal: number }[] = [];
    const closeBefore = (first: T | null): void => {
      for (let top = open.at(-1); top !== undefined && (first === null || top.last < first); top = open.at(-1)) {
        open.pop();
        this.#begin(next(top.last), open.at(-1)?.ordinal ?? -1);
      }
    };
    for (const { first, last, ordinal } of networks) {
      closeBefore(first);
      const around = open.at(-1)?.ordinal ?? -1;
      const best = around === -1 ? ordinal : Math.min(around, ordinal);
      open.push({ last, ordinal: best });
      this.#begin(first, best);
    }
    closeBefore(null);
  }

  find(value: T): number {
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#starts[middle] ?? value) <= value) low = middle + 1;
      else high = middle;
    }
    return this.#ordinals[low - 1] ?? -1;
  }

  #begin(start: T, ordinal: number): void {
    // What begins at the same place takes over: it lies deeper, or what was there has ended.
    if (this.#starts.at(-1) === start) this.#ordinals[this.#ordinals.length - 1] = ordinal;
    else if (this.#ordinals.at(-1) !== ordinal) {
      this.#starts.push(start);
      this.#ordinals.push(ordinal);
    }
  }
}

function compare<T extends number | bigint>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function toBigInt(bytes: Uint8Array): bigint {
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return value;
}

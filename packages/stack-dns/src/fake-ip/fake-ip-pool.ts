/**
 * Fake IPs: addresses that stand for names. A name has one number (NamePool), and with it an address of the range of each family, so that a name that is looked up both ways takes
 * one place.
 */
import { NekitError, NetError } from '@nekit/core';
import type { FakeIpTable } from '@nekit/core/ip';
import type { AddressRange } from './address-range.js';
import { NamePool } from './name-pool.js';
import type { FakeIpStore } from './store.js';

export interface FakeIpOptions {
  readonly range4: AddressRange;
  /** null: names have no fake address of IPv6. */
  readonly range6: AddressRange | null;
  /** 32 random bits. */
  readonly seed: number;
  readonly store?: FakeIpStore | null;
  readonly warn?: (message: string) => void;
}

export class FakeIpPool implements Omit<FakeIpTable, 'realNameOf'> {
  readonly range4: AddressRange;
  readonly range6: AddressRange | null;
  /** Equal for pools whose numbers mean the same addresses. */
  readonly key: string;
  readonly #pool: NamePool;
  readonly #store: FakeIpStore | null;
  readonly #warn: (message: string) => void;
  /** Numbers that were assigned before the store was open; null: it is. */
  #early: Set<number> | null = new Set();

  constructor({ range4, range6, seed, store = null, warn = () => {} }: FakeIpOptions) {
    this.range4 = range4;
    this.range6 = range6;
    this.key = poolKey(range4, range6);
    this.#store = store;
    this.#warn = warn;
    const capacity = Math.min(range4.capacity, range6?.capacity ?? range4.capacity);
    this.#pool = new NamePool(capacity, seed, store === null ? undefined : (index, bytes, start, end) => this.#keep(store, index, bytes.subarray(start, end)));
  }

  get capacity(): number {
    return this.#pool.capacity;
  }

  /** Names that have addresses. */
  get size(): number {
    return this.#pool.size;
  }

  /** Bytes of memory, about. */
  get memory(): number {
    return this.#pool.memory;
  }

  /** Brings back what was kept, but for what would take its number or its name from one that was assigned already. Never rejects. */
  async open(): Promise<void> {
    const pool = this.#pool;
    const store = this.#store;
    const early = this.#early;
    if (store === null || early === null) return;
    const user = {
      get size() {
        return pool.size;
      },
      restore: (index: number, name: Uint8Array) => {
        if (this.#early?.has(index) === true || this.#early?.has(pool.find(name, 0, name.length)) === true) return;
        pool.restore(index, name, 0, name.length);
      },
      forEach: (run: (index: number, name: Uint8Array) => void) => pool.forEach(run),
    };
    await store.open(this.key, user, this.#warn);
    this.#early = null;
    if (early.size > 0)
      pool.forEach((index, name) => {
        if (early.has(index)) store.put(index, name);
      });
  }

  async close(): Promise<void> {
    await this.#store?.close();
  }

  /** The number of the name `bytes[start, end)`: lower case, 1 to 253 letters, digits, '-', '_' and dots. */
  assignBytes(bytes: Uint8Array, start: number, end: number): number {
    return this.#pool.assign(bytes, start, end);
  }

  /** `name`: canonical. Throws NekitError `NO_FAKE_RANGE` where the family has none. */
  assign(name: string, family: 4 | 6): string {
    const range = family === 4 ? this.range4 : this.range6;
    if (range === null) throw new NekitError('NO_FAKE_RANGE', 'there is no fake-ip-range6, so names have no fake address of IPv6');
    const bytes = Buffer.from(name, 'latin1');
    if (bytes.length === 0 || bytes.length > 255) throw new NetError('name', 'this name is too long for a fake address', { code: 'BAD_NAME' });
    return range.text(this.#pool.assign(bytes, 0, bytes.length));
  }

  domainOf(address: string): string | null {
    const index = this.#indexOf(address);
    return index === -1 ? null : this.#pool.nameOf(index);
  }

  hold(address: string, recycled: () => void): () => void {
    const index = this.#indexOf(address);
    return index === -1 ? () => {} : this.#pool.hold(index, recycled);
  }

  contains(address: string): boolean {
    return this.range4.contains(address) || this.range6?.contains(address) === true;
  }

  #keep(store: FakeIpStore, index: number, name: Uint8Array): void {
    if (this.#early === null) store.put(index, name);
    else this.#early.add(index);
  }

  #indexOf(address: string): number {
    const index = this.range4.indexOf(address);
    return index !== -1 || this.range6 === null ? index : this.range6.indexOf(address);
  }
}

export function poolKey(range4: AddressRange, range6: AddressRange | null): string {
  return `${range4.key} ${range6?.key ?? '-'}`;
}

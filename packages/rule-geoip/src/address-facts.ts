import type { FactKey, Facts } from '@nekit/core';
import type { Kind } from './kinds.js';
import { type Mmdb, NOT_FOUND } from './mmdb.js';

/** Addresses that are remembered, one in each slot; a busy kernel sees a few thousand. A power of two. */
const SLOTS = 8_192;
/** Characters at the end of an address that choose its slot. */
const TAIL = 9;
/** Records that are remembered. A file of countries has some 250, one of cities more than these. */
const MAX_RECORDS = 16_384;

/** What one file says of addresses. The same for all rules that ask it, so that a session asks once for an address. */
export class AddressFacts<T> {
  readonly #file: Mmdb;
  readonly #path: string;
  readonly #kind: Kind<T>;
  readonly #slots: (AddressFact<T> | undefined)[] = new Array<undefined>(SLOTS).fill(undefined);
  readonly #records = new Map<number, T>();

  /** `path`: for errors. */
  constructor(file: Mmdb, path: string, kind: Kind<T>) {
    this.#file = file;
    this.#path = path;
    this.#kind = kind;
  }

  /** Throws where the file is damaged. */
  find(facts: Facts, address: string): T {
    const slot = slotOf(address);
    let fact = this.#slots[slot];
    if (fact === undefined || fact.address !== address) {
      fact = new AddressFact(this.#kind, address, this.#look(address));
      this.#slots[slot] = fact;
    }
    void facts.once(fact, fact.find);
    return fact.value;
  }

  #look(address: string): T {
    try {
      return this.#read(address);
    } catch (error) {
      throw new Error(`${this.#path} is damaged: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  }

  #read(address: string): T {
    const place = this.#file.lookup(address);
    if (place === NOT_FOUND) return this.#kind.none;
    const known = this.#records.get(place);
    if (known !== undefined) return known;
    const value = this.#kind.read(this.#file.read(place));
    if (this.#records.size >= MAX_RECORDS) this.#records.clear();
    this.#records.set(place, value);
    return value;
  }
}

function slotOf(address: string): number {
  let hash = address.length;
  for (let i = Math.max(0, address.length - TAIL); i < address.length; i++) hash = Math.imul(hash, 31) + address.charCodeAt(i);
  return (hash ^ (hash >>> 13)) & (SLOTS - 1);
}

class AddressFact<T> implements FactKey<T> {
  readonly address: string;
  readonly value: T;
  readonly #kind: Kind<T>;

  constructor(kind: Kind<T>, address: string, value: T) {
    this.#kind = kind;
    this.address = address;
    this.value = value;
  }

  readonly find = (): T => this.value;

  get name(): string {
    return `${this.#kind.name} of ${this.address}`;
  }

  get format(): (value: T) => string {
    return this.#kind.format;
  }
}

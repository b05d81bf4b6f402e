import { parseAddress } from '../../net/address.js';
import { CidrSetBuilder } from '../cidr-set.js';
import type { CompiledSet } from '../rule-set.js';
import { type EntrySink, withoutComment } from './lines.js';
import type { ListNotes } from './list-notes.js';
import { type Pace, paced } from './pace.js';
import { AddressPart, PartSet } from './parts.js';

/** A list of networks. `ranges`: also NEKit's `a.b.c.d+N`, which are the addresses from that one to the Nth behind it. */
export class AddressList implements EntrySink {
  readonly #notes: ListNotes;
  readonly #ranges: boolean;
  readonly #builder = new CidrSetBuilder();

  constructor(notes: ListNotes, ranges: boolean) {
    this.#notes = notes;
    this.#ranges = ranges;
  }

  entry(bytes: Buffer, start: number, stop: number, line: number): boolean {
    if (this.#builder.addBytes(bytes, start, stop)) {
      this.#notes.count('IPv4');
      return false;
    }
    const text = bytes.toString('utf8', start, withoutComment(bytes, start, stop));
    try {
      if (this.#ranges && text.includes('+')) addRange(this.#builder, text);
      else this.#builder.add(text);
    } catch (error) {
      this.#notes.problem(line, text, withHint(text, error));
      return true;
    }
    this.#notes.count(text.includes(':') ? 'IPv6' : 'IPv4');
    return true;
  }

  async build(pace: Pace): Promise<CompiledSet> {
    return new PartSet(this.#notes.entries, [new AddressPart(await paced(this.#builder.steps(), pace), false)]);
  }
}

function withHint(text: string, error: unknown): unknown {
  return /^[a-z0-9-]+,/i.test(text)
    ? new Error(`"${text}" looks like a rule, which is for lists with behavior classical; here (behavior ipcidr) stand networks alone, as 10.0.0.0/8`)
    : error;
}

/** As the networks that it is made of: twice as many as an address has bits, at most. Throws a plain Error. */
export function addRange(builder: CidrSetBuilder, text: string): void {
  const [head = '', tail = '', more] = text.split('+');
  const bytes = parseAddress(head);
  if (bytes === null || more !== undefined || !/^[0-9]{1,39}$/.test(tail))
    throw new Error(`"${text}" is no range: write an address and how many follow it, as in 192.0.2.10+5`);
  const bits = bytes.length * 8;
  let first = bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
  const last = first + BigInt(tail);
  if (last >> BigInt(bits) !== 0n) throw new Error(`"${text}" goes beyond the last IPv${bits === 32 ? 4 : 6} address`);
  while (first <= last) {
    let host = 0; // bits of the largest network that begins here and ends in time
    while (host < bits && (first & ((2n << BigInt(host)) - 1n)) === 0n && first + (2n << BigInt(host)) - 1n <= last) host++;
    builder.addCidr({ address: bytesOf(first, bytes.length), prefix: bits - host });
    first += 1n << BigInt(host);
  }
}

function bytesOf(value: bigint, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => Number((value >> BigInt((length - 1 - i) * 8)) & 0xffn));
}

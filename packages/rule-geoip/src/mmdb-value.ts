/**
 * Values of a MaxMind DB's data section and of its metadata.
 * Read first: MaxMind DB File Format Specification 2.0, "Output Data Section".
 *
 *   control byte   TTT SSSSS          type, size; type 0: the type is the next byte + 7
 *   size 29..31                       29 + next byte │ 285 + next 2 │ 65,821 + next 3
 *   pointer        001 SS VVV  …      from the start of the section: VVV and 1..3 bytes, or 4 bytes (SS = 3)
 *
 * The bytes may be damaged or made to harm: sizes are believed only as far as there are bytes, and what one value may hold is bounded, because
 * pointers let a few bytes stand for any number of values.
 */

/** `null` stands for what no rule asks for: raw bytes. */
export type MmdbValue = string | number | boolean | null | readonly MmdbValue[] | Map<string, MmdbValue>;

/** Values of one record, inner ones and pointers included; city databases have about a hundred. 64 bytes of text count as one more. */
const MAX_VALUES = 10_000;
const MAX_DEPTH = 32;

const POINTER = 1;
const STRING = 2;
const DOUBLE = 3;
const BYTES = 4;
const UINT16 = 5;
const UINT32 = 6;
const MAP = 7;
const INT32 = 8;
const UINT64 = 9;
const UINT128 = 10;
const ARRAY = 11;
const BOOLEAN = 14;
const FLOAT = 15;

/** What each size of pointer begins with. The longest has nothing to add. */
const POINTER_BASES = [0, 2_048, 526_336, 0];

/** The value at `at`; `bytes` is the section and nothing else. Throws a plain Error that says what is wrong. */
export function readValue(bytes: Buffer, at: number): MmdbValue {
  return new ValueReader(bytes, at).read(0);
}

class ValueReader {
  readonly #bytes: Buffer;
  #at: number;
  #left = MAX_VALUES;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  read(depth: number): MmdbValue {
    if (depth > MAX_DEPTH) throw new Error(`values are nested more than ${MAX_DEPTH} deep`);
    this.#spend(1);
    const control = this.#uint(1);
    let type = control >> 5;
    if (type === POINTER) return this.#follow(control, depth);
    if (type === 0) type = this.#uint(1) + 7;
    const size = this.#size(control & 0x1f);
    switch (type) {
      case STRING:
        return this.#text(size);
      case MAP:
        return this.#map(size, depth);
      case ARRAY:
        return this.#array(size, depth);
      case BOOLEAN:
        return size !== 0;
      case UINT16:
      case UINT32:
      case UINT64:
      case UINT128:
        return this.#uint(size);
      case INT32:
        return this.#uint(size) | 0;
      case DOUBLE:
        return this.#take(8).readDoubleBE(0);
      case FLOAT:
        return this.#take(4).readFloatBE(0);
      case BYTES:
        this.#take(size);
        return null;
      default:
        throw new Error(`there is no type of value ${type}`);
    }
  }

  #text(size: number): string {
    const bytes = this.#take(size);
    this.#spend(size >> 6);
    return bytes.toString('utf8');
  }

  #map(size: number, depth: number): Map<string, MmdbValue> {
    const map = new Map<string, MmdbValue>();
    for (let i = 0; i < size; i++) {
      const key = this.read(depth + 1);
      if (typeof key !== 'string') throw new Error('a key of a map is no text');
      map.set(key, this.read(depth + 1));
    }
    return map;
  }

  #array(size: number, depth: number): readonly MmdbValue[] {
    const array: MmdbValue[] = []; // grows with what is there: `size` may be a lie
    for (let i = 0; i < size; i++) array.push(this.read(depth + 1));
    return array;
  }

  #follow(control: number, depth: number): MmdbValue {
    const length = (control >> 3) & 3;
    const rest = this.#uint(length + 1);
    const target = (POINTER_BASES[length] ?? 0) + (length === 3 ? rest : (control & 7) * 256 ** (length + 1) + rest);
    const behind = this.#at;
    this.#at = target;
    const value = this.read(depth + 1);
    this.#at = behind;
    return value;
  }

  #size(short: number): number {
    if (short < 29) return short;
    if (short === 29) return 29 + this.#uint(1);
    return short === 30 ? 285 + this.#uint(2) : 65_821 + this.#uint(3);
  }

  /** Big-endian; beyond 53 bits it is not exact. */
  #uint(size: number): number {
    if (size > 16) throw new Error(`a number has ${size} bytes`);
    let value = 0;
    for (const byte of this.#take(size)) value = value * 256 + byte;
    return value;
  }

  #take(size: number): Buffer {
    const end = this.#at + size;
    if (end > this.#bytes.length) throw new Error('a value ends outside of the file');
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  #spend(values: number): void {
    this.#left -= values;
    if (this.#left < 0) throw new Error(`a record holds more than ${MAX_VALUES} values`);
  }
}

/** Reads what a peer sent: beyond the end there are zeros, and `isShort` says so. Never throws. */
export class ByteReader {
  readonly bytes: Uint8Array;
  readonly end: number;
  at: number;
  /** Something was asked for that is not there. */
  isShort = false;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
  }

  get left(): number {
    return this.end - this.at;
  }

  u8(): number {
    return this.uint(1);
  }

  u16(): number {
    return this.uint(2);
  }

  /** Big-endian, of 1 to 6 bytes. */
  uint(length: number): number {
    const start = this.skip(length);
    if (this.isShort) return 0;
    let value = 0;
    for (let i = 0; i < length; i++) value = value * 256 + (this.bytes[start + i] ?? 0);
    return value;
  }

  /** A variable-length integer of QUIC (RFC 9000 section 16). One beyond 2^53 is longer than anything here can be, and counts as short. */
  varint(): number {
    const first = this.left > 0 ? (this.bytes[this.at] ?? 0) : 0;
    const length = 1 << (first >> 6);
    if (length < 8) {
      const value = this.uint(length);
      return length === 1 ? value & 0x3f : length === 2 ? value & 0x3fff : value & 0x3fffffff;
    }
    const high = this.uint(4) & 0x3fffffff;
    const low = this.uint(4);
    if (high > 0x1fffff) this.isShort = true;
    return this.isShort ? 0 : high * 0x1_0000_0000 + low;
  }

  /** Where the bytes begin that were passed over. */
  skip(length: number): number {
    const start = this.at;
    if (length > this.left) {
      this.isShort = true;
      this.at = this.end;
    } else this.at += length;
    return start;
  }

  /** The bytes themselves: a view. */
  take(length: number): Uint8Array {
    const start = this.skip(length);
    return this.isShort ? EMPTY : this.bytes.subarray(start, start + length);
  }

  /** A reader of the next `length` bytes. */
  part(length: number): ByteReader {
    const start = this.skip(length);
    return this.isShort ? new ByteReader(EMPTY) : new ByteReader(this.bytes, start, start + length);
  }
}

const EMPTY = new Uint8Array(0);

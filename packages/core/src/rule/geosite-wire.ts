/**
 * Protocol Buffers, as far as geosite.dat needs them: one message, field by field, without building anything.
 * Read first: protobuf.dev/programming-guides/encoding.
 *
 *   field      key, then the value
 *   key        varint: number of the field * 8 + kind
 *   kind       0 varint   1 eight bytes   2 varint of a length, then that many bytes   5 four bytes
 *   varint     seven bits a byte, lowest first; the top bit says that more follow
 *
 * No length is believed beyond the end of the message that holds it.
 */

/** A varint of 64 bits. */
const MAX_VARINT = 10;

export class WireReader {
  /** Number of the field that `next` has come to. */
  field = 0;
  /** Its value, if it is a varint (0 otherwise); beyond 53 bits it is not exact. */
  number = 0;
  /** Where its bytes begin and end, if it has any; both are 0 otherwise. */
  start = 0;
  end = 0;
  readonly #bytes: Uint8Array;
  readonly #stop: number;
  #at: number;

  /** Reads from `from` to `to`. */
  constructor(bytes: Uint8Array, from: number, to: number) {
    this.#bytes = bytes;
    this.#at = from;
    this.#stop = to;
  }

  /** Goes to the next field; false at the end. Throws a plain Error where the bytes are no message. */
  next(): boolean {
    if (this.#at >= this.#stop) return false;
    const key = this.#varint();
    const kind = key % 8;
    this.field = (key - kind) / 8;
    this.number = 0;
    this.start = 0;
    this.end = 0;
    if (kind === 0) this.number = this.#varint();
    else if (kind === 2) this.#skip(this.#varint());
    else if (kind === 1 || kind === 5) this.#at = this.#ahead(kind === 1 ? 8 : 4);
    else throw new Error(`at byte ${this.#at} stands a kind of field that does not exist`);
    return true;
  }

  #skip(length: number): void {
    this.start = this.#at;
    this.end = this.#ahead(length);
    this.#at = this.end;
  }

  #ahead(length: number): number {
    if (length > this.#stop - this.#at) throw new Error(`at byte ${this.#at} stands something longer than what is left`);
    return this.#at + length;
  }

  #varint(): number {
    let value = 0;
    let factor = 1;
    for (let i = 0; i < MAX_VARINT && this.#at < this.#stop; i++) {
      const byte = this.#bytes[this.#at++] ?? 0;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 128;
    }
    throw new Error(`at byte ${this.#at} a number does not end`);
  }
}

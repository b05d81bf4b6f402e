/** The first size of a buffer that packets are put together in; it grows to what is needed. */
const FIRST = 2048;

/** A buffer that is used again and again. */
export class Scratch {
  bytes = new Uint8Array(FIRST);

  /** At least `length` bytes, with whatever was in them. */
  room(length: number): Uint8Array {
    if (length > this.bytes.length) this.bytes = new Uint8Array(Math.max(length, 2 * this.bytes.length));
    return this.bytes;
  }
}

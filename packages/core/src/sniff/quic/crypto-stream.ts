/** What CRYPTO frames carry, in whatever order they come. Read first: RFC 9000 sections 19.1 to 19.3, 19.6 and 12.4 (which frames an Initial may have). */
import { ByteReader } from '../byte-reader.js';
import { MAX_HELLO } from '../client-hello.js';

const PADDING = 0x00;
const PING = 0x01;
const ACK = 0x02;
const ACK_ECN = 0x03;
const CRYPTO = 0x06;

export class CryptoStream {
  #bytes = new Uint8Array(2048);
  /** 1 for each byte that is there. */
  #isThere = new Uint8Array(2048);
  #length = 0;

  /** From the beginning on, without a gap. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Takes in the frames of a packet; false: they are none that an Initial may have, or too much. */
  add(frames: Uint8Array): boolean {
    const reader = new ByteReader(frames);
    while (reader.left > 0) {
      const type = reader.u8();
      if (type === PADDING || type === PING) continue;
      if (type === CRYPTO) {
        const offset = reader.varint();
        const part = reader.take(reader.varint());
        if (reader.isShort || !this.#put(offset, part)) return false;
      } else if (type === ACK || type === ACK_ECN) {
        if (!skipAck(reader, type === ACK_ECN)) return false;
      } else return false;
    }
    return true;
  }

  #put(offset: number, part: Uint8Array): boolean {
    const end = offset + part.length;
    if (end > MAX_HELLO) return false;
    this.#grow(end);
    this.#bytes.set(part, offset);
    this.#isThere.fill(1, offset, end);
    while (this.#isThere[this.#length] === 1) this.#length++;
    return true;
  }

  #grow(length: number): void {
    if (length <= this.#bytes.length) return;
    const bytes = new Uint8Array(MAX_HELLO);
    bytes.set(this.#bytes);
    const isThere = new Uint8Array(MAX_HELLO);
    isThere.set(this.#isThere);
    this.#bytes = bytes;
    this.#isThere = isThere;
  }
}

function skipAck(reader: ByteReader, hasCounts: boolean): boolean {
  reader.varint(); // largest
  reader.varint(); // delay
  const ranges = reader.varint();
  for (let i = 0; i <= ranges && !reader.isShort; i++) {
    if (i > 0) reader.varint(); // gap
    reader.varint();
  }
  if (hasCounts) for (let i = 0; i < 3; i++) reader.varint();
  return !reader.isShort;
}

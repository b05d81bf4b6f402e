/**
 * Names as bytes, in chunks of flat memory. A string costs V8 some 40 bytes beside its letters, and an entry in a Map as much again; here it is the letters, rounded up.
 * Freed room is used again by names of about the same length.
 */

const CHUNK = 1 << 20;
const CHUNK_SHIFT = 20;

/** Sizes of blocks, in bytes: a name has at most 253 letters (RFC 1035 section 2.3.4). */
const SIZES = [16, 32, 64, 128, 256] as const;

const NONE = -1;

export class NameStore {
  readonly #chunks: Buffer[] = [];
  /** First free block of each size; the next one's place stands in its first four bytes. */
  readonly #free = new Int32Array(SIZES.length).fill(NONE);
  /** Behind the last block, in the last chunk. */
  #end = 0;

  /** Memory in use, in bytes. */
  get size(): number {
    return this.#chunks.length * CHUNK;
  }

  /** Where `bytes[start, end)` (1 to 255 bytes) is kept from here on. */
  add(bytes: Uint8Array, start: number, end: number): number {
    const at = this.#allocate(sizeClass(end - start));
    this.#chunk(at).set(bytes.subarray(start, end), at & (CHUNK - 1));
    return at;
  }

  remove(at: number, length: number): void {
    const index = sizeClass(length);
    const chunk = this.#chunk(at);
    write(chunk, at & (CHUNK - 1), this.#free[index] ?? NONE);
    this.#free[index] = at;
  }

  equals(at: number, length: number, bytes: Uint8Array, start: number): boolean {
    const chunk = this.#chunk(at);
    const from = at & (CHUNK - 1);
    for (let i = 0; i < length; i++) if (chunk[from + i] !== bytes[start + i]) return false;
    return true;
  }

  text(at: number, length: number): string {
    const from = at & (CHUNK - 1);
    return this.#chunk(at).toString('latin1', from, from + length);
  }

  /** The letters, lent. */
  bytes(at: number, length: number): Uint8Array {
    return this.#chunk(at).subarray(at & (CHUNK - 1), (at & (CHUNK - 1)) + length);
  }

  clear(): void {
    this.#chunks.length = 0;
    this.#free.fill(NONE);
    this.#end = 0;
  }

  #allocate(index: number): number {
    const free = this.#free[index] ?? NONE;
    if (free !== NONE) {
      this.#free[index] = read(this.#chunk(free), free & (CHUNK - 1));
      return free;
    }
    const size = SIZES[index] ?? 256;
    if (this.#chunks.length === 0 || (this.#end & (CHUNK - 1)) + size > CHUNK || this.#end === this.#chunks.length * CHUNK) {
      this.#end = this.#chunks.length * CHUNK;
      this.#chunks.push(Buffer.alloc(CHUNK));
    }
    const at = this.#end;
    this.#end += size;
    return at;
  }

  #chunk(at: number): Buffer {
    const chunk = this.#chunks[at >>> CHUNK_SHIFT];
    if (chunk === undefined) throw new RangeError(`no name at ${at}`); // a bug of ours
    return chunk;
  }
}

function sizeClass(length: number): number {
  return length <= 16 ? 0 : Math.min(SIZES.length - 1, 32 - Math.clz32(length - 1) - 4);
}

function read(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0);
}

function write(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Big-endian numbers in a slab, and copies between slabs. Offsets are the caller's affair: what lies outside reads as 0 and is not written. */

export function read16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

/** As an int32: the form in which sequence numbers and addresses are compared, since V8 keeps it without a box. */
export function read32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0);
}

export function write16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function write32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** A copy of `bytes[start, end)`. `slice` of a Buffer would be a view. */
export function copyOf(bytes: Uint8Array, start = 0, end = bytes.length): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes.subarray(start, end));
}

/** Bytes as the key of a map. */
export function latin1(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1', start, end);
}

/** Shorter than this a loop is quicker than a call of the engine, in bytes. */
const SHORT = 32;

/** Copies `source[start, end)` to `target` at `at`. Inside of one slab it allocates nothing, which is why packets and buffers share one. */
export function copyBytes(target: Uint8Array, at: number, source: Uint8Array, start: number, end: number): void {
  if (end - start <= SHORT && target !== source) for (let i = start, to = at; i < end; i++, to++) target[to] = source[i] ?? 0;
  else if (target === source) target.copyWithin(at, start, end);
  else target.set(source.subarray(start, end), at);
}

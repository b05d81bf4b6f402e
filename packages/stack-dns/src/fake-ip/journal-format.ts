/**
 * The file of fake IPs: a head and then records, only ever appended.
 *
 * ```
 * head     "NKFAKE1\n"(8)  length of key(2)  key  CRC-32 of all before(4)
 * record   CRC-32 of what follows(4)  index(4)  length(1)  name
 * ```
 * What a crash has torn off is a record whose checksum is wrong, or that is not all there: it and what follows it is dropped.
 */
import { crc32 } from 'node:zlib';
import { read16, read32, write16, write32 } from '../wire/message.js';

const MAGIC = Buffer.from('NKFAKE1\n');
const RECORD_HEAD = 9;
/** The longest record, in bytes. */
export const MAX_RECORD = RECORD_HEAD + 255;

export function headBytes(key: string): Uint8Array {
  const text = Buffer.from(key);
  const head = new Uint8Array(MAGIC.length + 2 + text.length + 4);
  head.set(MAGIC);
  write16(head, MAGIC.length, text.length);
  head.set(text, MAGIC.length + 2);
  write32(head, head.length - 4, crc32(head.subarray(0, -4)));
  return head;
}

/** Writes a record at `at`; behind it. */
export function writeRecord(out: Uint8Array, at: number, index: number, name: Uint8Array): number {
  const end = at + RECORD_HEAD + name.length;
  write32(out, at + 4, index);
  out[at + 8] = name.length;
  out.set(name, at + RECORD_HEAD);
  write32(out, at, crc32(out.subarray(at + 4, end)));
  return end;
}

/** What became of the record at `at`: its end; 0: more bytes are needed; -1: it is broken. */
export function readRecord(bytes: Uint8Array, at: number, take: (index: number, name: Uint8Array) => void): number {
  if (at + RECORD_HEAD > bytes.length) return 0;
  const length = bytes[at + 8] ?? 0;
  const end = at + RECORD_HEAD + length;
  if (length === 0) return -1;
  if (end > bytes.length) return 0;
  if (crc32(bytes.subarray(at + 4, end)) !== read32(bytes, at)) return -1;
  take(read32(bytes, at + 4), bytes.subarray(at + RECORD_HEAD, end));
  return end;
}

/** Whether a file begins with this head. */
export function hasHead(bytes: Uint8Array, head: Uint8Array): boolean {
  return (
    bytes.length >= head.length && read16(bytes, MAGIC.length) === read16(head, MAGIC.length) && Buffer.compare(bytes.subarray(0, head.length), head) === 0
  );
}

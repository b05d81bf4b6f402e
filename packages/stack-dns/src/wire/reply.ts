/**
 * Replies, written into a buffer of the caller's. Each function says how long the message is.
 * `bytes[start…]` is the query that `query` has read, `out` has room for MAX_MESSAGE or for what the caller knows to be enough.
 */
import { AD, CD, CLASS_IN, EDNS_UDP, HEADER, OPCODE, OPT_LENGTH, QR, RA, RCODE, RD, read16, TC, TYPE, write16, write32 } from './message.js';
import type { Query } from './query.js';

/** A name that is the one of the question: a pointer to it (RFC 1035 section 4.1.4). */
const QUESTION_NAME = 0xc000 | HEADER;

/** Header and question; nothing else yet. */
function begin(out: Uint8Array, query: Query, bytes: Uint8Array, start: number, rcode: number): number {
  const { end } = query;
  for (let i = 0; i < end; i++) out[i] = bytes[start + i] ?? 0;
  out[2] = QR | ((out[2] ?? 0) & (OPCODE | RD));
  out[3] = RA | ((out[3] ?? 0) & CD) | (rcode & 0xf);
  write16(out, 4, end > HEADER ? 1 : 0);
  write32(out, 6, 0);
  write16(out, 10, 0);
  return end;
}

/** OPT if the query had it (RFC 6891 section 7). */
function finish(out: Uint8Array, at: number, query: Query, rcode: number): number {
  if (!query.edns) return at;
  out[at] = 0;
  write16(out, at + 1, TYPE.OPT);
  write16(out, at + 3, EDNS_UDP);
  out[at + 5] = rcode >>> 4;
  out[at + 6] = 0;
  write16(out, at + 7, query.dnssecOk ? 0x8000 : 0);
  write16(out, at + 9, 0);
  write16(out, 10, read16(out, 10) + 1);
  return at + OPT_LENGTH;
}

/** No record: NODATA (rcode 0), or an error. */
export function emptyReply(out: Uint8Array, query: Query, bytes: Uint8Array, start: number, rcode: number): number {
  return finish(out, begin(out, query, bytes, start, rcode), query, rcode);
}

/** A or AAAA: one record. `address` is written by `write` at the place that it is given. */
export function addressReply(
  out: Uint8Array,
  query: Query,
  bytes: Uint8Array,
  start: number,
  ttl: number,
  length: 4 | 16,
  write: (out: Uint8Array, at: number) => void,
): number {
  const at = begin(out, query, bytes, start, RCODE.NOERROR);
  write16(out, at, QUESTION_NAME);
  write16(out, at + 2, query.type);
  write16(out, at + 4, CLASS_IN);
  write32(out, at + 6, ttl);
  write16(out, at + 10, length);
  write(out, at + 12);
  write16(out, 6, 1);
  return finish(out, at + 12 + length, query, RCODE.NOERROR);
}

/** `records`: whole records of the answer section, their names without pointers. */
export function recordsReply(out: Uint8Array, query: Query, bytes: Uint8Array, start: number, count: number, records: Uint8Array): number {
  const at = begin(out, query, bytes, start, RCODE.NOERROR);
  out.set(records, at);
  write16(out, 6, count);
  return finish(out, at + records.length, query, RCODE.NOERROR);
}

/**
 * What a server answered to the same question (without OPT, see Answer), for this client: its id, its flags, its spelling of the name, which pointers of the
 * records then lead to.
 */
export function copiedReply(out: Uint8Array, query: Query, bytes: Uint8Array, start: number, answer: Uint8Array): number {
  begin(out, query, bytes, start, (answer[3] ?? 0) & 0xf);
  // AD only to who asked for it (RFC 6840 section 5.8).
  const wantsAd = query.dnssecOk || ((bytes[start + 3] ?? 0) & AD) !== 0;
  if (wantsAd) out[3] = (out[3] ?? 0) | ((answer[3] ?? 0) & AD);
  for (let i = 6; i < HEADER; i++) out[i] = answer[i] ?? 0;
  out.set(query.end === answer.length ? EMPTY : answer.subarray(query.end), query.end);
  return finish(out, answer.length, query, (answer[3] ?? 0) & 0xf);
}

/** The reply that is in `out` without its records, and TC: ask again by TCP (RFC 2181 section 9). */
export function truncate(out: Uint8Array, query: Query): number {
  out[2] = (out[2] ?? 0) | TC;
  write32(out, 6, 0);
  write16(out, 10, 0);
  return finish(out, query.end, query, (out[3] ?? 0) & 0xf);
}

const EMPTY = new Uint8Array(0);

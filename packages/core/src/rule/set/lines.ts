import { type ListNotes, MAX_LINE } from './list-notes.js';
import type { Pace } from './pace.js';

/** Takes entries as they stand in the file, spaces and comments left out. */
export interface EntrySink {
  /** true: it took longer than a short moment. The bytes are only lent. */
  entry(bytes: Buffer, start: number, end: number, line: number): boolean;
}

const NEWLINE = 0x0a;
const HASH = 0x23;
const SLASH = 0x2f;

/** Spaces, tabs, and the return in front of a newline. */
export function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x09 || byte === 0x0d;
}

/** One entry a line; empty lines and those that begin with `#` or `//` are comments. What is too long is a problem. */
export async function readLines(bytes: Buffer, notes: ListNotes, sink: EntrySink, pace: Pace): Promise<void> {
  let line = 0;
  for (let at = byteOrderMark(bytes); at < bytes.length; ) {
    line++;
    let start = at;
    while (at < bytes.length && bytes[at] !== NEWLINE) at++;
    let end = at++;
    while (start < end && isBlank(bytes[start])) start++;
    while (end > start && isBlank(bytes[end - 1])) end--;
    const long = start < end && !isComment(bytes, start, end) && takeLine(bytes, start, end, line, notes, sink);
    if (pace.due(long)) await pace.rest();
  }
}

function takeLine(bytes: Buffer, start: number, end: number, line: number, notes: ListNotes, sink: EntrySink): boolean {
  if (end - start <= MAX_LINE) return sink.entry(bytes, start, end, line);
  notes.problem(line, bytes.toString('latin1', start, start + 40), `the line has ${end - start} bytes, and ${MAX_LINE} are allowed`);
  return true;
}

export function isComment(bytes: Buffer, start: number, end: number): boolean {
  const first = bytes[start];
  return first === HASH || (first === SLASH && end > start + 1 && bytes[start + 1] === SLASH);
}

/** Names and networks have no spaces in them, so what stands behind one and a `#` or `//` is a comment. Returns where the entry ends. */
export function withoutComment(bytes: Buffer, start: number, end: number): number {
  let blank = start;
  while (blank < end && !isBlank(bytes[blank])) blank++;
  let behind = blank;
  while (behind < end && isBlank(bytes[behind])) behind++;
  return behind < end && isComment(bytes, behind, end) ? blank : end;
}

/** Bytes of it in front. */
export function byteOrderMark(bytes: Buffer): number {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
}

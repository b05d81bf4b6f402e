import { findRecord, RECORD_HEAD, tagOf } from './domain-set.js';

/** Records of a bucket, on average at most. */
const BUCKET = 4;
/** Buckets that are summed up at a stretch. */
const STRETCH = 2 ** 18;
/** In front of a collected name: length, flags, hash. */
export const HEAD = 6;

/** Names one after the other, as they came. */
export interface Block {
  readonly bytes: Uint8Array;
  used: number;
}

export function writeHead(bytes: Uint8Array, at: number, length: number, flags: number, hash: number): void {
  bytes[at] = length;
  bytes[at + 1] = flags;
  bytes[at + 2] = hash;
  bytes[at + 3] = hash >>> 8;
  bytes[at + 4] = hash >>> 16;
  bytes[at + 5] = hash >>> 24;
}

/** The tables of a DomainSet, with a pause after each block. `blocks` is emptied on the way, so that names are there twice for a moment only. */
export function* layOut(blocks: Block[], entries: number): Generator<undefined, { size: number; shift: number; starts: Uint32Array; records: Uint8Array }> {
  const bits = Math.max(1, Math.ceil(Math.log2(Math.max(1, entries) / BUCKET)));
  const shift = 32 - bits;
  const starts = new Uint32Array(2 ** bits + 1);
  for (const block of blocks) {
    countSizes(block, starts, shift);
    yield;
  }
  let sum = 0;
  for (let bucket = 0; bucket < starts.length; bucket++) {
    const size = starts[bucket] ?? 0;
    starts[bucket] = sum;
    sum += size;
    if (bucket % STRETCH === STRETCH - 1) yield;
  }
  const layout: Layout = { shift, starts, records: new Uint8Array(sum), ends: starts.slice() };
  let size = 0;
  blocks.reverse();
  for (let block = blocks.pop(); block !== undefined; block = blocks.pop()) {
    size += place(block, layout);
    yield;
  }
  return { size, shift, starts, records: size === entries ? layout.records : yield* closeGaps(layout) };
}

interface Layout {
  readonly shift: number;
  readonly starts: Uint32Array;
  /** Where the next record of a bucket goes. */
  readonly ends: Uint32Array;
  readonly records: Uint8Array;
}

function hashAt(bytes: Uint8Array, at: number): number {
  return (bytes[at + 2] ?? 0) | ((bytes[at + 3] ?? 0) << 8) | ((bytes[at + 4] ?? 0) << 16) | ((bytes[at + 5] ?? 0) << 24);
}

/** What the records of each bucket need. */
function countSizes({ bytes, used }: Block, sizes: Uint32Array, shift: number): void {
  for (let at = 0; at < used; ) {
    const length = bytes[at] ?? 0;
    const bucket = hashAt(bytes, at) >>> shift;
    sizes[bucket] = (sizes[bucket] ?? 0) + RECORD_HEAD + length;
    at += HEAD + length;
  }
}

/** Returns how many were new. A name that is there already gets the flags of both. */
function place({ bytes, used }: Block, { shift, starts, ends, records }: Layout): number {
  let added = 0;
  for (let at = 0; at < used; ) {
    const length = bytes[at] ?? 0;
    const flags = bytes[at + 1] ?? 0;
    const hash = hashAt(bytes, at);
    const name = at + HEAD;
    at = name + length;
    const bucket = hash >>> shift;
    const end = ends[bucket] ?? 0;
    const same = findRecord(records, starts[bucket] ?? 0, end, bytes, name, at, hash, 0);
    if (same !== -1) {
      records[same + 1] = (records[same + 1] ?? 0) | flags;
      continue;
    }
    records[end] = length;
    records[end + 1] = tagOf(hash) | flags;
    for (let i = 0; i < length; i++) records[end + RECORD_HEAD + i] = bytes[name + i] ?? 0;
    ends[bucket] = end + RECORD_HEAD + length;
    added++;
  }
  return added;
}

/** Names that came twice have left room in their buckets. */
function* closeGaps({ starts, ends, records }: Layout): Generator<undefined, Uint8Array> {
  let to = 0;
  for (let bucket = 0; bucket < starts.length - 1; bucket++) {
    const from = starts[bucket] ?? 0;
    const end = ends[bucket] ?? 0;
    if (to !== from) records.copyWithin(to, from, end);
    starts[bucket] = to;
    to += end - from;
    if (bucket % STRETCH === STRETCH - 1) yield;
  }
  starts[starts.length - 1] = to;
  return records.slice(0, to);
}

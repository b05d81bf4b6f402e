/**
 * The options of a TCP header as values, for tools and tests (a stack reads them in place).
 * Read first: RFC 9293 section 3.1, RFC 7323 (window scale, timestamps), RFC 2018 (SACK).
 */
import { read16, read32, write16, write32 } from './bytes.js';

export const TCP_OPTION = { end: 0, nop: 1, mss: 2, windowScale: 3, sackPermitted: 4, sack: 5, timestamps: 8 } as const;

export interface TcpOptions {
  readonly mss?: number;
  readonly windowScale?: number;
  readonly sackPermitted?: boolean;
  /** Left and right edges, as uint32. */
  readonly sack?: readonly (readonly [number, number])[];
  readonly timestamps?: { readonly value: number; readonly echo: number };
}

/** What stands in `bytes[start, end)`; unknown and broken options are left out. */
export function parseTcpOptions(bytes: Uint8Array, start: number, end: number): TcpOptions {
  const found: { -readonly [K in keyof TcpOptions]: TcpOptions[K] } = {};
  for (let at = start; at < end; ) {
    const kind = bytes[at] ?? 0;
    if (kind === TCP_OPTION.end) break;
    if (kind === TCP_OPTION.nop) {
      at++;
      continue;
    }
    const length = bytes[at + 1] ?? 0;
    if (at + 1 >= end || length < 2 || at + length > end) break;
    if (kind === TCP_OPTION.mss && length === 4) found.mss = read16(bytes, at + 2);
    else if (kind === TCP_OPTION.windowScale && length === 3) found.windowScale = bytes[at + 2] ?? 0;
    else if (kind === TCP_OPTION.sackPermitted && length === 2) found.sackPermitted = true;
    else if (kind === TCP_OPTION.timestamps && length === 10) found.timestamps = { value: read32(bytes, at + 2) >>> 0, echo: read32(bytes, at + 6) >>> 0 };
    else if (kind === TCP_OPTION.sack && length >= 10 && length % 8 === 2) {
      const blocks: [number, number][] = [];
      for (let block = at + 2; block < at + length; block += 8) blocks.push([read32(bytes, block) >>> 0, read32(bytes, block + 4) >>> 0]);
      found.sack = blocks;
    }
    at += length;
  }
  return found;
}

/** The options in the order that everybody writes them, filled up to whole words. Throws a RangeError above 40 bytes. */
export function buildTcpOptions(options: TcpOptions): Uint8Array {
  const bytes = new Uint8Array(48 + 8 * (options.sack?.length ?? 0));
  let at = 0;
  const put = (kind: number, length: number): number => {
    bytes[at] = kind;
    bytes[at + 1] = length;
    at += length;
    return at - length + 2;
  };
  if (options.mss !== undefined) write16(bytes, put(TCP_OPTION.mss, 4), options.mss);
  if (options.sackPermitted === true) put(TCP_OPTION.sackPermitted, 2);
  if (options.timestamps !== undefined) {
    const body = put(TCP_OPTION.timestamps, 10);
    write32(bytes, body, options.timestamps.value);
    write32(bytes, body + 4, options.timestamps.echo);
  }
  if (options.windowScale !== undefined) bytes[put(TCP_OPTION.windowScale, 3)] = options.windowScale;
  if (options.sack !== undefined && options.sack.length > 0) {
    let body = put(TCP_OPTION.sack, 2 + 8 * options.sack.length);
    for (const [left, right] of options.sack) {
      write32(bytes, body, left);
      write32(bytes, body + 4, right);
      body += 8;
    }
  }
  while (at % 4 !== 0) bytes[at++] = TCP_OPTION.nop;
  if (at > 40) throw new RangeError(`TCP options take ${at} bytes; there is room for 40`);
  return bytes.slice(0, at);
}

/**
 * As much of DNS as it takes to find the addresses of a name. Read first: RFC 1035 section 4.
 *
 *   id(2) flags(2) questions(2) answers(2) authority(2) additional(2) | name type(2) class(2) | name type(2) class(2) ttl(4) length(2) bytes …
 */
import { formatAddress } from './address.js';

const HEADER = 12;
const RECURSION_DESIRED = 0x0100;
const CLASS_IN = 1;
const MAX_NAME = 253;
const MAX_LABEL = 63;

export const RECORD_TYPE = { A: 1, AAAA: 28 } as const;
export type RecordType = (typeof RECORD_TYPE)[keyof typeof RECORD_TYPE];

/** null for what is too long for a name. */
export function dnsQuestion(id: number, name: string, type: RecordType): Uint8Array | null {
  const labels = (name.endsWith('.') ? name.slice(0, -1) : name).split('.');
  if (name.length > MAX_NAME || labels.some((label) => label === '' || label.length > MAX_LABEL)) return null;
  const words = (...values: readonly number[]): Buffer => Buffer.from(values.flatMap((value) => [value >> 8, value & 0xff]));
  const wire = labels.map((label) => Buffer.concat([Buffer.of(label.length), Buffer.from(label, 'latin1')]));
  return Buffer.concat([words(id, RECURSION_DESIRED, 1, 0, 0, 0), ...wire, Buffer.of(0), words(type, CLASS_IN)]);
}

export interface DnsAnswer {
  /** 0: fine, 3: there is no such name. */
  readonly rcode: number;
  /** Of the type that was asked for, CNAMEs followed as the server did. */
  readonly addresses: readonly string[];
  readonly truncated: boolean;
}

/** An answer to exactly this question; null for anything else. Never throws. */
export function readDnsAnswer(question: Uint8Array, type: RecordType, message: Uint8Array): DnsAnswer | null {
  const view = new DataView(message.buffer, message.byteOffset, message.length);
  const end = question.length;
  if (message.length < end || view.getUint16(0) !== (((question[0] ?? 0) << 8) | (question[1] ?? 0))) return null;
  const flags = view.getUint16(2);
  if ((flags & 0x8000) === 0 || view.getUint16(4) !== 1 || !isSame(question, message, HEADER, end)) return null;
  const addresses: string[] = [];
  const length = type === RECORD_TYPE.A ? 4 : 16;
  for (let left = view.getUint16(6), at = end; left > 0; left--) {
    at = behindName(message, at);
    if (at === -1 || at + 10 > message.length) break;
    const size = view.getUint16(at + 8);
    const start = at + 10;
    if (start + size > message.length) break;
    if (view.getUint16(at) === type && view.getUint16(at + 2) === CLASS_IN && size === length)
      addresses.push(formatAddress(message.subarray(start, start + size)));
    at = start + size;
  }
  return { rcode: flags & 0xf, addresses, truncated: (flags & 0x0200) !== 0 };
}

/** Servers may change the case of letters. */
function isSame(one: Uint8Array, other: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (lower(one[i] ?? 0) !== lower(other[i] ?? 0)) return false;
  return true;
}

function lower(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
}

/** Where a name ends; a pointer ends it. -1: nowhere. */
function behindName(message: Uint8Array, from: number): number {
  for (let at = from; at < message.length; ) {
    const length = message[at] ?? 0;
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2;
    if (length > MAX_LABEL) return -1;
    at += 1 + length;
  }
  return -1;
}

/** What a server answered, as it is kept. Read first: RFC 1035 section 4.1.3, RFC 2181 sections 5 and 8, RFC 2308 sections 2 and 5. */
import { formatAddress } from '@nekit/core';
import { CLASS_IN, HEADER, RCODE, read16, read32, skipName, TYPE, write16, write32 } from './message.js';

/** Longer than a day nothing is believed (RFC 2181 section 8 allows 68 years, and caches cap it). */
const MAX_TTL = 86_400;
/** The same of "there is no such thing" (RFC 2308 section 5: one to three hours). */
const MAX_NEGATIVE_TTL = 3_600;
/** An answer of 64 KiB has 5,461 records of 12 bytes at most. */
const MAX_RECORDS = 5_461;

export interface Answer {
  /** The message without OPT, all names in it as they came. Read-only: caches and waiters share it. */
  readonly bytes: Uint8Array;
  readonly rcode: number;
  /** Where the TTLs of its records stand. */
  readonly ttls: Uint16Array;
  /** How long it holds, in seconds; 0: it is not kept. */
  readonly ttl: number;
  /** No record of the type that was asked for. */
  readonly negative: boolean;
  /** Records of the answer section. */
  readonly answers: number;
  /** Where they begin. */
  readonly start: number;
}

/** null: it is broken. `questionLength`: of the question that was asked, which the message repeats; the message may be none of ours but for that. */
export function readAnswer(message: Uint8Array, questionLength: number): Answer | null {
  const start = HEADER + questionLength;
  if (message.length < start || read16(message, 4) !== 1) return null;
  const type = read16(message, start - 4);
  const answers = read16(message, 6);
  const behindAuthority = answers + read16(message, 8);
  const all = behindAuthority + read16(message, 10);
  if (all > MAX_RECORDS) return null;
  const ttls: number[] = [];
  let at = start;
  let least = MAX_TTL;
  let negativeTtl = 0;
  let found = false;
  let count = 0;
  for (; count < all; count++) {
    const behind = skipName(message, at, message.length);
    if (behind === -1 || behind + 10 > message.length) return null;
    const kind = read16(message, behind);
    if (kind === TYPE.OPT) break; // from here on it is cut off: OPT is the last but for TSIG
    const next = behind + 10 + read16(message, behind + 8);
    if (next > message.length) return null;
    const ttl = ttlAt(message, behind + 4);
    ttls.push(behind + 4);
    if (count < answers) {
      least = Math.min(least, ttl);
      if (kind === type) found = true;
    } else if (count < behindAuthority && kind === TYPE.SOA && next - behind >= 32) {
      negativeTtl = Math.min(ttl, read32(message, next - 4), MAX_NEGATIVE_TTL);
    }
    at = next;
  }
  const bytes = Uint8Array.from(message.subarray(0, at));
  write16(bytes, 6, Math.min(answers, count));
  write16(bytes, 8, Math.max(0, Math.min(behindAuthority, count) - answers));
  write16(bytes, 10, Math.max(0, count - behindAuthority));
  const rcode = (message[3] ?? 0) & 0xf;
  const negative = !found && type !== TYPE.ANY;
  const isKept = (rcode === RCODE.NOERROR || rcode === RCODE.NXDOMAIN) && ((message[2] ?? 0) & 2) === 0;
  const ttl = !isKept ? 0 : negative || rcode === RCODE.NXDOMAIN ? Math.min(negativeTtl, answers > 0 ? least : negativeTtl) : least;
  return { bytes, rcode, ttls: Uint16Array.from(ttls), ttl, negative, answers: Math.min(answers, count), start };
}

/** The top bit set means 0 (RFC 2181 section 8). */
function ttlAt(bytes: Uint8Array, at: number): number {
  const ttl = read32(bytes, at);
  return ttl > 0x7fffffff ? 0 : ttl;
}

/** Addresses in the answer section, in its order. */
export function addressesOf(answer: Answer): string[] {
  const { bytes } = answer;
  const found: string[] = [];
  let at = answer.start;
  for (let i = 0; i < answer.answers; i++) {
    const behind = skipName(bytes, at, bytes.length);
    if (behind === -1) return found;
    const length = read16(bytes, behind + 8);
    const type = read16(bytes, behind);
    const wanted = type === TYPE.A ? 4 : type === TYPE.AAAA ? 16 : 0;
    if (wanted !== 0 && length === wanted && read16(bytes, behind + 2) === CLASS_IN)
      found.push(formatAddress(bytes.subarray(behind + 10, behind + 10 + length)));
    at = behind + 10 + length;
  }
  return found;
}

/** In a copy of the answer at the start of `out`: its TTLs as they are `age` seconds later, at least `floor`. */
export function ageTtls(out: Uint8Array, { ttls, bytes }: Answer, age: number, floor: number): void {
  for (let i = 0; i < ttls.length; i++) {
    const at = ttls[i] ?? 0;
    write32(out, at, Math.max(floor, Math.min(MAX_TTL, ttlAt(bytes, at)) - age));
  }
}

/**
 * The header and the question of a query, read without an allocation. Read first: RFC 1035 section 4.1, RFC 6891 section 6.1, RFC 9619 (one question).
 *
 * What came is only looked at: a reply copies the question from it byte by byte, so that the case of its letters (0x20) stays.
 */
import { CD, CLASS_IN, HEADER, MAX_WIRE_NAME, OPCODE, PLAIN_UDP, QR, RCODE, RD, read16, skipName, TYPE } from './message.js';

/** No answer at all: what came is no query. */
export const SILENCE = -1;
/** It is understood. */
export const UNDERSTOOD = 0;

/** Records behind the question that are looked at, to find OPT: TSIG and a cookie are all there ever are. */
const MAX_RECORDS = 8;

const OPT_DO = 0x8000;

/** One is reused for all queries: what it says holds until the next `read`. */
export class Query {
  id = 0;
  type = 0;
  class = 0;
  recursionDesired = false;
  /** The client checks signatures itself (RFC 4035 section 3.2.2). */
  checkingDisabled = false;
  /** It has an OPT record, so the reply has one. */
  edns = false;
  dnssecOk = false;
  /** What the client takes over UDP, in bytes. */
  udpSize = PLAIN_UDP;
  /** Where the question ends, from the message's start; HEADER if it was not understood. */
  end = HEADER;
  /** The name as text in lower case, without a dot at the end: `name[0, nameLength)`. The root's is empty. */
  readonly name = new Uint8Array(MAX_WIRE_NAME);
  nameLength = 0;
  /** Made of letters, digits, '-', '_': what a host may be called. Others have no text that means only them. */
  isHostName = false;

  /** SILENCE, UNDERSTOOD, or the RCODE to answer with. `bytes[start, end)` is one message. */
  read(bytes: Uint8Array, start: number, end: number): number {
    this.end = HEADER;
    this.edns = false;
    this.dnssecOk = false;
    this.udpSize = PLAIN_UDP;
    this.nameLength = 0;
    if (end - start < HEADER || ((bytes[start + 2] ?? 0) & QR) !== 0) return SILENCE;
    const flags = bytes[start + 2] ?? 0;
    this.id = read16(bytes, start);
    this.recursionDesired = (flags & RD) !== 0;
    this.checkingDisabled = ((bytes[start + 3] ?? 0) & CD) !== 0;
    if ((flags & OPCODE) !== 0) return RCODE.NOTIMP;
    if (read16(bytes, start + 4) !== 1) return RCODE.FORMERR;
    const behind = this.#readName(bytes, start + HEADER, end);
    if (behind === -1 || behind + 4 > end) return RCODE.FORMERR;
    this.type = read16(bytes, behind);
    this.class = read16(bytes, behind + 2);
    this.end = behind + 4 - start;
    const records = read16(bytes, start + 6) + read16(bytes, start + 8);
    if (records !== 0 && this.type !== TYPE.IXFR) return RCODE.FORMERR; // an answer in a question
    const found = this.#readAdditional(bytes, behind + 4, end, records, read16(bytes, start + 10));
    if (found !== UNDERSTOOD) return found;
    if (this.type === TYPE.AXFR || this.type === TYPE.IXFR) return RCODE.NOTIMP;
    return this.class === CLASS_IN ? UNDERSTOOD : RCODE.REFUSED;
  }

  /** Behind the name, or -1. A pointer is refused: there is nothing before the only question that it could point to. */
  #readName(bytes: Uint8Array, at: number, end: number): number {
    const { name } = this;
    let length = 0;
    let isHostName = true;
    for (let i = at; i < end; ) {
      const label = bytes[i++] ?? 0;
      if (label === 0) {
        this.nameLength = length;
        this.isHostName = isHostName && length > 0;
        return i;
      }
      if (label > 63 || i + label > end || i + label + 1 - at > MAX_WIRE_NAME) return -1;
      if (length > 0) name[length++] = 0x2e;
      for (const stop = i + label; i < stop; i++) {
        const code = bytes[i] ?? 0;
        const kind = KINDS[code] ?? 0;
        name[length++] = kind === UPPER ? code | 0x20 : code;
        if (kind === OTHER) isHostName = false;
      }
    }
    return -1;
  }

  /** Finds OPT. `records` stand before the additional ones. */
  #readAdditional(bytes: Uint8Array, from: number, end: number, records: number, additional: number): number {
    let at = from;
    if (records + additional > MAX_RECORDS) return RCODE.FORMERR;
    for (let i = 0; i < records + additional; i++) {
      const behind = skipName(bytes, at, end);
      if (behind === -1 || behind + 10 > end) return RCODE.FORMERR;
      const next = behind + 10 + read16(bytes, behind + 8);
      if (next > end) return RCODE.FORMERR;
      if (i >= records && read16(bytes, behind) === TYPE.OPT) {
        if (this.edns || behind !== at + 1) return RCODE.FORMERR; // two of them, or not the root's
        this.edns = true;
        this.udpSize = Math.max(PLAIN_UDP, read16(bytes, behind + 2));
        this.dnssecOk = (read16(bytes, behind + 6) & OPT_DO) !== 0;
        if ((bytes[behind + 5] ?? 0) !== 0) return RCODE.BADVERS;
      }
      at = next;
    }
    return UNDERSTOOD;
  }
}

const OTHER = 0;
const PLAIN = 1;
const UPPER = 2;
/** What each byte is in the name of a host. */
const KINDS = Uint8Array.from({ length: 256 }, (_, code) =>
  code >= 0x41 && code <= 0x5a ? UPPER : /[a-z0-9_-]/.test(String.fromCharCode(code)) ? PLAIN : OTHER,
);

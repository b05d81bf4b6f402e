/** Numbers of the DNS. Read first: RFC 1035 section 4.1, RFC 6895, IANA "Domain Name System (DNS) Parameters". */

/**
 * ```
 * 0      2      4        6        8        10       12
 * +------+------+--------+--------+--------+--------+----------+---------+-----------+------------+
 * | id   | flags| QDCOUNT| ANCOUNT| NSCOUNT| ARCOUNT| question | answers | authority | additional |
 * +------+------+--------+--------+--------+--------+----------+---------+-----------+------------+
 * flags: QR(1) OPCODE(4) AA(1) TC(1) RD(1) | RA(1) Z(1) AD(1) CD(1) RCODE(4)
 * ```
 */
export const HEADER = 12;

/** Bits of the first byte of the flags. */
export const QR = 0x80;
export const OPCODE = 0x78;
export const TC = 0x02;
export const RD = 0x01;
/** Bits of the second. */
export const RA = 0x80;
export const AD = 0x20;
export const CD = 0x10;

export const TYPE = {
  A: 1,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  AAAA: 28,
  OPT: 41,
  SVCB: 64,
  HTTPS: 65,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
} as const;

export const CLASS_IN = 1;

export const RCODE = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5, BADVERS: 16 } as const;

/** How people and `rcode://` call them. */
export const RCODE_NAMES: Readonly<Record<string, number>> = {
  success: RCODE.NOERROR,
  format_error: RCODE.FORMERR,
  server_failure: RCODE.SERVFAIL,
  name_error: RCODE.NXDOMAIN,
  not_implemented: RCODE.NOTIMP,
  refused: RCODE.REFUSED,
};

/** The longest name on the wire, with its lengths and the root's zero (RFC 1035 section 2.3.4). */
export const MAX_WIRE_NAME = 255;

/** What a resolver without EDNS takes over UDP (RFC 1035 section 2.3.4). */
export const PLAIN_UDP = 512;

/** What we say we take over UDP, and the most that we send: no fragments on any usual path (DNS flag day 2020). */
export const EDNS_UDP = 1232;

/** The longest message over TCP (RFC 1035 section 4.2.2). */
export const MAX_MESSAGE = 65_535;

/** An OPT record without options (RFC 6891 section 6.1.2). */
export const OPT_LENGTH = 11;

export function read16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

export function read32(bytes: Uint8Array, at: number): number {
  return (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0;
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

/** Behind the name at `at`, which may end in a pointer (not followed); -1 if it does not end before `end`. */
export function skipName(bytes: Uint8Array, at: number, end: number): number {
  for (let i = at; i < end; ) {
    const length = bytes[i] ?? 0;
    if (length === 0) return i + 1;
    if (length >= 0xc0) return i + 2 <= end ? i + 2 : -1;
    if (length > 63 || i - at > MAX_WIRE_NAME) return -1;
    i += length + 1;
  }
  return -1;
}

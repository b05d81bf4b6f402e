/**
 * IP addresses as bytes, as numbers and as canonical text.
 * Read first: RFC 4291 section 2.2 (text of IPv6), RFC 5952 (its canonical form), RFC 4007 section 11 (zones), inet_aton(3) (odd IPv4).
 */

/** 4 or 16 bytes for a canonical or a usual spelling of an address (dotted quad, RFC 4291 text, a zone is left out), null for anything else. */
export function parseAddress(text: string): Uint8Array | null {
  return text.includes(':') ? parseIPv6(text) : parseIPv4(text);
}

/** 4, 6 or 0 (a domain). Cheap, allocates nothing: for hosts that are already canonical. */
export function addressFamily(host: string): 0 | 4 | 6 {
  const last = host.charCodeAt(host.length - 1);
  if (last >= 0x30 && last <= 0x39 && ipv4ToNumber(host) !== -1) return 4;
  return host.includes(':') ? 6 : 0;
}

/** The 32 bits of a strict dotted quad (four decimal parts, no leading zeros) as a number, -1 for anything else. Allocates nothing. */
export function ipv4ToNumber(text: string): number {
  if (text.length > 15) return -1;
  let all = 0;
  let parts = 0;
  let value = -1;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x2e) {
      if (value < 0 || parts === 3) return -1;
      all = all * 256 + value;
      parts++;
      value = -1;
      continue;
    }
    const digit = code - 0x30;
    if (digit < 0 || digit > 9 || value === 0) return -1;
    value = value < 0 ? digit : value * 10 + digit;
    if (value > 255) return -1;
  }
  return parts === 3 && value >= 0 ? all * 256 + value : -1;
}

function parseIPv4(text: string): Uint8Array | null {
  const value = ipv4ToNumber(text);
  return value === -1 ? null : ipv4Bytes(value);
}

function ipv4Bytes(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

/** One pass over the text; groups behind a "::" are moved to the end when it is known how many there are. */
function parseIPv6(text: string): Uint8Array | null {
  const zone = text.indexOf('%');
  if (zone !== -1 && !zoneIsClean(text, zone)) return null;
  const end = zone === -1 ? text.length : zone;
  const bytes = new Uint8Array(16);
  let filled = 0;
  let gap = -1;
  let at = 0;
  while (at < end) {
    if (text.charCodeAt(at) === COLON) {
      // A colon leads, or follows a group: only as one of two.
      if (text.charCodeAt(at + 1) !== COLON || gap !== -1) return null;
      gap = filled;
      at += 2;
      continue;
    }
    const start = at;
    let value = 0;
    for (; at < end; at++) {
      const digit = hexDigit(text.charCodeAt(at));
      if (digit === -1) break;
      value = value * 16 + digit;
    }
    if (text.charCodeAt(at) === DOT) return filled <= 12 ? withIPv4(bytes, filled, gap, text.slice(start, end)) : null;
    if (at === start || at - start > 4 || filled === 16) return null;
    bytes[filled++] = value >> 8;
    bytes[filled++] = value & 0xff;
    if (at === end) break;
    if (text.charCodeAt(at) !== COLON || at + 1 === end) return null;
    if (text.charCodeAt(at + 1) !== COLON) at++;
  }
  return spread(bytes, filled, gap);
}

const COLON = 0x3a;
const DOT = 0x2e;

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

/** A dotted quad may stand last. */
function withIPv4(bytes: Uint8Array, filled: number, gap: number, quad: string): Uint8Array | null {
  const value = ipv4ToNumber(quad);
  if (value === -1) return null;
  bytes.set(ipv4Bytes(value), filled);
  return spread(bytes, filled + 4, gap);
}

/** Opens the gap that "::" stands for: at least one group. */
function spread(bytes: Uint8Array, filled: number, gap: number): Uint8Array | null {
  if (gap === -1) return filled === 16 ? bytes : null;
  if (filled > 14) return null;
  bytes.copyWithin(16 - (filled - gap), gap, filled);
  bytes.fill(0, gap, 16 - (filled - gap));
  return bytes;
}

/** Canonical text: dotted quad, or RFC 5952. An IPv4-mapped IPv6 address is written as the IPv4 address it means. */
export function formatAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  if (isMapped(bytes)) return formatAddress(bytes.subarray(12));
  const words: number[] = [];
  for (let i = 0; i < 16; i += 2) words.push(((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0));
  let best = -1;
  let bestLength = 1; // a single zero group is not shortened (RFC 5952 section 4.2.2)
  for (let i = 0; i < 8; ) {
    let end = i;
    while (end < 8 && words[end] === 0) end++;
    if (end - i > bestLength) {
      best = i;
      bestLength = end - i;
    }
    i = end === i ? i + 1 : end;
  }
  const hex = (from: number, to: number): string =>
    words
      .slice(from, to)
      .map((word) => word.toString(16))
      .join(':');
  return best === -1 ? hex(0, 8) : `${hex(0, best)}::${hex(best + bestLength, 8)}`;
}

/** The address of its network: without the bits behind the first `prefix`. */
export function maskedTo(bytes: Uint8Array, prefix: number): Uint8Array {
  return bytes.map((byte, index) => byte & (0xff00 >> Math.max(0, Math.min(8, prefix - 8 * index))));
}

/** Whether 16 bytes are an IPv4-mapped address, `::ffff:0:0/96` (RFC 4291 section 2.5.5.2). */
export function isMapped(bytes: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return bytes.length === 16 && bytes[10] === 0xff && bytes[11] === 0xff;
}

/**
 * Any spelling that a resolver would take for an address, in canonical form, or null. Besides the usual ones these are the
 * forms of inet_aton: one to four parts, each decimal, octal (`0177`) or hexadecimal (`0x7f`), the last one filling what is left.
 * A zone stays (`fe80::1%eth0`), but for an IPv4-mapped address, which has none.
 */
export function normaliseAddress(text: string): string | null {
  if (text.includes(':')) {
    const bytes = parseIPv6(text);
    if (bytes === null) return null;
    const zone = text.indexOf('%');
    return zone === -1 || isMapped(bytes) ? formatAddress(bytes) : formatAddress(bytes) + text.slice(zone);
  }
  if (ipv4ToNumber(text) !== -1) return text;
  const loose = parseLooseIPv4(text);
  return loose === -1 ? null : formatAddress(ipv4Bytes(loose));
}

/** Interface names and indexes; anything else could smuggle bytes into a log or a header. */
function zoneIsClean(text: string, zone: number): boolean {
  return /^%[A-Za-z0-9_.-]{1,32}$/.test(text.slice(zone));
}

function parseLooseIPv4(text: string): number {
  const parts = (text.endsWith('.') ? text.slice(0, -1) : text).split('.', 5);
  if (parts.length > 4) return -1;
  let all = 0;
  for (let i = 0; i < parts.length; i++) {
    const value = looseNumber(parts[i] ?? '');
    const left = 5 - parts.length; // bytes that the last part fills
    const last = i === parts.length - 1;
    if (value === -1 || value >= 256 ** (last ? left : 1)) return -1;
    all = all * 256 ** (last ? left : 1) + value;
  }
  return all;
}

/** -1 for what is no number. Any number of zeros may stand in front, as strtoul and the URL standard have it. */
function looseNumber(text: string): number {
  const match = /^(?:(0[xX])0*([0-9a-fA-F]{0,8})|(0)0*([0-7]{0,11})|([1-9][0-9]{0,9}))$/.exec(text);
  if (match === null) return -1;
  if (match[1] !== undefined) return Number.parseInt(`0${match[2]}`, 16);
  if (match[3] !== undefined) return Number.parseInt(`0${match[4]}`, 8);
  return Number.parseInt(match[5] ?? '', 10);
}

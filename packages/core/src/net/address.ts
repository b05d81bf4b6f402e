/** IP addresses as bytes and as canonical text. */

/** 4 or 16 bytes for a canonical or a usual spelling of an address (dotted quad, RFC 4291 text), null for anything else. */
export function parseAddress(text: string): Uint8Array | null {
  return text.includes(':') ? parseIPv6(text) : parseIPv4(text);
}

/** 4, 6 or 0 (a domain). Cheap: for hosts that are already canonical. */
export function addressFamily(host: string): 0 | 4 | 6 {
  if (host.includes(':')) return 6;
  const last = host.charCodeAt(host.length - 1);
  return last >= 0x30 && last <= 0x39 && parseIPv4(host) !== null ? 4 : 0;
}

/** Strict dotted quad: four decimal parts, no leading zeros. */
function parseIPv4(text: string): Uint8Array | null {
  const bytes = new Uint8Array(4);
  let part = 0;
  let value = -1;
  for (let i = 0; i <= text.length; i++) {
    const code = i === text.length ? 0x2e : text.charCodeAt(i);
    if (code === 0x2e) {
      if (value < 0 || part > 3) return null;
      bytes[part++] = value;
      value = -1;
      continue;
    }
    const digit = code - 0x30;
    if (digit < 0 || digit > 9 || value === 0) return null;
    value = value < 0 ? digit : value * 10 + digit;
    if (value > 255) return null;
  }
  return part === 4 ? bytes : null;
}

function parseIPv6(text: string): Uint8Array | null {
  const zone = text.indexOf('%');
  const body = zone === -1 ? text : text.slice(0, zone);
  const halves = body.split('::');
  if (halves.length > 2) return null;
  const head = groups(halves[0] ?? '', halves.length === 1);
  const tail = halves.length === 2 ? groups(halves[1] ?? '', true) : [];
  if (head === null || tail === null) return null;
  const missing = 16 - head.length - tail.length;
  if (halves.length === 2 ? missing < 2 : missing !== 0) return null;
  const bytes = new Uint8Array(16);
  bytes.set(head, 0);
  bytes.set(tail, 16 - tail.length);
  return bytes;
}

/** The bytes of `a:b:c`; a dotted quad may stand last. */
function groups(text: string, mayEndInIPv4: boolean): number[] | null {
  const bytes: number[] = [];
  if (text === '') return bytes;
  const parts = text.split(':');
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i] ?? '';
    if (part.includes('.')) {
      const quad = mayEndInIPv4 && i === parts.length - 1 ? parseIPv4(part) : null;
      if (quad === null) return null;
      bytes.push(...quad);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return null;
      const value = Number.parseInt(part, 16);
      bytes.push(value >> 8, value & 0xff);
    }
    if (bytes.length > 16) return null;
  }
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

function isMapped(bytes: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return bytes[10] === 0xff && bytes[11] === 0xff;
}

/**
 * Any spelling that a resolver would take for an address, in canonical form, or null. Besides the usual ones these are the
 * forms of inet_aton: one to four parts, each decimal, octal (`0177`) or hexadecimal (`0x7f`), the last one filling what is left.
 */
export function normaliseAddress(text: string): string | null {
  if (text.includes(':')) {
    const bytes = parseIPv6(text);
    if (bytes === null) return null;
    const zone = text.indexOf('%');
    return zone === -1 ? formatAddress(bytes) : zoneIsClean(text, zone) ? formatAddress(bytes) + text.slice(zone) : null;
  }
  const strict = parseIPv4(text);
  if (strict !== null) return text;
  const loose = parseLooseIPv4(text);
  return loose === null ? null : formatAddress(loose);
}

function zoneIsClean(text: string, zone: number): boolean {
  return /^%[A-Za-z0-9_.-]{1,32}$/.test(text.slice(zone));
}

function parseLooseIPv4(text: string): Uint8Array | null {
  const parts = (text.endsWith('.') ? text.slice(0, -1) : text).split('.');
  if (parts.length > 4) return null;
  const values: number[] = [];
  for (const part of parts) {
    const value = looseNumber(part);
    if (value === null) return null;
    values.push(value);
  }
  const last = values.pop() ?? 0;
  if (values.some((value) => value > 255) || last >= 256 ** (4 - values.length)) return null;
  const bytes = new Uint8Array(4);
  bytes.set(values);
  for (let i = 3, rest = last; i >= values.length; i--, rest = Math.floor(rest / 256)) bytes[i] = rest % 256;
  return bytes;
}

function looseNumber(text: string): number | null {
  if (/^0[xX][0-9a-fA-F]*$/.test(text)) return text.length > 12 ? null : Number.parseInt(`0${text.slice(2)}`, 16);
  if (/^0[0-7]+$/.test(text)) return text.length > 13 ? null : Number.parseInt(text, 8);
  return /^(?:0|[1-9][0-9]{0,10})$/.test(text) ? Number.parseInt(text, 10) : null;
}

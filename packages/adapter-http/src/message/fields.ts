/**
 * Read first: RFC 9110 section 7.6.1 (Connection), RFC 9112 section 6.3.
 *
 * Header fields as Node's parser gives them in `rawHeaders`: name, value, name, value …, in the order and case of the wire. They stay
 * that way from one side to the other.
 */
export type Fields = readonly string[];

/** The values of all lines of a field; `name` in lower case. */
export function valuesOf(fields: Fields, name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) if (fields[i]?.toLowerCase() === name) values.push(fields[i + 1] ?? '');
  return values;
}

/** Without optional white space around it: SP and HTAB, nothing else (RFC 9110 section 5.6.3). */
export function trimOws(text: string): string {
  return text.replace(/^[ \t]+|[ \t]+$/g, '');
}

/** The members of a comma-separated field, all lines together, in lower case. */
export function listOf(fields: Fields, name: string): string[] {
  const members: string[] = [];
  for (const value of valuesOf(fields, name)) {
    for (const member of value.split(',')) {
      const text = trimOws(member).toLowerCase();
      if (text !== '') members.push(text);
    }
  }
  return members;
}

/** Fields that concern one connection only (RFC 9110 section 7.6.1 and its predecessors). `Proxy-*` goes as a whole, see below. */
const HOP_BY_HOP: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'http2-settings']);

/**
 * Fields that `Connection` cannot remove: a client that names one of them would make the origin judge a request by less than was sent
 * (CVE-2022-31813 is such a case).
 */
const END_TO_END: ReadonlySet<string> = new Set([
  'authorization',
  'cache-control',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'cookie',
  'date',
  'expect',
  'forwarded',
  'host',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'location',
  'origin',
  'range',
  'referer',
  'set-cookie',
  'strict-transport-security',
  'via',
  'www-authenticate',
]);

/** What goes on to the next hop: everything but the fields of this hop, those that `Connection` names, and `Proxy-*`. */
export function endToEnd(fields: Fields): string[] {
  const named = new Set(listOf(fields, 'connection').filter((name) => !END_TO_END.has(name)));
  const kept: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? '';
    const lower = name.toLowerCase();
    if (HOP_BY_HOP.has(lower) || named.has(lower) || lower.startsWith('proxy-')) continue;
    kept.push(name, fields[i + 1] ?? '');
  }
  return kept;
}

/** `fields` without one; `name` in lower case. */
export function without(fields: Fields, name: string): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) if (fields[i]?.toLowerCase() !== name) kept.push(fields[i] ?? '', fields[i + 1] ?? '');
  return kept;
}

/** Fields that must not come in a trailer, where checks that were made on the head are over (RFC 9110 section 6.5.1). */
const NOT_IN_TRAILER: ReadonlySet<string> = new Set([...END_TO_END, ...HOP_BY_HOP, 'age', 'expires', 'max-forwards', 'pragma', 'retry-after', 'vary']);

/** A trailer section's fields that may go on, as pairs. */
export function trailerPairs(fields: Fields): [string, string][] {
  const pairs: [string, string][] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? '';
    const lower = name.toLowerCase();
    if (!NOT_IN_TRAILER.has(lower) && !lower.startsWith('proxy-') && !lower.startsWith('if-')) pairs.push([name, fields[i + 1] ?? '']);
  }
  return pairs;
}

/** A head as bytes: the start line (without CRLF), its fields, the empty line. For texts that were checked before. */
export function formatHead(startLine: string, fields: Fields): Buffer {
  let text = `${startLine}\r\n`;
  for (let i = 0; i + 1 < fields.length; i += 2) text += `${fields[i]}: ${fields[i + 1]}\r\n`;
  return Buffer.from(`${text}\r\n`, 'latin1');
}

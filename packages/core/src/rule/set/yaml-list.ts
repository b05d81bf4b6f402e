import { type Document, isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parse, parseDocument, visit } from 'yaml';
import { byteOrderMark, type EntrySink, isBlank } from './lines.js';
import { type ListNotes, MAX_LINE } from './list-notes.js';
import type { Pace } from './pace.js';

/** Bytes of a file that is read as a whole, because it is no list of lines. All else waits meanwhile: the YAML library takes some 4 µs for a byte. */
const MAX_WHOLE = 16 * 1024;

const NEWLINE = 0x0a;
const HASH = 0x23;
const DASH = 0x2d;
const SINGLE = 0x27;
const DOUBLE = 0x22;
const BACKSLASH = 0x5c;
const AMPERSAND = 0x26;
const COLON = 0x3a;
const HEADER = /^(?:payload|"payload"|'payload')[ \t]*:[ \t\r]*(?:[ \t]#.*)?$/;
const DOCUMENT = /^---[ \t\r]*$/;
/** What no plain text of YAML's begins with, but for the star: `- *.example.com` is an alias to YAML, and a name to whoever wrote it. */
const INDICATORS = new Set(Buffer.from('-?:,[]{}#&!|>%@`'));

/**
 * Clash's `payload:` and a list below it. Items that stand on one line (`- x`, `- 'x'`, `- !!str x`) are read one by one, since files of a million are
 * common; a short file that has anything else in it is read by the YAML library. Rejects if it is no such list at all.
 */
export async function readYaml(bytes: Buffer, notes: ListNotes, sink: EntrySink, pace: Pace): Promise<void> {
  const odd = await oddLine(bytes, pace);
  if (odd === null) return readItems(bytes, notes, sink, pace);
  if (bytes.length > MAX_WHOLE)
    throw new Error(`line ${odd}: a YAML list of more than ${MAX_WHOLE / 1024} KiB has "payload:" first, and then nothing but lines of the form - 'entry'`);
  readWhole(bytes, notes, sink);
}

/** The number of the first line that is neither empty, nor a comment, nor `payload:` at the top, nor an item below it; null: there is none. */
async function oddLine(bytes: Buffer, pace: Pace): Promise<number | null> {
  let line = 0;
  let indent = -2; // -2: `payload:` has not come yet, -1: no item has
  for (let at = byteOrderMark(bytes); at < bytes.length; ) {
    line++;
    const begin = at;
    while (at < bytes.length && bytes[at] !== NEWLINE) at++;
    const end = at++;
    const start = behindBlanks(bytes, begin, end);
    let long = false;
    if (start === end || bytes[start] === HASH) {
      // says nothing
    } else if (indent === -2) {
      const text = end - begin > MAX_LINE ? '' : bytes.toString('latin1', begin, end);
      if (HEADER.test(text)) indent = -1;
      else if (!DOCUMENT.test(text)) return line;
    } else {
      if (indent === -1) indent = start - begin;
      if (start - begin !== indent || !isDash(bytes, start, end)) return line;
      const first = behindBlanks(bytes, start + 1, end);
      long = textEnd(bytes, first, end) === -1;
      if (long && oddText(bytes, first, end) === undefined) return line;
    }
    if (pace.due(long)) await pace.rest();
  }
  return indent >= 0 ? null : line;
}

function isDash(bytes: Buffer, start: number, end: number): boolean {
  return bytes[start] === DASH && (start + 1 === end || isBlank(bytes[start + 1]));
}

async function readItems(bytes: Buffer, notes: ListNotes, sink: EntrySink, pace: Pace): Promise<void> {
  let line = 0;
  for (let at = byteOrderMark(bytes); at < bytes.length; ) {
    line++;
    const begin = at;
    while (at < bytes.length && bytes[at] !== NEWLINE) at++;
    const end = at++;
    const start = behindBlanks(bytes, begin, end);
    if (pace.due(start < end && isDash(bytes, start, end) && takeItem(bytes, behindBlanks(bytes, start + 1, end), end, line, notes, sink))) await pace.rest();
  }
}

function takeItem(bytes: Buffer, first: number, end: number, line: number, notes: ListNotes, sink: EntrySink): boolean {
  const stop = textEnd(bytes, first, end);
  if (stop === -1) {
    const text = oddText(bytes, first, end) ?? null;
    return text === null ? noText(bytes.toString('utf8', first, end), line, notes) : takeText(text, line, notes, sink);
  }
  const start = isQuote(bytes[first]) ? first + 1 : first;
  if (stop - start <= MAX_LINE) return sink.entry(bytes, start, stop, line);
  return takeText(bytes.toString('latin1', start, stop), line, notes, sink);
}

function noText(source: string, line: number | null, notes: ListNotes): true {
  notes.problem(line, source.trim(), new Error('the entry is no text: put it in quotes'));
  return true;
}

function takeText(text: string, line: number | null, notes: ListNotes, sink: EntrySink): true {
  const entry = Buffer.from(text.trim());
  if (entry.length > MAX_LINE) notes.problem(line, text, new Error(`the entry has ${entry.length} bytes, and ${MAX_LINE} are allowed`));
  else if (entry.length === 0) notes.problem(line, text, new Error('the entry is empty'));
  else sink.entry(entry, 0, entry.length, line ?? 0);
  return true;
}

/** Where the text of an item ends, without its quotes; -1: it is none that is written on one line without escapes. */
function textEnd(bytes: Buffer, first: number, end: number): number {
  const quote = bytes[first];
  if (first === end) return -1;
  if (isQuote(quote)) {
    let at = first + 1;
    for (; at < end && bytes[at] !== quote; at++) if (bytes[at] === BACKSLASH && quote === DOUBLE) return -1;
    return at < end && at > first + 1 && isRest(bytes, at + 1, end) ? at : -1;
  }
  if (INDICATORS.has(quote ?? 0)) return -1;
  let stop = first;
  for (let at = first; at < end; at++) {
    const byte = bytes[at];
    if (isBlank(byte)) continue;
    if (byte === HASH && isBlank(bytes[at - 1])) break;
    if (byte === COLON && (at + 1 === end || isBlank(bytes[at + 1]))) return -1;
    stop = at + 1;
  }
  return stop;
}

/** Behind the closing quote: nothing, or a comment. */
function isRest(bytes: Buffer, at: number, end: number): boolean {
  const next = behindBlanks(bytes, at, end);
  return next === end || (next > at && bytes[next] === HASH);
}

/** An item with escapes, a tag, or of another shape; null: it is no text. undefined: it may go on behind its line, or others may refer to it. */
function oddText(bytes: Buffer, first: number, end: number): string | null | undefined {
  if (end - first > MAX_LINE || (!isQuote(bytes[first]) && bytes.subarray(first, end).includes(AMPERSAND))) return undefined;
  try {
    const list: unknown = parse(`- ${bytes.toString('utf8', first, end)}`, { schema: 'failsafe', logLevel: 'error', prettyErrors: false });
    const value: unknown = Array.isArray(list) ? list[0] : null;
    return typeof value === 'string' ? value : null;
  } catch (error) {
    if (error instanceof Error) return undefined; // of the library, or of the engine where it is nested too deep
    throw error;
  }
}

function isQuote(byte: number | undefined): boolean {
  return byte === SINGLE || byte === DOUBLE;
}

function behindBlanks(bytes: Buffer, from: number, end: number): number {
  let at = from;
  while (at < end && isBlank(bytes[at])) at++;
  return at;
}

function readWhole(bytes: Buffer, notes: ListNotes, sink: EntrySink): void {
  const counter = new LineCounter();
  const document = parseDocument(bytes.toString('utf8', byteOrderMark(bytes)), {
    schema: 'failsafe',
    logLevel: 'silent',
    lineCounter: counter,
    prettyErrors: false, // an excerpt for each error takes as long as its line, however many there are
    uniqueKeys: false,
  });
  const lineOf = (offset: number | undefined): number | null => (offset === undefined ? null : counter.linePos(offset).line);
  const payload: unknown = isMap(document.contents) ? document.contents.get('payload', true) : undefined;
  if (payload === undefined) throw new Error('a YAML list has its entries under "payload:", and there is no such key');
  const [error] = document.errors;
  if (error !== undefined) throw new Error(`line ${lineOf(error.pos[0])}: ${reasonOf(error.message)}`);
  if (isScalar(payload) && (payload.value === '' || payload.value === null)) return;
  if (!isSeq(payload)) throw new Error('"payload" is no list: write each entry on a line of its own, as in - \'entry\'');
  const targets = aliasTargets(document);
  for (const item of payload.items as readonly unknown[]) {
    const line = lineOf(isNode(item) ? item.range?.[0] : undefined);
    const text = textOf(item, targets);
    if (text === null) noText(String(item), line, notes);
    else takeText(text, line, notes, sink);
  }
}

/** The library says of too many brackets what the engine says of them. */
function reasonOf(message: string): string {
  return message.startsWith('Maximum call stack') ? 'it is nested too deep' : message;
}

/** What each alias stands for. (The library goes through the whole document for each of them.) */
function aliasTargets(document: Document.Parsed): ReadonlyMap<unknown, unknown> {
  const anchors = new Map<string, unknown>();
  const targets = new Map<unknown, unknown>();
  visit(document, {
    Alias: (_, alias) => void targets.set(alias, anchors.get(alias.source)),
    Value: (_, node) => void (node.anchor !== undefined && anchors.set(node.anchor, node)),
  });
  return targets;
}

/** null: it is no text. */
function textOf(item: unknown, targets: ReadonlyMap<unknown, unknown>): string | null {
  if (isAlias(item)) {
    const target = targets.get(item);
    return target === undefined ? `*${item.source}` : textOf(target, targets);
  }
  return isScalar(item) && typeof item.value === 'string' ? item.value : null;
}

/** What an unknown file is, by the looks of its first lines. */
import { parseAddress } from '../../net/address.js';
import type { Behavior } from '../rule-set.js';
import { byteOrderMark } from './lines.js';

export const BEHAVIORS = ['domain', 'ipcidr', 'classical'] as const satisfies readonly Behavior[];
export const LIST_FORMATS = ['yaml', 'text', 'sing-box', 'nekit'] as const;
export type ListFormat = (typeof LIST_FORMATS)[number];

export interface ListKind {
  readonly format: ListFormat;
  /** sing-box: always classical, since one file may hold everything. */
  readonly behavior: Behavior;
}

/** Bytes and entries that are looked at. */
const SAMPLE_BYTES = 64 * 1024;
const SAMPLE_ENTRIES = 200;

/** `hints`: what is known already. Throws a plain Error for files that are no list of ours. */
export function inspectList(bytes: Uint8Array, hints: Partial<ListKind> = {}): ListKind {
  refuseBinary(bytes);
  const sample = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, SAMPLE_BYTES));
  const lines = sample.toString('utf8', byteOrderMark(sample)).split('\n', SAMPLE_ENTRIES * 4);
  const texts = lines.map((line) => line.trim()).filter((line) => line !== '' && !/^(?:#|\/\/|---$)/.test(line));
  const format = hints.format ?? formatOf(texts);
  if (format === 'sing-box') return { format, behavior: hints.behavior ?? 'classical' };
  const entries = (format === 'yaml' ? yamlEntries(texts) : texts).slice(0, SAMPLE_ENTRIES);
  const ranges = count(entries, isRange);
  const addresses = count(entries, isNetwork) + ranges;
  const rules = count(entries, isRule);
  const names = entries.length - addresses - rules;
  const behavior = hints.behavior ?? (rules > Math.max(addresses, names) ? 'classical' : addresses > names ? 'ipcidr' : 'domain');
  const nekit =
    format === 'text' && hints.format === undefined && (behavior === 'ipcidr' ? ranges > 0 : behavior === 'domain' && count(entries, isExpression) > 0);
  return { format: nekit ? 'nekit' : format, behavior };
}

/** Compiled lists of other programs, and texts that are not UTF-8. Throws a plain Error. */
export function refuseBinary(bytes: Uint8Array): void {
  const begins = (...magic: number[]): boolean => magic.every((byte, i) => bytes[i] === byte);
  if (begins(0x28, 0xb5, 0x2f, 0xfd) || begins(0x4d, 0x52, 0x53, 0x01))
    throw new Error('this is a compiled list of mihomo (.mrs), which cannot be read here: take the list as yaml or text, from which it was made');
  if (begins(0x53, 0x52, 0x53))
    throw new Error('this is a compiled rule-set of sing-box (.srs), which cannot be read here: make JSON of it with sing-box rule-set decompile');
  if (begins(0xff, 0xfe) || begins(0xfe, 0xff)) throw new Error('the text is UTF-16: save it as UTF-8');
  if (begins(0x1f, 0x8b)) throw new Error('the file is compressed (gzip): unpack it');
}

function formatOf(texts: readonly string[]): ListFormat {
  const [first = ''] = texts;
  if (first.startsWith('{')) return 'sing-box';
  return texts.some((text) => /^["']?payload["']?[ \t]*:/.test(text)) ? 'yaml' : 'text';
}

function yamlEntries(texts: readonly string[]): string[] {
  return texts.flatMap((text) => {
    const item = /^-\s+(['"]?)(.*)\1$/.exec(text)?.[2];
    return item === undefined || item === '' ? [] : [item];
  });
}

function count(entries: readonly string[], test: (entry: string) => boolean): number {
  return entries.filter(test).length;
}

function isNetwork(entry: string): boolean {
  return parseAddress(entry.replace(/\s+(?:#|\/\/).*$/, '').replace(/\/[0-9]{1,3}$/, '')) !== null;
}

function isRange(entry: string): boolean {
  const match = /^([0-9a-f.:]+)\+[0-9]+$/i.exec(entry);
  return match !== null && parseAddress(match[1] ?? '') !== null;
}

function isRule(entry: string): boolean {
  return /^[a-z][a-z0-9-]*\s*,/i.test(entry);
}

/** A name has none of these in it. */
function isExpression(entry: string): boolean {
  return /[\\^$()[\]{}|]/.test(entry);
}

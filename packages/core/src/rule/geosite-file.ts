/**
 * v2ray's geosite.dat: lists of names, each under a code.
 *
 *   GeoSiteList   1 GeoSite …
 *   GeoSite       1 code   2 Domain …
 *   Domain        1 type   2 value   3 Attribute …
 *   Attribute     1 key    2, 3 a value that nobody uses
 *
 * A file has a thousand lists and half a million names, of which a config needs a few lists: only where each begins is noted, and entries are read when
 * somebody asks for them.
 */
import { WireReader } from './geosite-wire.js';

/** `keyword`: a part of a name; `domain`: a name and all below it; `full`: just this name. */
export type GeositeType = 'keyword' | 'regex' | 'domain' | 'full';

export interface GeositeEntry {
  /** null: a type that this version does not know. */
  readonly type: GeositeType | null;
  readonly value: string;
  /** Lower case: `ads`, `cn`, `!cn`. */
  readonly attributes: readonly string[];
}

const TYPES: readonly GeositeType[] = ['keyword', 'regex', 'domain', 'full'];
/** The largest files that people use have 1,500. */
const MAX_LISTS = 65_536;
/** Entries of a list; the largest have 200,000. */
const MAX_ENTRIES = 4_000_000;
/** Bytes of a code and of an attribute. */
const MAX_WORD = 256;
/** Bytes of a value; what is longer is cut, and is of no use then. */
const MAX_VALUE = 4_096;
/** Attributes of an entry; they have one or two. */
const MAX_ATTRIBUTES = 64;

interface Span {
  readonly start: number;
  readonly end: number;
}

export class GeositeFile {
  readonly #bytes: Buffer;
  /** By code, in lower case. */
  readonly #lists = new Map<string, Span>();

  /** Throws a plain Error where it is no such file. */
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    const file = new WireReader(bytes, 0, bytes.length);
    while (file.next()) {
      if (file.field !== 1 || file.end === 0) continue;
      const code = this.#codeOf(file.start, file.end);
      if (code === '' || this.#lists.has(code)) continue;
      if (this.#lists.size >= MAX_LISTS) throw new Error(`it has more than ${MAX_LISTS} lists`);
      this.#lists.set(code, { start: file.start, end: file.end });
    }
    if (this.#lists.size === 0) throw new Error('there is no list in it');
  }

  /** In lower case, in the order of the file. */
  get codes(): readonly string[] {
    return [...this.#lists.keys()];
  }

  has(code: string): boolean {
    return this.#lists.has(code.toLowerCase());
  }

  /** The entries of a list; none if there is no such list. Throws where the file is damaged. */
  *entries(code: string): Generator<GeositeEntry, void, undefined> {
    const span = this.#lists.get(code.toLowerCase());
    if (span === undefined) return;
    const list = new WireReader(this.#bytes, span.start, span.end);
    let entries = 0;
    while (list.next()) {
      if (list.field !== 2) continue;
      if (++entries > MAX_ENTRIES) throw new Error(`"${code}" has more than ${MAX_ENTRIES} entries`);
      yield this.#entry(list.start, list.end);
    }
  }

  /** '' where there is none. */
  #codeOf(start: number, end: number): string {
    const list = new WireReader(this.#bytes, start, end);
    while (list.next()) if (list.field === 1) return this.#word(list);
    return '';
  }

  #entry(start: number, end: number): GeositeEntry {
    const entry = new WireReader(this.#bytes, start, end);
    let type = 0; // what protobuf leaves out is zero
    let value = '';
    const attributes: string[] = [];
    while (entry.next()) {
      if (entry.field === 1) type = entry.number;
      else if (entry.field === 2) value = this.#bytes.toString('utf8', entry.start, Math.min(entry.end, entry.start + MAX_VALUE));
      else if (entry.field === 3 && attributes.length < MAX_ATTRIBUTES) attributes.push(this.#codeOf(entry.start, entry.end));
    }
    return { type: TYPES[type] ?? null, value, attributes };
  }

  #word(field: WireReader): string {
    if (field.end - field.start > MAX_WORD) throw new Error(`at byte ${field.start} stands a word of more than ${MAX_WORD} bytes`);
    return this.#bytes.toString('utf8', field.start, field.end).toLowerCase();
  }
}

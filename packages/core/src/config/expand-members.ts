/** Who is in a group: what `proxies` names, then with `include-all` all of `proxies:` that `filter` lets in, less what is excluded. */
import { findNames } from './name-filter.js';
import type { ProblemList } from './problem-list.js';
import { own } from './record.js';
import type { Path } from './source.js';

/** A member, and the place that made it one. */
export interface Member {
  readonly name: string;
  readonly path: Path;
}

/** The entries that there are. */
export interface Known {
  /** The names in `proxies:`, in order. */
  readonly proxies: readonly string[];
  /** By name. */
  readonly types: ReadonlyMap<string, string>;
}

interface Group {
  readonly name: string;
  /** In the shape of its schema. */
  readonly entry: Readonly<Record<string, unknown>>;
  readonly path: Path;
}

const FILTERS = ['filter', 'exclude-filter', 'exclude-type'] as const;
type FilterKey = (typeof FILTERS)[number];

/** null: there are none, or a filter is wrong; it was reported. */
export function expandMembers(group: Group, known: Known, problems: ProblemList): readonly Member[] | null {
  const { entry, path } = group;
  const include = ['include-all', 'include-all-proxies'].find((key) => own(entry, key) === true);
  const named = namedMembers(entry, path);
  const others = include === undefined ? [] : known.proxies.filter((name) => !named.some((member) => member.name === name));
  if (include === undefined && own(entry, 'filter') !== undefined)
    problems.warning('NO_EFFECT', '"filter" chooses from what include-all brings, and has no effect without it', [...path, 'filter'], 'key');
  const wanted = findBy('filter', group, others, problems);
  const unwanted = findBy('exclude-filter', group, [...named.map(({ name }) => name), ...others], problems);
  if (wanted === null || unwanted === null) return null;
  const types = excludedTypes(entry);
  const isKept = (name: string): boolean => !unwanted.has(name) && !types.has(plainType(known.types.get(name) ?? ''));
  const included = hasText(entry, 'filter') ? others.filter((name) => wanted.has(name)) : others;
  const members = [...named, ...included.map((name) => ({ name, path: [...path, include ?? ''] }))].filter(({ name }) => isKept(name));
  if (members.length > 0) return members;
  reportEmpty(group, include, known, problems);
  return null;
}

function reportEmpty({ name, entry, path }: Group, include: string | undefined, known: Known, problems: ProblemList): void {
  const key = include ?? 'proxies';
  const filters = FILTERS.filter((filter) => hasText(entry, filter)).join(', ');
  if (include !== undefined && known.proxies.length === 0)
    problems.error('EMPTY_GROUP', `the group "${name}" has no members: proxies is empty`, [...path, key]);
  else if (filters !== '') problems.error('EMPTY_GROUP', `the group "${name}" has no members: nothing is left by ${filters}`, [...path, key]);
  else if (own(entry, 'proxies') !== undefined) problems.error('BAD_VALUE', '"proxies": a group needs at least one member', [...path, key]);
  else problems.error('BAD_VALUE', '"proxies" is missing: a group names its members there, or has include-all: true', path);
}

/** The names in `proxies`, with their places. */
export function namedMembers(entry: Readonly<Record<string, unknown>>, path: Path): Member[] {
  const proxies = own(entry, 'proxies');
  const names: readonly unknown[] = Array.isArray(proxies) ? proxies : [];
  return names.flatMap((name, index) => (typeof name === 'string' ? [{ name, path: [...path, 'proxies', index] }] : []));
}

/** Whether `proxies` is a list of names, or not there: what else it may be is for the schema to refuse. */
export function namesMembers(entry: Readonly<Record<string, unknown>>): boolean {
  const proxies = own(entry, 'proxies');
  return proxies === undefined || (Array.isArray(proxies) && proxies.every((name) => typeof name === 'string'));
}

function hasText(entry: Readonly<Record<string, unknown>>, key: FilterKey): boolean {
  const text = own(entry, key);
  return typeof text === 'string' && text !== '';
}

/** Empty where there is no such key; null for a filter that is wrong. */
function findBy(key: FilterKey, { entry, path }: Group, names: readonly string[], problems: ProblemList): ReadonlySet<string> | null {
  const text = own(entry, key);
  if (typeof text !== 'string' || text === '') return new Set();
  try {
    return findNames(text, names);
  } catch (error) {
    problems.error('BAD_VALUE', `"${key}": ${error instanceof Error ? error.message : String(error)}`, [...path, key]);
    return null;
  }
}

function excludedTypes(entry: Readonly<Record<string, unknown>>): ReadonlySet<string> {
  const text = own(entry, 'exclude-type');
  return new Set(typeof text === 'string' && text !== '' ? text.split('|').map(plainType) : []);
}

/** Files write a type as `proxies:` does, or as mihomo's API does (Shadowsocks, URLTest). */
function plainType(type: string): string {
  const plain = type.trim().toLowerCase().replaceAll('-', '');
  return LONG_NAMES[plain] ?? plain;
}

const LONG_NAMES: Readonly<Record<string, string>> = { ss: 'shadowsocks', ssr: 'shadowsocksr', select: 'selector' };

import type { Problem } from './problem.js';
import { isRecord } from './record.js';

export type Path = readonly (string | number)[];

export interface Position {
  readonly file: string;
  /** Lines and columns count from 1, columns in UTF-16 units. */
  readonly line: number;
  readonly column: number;
  /** The key and its value as written, one line, shortened; null for secrets, for whole sections, and where a key is pointed at. */
  readonly excerpt: string | null;
}

/** A config as it was written: plain data, and where each part of it stands. */
export interface ConfigSource {
  /** The file's name, as messages show it; null for an object of an embedder. */
  readonly file: string | null;
  /** Strings, numbers, booleans, null, arrays and objects. May share parts (YAML aliases): never write to it. */
  readonly value: unknown;
  /** What is wrong with the text itself. With an error among them `value` is not to be used. */
  readonly problems: readonly Problem[];
  /** Where the value at `path` starts (`part` `key`: its key). For a path that does not exist: the nearest parent that does. null: no file. */
  locate(path: Path, part?: 'key' | 'value'): Position | null;
  /** A scalar as it was written (`0123` for what YAML reads as the number 123), null where that is not known. */
  text(path: Path): string | null;
}

const nowhere = (): null => null;

/** A config that an embedder built: no file, no lines. */
export function configFromObject(value: unknown): ConfigSource {
  return { file: null, value, problems: [], locate: nowhere, text: nowhere };
}

/** True for what `loadConfig`, `parseConfig` and `configFromObject` return. */
export function isConfigSource(config: unknown): config is ConfigSource {
  return isRecord(config) && typeof config.locate === 'function' && typeof config.text === 'function' && Array.isArray(config.problems);
}

/**
 * A config with some of its keys given anew, as the command line does. Lists named in `append` are added behind the file's own
 * entries, so positions of those stay right; what was given anew has no position.
 */
export function withOverrides(source: ConfigSource, overrides: Overrides): ConfigSource {
  const base = isRecord(source.value) ? source.value : {};
  const value: Record<string, unknown> = { ...base, ...overrides.set };
  const firstNew = new Map<string, number>();
  for (const [key, entries] of Object.entries(overrides.append ?? {})) {
    const own = base[key] ?? [];
    if (!Array.isArray(own)) continue; // it is wrong, and the check will say so
    const list: readonly unknown[] = own;
    firstNew.set(key, list.length);
    value[key] = [...list, ...entries];
  }
  const newIn = new Map<string, ReadonlySet<string>>();
  for (const [key, { set = {}, defaults = {} }] of Object.entries(overrides.within ?? {})) {
    const own = base[key] ?? {};
    if (!isRecord(own)) continue; // the same
    value[key] = { ...defaults, ...own, ...set };
    newIn.set(key, new Set([...Object.keys(set), ...Object.keys(defaults).filter((name) => !Object.hasOwn(own, name))]));
  }
  const isNew = (path: Path): boolean => {
    const [key, inner] = path;
    if (typeof key !== 'string') return false;
    if (Object.hasOwn(overrides.set ?? {}, key)) return true;
    const first = firstNew.get(key);
    return typeof inner === 'number' ? first !== undefined && inner >= first : inner !== undefined && newIn.get(key)?.has(inner) === true;
  };
  const usable = source.value === null || isRecord(source.value);
  return {
    file: source.file,
    value: usable ? value : source.value,
    problems: source.problems,
    locate: (path, part) => (isNew(path) ? null : source.locate(path, part)),
    text: (path) => (isNew(path) ? null : source.text(path)),
  };
}

export interface Overrides {
  readonly set?: Readonly<Record<string, unknown>>;
  readonly append?: Readonly<Record<string, readonly unknown[]>>;
  /** Keys of a section: `set` goes over what the section has, `defaults` under it. */
  readonly within?: Readonly<Record<string, { readonly set?: Readonly<Record<string, unknown>>; readonly defaults?: Readonly<Record<string, unknown>> }>>;
}

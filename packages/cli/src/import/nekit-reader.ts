import type { ConfigSource } from '@nekit/core';
import type { Draft, Place } from './draft.js';
import { isRecord } from './inspect.js';

/** An entry of NEKit's lists, key by key, as NEKit read them. A key that nobody asks for is noted. */
export class NekitEntry {
  readonly place: Place;
  readonly #source: ConfigSource;
  readonly #path: readonly (string | number)[];
  readonly #value: Readonly<Record<string, unknown>>;
  readonly #asked = new Set<string>();

  /** Throws a plain Error if it is no set of keys. */
  constructor(source: ConfigSource, path: readonly (string | number)[], value: unknown) {
    this.#source = source;
    this.#path = path;
    this.place = placeOf(source, path);
    if (!isRecord(value)) throw new Error('this is not a set of keys');
    this.#value = value;
  }

  /** A text, or a number as it was written (a password 0123). Throws a plain Error. */
  text(key: string): string {
    const text = this.optionalText(key);
    if (text === null) throw new Error(`"${key}" is missing`);
    return text;
  }

  optionalText(key: string): string | null {
    const value = this.#take(key);
    if (value === undefined || value === null) return null;
    if (typeof value === 'string') return value;
    if (typeof value === 'number') return this.#source.text([...this.#path, key]) ?? String(value);
    throw new Error(`"${key}" must be a text`);
  }

  port(key: string): number {
    const value = this.#take(key);
    const port = typeof value === 'string' && /^[0-9]{1,5}$/.test(value) ? Number(value) : value;
    if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65_535) throw new Error(`"${key}" must be a port, 1 to 65535`);
    return port;
  }

  /** Milliseconds, within what we take; `told` hears of a longer one. */
  delay(key: string, draft: Draft): number {
    const value = this.#take(key);
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0) throw new Error(`"${key}" must be milliseconds, 0 or more`);
    if (value > MAX_DELAY) draft.note(this.place, `the delay is ${MAX_DELAY} ms, which is the longest that there is`);
    return Math.min(value, MAX_DELAY);
  }

  /** Only true and false are ones, as in NEKit. */
  flag(key: string): boolean | null {
    const value = this.#take(key);
    return typeof value === 'boolean' ? value : null;
  }

  list(key: string): NekitEntry[] {
    const value = this.#take(key);
    if (!Array.isArray(value)) throw new Error(`"${key}" must be a list`);
    return value.map((item, index) => new NekitEntry(this.#source, [...this.#path, key, index], item));
  }

  /** Keys that had no meaning in NEKit. */
  noteOthers(draft: Draft): void {
    const others = Object.keys(this.#value).filter((key) => !this.#asked.has(key));
    // A key that is none may be a slip of the pen in front of a secret, or the secret itself: only what looks like a word is shown.
    for (const key of others) draft.note(this.place, /^[a-z][a-z_-]{0,30}$/i.test(key) ? `the key "${key}" has no meaning here` : 'a key has no meaning here');
  }

  #take(key: string): unknown {
    this.#asked.add(key);
    return Object.hasOwn(this.#value, key) ? this.#value[key] : undefined;
  }
}

/** The longest head start of a race and delay of a reject. */
const MAX_DELAY = 60_000;

export function placeOf(source: ConfigSource, path: readonly (string | number)[]): Place {
  return source.locate(path)?.line ?? null;
}

/** What must never be shown, by the names of the keys that hold it. */
import { SECRET_KEYS } from './known-keys.js';
import { isMessageWord } from './message-words.js';
import { isRecord } from './record.js';
import type { Path } from './source.js';

export function isSecretKey(key: string): boolean {
  return SECRET_KEYS.has(key.toLowerCase());
}

export function isSecretPath(path: Path): boolean {
  return path.some((part) => typeof part === 'string' && isSecretKey(part));
}

/** `ss://…`: credentials sit in the middle of URIs and tokens at their end, so nothing behind the scheme is shown. An apostrophe may be part of them (RFC 3986 section 2.2). */
export function maskUris(text: string): string {
  if (!text.includes('://')) return text;
  return text.replace(/\b([a-z][a-z0-9+.-]{0,30}:\/\/)[^\s"<>]+/gi, '$1…');
}

/** Shorter secrets are protected by their place alone: replacing every "a" would spoil the message and tell the secret's length. */
const SCRUB_LENGTH = 4;
const MAX_SECRETS = 100_000;

/**
 * A second line of defence behind `isSecretPath`: takes the config's own secrets out of any text, whoever wrote it
 * (a plugin's schema may quote the value it refuses). Takes time by the length of the text, not by the number of secrets.
 */
export class Scrubber {
  /** By their first characters, SCRUB_LENGTH of them. */
  readonly #secrets = new Map<string, Secrets>();

  constructor(value: unknown) {
    const found = new Set<string>();
    collect(value, false, found, 0);
    for (const secret of found) {
      const start = secret.slice(0, SCRUB_LENGTH);
      const same = this.#secrets.get(start);
      if (same === undefined) this.#secrets.set(start, { all: new Set([secret]), lengths: new Set([secret.length]) });
      else {
        same.all.add(secret);
        same.lengths.add(secret.length);
      }
    }
  }

  /** Secrets that overlap go as one. */
  scrub(text: string): string {
    const masked = maskUris(text);
    if (this.#secrets.size === 0) return masked;
    let clean = '';
    let done = 0; // all before is in `clean`, or hidden
    for (let at = 0; at + SCRUB_LENGTH <= masked.length; at++) {
      const end = this.#endOfSecret(masked, at);
      if (end <= done || isMessageWord(masked, at, end)) continue;
      if (at > done || clean === '') clean += `${masked.slice(done, at)}***`;
      done = end;
    }
    return clean + masked.slice(done);
  }

  /** Of the longest that begins there; 0 if none does. */
  #endOfSecret(text: string, at: number): number {
    const secrets = this.#secrets.get(text.slice(at, at + SCRUB_LENGTH));
    let end = 0;
    for (const length of secrets?.lengths ?? []) if (at + length > end && secrets?.all.has(text.slice(at, at + length)) === true) end = at + length;
    return end;
  }
}

interface Secrets {
  readonly all: Set<string>;
  readonly lengths: Set<number>;
}

function collect(value: unknown, secret: boolean, found: Set<string>, depth: number): void {
  if (found.size >= MAX_SECRETS || depth > 64) return;
  if (typeof value === 'string') {
    if (!secret) return;
    if (value.length >= SCRUB_LENGTH) found.add(value);
    const colon = value.indexOf(':'); // "user:password"
    if (colon !== -1 && value.length - colon > SCRUB_LENGTH) found.add(value.slice(colon + 1));
  } else if (typeof value === 'number') {
    if (secret && String(value).length >= SCRUB_LENGTH) found.add(String(value));
  } else if (Array.isArray(value)) {
    for (const item of value) collect(item, secret, found, depth + 1);
  } else if (isRecord(value)) {
    for (const [key, item] of Object.entries(value)) {
      const name = key.toLowerCase() === 'username' || key.toLowerCase() === 'name';
      collect(item, (secret && !name) || isSecretKey(key), found, depth + 1);
    }
  }
}

/** What must never be shown, by the names of the keys that hold it. */
import { isRecord } from './record.js';
import type { Path } from './source.js';

/** Keys whose whole value is secret, in Clash files and in the plugins we know. */
const SECRET_KEYS: ReadonlySet<string> = new Set([
  'password',
  'passwd',
  'secret',
  'authentication',
  'users',
  'user-password',
  'auth',
  'auth-str',
  'auth_str',
  'psk',
  'pre-shared-key',
  'private-key',
  'private-key-passphrase',
  'uuid',
  'token',
  'key',
  'headers',
  'header',
  'obfs-password',
  'reality-opts',
]);

export function isSecretKey(key: string): boolean {
  return SECRET_KEYS.has(key.toLowerCase());
}

export function isSecretPath(path: Path): boolean {
  return path.some((part) => typeof part === 'string' && isSecretKey(part));
}

/** `ss://…`: credentials sit in the middle of URIs and tokens at their end, so nothing behind the scheme is shown. */
export function maskUris(text: string): string {
  return text.replace(/\b([a-z][a-z0-9+.-]{0,30}:\/\/)[^\s"'<>]+/gi, '$1…');
}

/** Shorter secrets are protected by their place alone: replacing every "a" would spoil the message and tell the secret's length. */
const SCRUB_LENGTH = 4;
const MAX_SECRETS = 10_000;

/**
 * A second line of defence behind `isSecretPath`: takes the config's own secrets out of any text, whoever wrote it
 * (a plugin's schema may quote the value it refuses).
 */
export class Scrubber {
  readonly #secrets: readonly string[];

  constructor(value: unknown) {
    const found = new Set<string>();
    collect(value, false, found, 0);
    // Longest first, or a secret that holds another one would be cut and half of it shown.
    this.#secrets = [...found].sort((a, b) => b.length - a.length);
  }

  scrub(text: string): string {
    let clean = maskUris(text);
    for (const secret of this.#secrets) if (clean.includes(secret)) clean = clean.replaceAll(secret, '***');
    return clean;
  }
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

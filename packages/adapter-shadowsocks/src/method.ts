/**
 * Methods and keys. Read first: SIP004 and SIP007 (AEAD), SIP022 and SIP023 (AEAD-2022, identity headers).
 *
 *   family   key                                         salt or IV          why it is here
 *   aead     EVP_BytesToKey(MD5) of the password         as long as the key  what most servers speak
 *   2022     base64 of exactly that many random bytes    as long as the key  replay protection, several users
 *   stream   EVP_BytesToKey(MD5) of the password         the cipher's IV     broken; old servers only, and only if the user insists
 *   none     -                                           -                   no encryption: behind a plugin that encrypts, and tests
 */
import {
  AEAD_METHODS,
  type AeadMethod,
  type Ciphers,
  type Codec,
  closest,
  METHODS_2022,
  type Method2022,
  NekitError,
  STREAM_METHODS,
  type StreamMethod,
} from '@nekit/core';
import { whyRefused } from './refused-names.js';

export type Method =
  | { readonly family: 'aead'; readonly name: string; readonly cipher: AeadMethod; readonly keyLength: number }
  | { readonly family: '2022'; readonly name: string; readonly cipher: Method2022; readonly keyLength: number }
  | { readonly family: 'stream'; readonly name: string; readonly cipher: StreamMethod; readonly keyLength: number };

/** A method with its keys, ready for use. Never logged, never in an error. */
export interface Secret {
  readonly method: Method;
  /** `2022`: identity keys from the outside in, the user's own last. Otherwise one, or none for the method `none`. */
  readonly keys: readonly Uint8Array[];
}

/** What a server says to the first record of a 2022 client: false refuses it. `salt` is the client's. */
export type HeaderCheck = (header: Uint8Array, salt: Uint8Array) => boolean;

/** As people write it. */
export interface SecretSource {
  readonly cipher: string;
  /** A password; `2022`: keys in base64, with `:` between them. */
  readonly password: string;
  /** Whether a cipher that protects nothing may be used. */
  readonly allowInsecure: boolean;
}

/** What is wrong with a source, for a person: the text goes on behind the name of the key, and never repeats a password. */
export interface SecretProblem {
  readonly key: 'cipher' | 'password';
  readonly code: 'SS_CIPHER' | 'SS_INSECURE' | 'SS_PASSWORD' | 'SS_KEY';
  readonly text: string;
}

/** All methods by their names. The strong ones first: messages list them in this order. */
export const METHODS: ReadonlyMap<string, Method> = new Map(
  [
    ...names(METHODS_2022).map((name): Method => ({ family: '2022', name, cipher: name, keyLength: METHODS_2022[name].key })),
    ...names(AEAD_METHODS).map((name): Method => ({ family: 'aead', name, cipher: name, keyLength: AEAD_METHODS[name].key })),
    ...names(STREAM_METHODS).map((name): Method => ({ family: 'stream', name, cipher: name, keyLength: STREAM_METHODS[name].key })),
  ].map((method) => [method.name, method]),
);

/** Other names for the same, as other programs and the plugins' IANA-like names have them. */
const ALIASES: ReadonlyMap<string, string> = new Map([
  ['plain', 'none'],
  ['dummy', 'none'],
  ['chacha20-poly1305', 'chacha20-ietf-poly1305'],
  ['xchacha20-poly1305', 'xchacha20-ietf-poly1305'],
  ['aead_aes_128_gcm', 'aes-128-gcm'],
  ['aead_aes_192_gcm', 'aes-192-gcm'],
  ['aead_aes_256_gcm', 'aes-256-gcm'],
  ['aead_chacha20_poly1305', 'chacha20-ietf-poly1305'],
  ['aead_xchacha20_poly1305', 'xchacha20-ietf-poly1305'],
]);

/** Upper and lower case are the same: NEKit wrote AES-256-CFB. null: there is no such method. */
export function methodOf(name: string): Method | null {
  const lower = name.toLowerCase();
  return METHODS.get(ALIASES.get(lower) ?? lower) ?? null;
}

/** Has neither a key nor an IV: every byte goes as it is. */
export function isPlain(method: Method): boolean {
  return method.family === 'stream' && method.cipher === 'none';
}

/** null: `secretOf` takes it. */
export function secretProblem(source: SecretSource): SecretProblem | null {
  const { cipher, password, allowInsecure } = source;
  const method = methodOf(cipher);
  if (method === null) return { key: 'cipher', code: 'SS_CIPHER', text: whyUnknown(cipher) };
  if (isPlain(method)) return null;
  if (method.family === 'stream' && !allowInsecure) {
    return {
      key: 'cipher',
      code: 'SS_INSECURE',
      text:
        `${method.name} is broken: it does not notice altered bytes, so whoever is on the way can redirect and read the traffic. ` +
        'Set the server and this to aes-256-gcm or 2022-blake3-aes-256-gcm, or accept that with "allow-insecure-ciphers: true"',
    };
  }
  const text = method.family === '2022' ? keysProblem(method, password) : password === '' ? 'must be given (it is empty)' : null;
  return text === null ? null : { key: 'password', code: method.family === '2022' ? 'SS_KEY' : 'SS_PASSWORD', text };
}

/** Throws a NekitError with the code of what is wrong. */
export function secretOf(ciphers: Ciphers, source: SecretSource): Secret {
  const problem = secretProblem(source);
  const method = methodOf(source.cipher);
  if (problem !== null || method === null) throw new NekitError(problem?.code ?? 'SS_CIPHER', `${problem?.key}: ${problem?.text}`);
  if (isPlain(method)) return { method, keys: [] };
  if (method.family === '2022') return { method, keys: source.password.split(':').map(fromBase64) };
  return { method, keys: [ciphers.bytesToKey(Buffer.from(source.password), method.keyLength)] };
}

/** The client's end of one TCP connection. `header`: the target, as `encodeSocksAddress` gives it. */
export function clientCodec(ciphers: Ciphers, secret: Secret, header: Uint8Array): Codec {
  const { method, keys } = secret;
  if (method.family === '2022') return ciphers.createCodec({ kind: '2022', role: 'client', method: method.cipher, keys, header });
  const key = keys[0] ?? NO_KEY;
  if (method.family === 'aead') return ciphers.createCodec({ kind: 'aead', method: method.cipher, key, header });
  return ciphers.createCodec({ kind: 'stream', method: method.cipher, key, header });
}

/**
 * The server's end of one TCP connection. What it opens begins with the target. `2022`: `users` are the keys behind the server's own (identity headers), none for
 * a server of one user; `check` is asked once, before anything is given out. Other methods have neither.
 */
export function serverCodec(ciphers: Ciphers, secret: Secret, users: readonly Uint8Array[], check: HeaderCheck | null): Codec {
  const { method, keys } = secret;
  if (method.family === '2022') {
    return ciphers.createCodec({ kind: '2022', role: 'server', method: method.cipher, keys, users, ...(check === null ? {} : { check }) });
  }
  const key = keys[0] ?? NO_KEY;
  if (method.family === 'aead') return ciphers.createCodec({ kind: 'aead', method: method.cipher, key });
  return ciphers.createCodec({ kind: 'stream', method: method.cipher, key });
}

const NO_KEY = new Uint8Array(0);

/** Text of what is wrong with keys of SIP022, null if they are good. */
function keysProblem(method: Method, password: string): string | null {
  const keys = password.split(':');
  const advice = `make one with: openssl rand -base64 ${method.keyLength}`;
  if (password === '') return `must be a key (it is empty); ${advice}`;
  if (keys.length > 1 && method.cipher === '2022-blake3-chacha20-poly1305')
    return `${method.name} takes one key: identity keys ("a:b") need one of the AES methods`;
  for (const [index, key] of keys.entries()) {
    const which = keys.length === 1 ? 'the key' : `key ${index + 1} of ${keys.length}`;
    // Without padding, as shadowsocks-rust takes it.
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(key)) return `${which} is not base64: ${method.name} takes no passwords but random bytes; ${advice}`;
    const { length } = fromBase64(key);
    if (length !== method.keyLength) return `${which} has ${length} bytes, ${method.name} needs ${method.keyLength}; ${advice}`;
  }
  return null;
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'base64')); // a copy: Buffer.from takes it out of a pool that others share
}

function whyUnknown(cipher: string): string {
  const refused = whyRefused(cipher);
  if (refused !== null) return refused;
  const guess = closest(cipher, [...METHODS.keys(), ...ALIASES.keys()]);
  const known = [...METHODS.values()].filter((method) => method.family !== 'stream' || isPlain(method)).map((method) => method.name);
  return `${JSON.stringify(cipher.slice(0, MAX_SHOWN))} is no cipher of Shadowsocks.${guess === null ? '' : ` Did you mean "${guess}"?`} Known: ${known.join(', ')}`;
}

/** Characters of a wrong name that are repeated. */
const MAX_SHOWN = 64;

function names<K extends string>(table: Readonly<Record<K, unknown>>): K[] {
  return Object.keys(table).filter((key): key is K => Object.hasOwn(table, key));
}

/**
 * Methods and keys. Read first: SIP004 and SIP007 (AEAD), SIP022 and SIP023 (AEAD-2022, identity headers).
 *
 *   family   key                                         salt or IV          why it is here
 *   aead     EVP_BytesToKey(MD5) of the password         as long as the key  what most servers speak
 *   2022     base64 of exactly that many random bytes    as long as the key  replay protection, several users
 *   stream   EVP_BytesToKey(MD5) of the password         the cipher's IV     broken; old servers only, and only if the user insists
 *   none     -                                           -                   no encryption: behind a plugin that encrypts, and tests
 */
import type { AeadMethod, Method2022, StreamMethod } from '@nekit/core';

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

import { createHash, hkdfSync } from 'node:crypto';
import { blake3 as nobleBlake3 } from '@noble/hashes/blake3.js';
import { argumentError } from './cipher-error.js';

/** RFC 5869 with SHA-1. */
export function hkdfSha1(key: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Uint8Array {
  return new Uint8Array(hkdfSync('sha1', key, salt, info, checked(length)));
}

/** OpenSSL's EVP_BytesToKey with MD5, no salt, one round. */
export function bytesToKey(password: Uint8Array, length: number): Uint8Array {
  const key = new Uint8Array(checked(length));
  let digest: Uint8Array = new Uint8Array(0);
  for (let at = 0; at < length; at += digest.length) {
    digest = createHash('md5').update(digest).update(password).digest();
    key.set(digest.subarray(0, length - at), at);
  }
  return key;
}

export function blake3(bytes: Uint8Array, length: number): Uint8Array {
  return nobleBlake3(bytes, { dkLen: checked(length) });
}

/** BLAKE3 in derive_key mode. */
export function blake3DeriveKey(context: string, material: Uint8Array, length: number): Uint8Array {
  return nobleBlake3(material, { dkLen: checked(length), context: Buffer.from(context) });
}

function checked(length: number): number {
  if (!(Number.isInteger(length) && length >= 1 && length <= 4096)) throw argumentError('length: 1 to 4096');
  return length;
}

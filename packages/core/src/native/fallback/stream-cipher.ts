import { type Cipher, createCipheriv, createDecipheriv, createHash, type Decipher } from 'node:crypto';
import { type AesBlock, type Direction, STREAM_METHODS, type StreamCipher, type StreamMethod } from '../cipher.js';
import { argumentError, cipherError, rangeOf, requireLength, roomIn } from './cipher-error.js';
import type { Sodium } from './sodium.js';

/** Takes a view and gives a view of the same length. */
type Transform = (bytes: Uint8Array, out: Uint8Array) => void;

/** 2^32 blocks of 64 bytes: the block counter of chacha20-ietf (RFC 8439 section 2.4). */
const IETF_LIMIT = 2 ** 38;

export class FallbackStreamCipher implements StreamCipher {
  readonly #transform: Transform;
  #left: number;

  constructor(method: StreamMethod, key: Uint8Array, iv: Uint8Array, direction: Direction, sodium: Sodium | Error) {
    if (!Object.hasOwn(STREAM_METHODS, method)) throw argumentError('method: no such stream cipher');
    requireLength(key, STREAM_METHODS[method].key, 'key');
    requireLength(iv, STREAM_METHODS[method].iv, 'iv');
    this.#transform = transformOf(method, key, iv, direction, sodium);
    this.#left = method === 'chacha20-ietf' ? IETF_LIMIT : Number.POSITIVE_INFINITY;
  }

  process(bytes: Uint8Array, start: number, end: number, out: Uint8Array, outStart: number): void {
    const range = rangeOf(bytes, start, end, 'bytes');
    const room = roomIn(out, outStart, range.length);
    if (range.length > this.#left) throw cipherError('CIPHER_EXHAUSTED', 'the key stream has come to its end');
    this.#left -= range.length;
    if (range.length > 0) this.#transform(range, room);
  }
}

function transformOf(method: StreamMethod, key: Uint8Array, iv: Uint8Array, direction: Direction, sodium: Sodium | Error): Transform {
  if (method === 'none') return (bytes, out) => out.set(bytes);
  if (method === 'rc4-md5') return rc4(createHash('md5').update(key).update(iv).digest());
  if (method === 'salsa20') {
    if (sodium instanceof Error) throw cipherError('CIPHER_UNAVAILABLE', 'salsa20 needs the addon or sodium-native', sodium);
    const state = Buffer.alloc(sodium.crypto_stream_salsa20_xor_STATEBYTES);
    sodium.crypto_stream_salsa20_xor_init(state, iv, key);
    return (bytes, out) => sodium.crypto_stream_salsa20_xor_update(state, out, bytes);
  }
  if (method === 'chacha20' || method === 'chacha20-ietf') {
    // OpenSSL takes the block counter (little-endian, carried over all 64 bits) in front of the nonce.
    const counted = new Uint8Array(16);
    counted.set(iv, 16 - iv.length);
    return ofNode(createCipheriv('chacha20', key, counted));
  }
  return ofNode(direction === 'encrypt' ? createCipheriv(method, key, iv) : createDecipheriv(method, key, iv));
}

function ofNode(cipher: Cipher | Decipher): Transform {
  return (bytes, out) => out.set(cipher.update(bytes));
}

function rc4(key: Uint8Array): Transform {
  const table = Uint8Array.from({ length: 256 }, (_, i) => i);
  const at = (index: number): number => table[index & 0xff] ?? 0;
  let j = 0;
  for (let i = 0; i < 256; i += 1) {
    const a = at(i);
    j = (j + a + (key[i % key.length] ?? 0)) & 0xff;
    table[i] = at(j);
    table[j] = a;
  }
  let i = 0;
  j = 0;
  return (bytes, out) => {
    for (let n = 0; n < bytes.length; n += 1) {
      i = (i + 1) & 0xff;
      const a = at(i);
      j = (j + a) & 0xff;
      const b = at(j);
      table[i] = b;
      table[j] = a;
      out[n] = (bytes[n] ?? 0) ^ at(a + b);
    }
  };
}

export class FallbackAesBlock implements AesBlock {
  readonly #cipher: Cipher | Decipher;

  constructor(key: Uint8Array, direction: Direction) {
    if (key.length !== 16 && key.length !== 24 && key.length !== 32) throw argumentError('key: 16, 24 or 32 bytes are needed');
    const name = `aes-${key.length * 8}-ecb`;
    this.#cipher = direction === 'encrypt' ? createCipheriv(name, key, null) : createDecipheriv(name, key, null);
    this.#cipher.setAutoPadding(false);
  }

  process(bytes: Uint8Array, start: number): void {
    const block = rangeOf(bytes, start, bytes.length, 'bytes');
    if (block.length < 16) throw argumentError('bytes: a block has 16');
    block.set(this.#cipher.update(block.subarray(0, 16)));
  }
}

import { createCipheriv, createDecipheriv } from 'node:crypto';
import { AEAD_METHODS, type Aead, type AeadMethod, TAG_LENGTH } from '../cipher.js';
import { openRun, sealRun } from './chunk-cipher.js';
import { argumentError, cipherError, rangeOf, requireLength, roomIn } from './cipher-error.js';
import type { MessageCipher } from './message-cipher.js';
import type { Sodium } from './sodium.js';

/** node:crypto for GCM, and for ChaCha20 where sodium-native does not load. */
class NodeMessages implements MessageCipher {
  readonly #method: 'aes-256-gcm';
  readonly #key: Uint8Array;

  constructor(method: Exclude<AeadMethod, 'xchacha20-ietf-poly1305'>, key: Uint8Array) {
    // All of them have the same calls; the narrow type is what @types/node has for them.
    this.#method = (method === 'chacha20-ietf-poly1305' ? 'chacha20-poly1305' : method) as 'aes-256-gcm';
    this.#key = key;
  }

  seal(nonce: Uint8Array, plain: Uint8Array, out: Uint8Array, aad: Uint8Array | null): void {
    const cipher = createCipheriv(this.#method, this.#key, nonce, { authTagLength: TAG_LENGTH });
    if (aad !== null) cipher.setAAD(aad);
    out.set(cipher.update(plain));
    cipher.final();
    out.set(cipher.getAuthTag(), plain.length);
  }

  open(nonce: Uint8Array, sealed: Uint8Array, out: Uint8Array, aad: Uint8Array | null): boolean {
    const decipher = createDecipheriv(this.#method, this.#key, nonce, { authTagLength: TAG_LENGTH });
    if (aad !== null) decipher.setAAD(aad);
    decipher.setAuthTag(sealed.subarray(out.length));
    const plain = decipher.update(sealed.subarray(0, out.length));
    try {
      decipher.final();
    } catch (error) {
      return notAuthentic(error);
    }
    out.set(plain);
    return true;
  }
}

class SodiumMessages implements MessageCipher {
  readonly #encrypt: Sodium['crypto_aead_chacha20poly1305_ietf_encrypt'];
  readonly #decrypt: Sodium['crypto_aead_chacha20poly1305_ietf_decrypt'];
  readonly #key: Uint8Array;

  constructor(sodium: Sodium, extended: boolean, key: Uint8Array) {
    this.#encrypt = extended ? sodium.crypto_aead_xchacha20poly1305_ietf_encrypt : sodium.crypto_aead_chacha20poly1305_ietf_encrypt;
    this.#decrypt = extended ? sodium.crypto_aead_xchacha20poly1305_ietf_decrypt : sodium.crypto_aead_chacha20poly1305_ietf_decrypt;
    this.#key = key;
  }

  seal(nonce: Uint8Array, plain: Uint8Array, out: Uint8Array, aad: Uint8Array | null): void {
    this.#encrypt(out, plain, aad, null, nonce, this.#key);
  }

  open(nonce: Uint8Array, sealed: Uint8Array, out: Uint8Array, aad: Uint8Array | null): boolean {
    try {
      this.#decrypt(out, null, sealed, aad, nonce, this.#key);
      return true;
    } catch (error) {
      return notAuthentic(error);
    }
  }
}

/** Lengths are right by then, so the only thing that a library throws is that the tag does not fit. */
function notAuthentic(error: unknown): false {
  if (error instanceof TypeError || error instanceof RangeError) throw error;
  return false;
}

/** The primitive for a method. Throws ERR_INVALID_ARG_VALUE or CIPHER_UNAVAILABLE. */
export function messageCipher(method: AeadMethod, key: Uint8Array, sodium: Sodium | Error): MessageCipher {
  if (!Object.hasOwn(AEAD_METHODS, method)) throw argumentError('method: no such AEAD');
  requireLength(key, AEAD_METHODS[method].key, 'key');
  const own = Uint8Array.from(key);
  const extended = method === 'xchacha20-ietf-poly1305';
  if (!(sodium instanceof Error) && (extended || method === 'chacha20-ietf-poly1305')) return new SodiumMessages(sodium, extended, own);
  if (extended) throw cipherError('CIPHER_UNAVAILABLE', `${method} needs the addon or sodium-native`, sodium);
  return new NodeMessages(method, own);
}

export class FallbackAead implements Aead {
  readonly #nonceLength: number;
  readonly #messages: MessageCipher;

  constructor(method: AeadMethod, key: Uint8Array, sodium: Sodium | Error) {
    this.#messages = messageCipher(method, key, sodium);
    this.#nonceLength = AEAD_METHODS[method].nonce;
  }

  seal(nonce: Uint8Array, plain: Uint8Array, start: number, end: number, out: Uint8Array, outStart: number, aad?: Uint8Array): number {
    requireLength(nonce, this.#nonceLength, 'nonce');
    const message = rangeOf(plain, start, end, 'plain');
    const room = roomIn(out, outStart, message.length + TAG_LENGTH);
    this.#messages.seal(nonce, message, room, aad ?? null);
    return room.length;
  }

  open(nonce: Uint8Array, sealed: Uint8Array, start: number, end: number, out: Uint8Array, outStart: number, aad?: Uint8Array): number {
    requireLength(nonce, this.#nonceLength, 'nonce');
    const message = rangeOf(sealed, start, end, 'sealed');
    if (message.length < TAG_LENGTH) return -1;
    const room = roomIn(out, outStart, message.length - TAG_LENGTH);
    if (this.#messages.open(nonce, message, room, aad ?? null)) return room.length;
    room.fill(0); // what is not authentic is nobody's to see
    return -1;
  }

  sealRun(nonce: Uint8Array, plain: Uint8Array, start: number, end: number, maxPayload: number, out: Uint8Array, outStart: number): number {
    requireLength(nonce, this.#nonceLength, 'nonce');
    return sealRun(this.#messages, nonce, rangeOf(plain, start, end, 'plain'), maxPayload, out, outStart);
  }

  openRun(nonce: Uint8Array, wire: Uint8Array, start: number, end: number, maxPayload: number, out: Uint8Array, outStart: number, progress: Uint32Array): void {
    requireLength(nonce, this.#nonceLength, 'nonce');
    const bytes = rangeOf(wire, start, end, 'wire');
    if (progress.length < 2) throw argumentError('progress: no Uint32Array of 2');
    openRun(this.#messages, nonce, bytes, maxPayload, roomIn(out, outStart, bytes.length), progress);
  }
}

// Read first: Shadowsocks SIP004 and SIP007 (AEAD), and the stream ciphers before them.
import { AEAD_METHODS, type AeadCodecSpec, MAX_PAYLOAD, STREAM_METHODS, type StreamCipher, type StreamCodecSpec } from '../cipher.js';
import { messageCipher } from './aead-cipher.js';
import { argumentError, requireLength } from './cipher-error.js';
import { hkdfSha1 } from './cipher-keys.js';
import { FallbackCodec, SessionCipher } from './codec-cipher.js';
import type { Sodium } from './sodium.js';
import { FallbackStreamCipher } from './stream-cipher.js';

const SUBKEY_INFO = Buffer.from('ss-subkey');

/** Each direction: salt | chunk ...; a client's first chunk begins with the address. */
export class AeadCodec extends FallbackCodec {
  readonly #session: (salt: Uint8Array) => SessionCipher;
  #sealer: SessionCipher | null = null;
  #opener: SessionCipher | null = null;

  constructor(spec: AeadCodecSpec, sodium: Sodium | Error) {
    if (!Object.hasOwn(AEAD_METHODS, spec.method)) throw argumentError('method: no such AEAD');
    const { key: keyLength, nonce } = AEAD_METHODS[spec.method];
    super(spec.header, keyLength); // SIP004: the salt is as long as the key
    requireLength(spec.key, keyLength, 'key');
    const key = Uint8Array.from(spec.key);
    this.#session = (salt) => new SessionCipher(messageCipher(spec.method, hkdfSha1(key, salt, SUBKEY_INFO, keyLength), sodium), nonce);
  }

  protected override sealFirst(plain: Uint8Array, parts: Uint8Array[]): number {
    this.#sealer = this.#session(this.salt);
    if (this.header.length === 0) return 0;
    const part = plain.subarray(0, MAX_PAYLOAD - this.header.length);
    parts.push(this.#sealer.sealChunks(Buffer.concat([this.header, part]), MAX_PAYLOAD));
    return part.length;
  }

  protected override sealRest(plain: Uint8Array, parts: Uint8Array[]): void {
    if (this.#sealer !== null) parts.push(this.#sealer.sealChunks(plain, MAX_PAYLOAD));
  }

  protected override startOpening(peerSalt: Uint8Array): void {
    this.#opener = this.#session(peerSalt);
  }

  protected override openRest(plain: Uint8Array[]): void {
    this.#opener?.openChunks(this.records, MAX_PAYLOAD, plain);
  }

  protected override midChunk(): boolean {
    return this.#opener?.midChunk ?? false;
  }
}

/** Each direction: IV | stream. */
export class StreamCodec extends FallbackCodec {
  readonly #cipher: (iv: Uint8Array, direction: 'encrypt' | 'decrypt') => StreamCipher;
  #sealer: StreamCipher | null = null;
  #opener: StreamCipher | null = null;

  constructor(spec: StreamCodecSpec, sodium: Sodium | Error) {
    if (!Object.hasOwn(STREAM_METHODS, spec.method)) throw argumentError('method: no such stream cipher');
    const { key: keyLength, iv: ivLength } = STREAM_METHODS[spec.method];
    super(spec.header, ivLength);
    requireLength(spec.key, keyLength, 'key');
    const key = Uint8Array.from(spec.key);
    this.#cipher = (iv, direction) => new FallbackStreamCipher(spec.method, key, iv, direction, sodium);
  }

  protected override sealFirst(_plain: Uint8Array, parts: Uint8Array[]): number {
    this.#sealer = this.#cipher(this.salt, 'encrypt');
    if (this.header.length > 0) parts.push(processed(this.#sealer, this.header));
    return 0;
  }

  protected override sealRest(plain: Uint8Array, parts: Uint8Array[]): void {
    this.#sealer ??= this.#cipher(this.salt, 'encrypt');
    parts.push(processed(this.#sealer, plain));
  }

  protected override startOpening(peerSalt: Uint8Array): void {
    this.#opener = this.#cipher(peerSalt, 'decrypt');
  }

  protected override openRest(plain: Uint8Array[]): void {
    const rest = this.records.rest();
    if (this.#opener !== null && rest.length > 0) plain.push(processed(this.#opener, rest));
  }

  protected override midChunk(): boolean {
    return false;
  }
}

function processed(cipher: StreamCipher, bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(bytes.length);
  cipher.process(bytes, 0, bytes.length, out, 0);
  return out;
}

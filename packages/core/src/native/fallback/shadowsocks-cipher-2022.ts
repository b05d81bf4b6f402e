// Read first: Shadowsocks SIP022 (AEAD-2022) and SIP023 (identity headers). The layout is drawn in native/cipher/shadowsocks-2022.hh.
import { createCipheriv, createDecipheriv, randomInt, timingSafeEqual } from 'node:crypto';
import { AEAD_METHODS, type Codec2022Spec, MAX_PAYLOAD_2022, METHODS_2022, TAG_LENGTH } from '../cipher.js';
import { messageCipher } from './aead-cipher.js';
import { argumentError, cipherError, requireLength } from './cipher-error.js';
import { blake3, blake3DeriveKey } from './cipher-keys.js';
import { FallbackCodec, SessionCipher } from './codec-cipher.js';
import type { Sodium } from './sodium.js';

const SESSION_CONTEXT = 'shadowsocks 2022 session subkey';
const IDENTITY_CONTEXT = 'shadowsocks 2022 identity subkey';
const REQUEST = 0;
const RESPONSE = 1;
const IDENTITY_LENGTH = 16;

/** Type, timestamp, length. */
const FIXED_LENGTH = 1 + 8 + 2;

/** Bytes; SIP022. */
const MAX_PADDING = 900;

/** Seconds that the clocks of both ends may differ by; SIP022. */
const MAX_CLOCK_SKEW = 30n;

type Stage = 'identity' | 'fixed' | 'variable' | 'chunks';

export class Codec2022 extends FallbackCodec {
  override user = -1;
  readonly #server: boolean;
  readonly #keys: readonly Uint8Array[];
  readonly #users: readonly Uint8Array[];
  readonly #clockOffset: number;
  readonly #check: Codec2022Spec['check'];
  readonly #session: (key: Uint8Array, salt: Uint8Array) => SessionCipher;
  #stage: Stage;
  #variableLength = 0;
  #sealer: SessionCipher | null = null;
  #opener: SessionCipher | null = null;

  constructor(spec: Codec2022Spec, sodium: Sodium | Error) {
    if (!Object.hasOwn(METHODS_2022, spec.method)) throw argumentError('method: none of SIP022');
    const { aead, key: keyLength } = METHODS_2022[spec.method];
    super(spec.header, keyLength);
    const isServer = spec.role === 'server';
    const users = spec.users ?? [];
    const hasHeader = (spec.header ?? []).length > 0;
    if (spec.keys.length === 0 || (isServer ? spec.keys.length !== 1 || hasHeader : !hasHeader || users.length > 0))
      throw argumentError('spec: keys, users or header do not suit the role');
    if (aead === 'chacha20-ietf-poly1305' && (spec.keys.length > 1 || users.length > 0)) throw argumentError('keys: identity headers need AES');
    for (const key of [...spec.keys, ...users]) requireLength(key, keyLength, 'keys');
    this.#server = isServer;
    this.#keys = spec.keys.map((key) => Uint8Array.from(key));
    this.#users = users.map((key) => Uint8Array.from(key));
    this.#clockOffset = spec.clockOffset ?? 0;
    this.#check = spec.check;
    this.#stage = users.length > 0 ? 'identity' : 'fixed';
    this.#session = (key, salt) =>
      new SessionCipher(messageCipher(aead, blake3DeriveKey(SESSION_CONTEXT, Buffer.concat([key, salt]), keyLength), sodium), AEAD_METHODS[aead].nonce);
  }

  /** Client: the user's own. Server: the one that the request came with. */
  get #key(): Uint8Array {
    const key = this.user >= 0 ? this.#users[this.user] : this.#keys.at(-1);
    if (key === undefined) throw cipherError('CIPHER_FAILED');
    return key;
  }

  /** Seconds since 1970. */
  #now(): bigint {
    return BigInt(Math.floor(Date.now() / 1000) + this.#clockOffset);
  }

  protected override requireTurn(): void {
    if (this.#server && this.#stage !== 'chunks') throw cipherError('CIPHER_PROTOCOL', 'a server cannot answer before the request');
  }

  protected override sealFirst(plain: Uint8Array, parts: Uint8Array[]): number {
    const sealer = this.#session(this.#key, this.salt);
    this.#sealer = sealer;
    if (this.#server) {
      const part = plain.subarray(0, MAX_PAYLOAD_2022);
      parts.push(sealer.seal(fixedHeader(RESPONSE, this.#now(), this.peerSalt, part.length)), sealer.seal(part));
      return part.length;
    }
    // Padding hides that nothing follows yet; with payload the length says little anyway.
    const padding = plain.length === 0 ? randomInt(1, MAX_PADDING + 1) : 0;
    const rest = new Uint8Array(2 + padding);
    rest[0] = padding >> 8;
    rest[1] = padding;
    const part = plain.subarray(0, MAX_PAYLOAD_2022 - this.header.length - rest.length);
    const variable = Buffer.concat([this.header, rest, part]);
    parts.push(...this.#identities());
    parts.push(sealer.seal(fixedHeader(REQUEST, this.#now(), new Uint8Array(0), variable.length)), sealer.seal(variable));
    return part.length;
  }

  #identities(): Uint8Array[] {
    return this.#keys.slice(0, -1).map((key, i) => {
      const subkey = blake3DeriveKey(IDENTITY_CONTEXT, Buffer.concat([key, this.salt]), key.length);
      const cipher = createCipheriv(`aes-${key.length * 8}-ecb`, subkey, null).setAutoPadding(false);
      return cipher.update(blake3(this.#keys[i + 1] ?? key, IDENTITY_LENGTH));
    });
  }

  protected override sealRest(plain: Uint8Array, parts: Uint8Array[]): void {
    if (this.#sealer !== null) parts.push(this.#sealer.sealChunks(plain, MAX_PAYLOAD_2022));
  }

  protected override startOpening(peerSalt: Uint8Array): void {
    if (this.#stage === 'fixed') this.#opener = this.#session(this.#key, peerSalt);
  }

  protected override openRest(plain: Uint8Array[]): void {
    while (this.#stage !== 'chunks') {
      const record = this.records.take(this.#recordLength(this.#stage));
      if (record === null) return;
      if (this.#stage === 'identity') this.#openIdentity(record);
      else if (this.#stage === 'fixed') this.#openFixed(this.#opened(record));
      else this.#openVariable(this.#opened(record), plain);
    }
    this.#opener?.openChunks(this.records, MAX_PAYLOAD_2022, plain);
  }

  protected override midChunk(): boolean {
    return this.#stage !== 'chunks' || (this.#opener?.midChunk ?? false);
  }

  #recordLength(stage: Exclude<Stage, 'chunks'>): number {
    if (stage === 'identity') return IDENTITY_LENGTH;
    return TAG_LENGTH + (stage === 'variable' ? this.#variableLength : FIXED_LENGTH + (this.#server ? 0 : this.saltLength));
  }

  #opened(record: Uint8Array): Uint8Array {
    if (this.#opener === null) throw cipherError('CIPHER_FAILED');
    return this.#opener.open(record);
  }

  #openIdentity(record: Uint8Array): void {
    const salt = this.peerSalt;
    const subkey = blake3DeriveKey(IDENTITY_CONTEXT, Buffer.concat([this.#key, salt]), this.saltLength);
    const identity = createDecipheriv(`aes-${this.saltLength * 8}-ecb`, subkey, null)
      .setAutoPadding(false)
      .update(record);
    // All are compared, so that the time does not tell which user it is.
    this.#users.forEach((key, i) => {
      if (timingSafeEqual(blake3(key, IDENTITY_LENGTH), identity)) this.user = i;
    });
    if (this.user < 0) throw cipherError('CIPHER_AUTH');
    this.#opener = this.#session(this.#key, salt);
    this.#stage = 'fixed';
  }

  #openFixed(header: Uint8Array): void {
    const view = new DataView(header.buffer, header.byteOffset, header.length);
    if (header[0] !== (this.#server ? REQUEST : RESPONSE)) throw cipherError('CIPHER_PROTOCOL', 'the first record is of the wrong type');
    const difference = BigInt.asIntN(64, view.getBigUint64(1) - this.#now());
    if (difference > MAX_CLOCK_SKEW || difference < -MAX_CLOCK_SKEW)
      throw cipherError('CIPHER_CLOCK', `the peer's clock differs by ${difference.toString()} s`);
    const answersUs = this.#server || (this.salt.length === this.saltLength && timingSafeEqual(header.subarray(9, 9 + this.saltLength), this.salt));
    if (!answersUs) throw cipherError('CIPHER_PROTOCOL', 'the response belongs to another request');
    if (this.#check !== undefined && !this.#check(header, this.peerSalt)) throw cipherError('CIPHER_REFUSED');
    const next = view.getUint16(header.length - 2);
    if (this.#server) {
      this.#variableLength = next;
      this.#stage = 'variable';
    } else {
      this.#opener?.expectPayload(next);
      this.#stage = 'chunks';
    }
  }

  #openVariable(header: Uint8Array, plain: Uint8Array[]): void {
    const address = addressLength(header);
    if (address === 0 || header.length - address < 2) throw cipherError('CIPHER_PROTOCOL', 'bad address in the request');
    const padding = new DataView(header.buffer, header.byteOffset).getUint16(address);
    const payloadAt = address + 2 + padding;
    if (payloadAt > header.length) throw cipherError('CIPHER_PROTOCOL', 'the padding runs past the header');
    if (padding === 0 && payloadAt === header.length) throw cipherError('CIPHER_PROTOCOL', 'a request without payload and without padding');
    plain.push(header.subarray(0, address), header.subarray(payloadAt));
    this.#stage = 'chunks';
  }
}

function fixedHeader(type: number, now: bigint, requestSalt: Uint8Array, length: number): Uint8Array {
  const header = new Uint8Array(FIXED_LENGTH + requestSalt.length);
  const view = new DataView(header.buffer);
  header[0] = type;
  view.setBigUint64(1, BigInt.asUintN(64, now));
  header.set(requestSalt, 9);
  view.setUint16(header.length - 2, length);
  return header;
}

/** Bytes of the address of SOCKS5 at the start, 0 if it is none or not whole. */
function addressLength(bytes: Uint8Array): number {
  const name = bytes[1] ?? 0;
  const length = bytes[0] === 1 ? 7 : bytes[0] === 4 ? 19 : bytes[0] === 3 && name > 0 ? 4 + name : 0;
  return length <= bytes.length ? length : 0;
}

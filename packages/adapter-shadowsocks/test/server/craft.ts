/** Requests that no client of ours would make, sealed by hand on core's primitives. */
import { randomBytes } from 'node:crypto';
import { AEAD_METHODS, type AeadMethod, type Ciphers, encodeSocksAddress, METHODS_2022, TAG_LENGTH } from '@nekit/core';
import type { Secret } from '../../dist/method.js';

export const TARGET = { host: 'target.example', port: 443 };

/** Seals records with a counting nonce. */
class Sealer {
  readonly #seal: (nonce: Uint8Array, plain: Uint8Array) => Uint8Array;
  readonly #nonce: Uint8Array;

  constructor(ciphers: Ciphers, method: AeadMethod, key: Uint8Array) {
    const aead = ciphers.createAead(method, key);
    this.#nonce = new Uint8Array(AEAD_METHODS[method].nonce);
    this.#seal = (nonce, plain) => {
      const out = new Uint8Array(plain.length + TAG_LENGTH);
      aead.seal(nonce, plain, 0, plain.length, out, 0);
      return out;
    };
  }

  record(plain: Uint8Array): Uint8Array {
    const sealed = this.#seal(this.#nonce, plain);
    this.#nonce[0] = (this.#nonce[0] ?? 0) + 1;
    return sealed;
  }
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}

export interface Request2022 {
  readonly type?: number;
  /** Seconds to add to now. */
  readonly late?: number;
  /** What the fixed header says; default: the truth. */
  readonly length?: number;
  readonly address?: Uint8Array;
  readonly padding?: number;
  /** What is said of the padding; default: the truth. */
  readonly paddingLength?: number;
  readonly payload?: Uint8Array;
  /** Instead of address, padding and payload. */
  readonly variable?: Uint8Array;
  readonly salt?: Uint8Array;
  /** The keys that the identity headers name, behind the first; default: those of the secret. */
  readonly identities?: readonly Uint8Array[];
  /** The user's key; default: the last of the secret. */
  readonly key?: Uint8Array;
}

/** A SIP022 request of a client with `secret`. */
export function request2022(ciphers: Ciphers, secret: Secret, request: Request2022 = {}): Uint8Array {
  const { method, keys } = secret;
  if (method.family !== '2022') throw new Error('not of SIP022');
  const {
    type = 0,
    late = 0,
    address = encodeSocksAddress(TARGET),
    padding = 0,
    payload = Buffer.from('hello'),
    salt = randomBytes(method.keyLength),
  } = request;
  const variable = request.variable ?? Buffer.concat([address, u16(request.paddingLength ?? padding), randomBytes(padding), payload]);
  const fixed = Buffer.alloc(11);
  fixed[0] = type;
  fixed.writeBigInt64BE(BigInt(Math.floor(Date.now() / 1000) + late), 1);
  fixed.writeUInt16BE(request.length ?? variable.length, 9);
  const own = request.key ?? keys.at(-1) ?? new Uint8Array(0);
  const names = request.identities ?? keys.slice(1);
  const identities = names.map((name, i) => {
    const outer = keys[Math.min(i, keys.length - 1)] ?? own;
    const block = Uint8Array.from(ciphers.blake3(name, 16));
    const subkey = ciphers.blake3DeriveKey('shadowsocks 2022 identity subkey', Buffer.concat([outer, salt]), method.keyLength);
    ciphers.createAesBlock(subkey, 'encrypt').process(block, 0);
    return block;
  });
  const subkey = ciphers.blake3DeriveKey('shadowsocks 2022 session subkey', Buffer.concat([own, salt]), method.keyLength);
  const sealer = new Sealer(ciphers, METHODS_2022[method.cipher].aead, subkey);
  return Buffer.concat([salt, ...identities, sealer.record(fixed), sealer.record(variable)]);
}

/** SIP004: chunks as given. `length`: what is said of it; default: the truth. */
export function requestAead(ciphers: Ciphers, secret: Secret, chunks: readonly { readonly payload: Uint8Array; readonly length?: number }[]): Uint8Array {
  const { method, keys } = secret;
  if (method.family !== 'aead') throw new Error('not of SIP004');
  const salt = randomBytes(method.keyLength);
  const subkey = ciphers.hkdfSha1(keys[0] ?? new Uint8Array(0), salt, Buffer.from('ss-subkey'), method.keyLength);
  const sealer = new Sealer(ciphers, method.cipher, subkey);
  return Buffer.concat([salt, ...chunks.flatMap(({ payload, length = payload.length }) => [sealer.record(u16(length)), sealer.record(payload)])]);
}

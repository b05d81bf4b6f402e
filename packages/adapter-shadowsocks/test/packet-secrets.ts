/** Secrets of every method, and packets made by hand. */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { AeadMethod, Ciphers, Endpoint } from '@nekit/core';
import { METHODS, type Secret, secretOf } from '../dist/method.js';

export const PEER: Endpoint = Object.freeze({ host: '192.0.2.7', port: 4242 });
export const NAMED: Endpoint = Object.freeze({ host: 'example.com', port: 443 });
export const SIXTH: Endpoint = Object.freeze({ host: '2001:db8::7', port: 9 });

export const METHOD_NAMES: readonly string[] = [...METHODS.keys()];
export const NAMES_2022 = METHOD_NAMES.filter((name) => name.startsWith('2022'));

const keyOf = (name: string, fill: number): Buffer => Buffer.alloc(METHODS.get(name)?.keyLength ?? 0, fill);

export function secretFor(ciphers: Ciphers, cipher: string, fill = 1): Secret {
  const password = cipher.startsWith('2022') ? keyOf(cipher, fill).toString('base64') : `password ${fill}`;
  return secretOf(ciphers, { cipher, password, allowInsecure: true });
}

/** A client's secret behind identity keys, the outermost first. */
export function identitySecret(ciphers: Ciphers, cipher: string, ...fills: readonly number[]): Secret {
  return secretOf(ciphers, { cipher, password: fills.map((fill) => keyOf(cipher, fill).toString('base64')).join(':'), allowInsecure: false });
}

/** A time that stands still until it is told. */
export class FakeNow {
  ms = 1_700_000_000_000;
  monotonic = (): number => this.ms;
  wall = (): number => this.ms;
}

/** The fields of an AES packet of SIP022 by node:crypto alone. */
export interface Fields {
  readonly ids: Buffer;
  readonly identities?: Buffer;
  readonly body: Buffer;
}

const ecb = (key: Uint8Array): string => `aes-${key.length * 8}-ecb`;
const gcm = (key: Uint8Array): AeadMethod & 'aes-256-gcm' => `aes-${key.length * 8}-gcm` as 'aes-256-gcm';

export function blockOf(key: Uint8Array, block: Uint8Array, direction: 'encrypt' | 'decrypt'): Buffer {
  const cipher = direction === 'encrypt' ? createCipheriv(ecb(key), key, null) : createDecipheriv(ecb(key), key, null);
  cipher.setAutoPadding(false);
  return cipher.update(block);
}

export function bodyKey(ciphers: Ciphers, key: Uint8Array, ids: Uint8Array): Uint8Array {
  return ciphers.blake3DeriveKey('shadowsocks 2022 session subkey', Buffer.concat([key, ids.subarray(0, 8)]), key.length);
}

export function sealByHand(ciphers: Ciphers, headerKey: Uint8Array, key: Uint8Array, { ids, identities, body }: Fields): Buffer {
  const subkey = bodyKey(ciphers, key, ids);
  const cipher = createCipheriv(gcm(subkey), subkey, ids.subarray(4));
  return Buffer.concat([blockOf(headerKey, ids, 'encrypt'), identities ?? Buffer.alloc(0), cipher.update(body), cipher.final(), cipher.getAuthTag()]);
}

export function openByHand(ciphers: Ciphers, headerKey: Uint8Array, key: Uint8Array, packet: Uint8Array, identities = 0): Fields {
  const bytes = Buffer.from(packet);
  const ids = blockOf(headerKey, bytes.subarray(0, 16), 'decrypt');
  const start = 16 + 16 * identities;
  const subkey = bodyKey(ciphers, key, ids);
  const cipher = createDecipheriv(gcm(subkey), subkey, ids.subarray(4));
  cipher.setAuthTag(bytes.subarray(-16));
  return { ids, identities: bytes.subarray(16, start), body: Buffer.concat([cipher.update(bytes.subarray(start, -16)), cipher.final()]) };
}

/** Main header, address (192.0.2.7:4242) and payload. */
export function bodyByHand(
  type: number,
  seconds: number,
  payload: string,
  options: { readonly clientId?: Uint8Array; readonly padding?: number; readonly says?: number } = {},
): Buffer {
  const { clientId, padding = 0, says = padding } = options;
  const head = Buffer.alloc(9);
  head[0] = type;
  head.writeBigUInt64BE(BigInt(seconds), 1);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(says);
  return Buffer.concat([
    head,
    clientId ?? Buffer.alloc(0),
    length,
    Buffer.alloc(padding),
    Buffer.from([1, 192, 0, 2, 7, 4242 >> 8, 4242 & 255]),
    Buffer.from(payload),
  ]);
}

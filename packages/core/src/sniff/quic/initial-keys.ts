/** Keys of a client's Initial packets: anybody who sees the first of them has them. Read first: RFC 9001 section 5.2, RFC 9369 section 3.3. */
import { createHmac } from 'node:crypto';

export interface QuicVersion {
  readonly number: number;
  /** Bits 4 and 5 of the first byte of an Initial. */
  readonly initialType: number;
  readonly salt: Uint8Array;
  /** In front of the labels `key`, `iv` and `hp`. */
  readonly label: string;
}

/** RFC 9001 and RFC 9369. */
export const QUIC_VERSIONS: readonly QuicVersion[] = [
  { number: 0x0000_0001, initialType: 0, salt: Buffer.from('38762cf7f55934b34d179ae6a4c80cadccbb7f0a', 'hex'), label: 'quic ' },
  { number: 0x6b33_43cf, initialType: 1, salt: Buffer.from('0dede3def700a6db819381be6e269dcbf9bd2ed9', 'hex'), label: 'quicv2 ' },
];

export interface InitialKeys {
  /** AES-128-GCM. */
  readonly key: Uint8Array;
  /** 12 bytes. */
  readonly iv: Uint8Array;
  /** Of header protection, AES-128-ECB. */
  readonly hp: Uint8Array;
}

/** `destinationId`: the Destination Connection ID of the client's first packet. */
export function clientInitialKeys({ salt, label }: QuicVersion, destinationId: Uint8Array): InitialKeys {
  const initial = hmac(salt, destinationId);
  const client = expandLabel(initial, 'client in', 32);
  return { key: expandLabel(client, `${label}key`, 16), iv: expandLabel(client, `${label}iv`, 12), hp: expandLabel(client, `${label}hp`, 16) };
}

/** HKDF-Expand-Label of TLS 1.3 (RFC 8446 section 7.1) without a context; one block of HKDF is enough for 32 bytes. */
function expandLabel(secret: Uint8Array, label: string, length: number): Uint8Array {
  const full = Buffer.from(`tls13 ${label}`, 'latin1');
  const block = Buffer.concat([Uint8Array.of(0, length, full.length), full, Uint8Array.of(0, 1)]);
  return hmac(secret, block).subarray(0, length);
}

function hmac(key: Uint8Array, message: Uint8Array): Uint8Array {
  return createHmac('sha256', key).update(message).digest();
}

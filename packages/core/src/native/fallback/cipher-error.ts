import { NekitError } from '../../net/errors.js';
import type { CipherCode } from '../cipher.js';

/** The texts are those of the addon (native/cipher/codec.hh). */
const TEXTS: Readonly<Record<CipherCode, string>> = {
  CIPHER_AUTH: 'authentication failed: wrong password or cipher, or altered bytes',
  CIPHER_PROTOCOL: 'a chunk is longer than the protocol allows',
  CIPHER_CLOCK: "the peer's clock differs",
  CIPHER_REFUSED: 'the header was refused',
  CIPHER_EXHAUSTED: 'the nonce counter has come to its end',
  CIPHER_MOVED: 'the codec has been given away, is in use or has ended',
  CIPHER_UNAVAILABLE: 'this platform has no implementation of the cipher',
  CIPHER_FAILED: 'the cryptographic library failed',
};

export function cipherError(code: CipherCode, text: string = TEXTS[code], cause?: unknown): NekitError {
  return new NekitError(code, text, { cause });
}

export function argumentError(text: string): NekitError {
  return new NekitError('ERR_INVALID_ARG_VALUE', text);
}

/** Throws ERR_INVALID_ARG_VALUE unless `bytes` has `length` bytes. */
export function requireLength(bytes: Uint8Array, length: number, name: string): void {
  if (bytes.length !== length) throw argumentError(`${name}: ${length} bytes are needed`);
}

/** The range as a view. Throws ERR_INVALID_ARG_VALUE if it lies outside of the bytes. */
export function rangeOf(bytes: Uint8Array, start: number, end: number, name: string): Uint8Array {
  if (!(Number.isInteger(start) && Number.isInteger(end) && start >= 0 && start <= end && end <= bytes.length))
    throw argumentError(`${name}: the range lies outside of the bytes`);
  return bytes.subarray(start, end);
}

/** `length` bytes of `out` from `start`, as a view. */
export function roomIn(out: Uint8Array, start: number, length: number): Uint8Array {
  const room = rangeOf(out, start, out.length, 'out');
  if (room.length < length) throw argumentError('out: too short');
  return room.subarray(0, length);
}

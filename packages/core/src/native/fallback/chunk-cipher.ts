// Read first: Shadowsocks SIP004. A chunk: seal(length u16be) 2+16 | seal(payload) length+16, each with the next nonce.
import { CHUNK_OVERHEAD, TAG_LENGTH } from '../cipher.js';
import { argumentError, cipherError, roomIn } from './cipher-error.js';
import type { MessageCipher } from './message-cipher.js';

export const SEALED_LENGTH = 2 + TAG_LENGTH;

/** The low 64 bits of the nonce count, little-endian. Their last value is never used: it says "exhausted". */
export function requireNonce(nonce: Uint8Array): void {
  for (let i = 0; i < 8; i += 1) if (nonce[i] !== 0xff) return;
  throw cipherError('CIPHER_EXHAUSTED');
}

export function stepNonce(nonce: Uint8Array): void {
  for (let i = 0; i < 8; i += 1) {
    const next = ((nonce[i] ?? 0) + 1) & 0xff;
    nonce[i] = next;
    if (next !== 0) return;
  }
}

/** Bytes on the wire of `length` plain bytes in chunks of at most `maxPayload`. */
export function sealedRunLength(length: number, maxPayload: number): number {
  return length + Math.ceil(length / maxPayload) * CHUNK_OVERHEAD;
}

export function sealRun(cipher: MessageCipher, nonce: Uint8Array, plain: Uint8Array, maxPayload: number, out: Uint8Array, outStart: number): number {
  requireMaxPayload(maxPayload);
  const total = sealedRunLength(plain.length, maxPayload);
  const room = roomIn(out, outStart, total);
  const size = new Uint8Array(2);
  // Nothing is sealed if the counter does not last for all of it.
  const operations = 2n * BigInt(Math.ceil(plain.length / maxPayload));
  const counter = new DataView(nonce.buffer, nonce.byteOffset, 8).getBigUint64(0, true);
  if (0xffff_ffff_ffff_ffffn - counter < operations) throw cipherError('CIPHER_EXHAUSTED');
  let at = 0;
  for (let start = 0; start < plain.length; start += maxPayload) {
    const payload = plain.subarray(start, start + maxPayload);
    size[0] = payload.length >> 8;
    size[1] = payload.length;
    cipher.seal(nonce, size, room.subarray(at, at + SEALED_LENGTH), null);
    stepNonce(nonce);
    at += SEALED_LENGTH;
    cipher.seal(nonce, payload, room.subarray(at, at + payload.length + TAG_LENGTH), null);
    stepNonce(nonce);
    at += payload.length + TAG_LENGTH;
  }
  return total;
}

export function openRun(cipher: MessageCipher, nonce: Uint8Array, wire: Uint8Array, maxPayload: number, out: Uint8Array, progress: Uint32Array): void {
  requireMaxPayload(maxPayload);
  let consumed = 0;
  let produced = 0;
  progress[0] = 0;
  progress[1] = 0;
  const size = new Uint8Array(2);
  const next = Uint8Array.from(nonce);
  while (wire.length - consumed >= SEALED_LENGTH) {
    next.set(nonce);
    requireNonce(next);
    if (!cipher.open(next, wire.subarray(consumed, consumed + SEALED_LENGTH), size, null)) throw cipherError('CIPHER_AUTH');
    stepNonce(next);
    requireNonce(next);
    const payload = ((size[0] ?? 0) << 8) | (size[1] ?? 0);
    if (payload > maxPayload) throw cipherError('CIPHER_PROTOCOL');
    const end = consumed + SEALED_LENGTH + payload + TAG_LENGTH;
    if (end > wire.length) return;
    const room = out.subarray(produced, produced + payload);
    if (!cipher.open(next, wire.subarray(consumed + SEALED_LENGTH, end), room, null)) {
      room.fill(0);
      throw cipherError('CIPHER_AUTH');
    }
    stepNonce(next);
    nonce.set(next);
    consumed = end;
    produced += payload;
    progress[0] = consumed;
    progress[1] = produced;
  }
}

function requireMaxPayload(maxPayload: number): void {
  if (!(Number.isInteger(maxPayload) && maxPayload >= 1 && maxPayload <= 0xffff)) throw argumentError('maxPayload: 1 to 65535');
}

/**
 * Packets of AEAD-2022. Read first: SIP022 sections 3.2 and 4.1, SIP023 (identity headers).
 *
 *   AES       +-----------------------+--------------------+-------------+-----+
 *             | session id, packet id | identity headers   | main header | tag |
 *             | 16, one block of AES  | 16 each, requests  | and payload |     |
 *             +-----------------------+--------------------+-------------+-----+
 *               body: a key for each session (BLAKE3 of PSK and session id), nonce = the last 12 of the 16 bytes
 *
 *   ChaCha20  +-------+-----------------------------------------+-----+
 *             | nonce | session id, packet id, main header etc. | tag |      body: XChaCha20 with the PSK
 *             |  24   |                                         |     |
 *             +-------+-----------------------------------------+-----+
 *
 * A packet id that came twice within one session would be a nonce that came twice: whoever seals counts, and never goes back.
 */
import { type Aead, type AesBlock, type Ciphers, METHODS_2022, type Method2022, TAG_LENGTH } from '@nekit/core';
import { ID_LENGTH, readWord, writeNumber } from './main-header.js';
import type { RandomBytes } from './random.js';

const SESSION_CONTEXT = 'shadowsocks 2022 session subkey';

/** A session id and a packet id. Also a block of AES. */
export const IDS_LENGTH = 16;
export const IDENTITY_LENGTH = 16;
const NONCE_FROM = 4;
const LONG_NONCE = 24;

/** Packets of one session: below what a number is exact for, and far below 2^64. */
const MAX_PACKETS = Number.MAX_SAFE_INTEGER;

export const CHACHA = '2022-blake3-chacha20-poly1305';

/** Seals the packets of one session, and counts them. */
export interface SessionSealer {
  readonly sessionId: Uint8Array;
  /** Bytes in front of the main header; a tag goes behind. */
  readonly front: number;
  /** Seals main header and payload at `bytes[start, end)`, in place; `front` bytes before and a tag behind are written too. false: the session has come to its end. */
  seal(bytes: Uint8Array, start: number, end: number): boolean;
}

export interface SealerSpec {
  readonly method: Method2022;
  /** From the outside in: with more than one, identity headers are made of them. The last one is the user's. */
  readonly keys: readonly Uint8Array[];
  /** After so many packets the session has come to its end. */
  readonly maxPackets?: number;
}

/** A new session with an id by chance. */
export function sessionSealer(ciphers: Ciphers, spec: SealerSpec, random: RandomBytes): SessionSealer {
  return spec.method === CHACHA ? new ChaChaSealer(ciphers, spec, random) : new AesSealer(ciphers, spec, random);
}

export function bodyCipher(ciphers: Ciphers, method: Method2022, key: Uint8Array, sessionId: Uint8Array): Aead {
  const material = new Uint8Array(key.length + ID_LENGTH);
  material.set(key);
  material.set(sessionId, key.length);
  return ciphers.createAead(METHODS_2022[method].aead, ciphers.blake3DeriveKey(SESSION_CONTEXT, material, key.length));
}

/** What an identity header says of a key. */
export function identityOf(ciphers: Ciphers, key: Uint8Array): Uint8Array {
  return ciphers.blake3(key, IDENTITY_LENGTH);
}

abstract class Counted implements SessionSealer {
  abstract readonly front: number;
  readonly sessionId = new Uint8Array(ID_LENGTH);
  readonly #limit: number;
  #next = 0;

  constructor(random: RandomBytes, limit = MAX_PACKETS) {
    this.#limit = limit;
    random.fill(this.sessionId, 0, ID_LENGTH);
  }

  abstract seal(bytes: Uint8Array, start: number, end: number): boolean;

  /** Writes the ids of the next packet; false: there is none. */
  protected writeIds(bytes: Uint8Array, at: number): boolean {
    if (this.#next >= this.#limit) return false;
    bytes.set(this.sessionId, at);
    writeNumber(bytes, at + ID_LENGTH, Math.floor(this.#next / 2 ** 32), this.#next);
    this.#next++;
    return true;
  }
}

class AesSealer extends Counted {
  readonly front: number;
  readonly #body: Aead;
  readonly #block: AesBlock;
  readonly #identities: readonly { readonly block: AesBlock; readonly next: Uint8Array }[];
  readonly #nonce = new Uint8Array(IDS_LENGTH - NONCE_FROM);

  constructor(ciphers: Ciphers, { method, keys, maxPackets }: SealerSpec, random: RandomBytes) {
    super(random, maxPackets);
    const last = keyAt(keys, keys.length - 1);
    this.#body = bodyCipher(ciphers, method, last, this.sessionId);
    this.#block = ciphers.createAesBlock(keyAt(keys, 0), 'encrypt');
    this.#identities = keys.slice(1).map((key, index) => {
      return { block: ciphers.createAesBlock(keyAt(keys, index), 'encrypt'), next: identityOf(ciphers, key) };
    });
    this.front = IDS_LENGTH + IDENTITY_LENGTH * this.#identities.length;
  }

  seal(bytes: Uint8Array, start: number, end: number): boolean {
    const ids = start - this.front;
    if (!this.writeIds(bytes, ids)) return false;
    this.#nonce.set(bytes.subarray(ids + NONCE_FROM, ids + IDS_LENGTH));
    this.#body.seal(this.#nonce, bytes, start, end, bytes, start);
    let at = ids + IDS_LENGTH;
    for (const { block, next } of this.#identities) {
      for (let i = 0; i < IDENTITY_LENGTH; i++) bytes[at + i] = (next[i] ?? 0) ^ (bytes[ids + i] ?? 0);
      block.process(bytes, at);
      at += IDENTITY_LENGTH;
    }
    this.#block.process(bytes, ids);
    return true;
  }
}

class ChaChaSealer extends Counted {
  readonly front = LONG_NONCE + IDS_LENGTH;
  readonly #aead: Aead;
  readonly #random: RandomBytes;
  readonly #nonce = new Uint8Array(LONG_NONCE);

  constructor(ciphers: Ciphers, { keys, maxPackets }: SealerSpec, random: RandomBytes) {
    super(random, maxPackets);
    this.#random = random;
    this.#aead = ciphers.createAead('xchacha20-ietf-poly1305', keyAt(keys, 0));
  }

  seal(bytes: Uint8Array, start: number, end: number): boolean {
    const body = start - IDS_LENGTH;
    if (!this.writeIds(bytes, body)) return false;
    this.#random.fill(this.#nonce, 0, LONG_NONCE);
    bytes.set(this.#nonce, body - LONG_NONCE);
    this.#aead.seal(this.#nonce, bytes, body, end, bytes, body);
    return true;
  }
}

function keyAt(keys: readonly Uint8Array[], index: number): Uint8Array {
  const key = keys[index];
  if (key === undefined) throw new RangeError('a method of SIP022 has a key');
  return key;
}

/** Whose packet it is: told by its session, and with identity headers by its user. */
export interface BodyCiphers {
  /** The cipher of a session's body; null: no such user. */
  of(session: string, sessionId: Uint8Array, user: number): Aead | null;
}

/** Opens packets, and leaves what their ids are in its members, good until the next. */
export class PacketOpener {
  /** A user's index and a session id, as a key of maps. */
  session = '';
  readonly sessionId = new Uint8Array(ID_LENGTH);
  user = NO_USER;
  packetHigh = 0;
  packetLow = 0;
  readonly #aead: Aead | null;
  readonly #block: AesBlock | null;
  readonly #users: ReadonlyMap<string, number> | null;
  readonly #head = new Uint8Array(IDS_LENGTH + IDENTITY_LENGTH);
  readonly #nonce: Uint8Array;

  /** `users`: their keys behind ours, in identity headers; none: packets have no identity headers. */
  constructor(ciphers: Ciphers, method: Method2022, key: Uint8Array, users: readonly Uint8Array[]) {
    const chacha = method === CHACHA;
    this.#aead = chacha ? ciphers.createAead('xchacha20-ietf-poly1305', key) : null;
    this.#block = chacha ? null : ciphers.createAesBlock(key, 'decrypt');
    this.#nonce = new Uint8Array(chacha ? LONG_NONCE : IDS_LENGTH - NONCE_FROM);
    this.#users = users.length === 0 ? null : new Map(users.map((user, index) => [latin1(identityOf(ciphers, user), 0, IDENTITY_LENGTH), index]));
  }

  /** Main header and payload of the packet at `packet[start, end)`, to `out` from `at`: how many bytes they are, -1 if it is none of ours. */
  open(packet: Uint8Array, start: number, end: number, bodies: BodyCiphers, out: Uint8Array, at: number): number {
    return this.#aead === null ? this.#openAes(packet, start, end, bodies, out, at) : this.#openChaCha(this.#aead, packet, start, end, out, at);
  }

  #openAes(packet: Uint8Array, start: number, end: number, bodies: BodyCiphers, out: Uint8Array, at: number): number {
    const head = this.#head;
    const front = this.#users === null ? IDS_LENGTH : IDS_LENGTH + IDENTITY_LENGTH;
    if (end - start < front + TAG_LENGTH) return -1;
    for (let i = 0; i < front; i++) head[i] = packet[start + i] ?? 0;
    this.#block?.process(head, 0);
    if (!this.#identify(head)) return -1;
    this.#takeIds(head, 0);
    const body = bodies.of(this.session, this.sessionId, this.user);
    if (body === null) return -1;
    for (let i = 0; i < this.#nonce.length; i++) this.#nonce[i] = head[NONCE_FROM + i] ?? 0;
    return body.open(this.#nonce, packet, start + front, end, out, at);
  }

  /** Whose identity header it is. A look-up, not a comparison in constant time: who could learn of it by the time it takes has our key. */
  #identify(head: Uint8Array): boolean {
    if (this.#users === null) return true;
    this.#block?.process(head, IDS_LENGTH);
    for (let i = 0; i < IDENTITY_LENGTH; i++) head[IDS_LENGTH + i] = (head[IDS_LENGTH + i] ?? 0) ^ (head[i] ?? 0);
    const user = this.#users.get(latin1(head, IDS_LENGTH, IDS_LENGTH + IDENTITY_LENGTH));
    this.user = user ?? NO_USER;
    return user !== undefined;
  }

  #openChaCha(aead: Aead, packet: Uint8Array, start: number, end: number, out: Uint8Array, at: number): number {
    if (end - start < LONG_NONCE + IDS_LENGTH + TAG_LENGTH) return -1;
    for (let i = 0; i < LONG_NONCE; i++) this.#nonce[i] = packet[start + i] ?? 0;
    const length = aead.open(this.#nonce, packet, start + LONG_NONCE, end, out, at);
    if (length < IDS_LENGTH) return -1;
    this.#takeIds(out, at);
    out.copyWithin(at, at + IDS_LENGTH, at + length);
    return length - IDS_LENGTH;
  }

  #takeIds(bytes: Uint8Array, at: number): void {
    const id = this.sessionId;
    for (let i = 0; i < ID_LENGTH; i++) id[i] = bytes[at + i] ?? 0;
    this.session = String.fromCharCode(this.user + 1, pair(id, 0), pair(id, 2), pair(id, 4), pair(id, 6));
    this.packetHigh = readWord(bytes, at + ID_LENGTH);
    this.packetLow = readWord(bytes, at + ID_LENGTH + 4);
  }
}

/** A server without users has nobody to name. */
export const NO_USER = -1;

function pair(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

function latin1(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1', start, end);
}

import { randomBytes } from 'node:crypto';
import type { NekitError } from '../../net/errors.js';
import { type Codec, TAG_LENGTH } from '../cipher.js';
import { requireNonce, SEALED_LENGTH, sealedRunLength, sealRun, stepNonce } from './chunk-cipher.js';
import { argumentError, cipherError } from './cipher-error.js';
import type { MessageCipher } from './message-cipher.js';

/** Longest header that a client may give: an address of SOCKS has at most 259 bytes. */
const MAX_HEADER = 1024;

const NOTHING = new Uint8Array(0);

/** Makes records of a known size out of wire bytes in any fragmentation. */
export class RecordBuffer {
  #input: Uint8Array = NOTHING;
  #at = 0;
  #kept: Uint8Array | null = null;
  #filled = 0;

  /** The next bytes off the wire. Those before must have been taken: `take` returned null. */
  feed(wire: Uint8Array): void {
    this.#input = wire;
    this.#at = 0;
  }

  /** `size` bytes, or null after having kept what there is of them: an unfinished record costs its own size. */
  take(size: number): Uint8Array | null {
    const left = this.#input.length - this.#at;
    if (this.#kept === null && left >= size) {
      this.#at += size;
      return this.#input.subarray(this.#at - size, this.#at);
    }
    if (left > 0) {
      this.#kept ??= new Uint8Array(size);
      const part = this.#input.subarray(this.#at, this.#at + size - this.#filled);
      this.#kept.set(part, this.#filled);
      this.#filled += part.length;
      this.#at += part.length;
      if (this.#filled === size) {
        const record = this.#kept;
        this.#kept = null;
        this.#filled = 0;
        return record;
      }
    }
    this.#input = NOTHING; // lent by the caller
    this.#at = 0;
    return null;
  }

  /** Part of a record is kept. */
  get pending(): boolean {
    return this.#filled > 0;
  }

  /** All that is left of the wire bytes. */
  rest(): Uint8Array {
    const rest = this.#input.subarray(this.#at);
    this.feed(NOTHING);
    return rest;
  }
}

/** One direction of an AEAD session: a key and its counter. */
export class SessionCipher {
  readonly #messages: MessageCipher;
  readonly #nonce: Uint8Array;
  #size = -1;

  constructor(messages: MessageCipher, nonceLength: number) {
    this.#messages = messages;
    this.#nonce = new Uint8Array(nonceLength);
  }

  seal(plain: Uint8Array): Uint8Array {
    requireNonce(this.#nonce);
    const out = new Uint8Array(plain.length + TAG_LENGTH);
    this.#messages.seal(this.#nonce, plain, out, null);
    stepNonce(this.#nonce);
    return out;
  }

  sealChunks(plain: Uint8Array, maxPayload: number): Uint8Array {
    const out = new Uint8Array(sealedRunLength(plain.length, maxPayload));
    sealRun(this.#messages, this.#nonce, plain, maxPayload, out, 0);
    return out;
  }

  open(sealed: Uint8Array): Uint8Array {
    requireNonce(this.#nonce);
    const out = new Uint8Array(sealed.length - TAG_LENGTH);
    if (!this.#messages.open(this.#nonce, sealed, out, null)) throw cipherError('CIPHER_AUTH');
    stepNonce(this.#nonce);
    return out;
  }

  /** The next record is a payload of this length (the first chunk of SIP022). */
  expectPayload(size: number): void {
    this.#size = size;
  }

  /** A length was opened, and its payload has not come yet. */
  get midChunk(): boolean {
    return this.#size >= 0;
  }

  /** Opens what is whole in `records`. */
  openChunks(records: RecordBuffer, maxPayload: number, plain: Uint8Array[]): void {
    for (;;) {
      const record = records.take(this.#size < 0 ? SEALED_LENGTH : this.#size + TAG_LENGTH);
      if (record === null) return;
      const opened = this.open(record);
      if (this.#size >= 0) {
        plain.push(opened);
        this.#size = -1;
      } else {
        this.#size = ((opened[0] ?? 0) << 8) | (opened[1] ?? 0);
        if (this.#size > maxPayload) throw cipherError('CIPHER_PROTOCOL');
      }
    }
  }
}

/** What the codecs have in common: a client's header, a salt for each direction, and an end. */
export abstract class FallbackCodec implements Codec {
  readonly user: number = -1;
  protected header: Uint8Array;
  protected readonly saltLength: number;
  #salt: Uint8Array = NOTHING;
  #sealing = false;
  protected readonly records = new RecordBuffer();
  #peerSalt: Uint8Array | null = null;
  #error: NekitError | null = null;
  #busy = false;

  constructor(header: Uint8Array | undefined, saltLength: number) {
    if (header !== undefined && header.length > MAX_HEADER) throw argumentError('header: too long');
    this.header = Uint8Array.from(header ?? NOTHING);
    this.saltLength = saltLength;
  }

  get salt(): Uint8Array {
    if (this.#salt.length < this.saltLength) this.#salt = randomBytes(this.saltLength);
    return Uint8Array.from(this.#salt);
  }

  get prologuePending(): boolean {
    return this.#error === null && this.header.length > 0;
  }

  get midRecord(): boolean {
    return this.#error === null && (this.records.pending || (this.#peerSalt !== null && this.midChunk()));
  }

  get peerSalt(): Uint8Array {
    return Uint8Array.from(this.#peerSalt ?? NOTHING);
  }

  sealPrologue(): Uint8Array {
    return this.seal(NOTHING);
  }

  seal(plain: Uint8Array): Uint8Array {
    return this.#guard(() => {
      if (plain.length === 0 && !this.prologuePending) return NOTHING;
      const parts: Uint8Array[] = [];
      let rest = plain;
      if (!this.#sealing && (this.saltLength > 0 || this.header.length > 0)) {
        this.requireTurn();
        this.#sealing = true;
        parts.push(this.salt);
        rest = plain.subarray(this.sealFirst(plain, parts));
        this.header = NOTHING;
      }
      if (rest.length > 0) this.sealRest(rest, parts);
      return joined(parts);
    });
  }

  open(wire: Uint8Array): Uint8Array {
    return this.#guard(() => {
      const plain: Uint8Array[] = [];
      this.records.feed(wire);
      if (this.#peerSalt === null) {
        const salt = this.saltLength === 0 ? NOTHING : this.records.take(this.saltLength);
        if (salt === null) return NOTHING;
        this.#peerSalt = Uint8Array.from(salt);
        // The formats do not tell directions apart, so our own stream played back would be authentic.
        if (this.saltLength > 0 && Buffer.compare(this.#peerSalt, this.#salt) === 0) throw cipherError('CIPHER_PROTOCOL', 'the peer sent our own salt back');
        this.startOpening(this.#peerSalt);
      }
      this.openRest(plain);
      return joined(plain);
    });
  }

  /** Throws if it is not yet our turn to speak. */
  protected requireTurn(): void {}
  /** Derives the key for `salt` and seals the first records with the first bytes of `plain`; how many of them is the result. */
  protected abstract sealFirst(plain: Uint8Array, parts: Uint8Array[]): number;
  protected abstract sealRest(plain: Uint8Array, parts: Uint8Array[]): void;
  protected abstract startOpening(peerSalt: Uint8Array): void;
  protected abstract openRest(plain: Uint8Array[]): void;
  /** After the salt: something that was opened announces more. */
  protected abstract midChunk(): boolean;

  /** The first error stays. A stranger's (thrown by `check`) ends the codec too. */
  #guard(run: () => Uint8Array): Uint8Array {
    if (this.#error !== null) throw this.#error;
    if (this.#busy) throw cipherError('CIPHER_MOVED');
    this.#busy = true;
    let done = false;
    try {
      const result = run();
      done = true;
      return result;
    } catch (error) {
      if (isCoded(error)) this.#error = error;
      throw error;
    } finally {
      this.#busy = false;
      if (!done) this.#error ??= cipherError('CIPHER_MOVED');
    }
  }
}

function isCoded(error: unknown): error is NekitError {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('CIPHER_');
}

/** One array of all; a single one is not copied. */
function joined(parts: readonly Uint8Array[]): Uint8Array {
  return parts.length === 1 ? (parts[0] ?? NOTHING) : Uint8Array.from(Buffer.concat(parts));
}

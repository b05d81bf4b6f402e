/**
 * Packets of the methods that know no sessions. Read first: SIP004 and SIP007 for AEAD; stream ciphers and `none` are older than any SIP.
 *
 *   aead     salt | sealed address and data | tag       a key for each packet, nonce 0
 *   stream   IV   | enciphered address and data
 *   none            address and data
 *
 * Nothing in these formats tells a packet that is sent again from a new one, nor a server's from a client's.
 */
import { type Ciphers, type PacketAead, STREAM_METHODS, type StreamMethod, TAG_LENGTH } from '@nekit/core';
import { isPlain, type Secret } from '../method.js';
import { RandomBytes } from './random.js';

/** What goes around address and data. */
export interface Envelope {
  /** Bytes in front of them, and behind. */
  readonly front: number;
  readonly back: number;
  /** Seals what lies at `bytes[start, end)`, in place: `front` bytes before it and `back` bytes behind it are written too. */
  seal(bytes: Uint8Array, start: number, end: number): void;
  /** Address and data of the packet at `packet[start, end)`, to `out` from `at`: how many bytes they are, -1 if it is none of ours. */
  open(packet: Uint8Array, start: number, end: number, out: Uint8Array, at: number): number;
}

export function envelopeOf(ciphers: Ciphers, secret: Secret): Envelope {
  const { method, keys } = secret;
  const key = keys[0] ?? new Uint8Array(0);
  if (method.family === 'aead') return new AeadEnvelope(ciphers.createPacketAead(method.cipher, key), method.keyLength);
  if (method.family === '2022') throw new RangeError(`${method.name} has sessions`);
  return isPlain(method) ? new NoEnvelope() : new StreamEnvelope(ciphers, method.cipher, key);
}

class AeadEnvelope implements Envelope {
  readonly front: number;
  readonly back = TAG_LENGTH;
  readonly #packets: PacketAead;

  constructor(packets: PacketAead, saltLength: number) {
    this.#packets = packets;
    this.front = saltLength;
  }

  seal(bytes: Uint8Array, start: number, end: number): void {
    this.#packets.seal(bytes, start, end, bytes, start - this.front);
  }

  open(packet: Uint8Array, start: number, end: number, out: Uint8Array, at: number): number {
    return this.#packets.open(packet, start, end, out, at);
  }
}

class StreamEnvelope implements Envelope {
  readonly front: number;
  readonly back = 0;
  readonly #ciphers: Ciphers;
  readonly #method: StreamMethod;
  readonly #key: Uint8Array;
  readonly #iv: Uint8Array;
  readonly #random = new RandomBytes();

  constructor(ciphers: Ciphers, method: StreamMethod, key: Uint8Array) {
    this.#ciphers = ciphers;
    this.#method = method;
    this.#key = key;
    this.front = STREAM_METHODS[method].iv;
    this.#iv = new Uint8Array(this.front);
  }

  seal(bytes: Uint8Array, start: number, end: number): void {
    this.#random.fill(bytes, start - this.front, this.front);
    this.#iv.set(bytes.subarray(start - this.front, start));
    this.#ciphers.createStreamCipher(this.#method, this.#key, this.#iv, 'encrypt').process(bytes, start, end, bytes, start);
  }

  open(packet: Uint8Array, start: number, end: number, out: Uint8Array, at: number): number {
    const from = start + this.front;
    if (from > end) return -1;
    this.#iv.set(packet.subarray(start, from));
    this.#ciphers.createStreamCipher(this.#method, this.#key, this.#iv, 'decrypt').process(packet, from, end, out, at);
    return end - from;
  }
}

class NoEnvelope implements Envelope {
  readonly front = 0;
  readonly back = 0;

  seal(): void {}

  open(packet: Uint8Array, start: number, end: number, out: Uint8Array, at: number): number {
    out.set(packet.subarray(start, end), at);
    return end - start;
  }
}

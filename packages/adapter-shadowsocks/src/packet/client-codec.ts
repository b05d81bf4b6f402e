import { type Aead, type Ciphers, type Datagram, type Endpoint, TAG_LENGTH } from '@nekit/core';
import type { Secret } from '../method.js';
import { type Envelope, envelopeOf } from './envelope.js';
import { type BodyCiphers, bodyCipher, CHACHA, PacketOpener, type SealerSpec, type SessionSealer, sessionSealer } from './envelope-2022.js';
import { FROM_CLIENT, FROM_SERVER, mainHeaderLength, readMainHeader, writeMainHeader } from './main-header.js';
import { longestAround, PeerAddresses, PeerTable } from './peers.js';
import { paddingFor, RandomBytes } from './random.js';
import { SlidingWindow } from './sliding-window.js';

/** Between the datagrams of one association and its packets, at a client. */
export interface ClientCodec {
  /** Bytes that a packet with such a payload takes at most. */
  room(payload: number): number;
  /** Writes the packet to `out` from `at`, where there is so much room. Its length; -1: the peer cannot be written down. */
  seal(peer: Endpoint, payload: Uint8Array, out: Uint8Array, at: number): number;
  /** What a packet of the server holds, as bytes of `out` from `at`, where there is room for as many as the packet has. null: it is none that could be believed. */
  open(packet: Uint8Array, out: Uint8Array, at: number): Datagram | null;
}

/** Times in ms: `monotonic` for what has to last, `wall` for what the other end is told. */
export interface Now {
  monotonic(): number;
  wall(): number;
}

/** `maxPackets`: after so many the session is a new one. */
export function clientPacketCodec(ciphers: Ciphers, secret: Secret, now: Now, maxPackets?: number): ClientCodec {
  const { method, keys } = secret;
  return method.family === '2022'
    ? new Client2022(ciphers, { method: method.cipher, keys, ...(maxPackets === undefined ? {} : { maxPackets }) }, now)
    : new EnvelopeClient(envelopeOf(ciphers, secret));
}

class EnvelopeClient implements ClientCodec {
  readonly #envelope: Envelope;
  readonly #peers = new PeerTable();
  readonly #addresses = new PeerAddresses();

  constructor(envelope: Envelope) {
    this.#envelope = envelope;
  }

  room(payload: number): number {
    return longestAround(payload) + this.#envelope.front + this.#envelope.back;
  }

  seal(peer: Endpoint, payload: Uint8Array, out: Uint8Array, at: number): number {
    return sealEnvelope(this.#envelope, this.#addresses.of(peer), payload, out, at);
  }

  open(packet: Uint8Array, out: Uint8Array, at: number): Datagram | null {
    const length = this.#envelope.open(packet, 0, packet.length, out, at);
    const found = length < 0 ? null : this.#peers.find(out, at, at + length);
    return found === null ? null : { bytes: out.subarray(found.end, at + length), peer: found.peer };
  }
}

/** The length of the packet, -1 if there is no address. */
export function sealEnvelope(envelope: Envelope, address: Uint8Array | null, payload: Uint8Array, out: Uint8Array, at: number): number {
  if (address === null) return -1;
  const start = at + envelope.front;
  const end = start + address.length + payload.length;
  out.set(address, start);
  out.set(payload, start + address.length);
  envelope.seal(out, start, end);
  return end + envelope.back - at;
}

/** A session of the server's, as long as packets of it may come. */
interface ServerSession {
  readonly key: string;
  readonly body: Aead | null;
  readonly window: SlidingWindow;
  heardAt: number;
}

/** A server that has started again has a new session. Another one is believed when nothing has come of the one before for so long, in ms (SIP022 section 3.2.4). */
const OLD_SESSION = 60_000;

class Client2022 implements ClientCodec, BodyCiphers {
  readonly #ciphers: Ciphers;
  readonly #spec: SealerSpec;
  readonly #userKey: Uint8Array;
  readonly #now: Now;
  readonly #peers = new PeerTable();
  readonly #addresses = new PeerAddresses();
  readonly #opener: PacketOpener;
  readonly #random = new RandomBytes();
  #sealer: SessionSealer;
  #current: ServerSession | null = null;
  #old: ServerSession | null = null;
  /** Of a packet that may still turn out to be garbage. */
  #candidate: ServerSession | null = null;

  constructor(ciphers: Ciphers, spec: SealerSpec, now: Now) {
    const userKey = spec.keys.at(-1) ?? new Uint8Array(0);
    this.#ciphers = ciphers;
    this.#spec = spec;
    this.#userKey = userKey;
    this.#now = now;
    this.#opener = new PacketOpener(ciphers, spec.method, userKey, []);
    this.#sealer = sessionSealer(ciphers, spec, this.#random);
  }

  room(payload: number): number {
    return longestAround(payload) + this.#sealer.front + mainHeaderLength(FROM_CLIENT) + TAG_LENGTH;
  }

  seal(peer: Endpoint, payload: Uint8Array, out: Uint8Array, at: number): number {
    const address = this.#addresses.of(peer);
    if (address === null) return -1;
    const start = at + this.#sealer.front;
    const padding = paddingFor(peer.port, payload.length);
    let end = writeMainHeader(out, start, FROM_CLIENT, this.#seconds(), null, padding);
    out.set(address, end);
    end += address.length;
    out.set(payload, end);
    end += payload.length;
    if (!this.#sealer.seal(out, start, end)) {
      this.#renew();
      this.#sealer.seal(out, start, end);
    }
    return end + TAG_LENGTH - at;
  }

  open(packet: Uint8Array, out: Uint8Array, at: number): Datagram | null {
    const opener = this.#opener;
    const length = opener.open(packet, 0, packet.length, this, out, at);
    if (length < 0) return null;
    const session = this.#sessionOf(opener.session, opener.sessionId);
    if (session === null || !session.window.accepts(opener.packetHigh, opener.packetLow)) return null;
    const address = readMainHeader(out, at, at + length, FROM_SERVER, this.#seconds(), this.#sealer.sessionId);
    const found = address < 0 ? null : this.#peers.find(out, address, at + length);
    if (found === null) return null;
    session.window.add(opener.packetHigh, opener.packetLow);
    session.heardAt = this.#now.monotonic();
    if (session !== this.#current && session !== this.#old) {
      this.#old = this.#current;
      this.#current = session;
    }
    this.#candidate = null;
    return { bytes: out.subarray(found.end, at + length), peer: found.peer };
  }

  of(session: string, sessionId: Uint8Array): Aead | null {
    return this.#sessionOf(session, sessionId)?.body ?? null;
  }

  /** One that we know, or one that might become known; null: none that could be believed now. */
  #sessionOf(key: string, sessionId: Uint8Array): ServerSession | null {
    if (this.#current?.key === key) return this.#current;
    if (this.#old?.key === key) return this.#old;
    if (this.#candidate?.key === key) return this.#candidate;
    if (this.#old !== null && this.#now.monotonic() - this.#old.heardAt < OLD_SESSION) return null;
    const body = this.#spec.method === CHACHA ? null : bodyCipher(this.#ciphers, this.#spec.method, this.#userKey, sessionId);
    this.#candidate = { key, body, window: new SlidingWindow(), heardAt: 0 };
    return this.#candidate;
  }

  /** What the server sends to the old session is refused from here on, so nothing of it has to be remembered. */
  #renew(): void {
    this.#sealer = sessionSealer(this.#ciphers, this.#spec, this.#random);
    this.#current = null;
    this.#old = null;
  }

  #seconds(): number {
    return Math.floor(this.#now.wall() / 1000);
  }
}

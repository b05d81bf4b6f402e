import { createHash } from 'node:crypto';
import { type Aead, type Ciphers, type Endpoint, type Method2022, TAG_LENGTH } from '@nekit/core';
import type { Secret } from '../method.js';
import { type Now, sealEnvelope } from './client-codec.js';
import { type Envelope, envelopeOf } from './envelope.js';
import { type BodyCiphers, bodyCipher, CHACHA, NO_USER, PacketOpener, type SealerSpec, type SessionSealer, sessionSealer } from './envelope-2022.js';
import { FROM_CLIENT, FROM_SERVER, mainHeaderLength, readMainHeader, writeMainHeader } from './main-header.js';
import { longestAround, PeerAddresses, PeerTable } from './peers.js';
import { paddingFor, RandomBytes } from './random.js';
import { type SeenSession, SeenSessions } from './seen-sessions.js';

/** One client's association, as packets know it. */
export interface CodecSession {
  /** Bytes that a packet with such a payload takes at most. */
  room(payload: number): number;
  /** Writes a packet for the client to `out` from `at`, where there is so much room; `peer` is where the payload came from. Its length; -1: the peer cannot be written down. */
  seal(peer: Endpoint, payload: Uint8Array, out: Uint8Array, at: number): number;
}

/** What a packet held, after everything about it was found good. */
export interface OpenedPacket {
  /** Names the association: packets with one key are one client's. */
  readonly key: string;
  readonly session: CodecSession;
  /** Index of the user; NO_USER where there are none. */
  readonly user: number;
  readonly peer: Endpoint;
  readonly bytes: Uint8Array;
}

/** Between the packets of all clients and their datagrams, at a server. */
export interface ServerCodec {
  /**
   * The packet at `packet[start, end)`, which came from `source`; its payload goes to `out` from `at`, where there is room for as many bytes as the packet has.
   * null: it is none that could be believed, and nothing has changed.
   */
  open(packet: Uint8Array, start: number, end: number, source: string, out: Uint8Array, at: number): OpenedPacket | null;
  /** The association has ended. */
  forget(key: string): void;
  /** Packets that were refused because too many sessions of their user had ended to tell repeated ones from new ones. */
  readonly refused: number;
}

/** `users`: keys behind ours, in identity headers. `seen`: what is known of sessions at other listeners, and from before a reload. */
export function serverPacketCodec(
  ciphers: Ciphers,
  secret: Secret,
  users: readonly Uint8Array[],
  now: Now,
  seen = new SeenSessions(() => now.monotonic()),
): ServerCodec {
  const { method, keys } = secret;
  return method.family === '2022' ? new Server2022(ciphers, method.cipher, keys, users, now, seen) : new EnvelopeServer(envelopeOf(ciphers, secret));
}

/** The client is who sends from one address and port: the format knows nothing better. */
class EnvelopeServer implements ServerCodec {
  readonly refused = 0;
  readonly #envelope: Envelope;
  readonly #sessions = new Map<string, EnvelopeSession>();

  constructor(envelope: Envelope) {
    this.#envelope = envelope;
  }

  open(packet: Uint8Array, start: number, end: number, source: string, out: Uint8Array, at: number): OpenedPacket | null {
    const length = this.#envelope.open(packet, start, end, out, at);
    if (length < 0) return null;
    const known = this.#sessions.get(source);
    const session = known ?? new EnvelopeSession(this.#envelope);
    const found = session.peers.find(out, at, at + length);
    if (found === null) return null;
    if (known === undefined) this.#sessions.set(source, session);
    return { key: source, session, user: NO_USER, peer: found.peer, bytes: out.subarray(found.end, at + length) };
  }

  forget(key: string): void {
    this.#sessions.delete(key);
  }
}

class EnvelopeSession implements CodecSession {
  readonly peers = new PeerTable();
  readonly #addresses = new PeerAddresses();
  readonly #envelope: Envelope;

  constructor(envelope: Envelope) {
    this.#envelope = envelope;
  }

  room(payload: number): number {
    return longestAround(payload) + this.#envelope.front + this.#envelope.back;
  }

  seal(peer: Endpoint, payload: Uint8Array, out: Uint8Array, at: number): number {
    return sealEnvelope(this.#envelope, this.#addresses.of(peer), payload, out, at);
  }
}

/** The client is who has a session's id and can seal with it, wherever the packets come from. */
class Server2022 implements ServerCodec, BodyCiphers {
  readonly #ciphers: Ciphers;
  readonly #method: Method2022;
  readonly #key: Uint8Array;
  readonly #users: readonly Uint8Array[];
  /** What stands for the key of each user, ours where there are none: a hash, so that no key lies about. */
  readonly #names: readonly string[];
  readonly #now: Now;
  readonly #seen: SeenSessions;
  readonly #opener: PacketOpener;
  readonly #random = new RandomBytes();
  readonly #sessions = new Map<string, Session2022>();
  #candidate: Aead | null = null;
  refused = 0;

  constructor(ciphers: Ciphers, method: Method2022, keys: readonly Uint8Array[], users: readonly Uint8Array[], now: Now, seen: SeenSessions) {
    const key = keys[0] ?? new Uint8Array(0);
    this.#ciphers = ciphers;
    this.#method = method;
    this.#key = key;
    this.#users = users;
    this.#names = (users.length === 0 ? [key] : users).map((user) => createHash('sha256').update(user).digest('base64'));
    this.#now = now;
    this.#seen = seen;
    this.#opener = new PacketOpener(ciphers, method, key, users);
  }

  open(packet: Uint8Array, start: number, end: number, _source: string, out: Uint8Array, at: number): OpenedPacket | null {
    const opener = this.#opener;
    const length = opener.open(packet, start, end, this, out, at);
    if (length < 0) return null;
    const { session: key, packetHigh, packetLow } = opener;
    const known = this.#sessions.get(key);
    if (known !== undefined && !known.seen.window.accepts(packetHigh, packetLow)) return null;
    const address = readMainHeader(out, at, at + length, FROM_CLIENT, this.#seconds(), null);
    if (address < 0) return null;
    const session = known ?? this.#begin();
    if (session === null || !session.seen.window.accepts(packetHigh, packetLow)) return null;
    const found = session.peers.find(out, address, at + length);
    if (found === null) return null;
    session.seen.window.add(packetHigh, packetLow);
    if (known === undefined) {
      this.#sessions.set(key, session);
      this.#seen.hold(session.seen);
    }
    return { key, session, user: opener.user, peer: found.peer, bytes: out.subarray(found.end, at + length) };
  }

  forget(key: string): void {
    const session = this.#sessions.get(key);
    if (session === undefined) return;
    this.#sessions.delete(key);
    this.#seen.release(session.seen);
  }

  of(session: string, sessionId: Uint8Array, user: number): Aead | null {
    const known = this.#sessions.get(session);
    if (known !== undefined) return known.body;
    const key = this.#keyOf(user);
    this.#candidate = key === null ? null : bodyCipher(this.#ciphers, this.#method, key, sessionId);
    return this.#candidate;
  }

  /** A session that is new, or that had ended and goes on: what was seen of it is still refused. */
  #begin(): Session2022 | null {
    const { sessionId, user } = this.#opener;
    const userKey = this.#keyOf(user);
    const name = this.#names[user === NO_USER ? 0 : user];
    if (userKey === null || name === undefined) return null;
    const seen = this.#seen.find(name, Buffer.from(sessionId).toString('latin1'), this.#names.length);
    if (seen === null) {
      this.refused++;
      return null;
    }
    const body = this.#method === CHACHA ? null : this.#candidate;
    const clientId = Uint8Array.from(sessionId);
    const sealer = (): SessionSealer => sealerBeside(this.#ciphers, { method: this.#method, keys: [userKey] }, this.#random, clientId);
    return new Session2022(clientId, body, seen, sealer, () => this.#seconds());
  }

  #keyOf(user: number): Uint8Array | null {
    return user === NO_USER ? this.#key : (this.#users[user] ?? null);
  }

  #seconds(): number {
    return Math.floor(this.#now.wall() / 1000);
  }
}

/** Servers must not use a client's session id as their own (SIP022 section 3.2.2). */
function sealerBeside(ciphers: Ciphers, spec: SealerSpec, random: RandomBytes, clientId: Uint8Array): SessionSealer {
  for (;;) {
    const sealer = sessionSealer(ciphers, spec, random);
    if (Buffer.compare(sealer.sessionId, clientId) !== 0) return sealer;
  }
}

class Session2022 implements CodecSession {
  readonly peers = new PeerTable();
  readonly seen: SeenSession;
  /** null: the method seals all sessions with one key. */
  readonly body: Aead | null;
  readonly #addresses = new PeerAddresses();
  readonly #clientId: Uint8Array;
  readonly #makeSealer: () => SessionSealer;
  readonly #seconds: () => number;
  /** Made for the first answer. */
  #sealer: SessionSealer | null = null;

  constructor(clientId: Uint8Array, body: Aead | null, seen: SeenSession, makeSealer: () => SessionSealer, seconds: () => number) {
    this.#clientId = clientId;
    this.body = body;
    this.seen = seen;
    this.#makeSealer = makeSealer;
    this.#seconds = seconds;
  }

  room(payload: number): number {
    this.#sealer ??= this.#makeSealer();
    return longestAround(payload) + this.#sealer.front + mainHeaderLength(FROM_SERVER) + TAG_LENGTH;
  }

  seal(peer: Endpoint, payload: Uint8Array, out: Uint8Array, at: number): number {
    const address = this.#addresses.of(peer);
    if (address === null) return -1;
    this.#sealer ??= this.#makeSealer();
    const start = at + this.#sealer.front;
    let end = writeMainHeader(out, start, FROM_SERVER, this.#seconds(), this.#clientId, paddingFor(peer.port, payload.length));
    out.set(address, end);
    end += address.length;
    out.set(payload, end);
    end += payload.length;
    if (!this.#sealer.seal(out, start, end)) {
      this.#sealer = this.#makeSealer();
      this.#sealer.seal(out, start, end);
    }
    return end + TAG_LENGTH - at;
  }
}

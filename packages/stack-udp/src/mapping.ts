import {
  addressFamily,
  BoundedMap,
  type Datagram,
  type Endpoint,
  type NetError,
  type PacketConn,
  PacketQueue,
  parseAddress,
  type SharedBound,
} from '@nekit/core';
import { copyOf, isHostAddress, type PacketBatch, UDP_HEADER } from '@nekit/core/ip';
import { type AddressKey, endpointAt, keyAt, quotation, sourceOf } from './nat-table.js';
import type { UdpWriter } from './udp-writer.js';

/** Remotes of one client port that are remembered; the one that came first goes first, and costs one more object when it comes again. */
const MOST_PEERS = 1024;

/** Datagrams that wait for whoever carries them. */
const MOST_WAITING = 512;

/** Remotes whose last datagram's headers are kept, for an ICMP message: the one that was asked first goes first, and is answered from its next datagram on. */
const MOST_QUOTES = 16;

/** Remotes whose next headers are to be kept: of more at once most would push each other out. */
const MOST_MISSED = 64;

/** How often use renews a port's place in the order of use, in ms. */
const RENEWAL = 50;

/** Of headers that are kept, in bytes: IPv6 extension headers can be long, and what is kept has a bound. */
const MOST_HEADERS = 128;

const NO_BYTES = new Uint8Array();

const DNS_PORT = 53;

/** What all mappings hold together. */
export interface MappingBounds {
  /** Bytes of datagrams. */
  readonly waiting: SharedBound;
  readonly peers: SharedBound;
}

/** Who keeps the mappings. */
export interface MappingHost {
  closed(mapping: Mapping): void;
  /** It was used, either way; not told each time. */
  used(mapping: Mapping): void;
}

/** A client's port, and everything that it talks to (RFC 4787: endpoint-independent mapping and filtering). */
export class Mapping implements PacketConn {
  readonly key: AddressKey;
  readonly source: Endpoint;
  readonly givesBytes = true;
  /** The client's address, 4 or 16 bytes. */
  readonly address: Uint8Array;
  readonly version: 4 | 6;
  error: NetError | null = null;
  /** When a datagram last went either way. */
  activeAt: number;
  /** It has only asked name servers: such a port is used once. */
  onlyDns = true;
  readonly #writer: UdpWriter;
  readonly #host: MappingHost;
  #renewedAt: number;
  /** Its first packet, as much as an ICMP message quotes, until something has come back. Of others the headers do: a client tells by them whose it is (RFC 792). */
  #first: { readonly peer: Endpoint; readonly packet: Uint8Array } | null;
  /** The last headers that went to a remote. */
  readonly #quotes = new BoundedMap<Endpoint, Uint8Array>(MOST_QUOTES);
  /** Refused when nothing was kept of them any more: the next datagram's are. Apart, so that they do not push out what is still to be asked for. */
  readonly #missed = new Set<Endpoint>();
  readonly #all: SharedBound;
  readonly #received: PacketQueue;
  readonly #peers: BoundedMap<AddressKey, Endpoint>;
  readonly #addresses = new WeakMap<Endpoint, Uint8Array>();
  #lastKey: AddressKey = -1;
  #lastPeer: Endpoint | null = null;
  #closed = false;

  constructor(key: AddressKey, batch: PacketBatch, index: number, now: number, writer: UdpWriter, bounds: MappingBounds, host: MappingHost) {
    const { bytes } = batch;
    const at = sourceOf(batch, index);
    this.version = batch.version[index] === 4 ? 4 : 6;
    this.key = key;
    this.source = endpointAt(bytes, this.version, at, batch.transport[index] ?? 0);
    this.address = copyOf(bytes, at, at + (this.version === 4 ? 4 : 16));
    this.activeAt = now;
    this.#renewedAt = now;
    this.#peers = new BoundedMap(MOST_PEERS, bounds.peers);
    this.#first = { peer: this.peerOf(batch, index), packet: quotation(batch, index) };
    this.#writer = writer;
    this.#all = bounds.waiting;
    this.#received = new PacketQueue(MOST_WAITING, bounds.waiting);
    this.#host = host;
  }

  /** Takes the datagrams of a packet, copied; false: nobody fetches them fast enough. */
  take(batch: PacketBatch, index: number, now: number): boolean {
    const { bytes } = batch;
    const peer = this.peerOf(batch, index);
    const payload = batch.payload[index] ?? 0;
    const end = batch.end[index] ?? 0;
    this.#used(now);
    this.#quote(peer, batch, index);
    if (peer.port !== DNS_PORT) this.onlyDns = false;
    const size = batch.segmentSize[index] ?? 0;
    // All or nothing, and before the copy: each part of a super-packet keeps the whole.
    if (!this.#received.isAwaited && this.#all.now + end - payload > this.#all.most) return false;
    const copy = Buffer.allocUnsafe(end - payload);
    copy.set(bytes.subarray(payload, end));
    if (size === 0 || copy.length <= size) return this.#received.put({ bytes: copy, peer });
    const datagrams: Datagram[] = [];
    for (let at = 0; at < copy.length; at += size) datagrams.push({ bytes: copy.subarray(at, at + size), peer });
    return this.#received.putAll(datagrams) === datagrams.length;
  }

  #used(now: number): void {
    this.activeAt = now;
    if (now - this.#renewedAt > RENEWAL) this.renew();
  }

  /** Puts it where it belongs in the order of use; false: it has not been used since it was put there. */
  renew(): boolean {
    if (this.activeAt <= this.#renewedAt) return false;
    this.#renewedAt = this.activeAt;
    this.#host.used(this);
    return true;
  }

  /** What an ICMP message about the last datagram to this remote quotes; null: nothing is kept of it. Without a remote: of the first datagram. */
  quotationOf(peer: Endpoint | undefined): Uint8Array | null {
    const first = this.#first;
    if (first !== null && (peer === undefined || peer === first.peer)) {
      this.#first = null; // long, and its headers are kept
      return first.packet;
    }
    if (peer === undefined) return null;
    const quote = this.#quotes.get(peer);
    if (quote === undefined) {
      if (this.#missed.size >= MOST_MISSED) this.#missed.clear(); // remotes that are forgotten here may be among them
      this.#missed.add(peer);
    }
    return quote === undefined || quote.length === 0 ? null : quote;
  }

  #quote(peer: Endpoint, batch: PacketBatch, index: number): void {
    if (this.#missed.size > 0 && this.#missed.delete(peer)) this.#keepQuote(peer, NO_BYTES);
    const known = this.#quotes.get(peer);
    if (known === undefined) return;
    const start = batch.start[index] ?? 0;
    const end = Math.min((batch.transport[index] ?? 0) + UDP_HEADER, start + MOST_HEADERS);
    if (known.length === end - start) known.set(batch.bytes.subarray(start, end));
    else this.#quotes.set(peer, copyOf(batch.bytes, start, end));
  }

  #keepQuote(peer: Endpoint, quote: Uint8Array): void {
    this.#quotes.set(peer, quote);
  }

  /** Whether the packet's remote was sent to before. */
  knows(batch: PacketBatch, index: number): boolean {
    const key = keyAt(batch.bytes, this.version, sourceOf(batch, index) + this.address.length, (batch.transport[index] ?? 0) + 2);
    return key === this.#lastKey || this.#peers.has(key);
  }

  peerOf(batch: PacketBatch, index: number): Endpoint {
    const at = sourceOf(batch, index) + this.address.length;
    const port = (batch.transport[index] ?? 0) + 2;
    const key = keyAt(batch.bytes, this.version, at, port);
    if (key === this.#lastKey && this.#lastPeer !== null) return this.#lastPeer;
    let peer = this.#peers.get(key);
    if (peer === undefined) {
      peer = endpointAt(batch.bytes, this.version, at, port);
      this.#peers.set(key, peer);
      this.#keepQuote(peer, NO_BYTES);
    }
    this.#lastKey = key;
    this.#lastPeer = peer;
    return peer;
  }

  receive(): Promise<readonly Datagram[] | null> {
    return this.#received.take();
  }

  send(datagrams: readonly Datagram[]): number {
    if (this.#closed) return 0;
    if (this.source.port === 0) {
      this.#writer.dropped += datagrams.length; // its client expects no reply (RFC 768)
      return 0;
    }
    this.#first = null;
    this.#used(this.#writer.now());
    let taken = 0;
    for (let i = 0; i < datagrams.length; ) {
      const run = runLength(datagrams, i, this.#writer.longestRun);
      const from = datagrams[i]?.peer;
      const address = from === undefined ? null : this.#addressOf(from);
      if (from !== undefined && this.#quotes.size > 0) this.#quotes.delete(from); // it is carried
      if (from !== undefined && address !== null) taken += this.#writer.write(this, address, from.port, datagrams, i, i + run);
      i += run;
    }
    return taken;
  }

  close(error?: NetError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.error = error ?? null;
    this.#received.end();
    this.#peers.clear();
    this.#host.closed(this);
  }

  /**
   * The bytes of a remote's address; null for one of the other family, or that no packet comes from: a proxy can name any remote as the sender, and a client must not see it say that
   * something came from itself, from its loopback or from a group.
   */
  #addressOf(peer: Endpoint): Uint8Array | null {
    const known = this.#addresses.get(peer);
    if (known !== undefined) return known;
    const address = peer.port !== 0 && addressFamily(peer.host) === this.version ? parseAddress(peer.host) : null;
    if (address === null || !isHostAddress(address, 0, this.version) || Buffer.compare(address, this.address) === 0) return null;
    this.#addresses.set(peer, address);
    return address;
  }
}

/** Linux refuses to cut a datagram into more than 128 (UDP_MAX_SEGMENTS), 64 before 6.10. */
const MOST_IN_RUN = 64;

/** How many datagrams from `i` on can go as one super-packet: of one remote, and of one length but for a shorter last one. */
function runLength(datagrams: readonly Datagram[], i: number, most: number): number {
  const first = datagrams[i];
  if (first === undefined || first.bytes.length === 0) return 1;
  const size = first.bytes.length;
  let count = 1;
  let bytes = size;
  for (let next = datagrams[i + 1]; count < MOST_IN_RUN && next !== undefined && next.peer === first.peer; next = datagrams[i + count]) {
    bytes += next.bytes.length;
    if (next.bytes.length > size || next.bytes.length === 0 || bytes > most) break;
    count++;
    if (next.bytes.length < size) break;
  }
  return count;
}

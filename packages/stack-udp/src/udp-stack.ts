/**
 * UDP over a device of IP packets. Read first: RFC 768, RFC 4787 (behaviour of NATs), RFC 8085 section 5.2 (ICMP).
 *
 *   client's port ──> Mapping ──> handlePackets ──> rules, adapter by adapter
 *                 <──────────────────────────────── from whatever remote answers (full cone)
 *
 * A mapping ends when nothing has moved for long, when the least recently used has to make room, or with the kernel's own end of it.
 */
import { CancelSource, type Endpoint, type NetError, type PacketConn, type PacketRequest, type Session, type StackContext } from '@nekit/core';
import { ErrorRate, type Identifications, type IpStack, isHostPair, type PacketBatch, PROTOCOL, unreachable, writeFragments } from '@nekit/core/ip';
import { Mapping, type MappingBounds, type MappingHost } from './mapping.js';
import { type AddressKey, endpointAt, keyAt, quotation, sourceOf } from './nat-table.js';
import { UdpWriter } from './udp-writer.js';

export interface UdpLimits {
  /** Client ports at a time. */
  readonly mappings: number;
  /** Silence that ends a mapping, in ms (RFC 4787 REQ-5: 5 min recommended, 2 min at least). */
  readonly idle: number;
  /** The same for a port that has only asked name servers. */
  readonly dnsIdle: number;
  /** Bytes of datagrams that wait for whoever carries them, of all ports together. */
  readonly waiting: number;
  /** Remotes that are remembered, of all ports together; beyond it each port keeps its last few. */
  readonly peers: number;
}

export const DEFAULT_UDP_LIMITS: UdpLimits = { mappings: 8_192, idle: 300_000, dnsIdle: 10_000, waiting: 32 * 1024 * 1024, peers: 65_536 };

/** How often mappings are looked through, in ms. */
const SWEEP = 1_000;

/** ICMP messages that wait for the next flush, and per second. */
const MOST_ERRORS = 32;
const ERRORS_PER_SECOND = 100;

export interface UdpStackOptions {
  readonly context: Pick<StackContext, 'output' | 'handlePackets' | 'openSession'>;
  readonly identifications: Identifications;
  readonly limits?: UdpLimits;
}

export class UdpStack implements IpStack, MappingHost {
  readonly #options: UdpStackOptions;
  readonly #limits: UdpLimits;
  readonly #writer: UdpWriter;
  readonly #bounds: MappingBounds;
  /** The one that was used least recently comes first; what was used just now may still stand where it was. */
  readonly #mappings = new Map<AddressKey, Mapping>();
  #sweepAt = Number.POSITIVE_INFINITY;
  #errors: Uint8Array[] = [];
  readonly #errorRate = new ErrorRate(ERRORS_PER_SECOND, ERRORS_PER_SECOND);
  #closed = false;
  /** Packets that came from or went to what is no host, and datagrams that nobody fetched. */
  readonly dropped = { addresses: 0, full: 0 };

  constructor(options: UdpStackOptions) {
    this.#options = options;
    this.#limits = options.limits ?? DEFAULT_UDP_LIMITS;
    this.#bounds = { waiting: { now: 0, most: this.#limits.waiting }, peers: { now: 0, most: this.#limits.peers } };
    this.#writer = new UdpWriter(options.context.output, options.identifications);
  }

  /** Client ports. */
  get size(): number {
    return this.#mappings.size;
  }

  /** Bytes of datagrams that wait for whoever carries them. */
  get waiting(): number {
    return this.#bounds.waiting.now;
  }

  /** Remotes that are remembered. */
  get peers(): number {
    return this.#bounds.peers.now;
  }

  input(batch: PacketBatch, index: number): boolean {
    if (batch.protocol[index] !== PROTOCOL.udp) return false;
    if (this.#closed) return true; // the rest of a batch in which the kernel was stopped
    // To many, or from nobody: multicast and broadcast are not carried, and nothing is answered.
    if (!isHostPair(batch, index) || batch.destinationPort[index] === 0) {
      this.dropped.addresses++;
      return true;
    }
    const now = this.#options.context.output.now();
    const key = keyAt(batch.bytes, batch.version[index] ?? 0, sourceOf(batch, index), batch.transport[index] ?? 0);
    const known = this.#mappings.get(key);
    if (known !== undefined && !known.knows(batch, index) && this.#isNowhere(known, batch, index)) return true;
    const mapping = known ?? this.#begin(key, batch, index, now);
    if (!mapping.take(batch, index, now)) this.dropped.full++;
    if (known === undefined) this.#hand(mapping, batch, index);
    return true;
  }

  flush(now: number): void {
    if (this.#errors.length > 0) {
      const { context, identifications } = this.#options;
      for (const packet of this.#errors) writeFragments(context.output.sink, packet, 0, packet.length, identifications.next());
      this.#errors = [];
    }
    if (now < this.#sweepAt) return;
    this.#sweep(now);
    this.#sweepAt = this.#mappings.size === 0 ? Number.POSITIVE_INFINITY : now + SWEEP;
  }

  nextDeadline(): number {
    return this.#errors.length > 0 ? 0 : this.#sweepAt;
  }

  close(): void {
    this.#closed = true;
    for (const mapping of [...this.#mappings.values()]) mapping.close();
  }

  /** @internal a mapping ended */
  closed(mapping: Mapping): void {
    if (this.#mappings.get(mapping.key) === mapping) this.#mappings.delete(mapping.key);
  }

  /** @internal */
  used(mapping: Mapping): void {
    if (!this.#mappings.delete(mapping.key)) return;
    this.#mappings.set(mapping.key, mapping);
  }

  #begin(key: AddressKey, batch: PacketBatch, index: number, now: number): Mapping {
    if (this.#mappings.size >= this.#limits.mappings) this.#makeRoom();
    const mapping = new Mapping(key, batch, index, now, this.#writer, this.#bounds, this);
    this.#mappings.set(key, mapping);
    if (this.#sweepAt === Number.POSITIVE_INFINITY) this.#sweepAt = now + SWEEP;
    return mapping;
  }

  /** Ends the one that comes first and has not been used since it came to its place. Any other goes to the end first, once for as long as it is not used again: each step was paid by a datagram. */
  #makeRoom(): void {
    for (const oldest of this.#mappings.values()) {
      if (oldest.renew()) continue;
      oldest.close();
      return;
    }
  }

  /** A further remote of a port that is an address which stands for nothing: refused, as it would be if it were the first. */
  #isNowhere({ source, version }: Mapping, batch: PacketBatch, index: number): boolean {
    const { bytes } = batch;
    const transport = batch.transport[index] ?? 0;
    const remote = endpointAt(bytes, version, sourceOf(batch, index) + (version === 4 ? 4 : 16), transport + 2);
    if (this.#options.context.openSession('udp', source, remote, new CancelSource()) !== null) return false;
    this.#tellUnreachable(quotation(batch, index));
    return true;
  }

  #hand(mapping: Mapping, batch: PacketBatch, index: number): void {
    const { context } = this.#options;
    const session = context.openSession('udp', mapping.source, mapping.peerOf(batch, index), new CancelSource());
    if (session === null) {
      this.#refused(mapping);
      mapping.close();
      return;
    }
    void context.handlePackets(new MappingRequest(session, this.#limits.idle, mapping, (peer) => this.#refused(mapping, peer))).finally(() => mapping.close());
  }

  /** Without a peer: what its first datagram asked for. */
  #refused(mapping: Mapping, peer?: Endpoint): void {
    const quote = mapping.quotationOf(peer);
    if (quote !== null) this.#tellUnreachable(quote);
  }

  #tellUnreachable(packet: Uint8Array): void {
    const { output } = this.#options.context;
    if (this.#closed || this.#errors.length >= MOST_ERRORS || !this.#errorRate.take(output.now())) return;
    this.#errors.push(unreachable(packet, 0, packet.length, 'port'));
    output.wake();
  }

  #sweep(now: number): void {
    for (const mapping of [...this.#mappings.values()]) {
      const idle = mapping.onlyDns ? this.#limits.dnsIdle : this.#limits.idle;
      if (now - mapping.activeAt >= idle) mapping.close();
    }
  }
}

class MappingRequest implements PacketRequest {
  readonly session: Session;
  readonly idleMs: number;
  readonly #mapping: Mapping;
  readonly #refused: (peer?: Endpoint) => void;

  constructor(session: Session, idleMs: number, mapping: Mapping, refused: (peer?: Endpoint) => void) {
    this.session = session;
    this.idleMs = idleMs;
    this.#mapping = mapping;
    this.#refused = refused;
  }

  accept(): PacketConn {
    return this.#mapping;
  }

  reject(_error: NetError, peer?: Endpoint): void {
    this.#refused(peer);
  }
}

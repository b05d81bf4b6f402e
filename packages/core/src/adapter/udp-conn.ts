import { addressFamily } from '../net/address.js';
import type { SharedBound } from '../net/bounded-map.js';
import { type Cancel, CancelSource } from '../net/cancel.js';
import type { Endpoint } from '../net/endpoint.js';
import { NetError, toNetError } from '../net/errors.js';
import type { OwnEndpoints } from '../net/own-endpoints.js';
import type { Datagram, PacketConn } from '../net/packet-conn.js';
import { PacketQueue } from '../net/packet-queue.js';
import type { SocketOptions, Sockets } from '../net/sockets.js';
import { keepBatch, type UdpBatch, type UdpSocket } from '../net/udp.js';

/** Datagrams that wait for one name to resolve. */
const MAX_WAITING = 16;
/** Names that are being resolved at once, per association. */
const MAX_NAMES = 64;
/** Addresses that are known as names, and names that have an address, per association. */
const MAX_NAMED = 256;
/** Interfaces that one association may leave by, one after the other, each with a socket for a family. */
const MAX_BOUND = 16;
/** A socket that could not be opened is not tried again for this long, in ms: every datagram would be a try. */
const CLOSED_FOR = 1_000;

export interface UdpConnOptions {
  readonly own: OwnEndpoints;
  readonly sockets: Sockets;
  /** Where from; what the sockets cannot do is an error. */
  readonly from?: Pick<SocketOptions, 'mark' | 'device'>;
  /** The interface to leave by to an address, where `from` has none. */
  deviceFor?(address: string): string | undefined;
  /** Addresses of a name. Rejects with a NetError. `signal` fires when the association ends: it outlives its dial. */
  resolve(host: string, signal: Cancel): Promise<readonly string[]>;
  /** Those that may be used, the one to use first. */
  sort(addresses: readonly string[]): readonly string[];
  /** Bytes that wait for names, of all associations together. */
  readonly waiting: SharedBound;
  /** A clock, in ms. */
  now(): number;
}

/**
 * UDP sockets of the host, one per family (and interface, where that is chosen for them), made when first needed: the same local port for all peers (RFC 4787,
 * endpoint-independent).
 */
export class UdpConn implements PacketConn {
  readonly #options: UdpConnOptions;
  readonly #sockets: { 4: UdpSocket | null; 6: UdpSocket | null } = { 4: null, 6: null };
  /** Those of interfaces that `deviceFor` has named, by family and name. */
  readonly #bound = new Map<string, UdpSocket>();
  /** Those that could not be opened, by family and name of the interface, and until when. */
  readonly #unopened = new Map<string, number>();
  readonly #received = new PacketQueue();
  readonly #waiting = new Map<string, PacketQueue>();
  /** What was sent to as a name, by where that led. */
  readonly #named = new Map<string, Endpoint>();
  /** Which of its addresses a name has here: one, as long as it is among them. */
  readonly #chosen = new Map<string, string>();
  readonly #ended = new CancelSource();
  #error: NetError | null = null;
  /** Why there is no socket for what is being sent. */
  #openError: NetError | null = null;
  /** Datagrams that had been put and were not sent, until they are counted. */
  #refused = 0;
  #closed = false;
  /** Datagrams that were not sent: queue full, unresolved, refused. */
  dropped = 0;

  constructor(options: UdpConnOptions) {
    this.#options = options;
  }

  get error(): NetError | null {
    return this.#error;
  }

  receive(): Promise<readonly Datagram[] | null> {
    return this.#received.take();
  }

  send(datagrams: readonly Datagram[]): number {
    let taken = 0;
    for (const datagram of datagrams) if (this.#put(datagram)) taken++;
    taken -= this.#flush();
    this.dropped += datagrams.length - taken;
    return taken;
  }

  close(error?: NetError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#error = error ?? null;
    this.#sockets[4]?.close();
    this.#sockets[6]?.close();
    for (const socket of this.#bound.values()) socket.close();
    for (const queue of this.#waiting.values()) queue.end();
    this.#waiting.clear();
    this.#received.end();
    this.#ended.cancel(error ?? new NetError('aborted', 'the association was closed', { code: 'CLOSED' }));
  }

  #put({ bytes, peer, addresses, turn = 0 }: Datagram): boolean {
    if (this.#closed) return false;
    const family = addressFamily(peer.host);
    if (family !== 0) return this.#socketFor(peer.host, peer.port)?.put(bytes, 0, bytes.length, peer.host, peer.port) ?? this.#endIfUseless();
    // Judged: exactly these, and none at all if the name did not resolve. Asking again could give what the rules have not seen.
    if (addresses !== undefined) return this.#putToNamed(this.#options.sort(addresses), turn, peer, bytes);
    const known = this.#waiting.get(peer.host);
    if (known === undefined && this.#waiting.size >= MAX_NAMES) return false;
    const queue = known ?? new PacketQueue(MAX_WAITING, this.#options.waiting);
    if (!queue.put({ bytes: new Uint8Array(bytes), peer })) return false;
    if (known === undefined) {
      this.#waiting.set(peer.host, queue);
      void this.#resolveAndSend(peer.host);
    }
    return true;
  }

  async #resolveAndSend(host: string): Promise<void> {
    const found = await this.#options.resolve(host, this.#ended).catch(() => []); // UDP loses what it cannot deliver; counted below
    const sorted = this.#options.sort(found);
    const waiting = this.#waiting.get(host)?.takeNow() ?? [];
    this.#waiting.delete(host);
    for (const { bytes, peer } of waiting) if (this.#closed || !this.#putToNamed(sorted, 0, peer, bytes)) this.dropped++;
    this.dropped += this.#flush();
  }

  /** Sends what was put; how many of it were dropped. */
  #flush(): number {
    let dropped = this.#refused + (this.#sockets[4]?.flush() ?? 0) + (this.#sockets[6]?.flush() ?? 0);
    this.#refused = 0;
    for (const socket of this.#bound.values()) dropped += socket.flush();
    return dropped;
  }

  /** To the address that the name has here; where it has none yet, to the first that this machine has a way to (RFC 6724 section 5, rule 1). */
  #putToNamed(addresses: readonly string[], turn: number, peer: Endpoint, bytes: Uint8Array): boolean {
    const { host, port } = peer;
    const chosen = addresses.length === 1 ? addresses[0] : turn === 0 ? this.#chosen.get(host) : undefined;
    if (chosen !== undefined && addresses.includes(chosen)) {
      const socket = this.#socketFor(chosen, port);
      if (socket === null) return this.#endIfUseless();
      this.#name(chosen, peer);
      return socket.put(bytes, 0, bytes.length, chosen, port);
    }
    for (let i = 0; i < addresses.length; i++) {
      const address = addresses[(turn + i) % addresses.length] ?? '';
      const socket = this.#socketFor(address, port);
      if (socket === null) continue;
      this.#refused += socket.flush(); // or `send` would tell of those, too
      if (!socket.send(bytes, 0, bytes.length, address, port)) continue;
      this.#name(address, peer);
      if (turn > 0) return true;
      if (this.#chosen.size >= MAX_NAMED) this.#chosen.clear();
      this.#chosen.set(host, address);
      return true;
    }
    return this.#endIfUseless();
  }

  #name(address: string, peer: Endpoint): void {
    if (this.#named.size >= MAX_NAMED) this.#named.clear();
    this.#named.set(keyOf(address, peer.port), peer);
  }

  #receive(batch: UdpBatch): void {
    const datagrams = keepBatch(batch);
    this.#received.putAll(this.#named.size === 0 ? datagrams : datagrams.map((datagram) => this.#withName(datagram)));
  }

  #withName(datagram: Datagram): Datagram {
    const named = this.#named.get(keyOf(datagram.peer.host, datagram.peer.port));
    return named === undefined ? datagram : { ...datagram, named };
  }

  /** null: nothing is sent there. */
  #socketFor(address: string, port: number): UdpSocket | null {
    const family = addressFamily(address);
    if (family === 0 || port === 0 || this.#options.own.refuses('udp', address, port) !== null) return null;
    const device = this.#options.deviceFor?.(address);
    return device === undefined ? this.#socketOf(family) : this.#socketOn(family, device);
  }

  /** false. An association that has no socket at all ends where none can be opened. */
  #endIfUseless(): false {
    const error = this.#openError;
    this.#openError = null;
    if (error !== null && this.#sockets[4] === null && this.#sockets[6] === null && this.#bound.size === 0) this.close(error);
    return false;
  }

  #socketOf(family: 4 | 6): UdpSocket | null {
    this.#sockets[family] ??= this.#open(family);
    return this.#sockets[family];
  }

  #socketOn(family: 4 | 6, device: string): UdpSocket | null {
    const key = `${family} ${device}`;
    const known = this.#bound.get(key);
    if (known !== undefined) return known;
    if (this.#bound.size >= MAX_BOUND) return null;
    const socket = this.#open(family, { device });
    if (socket !== null) this.#bound.set(key, socket);
    return socket;
  }

  #open(family: 4 | 6, more: Pick<SocketOptions, 'device'> = {}): UdpSocket | null {
    const key = `${family} ${more.device ?? ''}`;
    if ((this.#unopened.get(key) ?? Number.NEGATIVE_INFINITY) > this.#options.now()) return null;
    try {
      return this.#options.sockets.bindUdp(
        { host: family === 4 ? '0.0.0.0' : '::', port: 0, ...this.#options.from, ...more },
        {
          received: (batch) => this.#receive(batch),
          lost: (datagrams) => {
            this.dropped += datagrams; // too long, no route: UDP's answer is silence
          },
          failed: (error) => this.close(error),
        },
      );
    } catch (error) {
      // No descriptors, a host without this family, or an interface that has gone: the datagram is lost, and who has another socket goes on with it.
      if (this.#unopened.size > MAX_BOUND) this.#unopened.clear();
      this.#unopened.set(key, this.#options.now() + CLOSED_FOR);
      this.#openError = toNetError(error);
      return null;
    }
  }
}

function keyOf(address: string, port: number): string {
  return `${address} ${port}`;
}

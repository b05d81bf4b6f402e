import dgram from 'node:dgram';
import { addressFamily, normaliseAddress } from '../net/address.js';
import type { Endpoint } from '../net/endpoint.js';
import { EndpointTable } from '../net/endpoint-table.js';
import { type NetError, toNetError } from '../net/errors.js';
import type { OwnEndpoints } from '../net/own-endpoints.js';
import type { Datagram, PacketConn } from '../net/packet-conn.js';
import { PacketQueue } from '../net/packet-queue.js';

/** What the kernel may hold for us before we drop, in bytes. */
const MAX_SEND_QUEUE = 1024 * 1024;
/** Datagrams that wait for one name to resolve. */
const MAX_WAITING = 16;
/** Names that are being resolved at once, per association. */
const MAX_NAMES = 64;

export interface UdpConnOptions {
  readonly own: OwnEndpoints;
  /** Addresses of a name. Rejects with a NetError. */
  resolve(host: string): Promise<readonly string[]>;
  /** Those that may be used, the one to use first. */
  sort(addresses: readonly string[]): readonly string[];
}

/** UDP sockets of the host, one per family, made when first needed: the same local port for all peers (RFC 4787, endpoint-independent). */
export class UdpConn implements PacketConn {
  readonly #options: UdpConnOptions;
  readonly #sockets: { 4: dgram.Socket | null; 6: dgram.Socket | null } = { 4: null, 6: null };
  readonly #received = new PacketQueue();
  readonly #peers = new EndpointTable();
  readonly #waiting = new Map<string, { bytes: Buffer; port: number }[]>();
  #error: NetError | null = null;
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
    for (const datagram of datagrams) if (this.#send(datagram)) taken++;
    this.dropped += datagrams.length - taken;
    return taken;
  }

  close(error?: NetError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#error = error ?? null;
    this.#sockets[4]?.close();
    this.#sockets[6]?.close();
    this.#waiting.clear();
    this.#received.end();
  }

  #send({ bytes, peer, addresses }: Datagram): boolean {
    if (this.#closed) return false;
    if (addressFamily(peer.host) !== 0) return this.#sendTo(peer.host, peer.port, Buffer.from(bytes));
    if (addresses !== undefined) {
      // Judged: exactly these, and none at all if the name did not resolve. Asking again could give what the rules have not seen.
      const [judged] = this.#options.sort(addresses);
      return judged !== undefined && this.#sendTo(judged, peer.port, Buffer.from(bytes));
    }
    const queue = this.#waiting.get(peer.host);
    if (queue !== undefined) {
      if (queue.length >= MAX_WAITING) return false;
      queue.push({ bytes: Buffer.from(bytes), port: peer.port });
      return true;
    }
    if (this.#waiting.size >= MAX_NAMES) return false;
    this.#waiting.set(peer.host, [{ bytes: Buffer.from(bytes), port: peer.port }]);
    void this.#resolveAndSend(peer.host);
    return true;
  }

  async #resolveAndSend(host: string): Promise<void> {
    const found = await this.#options.resolve(host).catch(() => []); // UDP loses what it cannot deliver; counted below
    const address = this.#options.sort(found)[0] ?? null;
    const queue = this.#waiting.get(host) ?? [];
    this.#waiting.delete(host);
    for (const { bytes, port } of queue) if (address === null || this.#closed || !this.#sendTo(address, port, bytes)) this.dropped++;
  }

  #sendTo(address: string, port: number, bytes: Buffer): boolean {
    if (port === 0 || this.#options.own.includes('udp', address, port)) return false;
    const socket = this.#socket(addressFamily(address) === 6 ? 6 : 4);
    if (socket.getSendQueueSize() > MAX_SEND_QUEUE) return false;
    socket.send(bytes, port, address, (error) => {
      if (error !== null) this.dropped++; // too long, no route: UDP's answer is silence
    });
    return true;
  }

  #socket(family: 4 | 6): dgram.Socket {
    const existing = this.#sockets[family];
    if (existing !== null) return existing;
    const socket = dgram.createSocket({ type: family === 4 ? 'udp4' : 'udp6', ipv6Only: family === 6, lookup: literalOnly });
    this.#sockets[family] = socket;
    socket.on('message', (bytes, from) => this.#received.put({ bytes, peer: this.#peer(from.address, from.port) }));
    socket.on('error', (error) => this.close(toNetError(error)));
    return socket;
  }

  #peer(address: string, port: number): Endpoint {
    return this.#peers.get(normaliseAddress(address) ?? address, port);
  }
}

/** Only addresses get here, and dgram would look each of them up. */
function literalOnly(hostname: string, _options: unknown, callback: (error: NodeJS.ErrnoException | null, address: string, family: number) => void): void {
  callback(null, hostname, addressFamily(hostname) === 6 ? 6 : 4);
}

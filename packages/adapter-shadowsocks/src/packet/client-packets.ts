import {
  addressFamily,
  type Ciphers,
  type Datagram,
  type DialOptions,
  type Endpoint,
  MAX_UDP_PAYLOAD,
  type NetError,
  type PacketConn,
  type PacketDialer,
  toNetError,
} from '@nekit/core';
import type { Secret } from '../method.js';
import { type ClientCodec, clientPacketCodec, type Now } from './client-codec.js';
import { Scratch } from './scratch.js';

/** What an association needs of its adapter. */
export interface PacketTarget {
  readonly secret: Secret;
  /** A name is left to the base to resolve. */
  readonly server: Endpoint;
  readonly ciphers: Ciphers;
  readonly now: Now;
}

/** One association through the server, to any peer. Rejects with a NetError and leaves nothing behind. */
export async function dialPackets(target: PacketTarget, base: PacketDialer, { session, signal }: DialOptions): Promise<PacketConn> {
  const { secret, server, ciphers, now } = target;
  let codec: ClientCodec;
  try {
    codec = clientPacketCodec(ciphers, secret, now);
  } catch (error) {
    throw toNetError(error, 'Shadowsocks'); // a cipher that this platform lacks
  }
  const socket = await base.dialPacket({ session, signal });
  if (signal.reason !== null) {
    socket.close();
    throw toNetError(signal.reason);
  }
  return new ClientPackets(socket, Object.freeze({ ...server }), codec);
}

/** Datagrams to and from any peer, in packets to and from one server. */
export class ClientPackets implements PacketConn {
  readonly #socket: PacketConn;
  readonly #server: Endpoint;
  readonly #codec: ClientCodec;
  readonly #sealed = new Scratch();
  readonly #plain = new Scratch();
  /**
   * The server as the socket knows it, once it has answered. A server that has a name is learned from the first packet that can be believed, and kept: packets then
   * go straight to that address, too.
   */
  #serverPeer: Endpoint | null = null;
  #closed = false;
  #error: NetError | null = null;
  /** Datagrams that were not taken on the way out: too long for one packet, a peer that cannot be written down, no room. */
  dropped = 0;
  /** Packets that were not from the server, or could not be believed: altered, old, seen before. */
  ignored = 0;

  /** `socket` belongs to it from here on. */
  constructor(socket: PacketConn, server: Endpoint, codec: ClientCodec) {
    this.#socket = socket;
    this.#server = server;
    this.#codec = codec;
  }

  get error(): NetError | null {
    return this.#error;
  }

  async receive(): Promise<readonly Datagram[] | null> {
    for (;;) {
      const packets = this.#closed ? null : await this.#socket.receive();
      if (packets === null) {
        this.#end(this.#socket.error);
        return null;
      }
      const datagrams = this.#open(packets);
      if (datagrams.length > 0) return datagrams;
    }
  }

  send(datagrams: readonly Datagram[]): number {
    const packets = this.#closed ? [] : this.#seal(datagrams);
    const taken = packets.length === 0 ? 0 : this.#socket.send(packets);
    this.dropped += datagrams.length - taken;
    return taken;
  }

  close(error?: NetError): void {
    this.#end(error ?? null);
  }

  #open(packets: readonly Datagram[]): Datagram[] {
    let room = 0;
    for (const { bytes } of packets) room += bytes.length;
    const out = this.#plain.room(room);
    const datagrams: Datagram[] = [];
    let at = 0;
    for (const { bytes, peer } of packets) {
      const datagram = this.#isServer(peer) ? this.#codec.open(bytes, out, at) : null;
      if (datagram === null) {
        this.ignored++;
        continue;
      }
      this.#serverPeer = peer;
      datagrams.push(datagram);
      at += bytes.length;
    }
    return datagrams;
  }

  /** All of them in one buffer, so that the socket gets them at once. */
  #seal(datagrams: readonly Datagram[]): Datagram[] {
    let room = 0;
    for (const { bytes } of datagrams) room += this.#codec.room(bytes.length);
    const out = this.#sealed.room(room);
    const server = this.#serverPeer ?? this.#server;
    const packets: Datagram[] = [];
    let at = 0;
    for (const { bytes, peer } of datagrams) {
      const length = this.#codec.seal(peer, bytes, out, at);
      if (length < 0 || length > MAX_UDP_PAYLOAD) continue;
      packets.push({ bytes: out.subarray(at, at + length), peer: server });
      at += length;
    }
    return packets;
  }

  #isServer(peer: Endpoint): boolean {
    const known = this.#serverPeer;
    if (peer === known) return true;
    const { host, port } = known ?? this.#server;
    return peer.port === port && (peer.host === host || addressFamily(host) === 0);
  }

  #end(error: NetError | null): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#error = error;
    this.#socket.close();
  }
}

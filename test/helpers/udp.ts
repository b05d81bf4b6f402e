import dgram from 'node:dgram';
import { type Endpoint, type Stream, StreamReader } from '@nekit/core';
import { eventually } from '@nekit/core/testing';
import { connectTo, type Login, socks5, socksAddress } from './apps.js';

/** A UDP socket on 127.0.0.1 and what it got. */
export class UdpPeer {
  readonly #socket: dgram.Socket;
  readonly port: number;
  readonly received: { readonly bytes: Buffer; readonly from: Endpoint }[] = [];

  private constructor(socket: dgram.Socket) {
    this.#socket = socket;
    this.port = socket.address().port;
    socket.on('message', (bytes, { address, port }) => this.received.push({ bytes, from: { host: address, port } }));
  }

  static open(): Promise<UdpPeer> {
    const socket = dgram.createSocket('udp4');
    return new Promise((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(0, '127.0.0.1', () => {
        socket.off('error', reject);
        socket.setRecvBufferSize(4 * 1024 * 1024); // what is lost here would look like the kernel's loss
        resolve(new UdpPeer(socket));
      });
    });
  }

  /** Sends everything back to where it came from. */
  static async echo(): Promise<UdpPeer> {
    const peer = await UdpPeer.open();
    peer.#socket.on('message', (bytes, { port }) => peer.send(bytes, port));
    return peer;
  }

  send(bytes: Uint8Array, port: number): void {
    this.#socket.send(bytes, port, '127.0.0.1');
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#socket.close(() => resolve()));
  }
}

/** An application that has a UDP association with a SOCKS5 proxy. */
export class UdpApp {
  readonly control: Stream;
  readonly relay: Endpoint;
  readonly #peer: UdpPeer;
  #seen = 0;

  private constructor(control: Stream, relay: Endpoint, peer: UdpPeer) {
    this.control = control;
    this.relay = relay;
    this.#peer = peer;
  }

  static async open(port: number, login?: Login): Promise<UdpApp> {
    const control = await connectTo(port);
    const relay = await socks5(control, new StreamReader(control), 3, { host: '0.0.0.0', port: 0 }, login);
    return new UdpApp(control, relay, await UdpPeer.open());
  }

  send(to: Endpoint, bytes: Uint8Array): void {
    this.#peer.send(Buffer.concat([Buffer.from([0, 0, 0]), socksAddress(to), bytes]), this.relay.port);
  }

  /** The next datagram. Rejects after `ms`. */
  async next(ms = 5_000): Promise<{ readonly bytes: Buffer; readonly from: Endpoint }> {
    const index = this.#seen++;
    await eventually(() => this.#peer.received.length > index, ms, `datagram ${index}`);
    const bytes = this.#peer.received[index]?.bytes ?? Buffer.alloc(0);
    if (bytes.readUInt16BE(0) !== 0 || bytes[2] !== 0) throw new Error('RSV and FRAG are 0');
    // v2ray answers with the name that was asked for.
    const name = bytes[3] === 3 ? bytes.toString('latin1', 5, 5 + (bytes[4] ?? 0)) : null;
    if (bytes[3] !== 1 && name === null) throw new Error('all peers of these tests are IPv4');
    const end = name === null ? 8 : 5 + name.length;
    return { bytes: bytes.subarray(end + 2), from: { host: name ?? [...bytes.subarray(4, 8)].join('.'), port: bytes.readUInt16BE(end) } };
  }

  /** Datagrams that nobody has asked for with `next`. */
  get unseen(): number {
    return this.#peer.received.length - this.#seen;
  }

  async close(): Promise<void> {
    this.control.abort(new Error('the app is done'));
    await this.#peer.close();
  }
}

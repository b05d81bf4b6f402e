/** UDP sockets that tests talk to, adapters that dial them, and datagrams in hex. */
import dgram from 'node:dgram';
import { type Datagram, type DialOptions, NetError, type PacketConn } from '@nekit/core';
import { dialOptions, testContext } from '@nekit/core/testing';
import { Socks5Adapter } from '../dist/adapter.js';
import { socks5Config } from '../dist/config.js';

/** A UDP socket that remembers what it got. */
export class Udp {
  readonly socket: dgram.Socket;
  readonly received: { hex: string; port: number; address: string }[] = [];

  constructor(socket: dgram.Socket) {
    this.socket = socket;
    socket.on('message', (bytes, from) => this.received.push({ hex: bytes.toString('hex'), port: from.port, address: from.address }));
  }

  static open(host = '127.0.0.1', port = 0): Promise<Udp> {
    const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4');
    return new Promise((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(port, host, () => {
        socket.off('error', reject);
        resolve(new Udp(socket));
      });
    });
  }

  get port(): number {
    return this.socket.address().port;
  }

  send(bytes: Uint8Array, port: number, host = this.socket.address().address): Promise<void> {
    return new Promise((resolve, reject) => this.socket.send(bytes, port, host, (error) => (error === null ? resolve() : reject(error))));
  }
}

/** Answers with what came, in capitals. */
export async function startUdpEcho(host?: string): Promise<Udp> {
  const echo = await Udp.open(host);
  echo.socket.on('message', (bytes, from) => echo.socket.send(bytes.toString('latin1').toUpperCase(), from.port, from.address));
  return echo;
}

export const port16 = (port: number): string => port.toString(16).padStart(4, '0');
export const text = (value: string): string => Buffer.from(value).toString('hex');
export const datagram = (host: string, port: number, payload: string | Uint8Array): Datagram => ({
  bytes: Buffer.from(payload),
  peer: Object.freeze({ host, port }),
});

export function fail(message: string): never {
  throw new Error(message);
}

export function adapterFor(port: number, base?: PacketConn | NetError, server = '127.0.0.1'): Socks5Adapter {
  const { context } = testContext();
  const { stream } = context.base;
  const packet = { dialPacket: () => (base instanceof NetError ? Promise.reject(base) : Promise.resolve(base ?? fail('no base'))) };
  const made = base === undefined ? context : testContext({ base: { tag: 'fake', type: 'fake', ...(stream === undefined ? {} : { stream }), packet } }).context;
  return new Socks5Adapter('socks5', socks5Config.parse({ server, port, udp: true }), made);
}

export const dialPacket = (adapter: Socks5Adapter, options: DialOptions = dialOptions()): Promise<PacketConn> =>
  adapter.packet?.dialPacket(options) ?? fail('no packet dialer');

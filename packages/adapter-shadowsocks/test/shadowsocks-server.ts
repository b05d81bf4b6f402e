/** A small Shadowsocks server, for tests of the client: TCP, direct to the target, on Node's sockets. */
import net from 'node:net';
import {
  CancelSource,
  type Ciphers,
  readSocksAddress,
  relay,
  type SocksAddress,
  type Stream,
  streamFromSocket,
  systemClock,
  TimerWheel,
  toNetError,
} from '@nekit/core';
import { startTarget, type Target } from '@nekit/core/testing';
import { type HeaderCheck, type SecretSource, secretOf, serverCodec } from '../dist/method.js';
import { SealedStream } from '../dist/sealed-stream.js';

export interface ServerOptions extends SecretSource {
  readonly ciphers: Ciphers;
  /** 2022: the users' keys. */
  readonly users?: readonly Uint8Array[];
  readonly check?: HeaderCheck;
  /** What to do with a request instead of carrying it. */
  readonly instead?: (request: { readonly socket: net.Socket; readonly address: SocksAddress; readonly plain: Uint8Array; readonly stream: Stream }) => void;
}

export interface ShadowsocksServer extends Target {
  /** What was asked for. */
  readonly requests: SocksAddress[];
  /** The first bytes off the wire of each connection, as they came. */
  readonly first: Uint8Array[];
}

export async function startShadowsocksServer(options: ServerOptions): Promise<ShadowsocksServer> {
  const requests: SocksAddress[] = [];
  const first: Uint8Array[] = [];
  const timers = new TimerWheel(systemClock);
  const secret = secretOf(options.ciphers, options);
  const target = await startTarget((socket) => {
    socket.once('data', (bytes: Uint8Array) => first.push(Uint8Array.from(bytes)));
    serve(socket).catch((error: unknown) => socket.resetAndDestroy().emit('served', error));
  });

  async function serve(socket: net.Socket): Promise<void> {
    const raw = streamFromSocket(socket);
    const codec = serverCodec(options.ciphers, secret, options.users ?? [], options.check ?? null);
    let plain = new Uint8Array(0);
    let address = readSocksAddress(plain, 0);
    while (address === undefined) {
      const chunks = await raw.read();
      if (chunks === null) return raw.abort(new Error('ended in the request'));
      plain = Buffer.concat([plain, ...chunks.map((chunk) => codec.open(chunk))]);
      address = readSocksAddress(plain, 0);
    }
    if (address === null || address.host === null) throw new Error('no address');
    requests.push(address);
    const stream = new SealedStream(raw, codec, { clock: systemClock, native: false, peer: 'client' });
    if (options.instead !== undefined) return options.instead({ socket, address, plain: plain.subarray(address.end), stream });
    if (plain.length > address.end) stream.unread([plain.subarray(address.end)]);
    const outgoing = await connect(address.host, address.port);
    await relay(stream, outgoing, { signal: new CancelSource(), idleMs: 30_000, halfCloseMs: 30_000, counters: new Float64Array(2), slot: 0 }, timers);
  }

  return { ...target, requests, first };
}

function connect(host: string, port: number): Promise<Stream> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host, port, allowHalfOpen: true, noDelay: true });
    socket.once('error', (error) => reject(toNetError(error)));
    socket.once('connect', () => resolve(streamFromSocket(socket)));
  });
}

/** The `socks` protocol on a real listener, as core's listeners run it, and a client that speaks in bytes. */
import net from 'node:net';
import {
  CancelSource,
  type Endpoint,
  EVENTS,
  type InboundConnection,
  type KernelEvents,
  NetError,
  never,
  type OwnEndpoints,
  type PacketRequest,
  type StreamRequest,
  streamFromSocket,
  type Timeouts,
  type TimerWheel,
  type Users,
} from '@nekit/core';
import { eventually, testContext, testInboundContext } from '@nekit/core/testing';
import { socksProtocol } from '../dist/protocol.js';

export interface InboundOptions {
  readonly users?: Users;
  readonly host?: string;
  readonly timeouts?: Partial<Timeouts>;
  readonly handleStream?: (request: StreamRequest) => Promise<void>;
  readonly handlePackets?: (request: PacketRequest) => Promise<void>;
  /** What the listener says the client reached, instead of the truth. */
  readonly local?: Endpoint;
}

export interface InboundServer {
  readonly host: string;
  readonly port: number;
  /** Every request that got through to handleStream or handlePackets. */
  readonly streams: StreamRequest[];
  readonly packets: PacketRequest[];
  readonly failed: KernelEvents['request.failed'][];
  readonly own: OwnEndpoints;
  readonly timers: TimerWheel;
  /** `serve` calls that have not settled. */
  serving(): number;
  /** What `serve` threw: always a bug. */
  readonly thrown: unknown[];
  /** Fires the signal of every connection, as a stopping kernel does. */
  stopKernel(): void;
  connect(): Promise<RawClient>;
  close(): Promise<void>;
}

export async function startInbound(options: InboundOptions = {}): Promise<InboundServer> {
  const { host = '127.0.0.1' } = options;
  const { context, own, timers } = testContext({ timeouts: { handshake: 60_000, ...options.timeouts } });
  const [streams, packets, failed, thrown]: [StreamRequest[], PacketRequest[], KernelEvents['request.failed'][], unknown[]] = [[], [], [], []];
  const open = new Map<net.Socket, CancelSource>();
  let serving = 0;
  let ids = 0;
  context.get(EVENTS).on('request.failed', (event) => failed.push(event));
  const inbound = testInboundContext({
    name: 'in',
    type: 'socks',
    nextId: () => ++ids,
    get: context.get,
    handleStream: async (request) => {
      streams.push(request);
      await (options.handleStream ?? refuse)(request);
    },
    route: () => Promise.reject(new NetError('denied', 'SOCKS moves no bytes itself')),
    handlePackets: async (request) => {
      packets.push(request);
      await (options.handlePackets ?? refuse)(request);
    },
  });
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const signal = new CancelSource();
    open.set(socket, signal);
    const stream = streamFromSocket(socket, (error) => signal.cancel(error));
    signal.onCancel((reason) => stream.abort(reason)); // as core's listeners do
    socket.on('close', () => open.delete(socket));
    const connection: InboundConnection = {
      stream,
      source: { host: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 },
      local: options.local ?? { host: socket.localAddress ?? '', port: socket.localPort ?? 0 },
      port: 1080,
      signal,
      retired: never,
      users: options.users ?? null,
    };
    serving++;
    socksProtocol
      .serve(connection, inbound)
      .catch((error: unknown) => thrown.push(error))
      .finally(() => serving--);
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, host, () => {
      const address = server.address();
      if (address === null || typeof address === 'string') reject(new Error('no port'));
      else resolve(address.port);
    });
  });
  return {
    host,
    port,
    streams,
    packets,
    failed,
    own,
    timers,
    thrown,
    serving: () => serving,
    stopKernel: () => {
      for (const signal of open.values()) signal.cancel(new NetError('aborted', 'the kernel stops', { code: 'STOPPING' }));
    },
    connect: () => RawClient.connect(host, port),
    close: () =>
      new Promise((resolve) => {
        for (const socket of open.keys()) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

const refuse = async (request: StreamRequest | PacketRequest): Promise<void> => request.reject(new NetError('refused', 'this test has no targets'));

export function usersOf(list: Readonly<Record<string, string>>): Users {
  return { check: (username, password) => list[username] === password };
}

export class RawClient {
  readonly socket: net.Socket;
  #received = Buffer.alloc(0);
  /** How it ended, if it has. */
  end: 'open' | 'FIN' | 'RST' = 'open';

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on('data', (bytes: Buffer) => {
      this.#received = Buffer.concat([this.#received, bytes]);
    });
    socket.on('end', () => {
      if (this.end === 'open') this.end = 'FIN';
    });
    socket.on('error', () => {
      if (this.end === 'open') this.end = 'RST';
    });
  }

  static connect(host: string, port: number): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = net.connect({ host, port, allowHalfOpen: true, noDelay: true });
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new RawClient(socket));
      });
    });
  }

  get received(): string {
    return hex(this.#received);
  }

  /** In one segment, or each byte in one of its own. */
  async say(bytes: Uint8Array, bytewise = false): Promise<void> {
    if (!bytewise) {
      this.socket.write(bytes);
      return;
    }
    for (const byte of bytes) {
      await new Promise<void>((resolve) => this.socket.write(Uint8Array.of(byte), () => resolve()));
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  /** Waits for so many bytes in all; everything that came, in hex. */
  async answers(length: number): Promise<string> {
    await eventually(() => this.#received.length >= length || this.end !== 'open', 5_000, `${length} bytes; got ${this.received}`);
    return this.received;
  }

  /** Everything that came until the end. */
  async rest(): Promise<string> {
    await eventually(() => this.end !== 'open', 5_000, `the end; got ${this.received}`);
    return this.received;
  }
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** `'05 01 00'`, strings in quotes as their bytes: `"03 'example.com' 0050"`. */
export function bytes(text: string): Buffer {
  return Buffer.concat(
    text.split(/('[^']*')/).map((part) => (part.startsWith("'") ? Buffer.from(part.slice(1, -1)) : Buffer.from(part.replace(/\s+/g, ''), 'hex'))),
  );
}

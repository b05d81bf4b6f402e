/** The listener on real sockets: with everything that a kernel gives it, and a direct way to targets on loopback. */
import {
  CancelSource,
  type Ciphers,
  type Clock,
  type Endpoint,
  EVENTS,
  type Inbound,
  type InboundContext,
  type KernelEvents,
  NetError,
  relay,
  SOCKETS,
  type Sockets,
  type Stream,
  type StreamRequest,
  type TimerWheel,
  type Totals,
  toNetError,
} from '@nekit/core';
import { dialOptions, eventually, testContext, testInboundContext } from '@nekit/core/testing';
import { inboundConfig } from '../../dist/server/config.js';
import { type PacketParts, shadowsocksInbound } from '../../dist/server/inbound.js';
import { ReplayMemories } from '../../dist/server/replay-memories.js';

export interface ServerOptions {
  readonly sockets: Sockets;
  readonly ciphers: Ciphers;
  /** The entry of `listeners:`. */
  readonly entry: Readonly<Record<string, unknown>>;
  readonly clock?: Clock;
  readonly parts?: PacketParts;
}

export interface Server {
  readonly context: InboundContext;
  readonly inbound: Inbound;
  readonly endpoint: Endpoint;
  readonly timers: TimerWheel;
  readonly requests: StreamRequest[];
  readonly failed: KernelEvents['request.failed'][];
  readonly totals: Totals[];
  /** Connections that are open at the listener. */
  open(): number;
  /** A connection to the listener as a client's link gives it. */
  dial(): Promise<Stream>;
  /** Fires the signal of every connection, as a stopping kernel does. */
  stopKernel(): void;
  close(): Promise<void>;
}

export function makeServer(options: ServerOptions): Server & { start(): Promise<void> } {
  const { sockets, ciphers } = options;
  const { context: base, timers } = testContext({ sockets, ciphers, ...(options.clock === undefined ? {} : { clock: options.clock }) });
  const client = testContext({ sockets, ciphers }); // another process: our own listeners are none of its business
  const [requests, failed, totals]: [StreamRequest[], KernelEvents['request.failed'][], Totals[]] = [[], [], []];
  const events = base.get(EVENTS);
  let open = 0;
  events.on('request.failed', (event) => failed.push(event));
  events.on('connection.accepted', () => open++);
  events.on('connection.closed', () => open--);
  const context = testInboundContext({
    name: 'ss-in',
    type: 'shadowsocks',
    get: base.get,
    handleStream: async (request) => {
      requests.push(request);
      const { session } = request;
      try {
        const dialer = base.base.stream;
        if (dialer === undefined) throw new NetError('denied', 'direct has streams');
        const remote = await dialer.dialStream(session.destination, { session, signal: session.signal });
        const stream = await request.accept();
        const timeouts = { idleMs: 60_000, halfCloseMs: 60_000, counters: new Float64Array(2), slot: 0 };
        totals.push(await relay(stream, remote, { signal: session.signal, ...timeouts }, timers));
      } catch (error) {
        request.reject(toNetError(error));
      }
    },
  });
  const definition = shadowsocksInbound('shadowsocks', new ReplayMemories(), options.parts);
  const config = inboundConfig.parse({ listen: '127.0.0.1', port: 0, ...options.entry });
  const inbound = definition.create(config, context);
  const kernel = new CancelSource();
  const endpoint = (): Endpoint => inbound.endpoint ?? { host: '', port: 0 };
  return {
    ...{ context, inbound, timers, requests, failed, totals },
    get endpoint() {
      return endpoint();
    },
    open: () => open,
    start: () => inbound.start(kernel),
    dial: () => {
      const { port } = endpoint();
      const host = '127.0.0.1';
      const dialled = client.context.base.stream?.dialStream({ host, port }, dialOptions({ host, port }));
      return dialled ?? Promise.reject(new NetError('denied', 'direct has streams'));
    },
    stopKernel: () => kernel.cancel(new NetError('aborted', 'the kernel stops')),
    close: async () => {
      await inbound.stop();
      kernel.cancel(new NetError('aborted', 'the kernel stops'));
      await eventually(() => open === 0);
      base.get(SOCKETS).close();
    },
  };
}

export async function startServer(options: ServerOptions): Promise<Server> {
  const server = makeServer(options);
  await server.start();
  return server;
}

import net from 'node:net';
import {
  type Cancel,
  CancelSource,
  type Endpoint,
  EVENTS,
  errorCode,
  type Inbound,
  type InboundContext,
  NekitError,
  normaliseAddress,
  OWN_ENDPOINTS,
  parseEndpoint,
  streamFromSocket,
} from '@nekit/core';
import { z } from 'zod';

/** An entry of `listeners:` with `type: forward`. */
export const forwardConfig = z.object({
  listen: z
    .string()
    .refine((host) => normaliseAddress(host) !== null, 'must be an IP address')
    .default('127.0.0.1')
    .describe('Address to listen on'),
  port: z.int().min(0).max(65535).describe('0: any free one'),
  target: z
    .string()
    .refine((text) => parseEndpoint(text) !== null, 'must be host:port')
    .describe('Where every connection goes, through the rules'),
  'max-connections': z.int().min(1).default(1024).describe('Further ones are closed at once'),
});

export type ForwardConfig = z.infer<typeof forwardConfig>;

/** A TCP port whose connections all go to one target, by whatever adapter the rules choose for it. */
export class ForwardInbound implements Inbound {
  readonly #config: ForwardConfig;
  readonly #context: InboundContext;
  readonly #target: Endpoint;
  #server: net.Server | null = null;
  #port = 0;
  #release = (): void => {};

  constructor(config: ForwardConfig, context: InboundContext) {
    const target = parseEndpoint(config.target);
    if (target === null) throw new NekitError('BAD_VALUE', `listener ${context.name}: the target must be host:port`);
    this.#config = config;
    this.#context = context;
    this.#target = target;
  }

  get endpoint(): Endpoint {
    return { host: this.#config.listen, port: this.#port };
  }

  start(signal: Cancel): Promise<void> {
    const { listen, port } = this.#config;
    const { name, type } = this.#context;
    const events = this.#context.get(EVENTS);
    // Half-open: a client that has said all it has to say still gets its answer.
    const server = net.createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true }, (socket) => this.#accept(socket, signal));
    server.maxConnections = this.#config['max-connections'];
    return new Promise((resolve, reject) => {
      server.once('error', (cause) => {
        reject(new NekitError('LISTEN_FAILED', `listener ${name} cannot listen on ${listen} port ${port}: ${cause.message}`, { cause }));
      });
      server.listen({ host: listen, port }, () => {
        const address = server.address();
        this.#port = address !== null && typeof address === 'object' ? address.port : port;
        // From here on nothing in this kernel dials us: that would be a loop.
        this.#release = this.#context.get(OWN_ENDPOINTS).add('tcp', this.#port);
        this.#server = server;
        server.removeAllListeners('error');
        server.on('error', (error) => events.emit('listener.failed', { listener: name, code: errorCode(error), message: error.message }));
        events.emit('listener.started', { listener: name, type, endpoint: { host: listen, port: this.#port } });
        resolve();
      });
    });
  }

  stop(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server === null) return Promise.resolve();
    this.#release();
    server.close(); // connections go on; the kernel drains and aborts them
    this.#context.get(EVENTS).emit('listener.stopped', { listener: this.#context.name });
    return Promise.resolve();
  }

  #accept(socket: net.Socket, kernel: Cancel): void {
    const { remoteAddress, remotePort } = socket;
    if (remoteAddress === undefined || remotePort === undefined) return void socket.destroy(); // gone already
    const signal = new CancelSource(kernel);
    const stream = streamFromSocket(socket, (error) => signal.cancel(error)); // the client reset it: stop dialling
    socket.once('close', () => signal.release());
    const session = {
      id: this.#context.nextId(),
      network: 'tcp',
      inbound: this.#context.name,
      inboundType: 'FORWARD',
      inboundPort: this.#port,
      source: { host: normaliseAddress(remoteAddress) ?? remoteAddress, port: remotePort },
      requested: this.#target,
      destination: this.#target,
      signal,
    } as const;
    // Never rejects: how the session went is the kernel's to report.
    void this.#context.handleStream({ session, accept: () => Promise.resolve(stream), reject: (error) => stream.abort(error) });
  }
}

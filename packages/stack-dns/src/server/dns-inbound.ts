import {
  type Cancel,
  CLOCK,
  type Endpoint,
  EVENTS,
  formatEndpoint,
  type Inbound,
  type InboundContext,
  lacksIpv6,
  NekitError,
  OWN_ENDPOINTS,
  SOCKETS,
  TIMERS,
  toNetError,
} from '@nekit/core';
import type { Answerer } from './answerer.js';
import { Clients } from './clients.js';
import { dnsOverTcp } from './tcp-protocol.js';
import { UdpListener } from './udp-listener.js';

/** Ports that are tried where any will do and UDP has the one that TCP got taken already. */
const TRIES = 8;

export interface DnsInboundOptions {
  readonly endpoint: Endpoint;
  /** Questions a second that another machine may ask; 0: any number. */
  readonly rateLimit: number;
  readonly server: Answerer;
}

/** The server on UDP and TCP, on one port. */
export class DnsInbound implements Inbound {
  readonly #options: DnsInboundOptions;
  readonly #context: InboundContext;
  readonly #clients: Clients;
  readonly #tcp: Inbound;
  #udp: readonly UdpListener[] = [];
  #release = (): void => {};

  constructor(options: DnsInboundOptions, context: InboundContext) {
    const { endpoint, rateLimit, server } = options;
    this.#options = options;
    this.#context = context;
    this.#clients = new Clients(rateLimit);
    this.#tcp = context.tcp(endpoint, dnsOverTcp({ server, clients: this.#clients, timers: context.get(TIMERS) }));
  }

  get endpoint(): Endpoint {
    return this.#tcp.endpoint ?? this.#options.endpoint;
  }

  async start(signal: Cancel): Promise<void> {
    for (let tries = 1; ; tries++) {
      await this.#tcp.start(signal);
      try {
        this.#udp = this.#bind();
        this.#release = this.#context.get(OWN_ENDPOINTS).add('udp', this.endpoint.port);
        return;
      } catch (error) {
        const endpoint = this.endpoint;
        await this.#tcp.stop();
        if (this.#options.endpoint.port === 0 && tries < TRIES) continue;
        const message = `listener ${this.#context.name} cannot take UDP on ${formatEndpoint(endpoint)}: ${toNetError(error).message}`;
        throw new NekitError('LISTEN_FAILED', message, { cause: error });
      }
    }
  }

  async stop(): Promise<void> {
    for (const listener of this.#udp) listener.close();
    this.#udp = [];
    this.#release();
    this.#release = () => {};
    await this.#tcp.stop();
  }

  /** All addresses are two sockets: one of UDP on `::` is of IPv6 alone. */
  #bind(): UdpListener[] {
    const { host, port } = this.endpoint;
    if (host !== '::') return [this.#listenOn(host, port)];
    let six: UdpListener | null = null;
    try {
      six = this.#listenOn(host, port);
    } catch (error) {
      if (!lacksIpv6(error)) throw error;
    }
    try {
      const four = this.#listenOn('0.0.0.0', port);
      return six === null ? [four] : [six, four];
    } catch (error) {
      six?.close();
      throw error;
    }
  }

  #listenOn(host: string, port: number): UdpListener {
    const context = this.#context;
    return new UdpListener({
      sockets: context.get(SOCKETS),
      clock: context.get(CLOCK),
      server: this.#options.server,
      clients: this.#clients,
      endpoint: { host, port },
      admits: (address) => context.admits(address),
      failed: ({ code, message }) => context.get(EVENTS).emit('listener.failed', { listener: context.name, code, message }),
    });
  }
}

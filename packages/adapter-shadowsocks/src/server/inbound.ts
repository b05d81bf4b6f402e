import {
  type Cancel,
  CIPHERS,
  CLOCK,
  type Endpoint,
  formatEndpoint,
  type Inbound,
  type InboundContext,
  type InboundDefinition,
  NekitError,
  toNetError,
} from '@nekit/core';
import { type Secret, secretOf } from '../method.js';
import type { SeenSessions } from '../packet/seen-sessions.js';
import { ServerPackets } from '../packet/server-packets.js';
import { serveInside } from '../udp-over-tcp/server.js';
import { type InboundConfig, inboundConfig, listenHost } from './config.js';
import { type ServeInside, ShadowsocksProtocol } from './protocol.js';
import type { ReplayMemories } from './replay-memories.js';
import { Keyring, RequestOpener, type User } from './request-opener.js';

/** Ports that are tried where any will do and UDP has the one that TCP got taken already. */
const TRIES = 8;

/** The UDP half of a listener. */
export interface PacketServer {
  /** Throws if it cannot bind, and leaves nothing open. */
  start(): void;
  stop(): void;
}

/** `endpoint`: with the real port. `seen`: the sessions of all that have the key. */
export type OpenPackets = (
  secret: Secret,
  users: readonly User[],
  endpoint: Endpoint,
  context: InboundContext,
  options: { readonly seen: SeenSessions },
) => PacketServer;

/** What carries UDP: on the port, and inside of TCP connections. */
export interface PacketParts {
  readonly openPackets: OpenPackets;
  readonly serveInside: ServeInside;
}

const PARTS: PacketParts = { openPackets: (...given) => new ServerPackets(...given), serveInside };

/** The listener type `shadowsocks`, or another name of it: TCP and UDP on one port. All that share `memories` refuse what was recorded at any of them. */
export function shadowsocksInbound(type: string, memories: ReplayMemories, parts: PacketParts = PARTS): InboundDefinition<InboundConfig> {
  return { type, config: inboundConfig, create: (config, context) => new ShadowsocksInbound(config, context, memories, parts) };
}

class ShadowsocksInbound implements Inbound {
  readonly #context: InboundContext;
  readonly #config: InboundConfig;
  readonly #openPackets: OpenPackets;
  readonly #secret: Secret;
  readonly #users: readonly User[];
  readonly #seen: SeenSessions;
  readonly #protocol: ShadowsocksProtocol;
  readonly #tcp: Inbound;
  readonly #host: string;
  #packets: PacketServer | null = null;

  constructor(config: InboundConfig, context: InboundContext, memories: ReplayMemories, parts: PacketParts) {
    const ciphers = context.get(CIPHERS);
    const clock = context.get(CLOCK);
    const { cipher, 'allow-insecure-ciphers': allowInsecure } = config;
    const secret = secretOf(ciphers, { cipher, password: config.password, allowInsecure });
    this.#context = context;
    this.#config = config;
    this.#openPackets = parts.openPackets;
    this.#secret = secret;
    this.#users = config.users.map(({ username, password }) => ({ username, key: Uint8Array.from(Buffer.from(password, 'base64')) }));
    this.#host = listenHost(config.listen) ?? '127.0.0.1';
    const { filter, sessions } = memories.of(secret, clock);
    this.#seen = sessions;
    const keyring = new Keyring(ciphers, secret, this.#users, filter);
    new RequestOpener(keyring); // a cipher that this platform has not is told now, not to every client
    this.#protocol = new ShadowsocksProtocol(keyring, clock, context, parts.serveInside);
    this.#tcp = context.tcp({ host: this.#host, port: config.port }, this.#protocol);
  }

  get endpoint(): Endpoint {
    return this.#tcp.endpoint ?? { host: this.#host, port: this.#config.port };
  }

  async start(signal: Cancel): Promise<void> {
    for (let tries = 1; ; tries++) {
      await this.#tcp.start(signal);
      if (!this.#config.udp) return;
      try {
        const packets = this.#openPackets(this.#secret, this.#users, this.endpoint, this.#context, { seen: this.#seen });
        packets.start();
        this.#packets = packets;
        return;
      } catch (error) {
        const endpoint = this.endpoint;
        await this.#tcp.stop();
        if (this.#config.port !== 0 || tries >= TRIES) throw this.#cannotListen(endpoint, error);
      }
    }
  }

  async stop(): Promise<void> {
    this.#packets?.stop();
    this.#packets = null;
    await this.#tcp.stop();
    this.#protocol.strangers.cutAll();
  }

  #cannotListen(endpoint: Endpoint, error: unknown): Error {
    if (error instanceof NekitError && error.code === 'LISTEN_FAILED') return error;
    const why = toNetError(error).message;
    return new NekitError('LISTEN_FAILED', `listener ${this.#context.name} cannot take UDP on ${formatEndpoint(endpoint)}: ${why}`, { cause: error });
  }
}

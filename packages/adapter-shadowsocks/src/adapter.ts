import {
  type Adapter,
  type AdapterContext,
  CIPHERS,
  CLOCK,
  type DialOptions,
  type Endpoint,
  EVENTS,
  normaliseHost,
  type PacketConn,
  type PacketDialer,
  type StreamDialer,
  TIMERS,
} from '@nekit/core';
import type { ShadowsocksConfig } from './config.js';
import { type Secret, secretOf } from './method.js';
import { dialPackets } from './packet/client-packets.js';
import { linkOf } from './plugin/link.js';
import { Programs } from './plugin/process/programs.js';
import type { ServerLink } from './server-link.js';
import { ServerDialer } from './stream-dialer.js';
import { dialUdpOverTcp } from './udp-over-tcp/client.js';

/** Carries connections, and with `udp: true` datagrams, through a Shadowsocks server. Names are sent as names: the server resolves them. */
export class ShadowsocksAdapter implements Adapter {
  readonly tag: string;
  readonly type: string;
  readonly stream?: StreamDialer;
  readonly packet?: PacketDialer;
  readonly #link: ServerLink;
  readonly #context: AdapterContext;
  readonly #ignored: boolean;

  /** Throws NekitError: `SS_CIPHER`, `SS_INSECURE`, `SS_PASSWORD`, `SS_KEY`, and what `linkOf` throws. */
  constructor(type: string, config: ShadowsocksConfig, context: AdapterContext, programs = new Programs()) {
    this.tag = context.tag;
    this.type = type;
    const { cipher, password } = config;
    const secret = secretOf(context.get(CIPHERS), { cipher, password, allowInsecure: config['allow-insecure-ciphers'] });
    this.#link = linkOf(config, context, programs);
    this.#context = context;
    this.#ignored = config['udp-over-tcp'] && !config.udp;
    if (context.base.stream === undefined) return; // what cannot dial cannot reach the server
    this.stream = new ServerDialer(this.#link, secret, context);
    if (!config.udp) return;
    const packet = config['udp-over-tcp'] ? inside(this.stream, config, context) : beside(secret, config, context);
    if (packet !== null) this.packet = packet;
  }

  start(): void {
    if (this.#ignored)
      this.#context.get(EVENTS).emit('kernel.warning', { code: 'SS_UDP', message: `${this.tag}: "udp-over-tcp" has no effect without "udp: true"` });
    this.#link.start?.();
  }

  close(): void {
    this.#link.close?.();
  }
}

/** Datagrams in connections of the same server. */
function inside(dialer: StreamDialer, config: ShadowsocksConfig, context: AdapterContext): PacketDialer {
  const version = config['udp-over-tcp-version'];
  return { dialPacket: (options: DialOptions): Promise<PacketConn> => dialUdpOverTcp(dialer, version, context.get(TIMERS), options) };
}

/** Datagrams to the server's UDP port: a plugin carries connections only, so they go without it. */
function beside(secret: Secret, config: ShadowsocksConfig, context: AdapterContext): PacketDialer | null {
  const { packet } = context.base;
  if (packet === undefined) return null;
  const server: Endpoint = { host: normaliseHost(config.server) ?? config.server, port: config.port };
  const clock = context.get(CLOCK);
  const target = { secret, server, ciphers: context.get(CIPHERS), now: { monotonic: () => clock.now(), wall: () => Date.now() } };
  return { dialPacket: (options: DialOptions): Promise<PacketConn> => dialPackets(target, packet, options) };
}

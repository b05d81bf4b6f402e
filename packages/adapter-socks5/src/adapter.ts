import {
  type Adapter,
  type AdapterContext,
  type DialOptions,
  type Endpoint,
  normaliseHost,
  type PacketDialer,
  type Stream,
  type StreamDialer,
  TlsLayer,
} from '@nekit/core';
import type { Socks5Config } from './config.js';
import { dialAssociation } from './packet-dialer.js';
import { ServerConnector, type Socks5Server } from './server-connection.js';
import { COMMAND_CONNECT } from './wire.js';

/** Carries connections, and with `udp: true` datagrams, through a SOCKS5 server. Names are sent as names: the server resolves them. */
export class Socks5Adapter implements Adapter {
  readonly tag: string;
  readonly type: string;
  readonly stream?: StreamDialer;
  readonly packet?: PacketDialer;

  /** Throws NekitError `BAD_CA`. */
  constructor(type: string, config: Socks5Config, context: AdapterContext) {
    this.tag = context.tag;
    this.type = type;
    const { stream, packet } = context.base;
    if (stream === undefined) return; // what cannot dial cannot reach the server
    const connector = new ServerConnector(serverOf(config), stream, context);
    this.stream = { dialStream: (destination, options) => dialThrough(connector, destination, options) };
    if (config.udp && packet !== undefined) this.packet = { dialPacket: (options) => dialAssociation(connector, packet, options) };
  }
}

async function dialThrough(connector: ServerConnector, destination: Endpoint, options: DialOptions): Promise<Stream> {
  return (await connector.open(COMMAND_CONNECT, destination, options)).stream;
}

function serverOf(config: Socks5Config): Socks5Server {
  const server = normaliseHost(config.server) ?? config.server;
  const username = config.username ?? '';
  return {
    endpoint: { host: server, port: config.port },
    credentials: username === '' ? null : { username, password: config.password ?? '' },
    tls: config.tls ? new TlsLayer(config, 'the SOCKS5 server') : null,
  };
}

/**
 * The client's side of UDP ASSOCIATE. Read first: RFC 1928 sections 4, 6 and 7.
 *
 * A TCP connection asks for the association and keeps it alive; BND of the reply is the relay that the datagrams go through. When
 * either ends, the other does.
 */
import { type DialOptions, type Endpoint, NetError, type PacketConn, type PacketDialer, type SocksAddress, toNetError } from '@nekit/core';
import { AssociatedPackets } from './associated-packets.js';
import type { ServerConnector } from './server-connection.js';
import { COMMAND_ASSOCIATE } from './wire.js';

/** "I do not know yet where I shall send from" (RFC 1928 section 4). */
const UNKNOWN: Endpoint = { host: '0.0.0.0', port: 0 };

/** Rejects with a NetError and leaves neither connection nor socket behind. */
export async function dialAssociation(connector: ServerConnector, base: PacketDialer, options: DialOptions): Promise<PacketConn> {
  const { session, signal } = options;
  const { stream: control, bound } = await connector.open(COMMAND_ASSOCIATE, UNKNOWN, options);
  try {
    const relay = relayOf(bound, connector.server.endpoint);
    const socket = await base.dialPacket({ session, signal });
    if (signal.reason !== null) {
      socket.close();
      throw signal.reason;
    }
    return new AssociatedPackets(control, socket, relay, connector.timers);
  } catch (error) {
    const failure = toNetError(error);
    control.abort(failure);
    throw failure;
  }
}

/** A server that listens on every address often says so in BND: it means the address that we reached it by. */
function relayOf(bound: SocksAddress, server: Endpoint): Endpoint {
  if (bound.host === null || bound.port === 0) {
    throw new NetError('protocol', 'the SOCKS5 server named no relay for datagrams', { code: 'SOCKS5_PROTOCOL' });
  }
  const unspecified = bound.host === '0.0.0.0' || bound.host === '::';
  return Object.freeze({ host: unspecified ? server.host : bound.host, port: bound.port });
}

/**
 * The server's side of UDP ASSOCIATE. Read first: RFC 1928 sections 4, 6 and 7.
 *
 * The client's TCP connection is the association: it ends with it, and only its address may use the relay. What the client sends goes
 * to `handlePackets` as one PacketConn. When that has ended (nothing moved for long), the client's next datagram opens another.
 */
import {
  type Datagram,
  type Deadline,
  type NetError,
  OWN_ENDPOINTS,
  type PacketConn,
  PacketQueue,
  SOCKETS,
  type SocksAddress,
  TIMEOUTS,
  TIMERS,
  timeoutError,
  toNetError,
} from '@nekit/core';
import type { Client } from './client.js';
import { bindRelay, type RelaySocket } from './relay-socket.js';
import { reply5 } from './reply.js';
import { REP_GENERAL, REP_SUCCEEDED } from './wire.js';

/** Serves one association to its end. Rejects with NetError only for a client that left before the reply. */
export async function serveAssociation(client: Client, asked: SocksAddress, user: string | null): Promise<void> {
  const { source, local } = client.connection;
  // Most clients do not know their port yet (0); what a client behind NAT calls its address is not what we see.
  const port = asked.port !== 0 && asked.host === source.host ? asked.port : null;
  let relay: RelaySocket;
  try {
    relay = bindRelay(client.context.get(SOCKETS), local.host, { host: source.host, port });
  } catch (error) {
    client.report(toNetError(error));
    return client.end(reply5(REP_GENERAL));
  }
  const forget = client.context.get(OWN_ENDPOINTS).add('udp', relay.port);
  const association = new Association(client, relay, user);
  try {
    await client.say(reply5(REP_SUCCEEDED, { host: local.host, port: relay.port }));
    await untilEnd(client);
  } finally {
    forget();
    await association.close();
  }
  return client.end();
}

/** Until the client's FIN, or until its connection breaks, which ends an association just as well. What it says there means nothing. */
async function untilEnd(client: Client): Promise<void> {
  const control = client.reader.release();
  try {
    while ((await control.read()) !== null);
  } catch (error) {
    control.abort(toNetError(error));
  }
}

class Association {
  readonly #client: Client;
  readonly #relay: RelaySocket;
  readonly #user: string | null;
  readonly #idle: Deadline;
  readonly #idleMs: number;
  readonly #running = new Set<Promise<void>>();
  #conn: ClientConn | null = null;

  constructor(client: Client, relay: RelaySocket, user: string | null) {
    this.#client = client;
    this.#relay = relay;
    this.#user = user;
    const { context, connection } = client;
    const abort = (error: NetError): void => connection.stream.abort(error);
    this.#idleMs = context.get(TIMEOUTS).idle;
    this.#idle = context.get(TIMERS).after(this.#idleMs, () => abort(timeoutError('an association without a datagram', this.#idleMs)));
    relay.onDatagrams = (datagrams, port) => this.#received(datagrams, port);
    relay.onError = abort;
  }

  /** Settles when nothing of it is left. Never rejects. */
  async close(): Promise<void> {
    this.#idle.cancel();
    this.#relay.close();
    this.#conn?.close();
    await Promise.all(this.#running);
  }

  #received(datagrams: readonly Datagram[], port: number): void {
    this.#idle.at = this.#client.context.get(TIMERS).now() + this.#idleMs;
    const [first] = datagrams;
    if (this.#conn !== null || first === undefined) {
      this.#conn?.put(datagrams);
      return;
    }
    const conn = new ClientConn(this.#relay, () => {
      this.#conn = null;
    });
    this.#conn = conn;
    conn.put(datagrams);
    const running = this.#handle(conn, first, port).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #handle(conn: ClientConn, first: Datagram, port: number): Promise<void> {
    const { context, connection } = this.#client;
    const session = this.#client.session('udp', 'SOCKS5', first.peer, this.#user, { host: connection.source.host, port });
    let accepted = false;
    const accept = (): PacketConn => {
      accepted = true;
      return conn;
    };
    const reject = (error: NetError): void => {
      if (!accepted) conn.close(error);
    };
    try {
      await context.handlePackets({ session, accept, reject });
    } catch (error) {
      this.#client.report(toNetError(error));
    } finally {
      conn.close();
    }
  }
}

/** The client as `handlePackets` sees it. */
class ClientConn implements PacketConn {
  readonly #relay: RelaySocket;
  readonly givesBytes = true;
  readonly #queue = new PacketQueue();
  readonly #onClose: () => void;
  #closed = false;
  #error: NetError | null = null;

  constructor(relay: RelaySocket, onClose: () => void) {
    this.#relay = relay;
    this.#onClose = onClose;
  }

  get error(): NetError | null {
    return this.#error;
  }

  put(datagrams: readonly Datagram[]): void {
    this.#relay.dropped += datagrams.length - this.#queue.putAll(datagrams);
  }

  receive(): Promise<readonly Datagram[] | null> {
    return this.#queue.take();
  }

  send(datagrams: readonly Datagram[]): number {
    return this.#closed ? 0 : this.#relay.send(datagrams);
  }

  close(error?: NetError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#error = error ?? null;
    this.#queue.end();
    this.#onClose();
  }
}

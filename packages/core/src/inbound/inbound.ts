import type { Cancel, CancelSource } from '../net/cancel.js';
import type { Endpoint } from '../net/endpoint.js';
import type { Session } from '../net/session.js';
import type { Stream } from '../net/stream.js';
import type { Token } from '../net/token.js';
import type { HandlePackets, HandleStream, RoutedStream } from '../routing/stream-request.js';

/** Where sessions come from. */
export interface Inbound {
  /** Where it listens, with the port that was really taken. Absent where it has none. */
  readonly endpoint?: Endpoint;
  /** Settles when it listens. Rejects with NekitError `LISTEN_FAILED` and leaves nothing open. */
  start(signal: Cancel): Promise<void>;
  /** Stops listening; what is under way goes on (the kernel drains and aborts it). Waited for no longer than `timeouts.plugin`. */
  stop(): Promise<void>;
}

export interface InboundContext {
  /** The listener's name. */
  readonly name: string;
  readonly type: string;
  readonly handleStream: HandleStream;
  readonly handlePackets: HandlePackets;
  /**
   * A session as the rules will see it, with the name that a fake address stands for; null: refuse it, for its address stands for nothing. Handling and routing do
   * this as well: it is for who has to know before.
   */
  enter(session: Session): Session | null;
  /**
   * Routes a session whose bytes the inbound moves itself (an HTTP request on a pooled connection). Rejects with a NetError when the rules
   * or an adapter without streams refuse it; the session has then been reported as ended.
   */
  route(session: Session): Promise<RoutedStream>;
  /**
   * A TCP port for a listener that is more than one protocol (Shadowsocks: TCP and UDP on one port): accepts, keeps to the kernel's limits and to `admits`, and has
   * `protocol` serve the connections. Where it listens is asked of its `endpoint`.
   */
  tcp(endpoint: Endpoint, protocol: InboundProtocol): Inbound;
  /** Whether a client with this address may use the listener at all (lan-allowed-ips, lan-disallowed-ips). A `tcp` has asked already. */
  admits(address: string): boolean;
  /** Session ids of this kernel. */
  nextId(): number;
  get<T>(token: Token<T>): T;
}

/**
 * A protocol that a client speaks on a TCP connection to us. Core's listeners accept connections and choose the protocol by the
 * first bytes (`mixed`) or by the listener's type (`http`, `socks`).
 */
export interface InboundProtocol {
  /** Also a listener type. */
  readonly name: string;
  /** Whether a connection that starts with these bytes (one or more) is ours. `undefined`: more bytes are needed (64 at most). */
  takes(first: Uint8Array): boolean | undefined;
  /**
   * Serves the connection to its end; settles when the protocol has nothing more to do with it. It must not throw (what it
   * throws is logged as a bug) and must keep to the handshake timeout.
   */
  serve(connection: InboundConnection, context: InboundContext): Promise<void>;
}

/** An accepted client connection. */
export interface InboundConnection {
  /** From the first byte on. */
  readonly stream: Stream;
  readonly source: Endpoint;
  /** Our end: the address and port that the client connected to. */
  readonly local: Endpoint;
  /** Port of the listener (IN-PORT). */
  readonly port: number;
  /** Fires when the client's connection breaks, or when the kernel stops; the stream is aborted with it. Sessions take it as their signal. */
  readonly signal: CancelSource;
  /** Fires when the listener stops (a reload, the end): finish what was asked for, and take no further requests. */
  readonly retired: Cancel;
  /** null: this client needs no credentials (none configured, or its address is in skip-auth-prefixes). */
  readonly users: Users | null;
}

/** Who may use a listener. */
export interface Users {
  /** Compares in constant time, and the same work is done for a user that does not exist. */
  check(username: string, password: string): boolean;
}

/**
 * The kernel's sockets: the only way to open one, and to listen. There are two implementations, the addon's and Node's, and
 * whoever uses this does not know which it has.
 */
import type { Endpoint } from './endpoint.js';
import type { NetError } from './errors.js';
import type { Stream } from './stream.js';
import type { UdpHandlers, UdpOptions, UdpSocket } from './udp.js';

/** What may be set on a socket. TCP_NODELAY is always on. `mark` to `multipath` are the addon's alone: elsewhere they are refused, never ignored. */
export interface SocketOptions {
  /** TCP_KEEPIDLE, in seconds; 0 or absent: no keep-alive. */
  readonly keepAliveSeconds?: number;
  /** An address of this host to send from. */
  readonly sourceAddress?: string;
  /** SO_MARK. */
  readonly mark?: number;
  /** SO_BINDTODEVICE: an interface's name. */
  readonly device?: string;
  /** TCP Fast Open (RFC 7413). */
  readonly fastOpen?: boolean;
  /** Multipath TCP (RFC 8684) where the host has it. */
  readonly multipath?: boolean;
}

/** A client that has connected. One of `open` and `refuse` is called, once, before the call that brought it returns. */
export interface Incoming {
  /** On a Unix socket, which has no addresses: its path and port 0. */
  readonly source: Endpoint;
  /** Our end; null when the connection has gone. */
  local(): Endpoint | null;
  /** RST. */
  refuse(): void;
  /** `onAbort`: the peer reset it, or it failed; not after FIN from both sides. `onClose`: it is closed, however it came to that. Each once at most. */
  open(onAbort: (error: NetError) => void, onClose: () => void): Stream;
}

export interface ListenHandlers {
  connection(incoming: Incoming): void;
  /** Something went wrong and it goes on listening: no descriptors are left, say. May come often. */
  failed(error: NetError): void;
}

export interface ListenOptions {
  /** An address, a name that the host knows, or the absolute path of a Unix socket, which must not exist yet and is removed by `close`. */
  readonly host: string;
  /** 0: any. A Unix socket has none. */
  readonly port: number;
  /** Connections that the kernel has accepted and we have not. */
  readonly backlog: number;
  /** Several processes or threads may listen on the port. The addon's alone. */
  readonly reusePort?: boolean;
}

export interface BoundListener {
  /** The real one. */
  readonly port: number;
  /** Connections that it brought live on. */
  close(): void;
}

export interface Sockets {
  readonly kind: 'native' | 'node';
  /** Rejects with an error whose `code` is the system's (`EADDRINUSE` …). `::` takes IPv4 too, another IPv6 address does not. */
  listen(options: ListenOptions, handlers: ListenHandlers): Promise<BoundListener>;
  /**
   * Connects to an address or the absolute path of a Unix socket, never to a name. One of `opened` and `failed` is called, once and later, unless the returned function was called
   * before, which gives the attempt up. `closed`: once, when what was opened is closed, however it came to that and whoever has it by then.
   */
  connect(
    address: string,
    port: number,
    options: SocketOptions,
    opened: (stream: Stream) => void,
    failed: (error: NetError) => void,
    closed?: () => void,
  ): () => void;
  /** A UDP socket, bound when this returns. Throws an error whose `code` is the system's. It lives until it is closed, or fails. */
  bindUdp(options: UdpOptions, handlers: UdpHandlers): UdpSocket;
  /** Closes the listeners and lets go of the event loop. Call it when no stream is left: those that are may be reset. Idempotent. */
  close(): void;
}

/** Whether a host is the path of a Unix socket. */
export function isSocketPath(host: string): boolean {
  return host.startsWith('/');
}

import {
  addressFamily,
  type Deadline,
  type Endpoint,
  EVENTS,
  type InboundContext,
  lacksIpv6,
  listenError,
  type NetError,
  SOCKETS,
  TIMERS,
  toNetError,
  type UdpBatch,
  type UdpSocket,
} from '@nekit/core';

/** A socket that failed is opened again after this long, in ms. */
const REOPEN_AFTER = 5_000;

/** Whom the sockets belong to. */
interface SocketsOwner {
  received(batch: UdpBatch, family: 4 | 6): void;
  /** So many datagrams could not be sent. */
  lost(datagrams: number): void;
}

/** The UDP port of a listener: one socket, or one for each family. When they fail they are opened again, on the same port. */
export class ServerSockets {
  readonly #endpoint: Endpoint;
  readonly #context: InboundContext;
  readonly #owner: SocketsOwner;
  readonly #sockets: { 4: UdpSocket | null; 6: UdpSocket | null } = { 4: null, 6: null };
  #reopen: Deadline | null = null;
  #port = 0;

  constructor(endpoint: Endpoint, context: InboundContext, owner: SocketsOwner) {
    this.#endpoint = endpoint;
    this.#context = context;
    this.#owner = owner;
  }

  /** The real one; 0 while it is closed. */
  get port(): number {
    return this.#port;
  }

  of(family: 4 | 6): UdpSocket | null {
    return this.#sockets[family];
  }

  /** Port 0: any. Throws NekitError `LISTEN_FAILED` and leaves nothing open. */
  open(port = this.#endpoint.port): void {
    try {
      this.#port = this.#bind(port);
    } catch (error) {
      this.#closeAll();
      throw listenError(this.#context.name, { host: this.#endpoint.host, port }, error, ' for UDP');
    }
  }

  /** Idempotent. */
  close(): void {
    this.#reopen?.cancel();
    this.#reopen = null;
    this.#port = 0;
    this.#closeAll();
  }

  /** The port that was bound. `::` is a socket of IPv6 alone, so all addresses are two sockets. */
  #bind(port: number): number {
    const family = addressFamily(this.#endpoint.host);
    if (this.#endpoint.host !== '::') return this.#openSocket(family === 6 ? 6 : 4, this.#endpoint.host, port).port;
    try {
      const bound = this.#openSocket(6, '::', port).port;
      this.#openSocket(4, '0.0.0.0', bound);
      return bound;
    } catch (error) {
      if (this.#sockets[6] !== null || !lacksIpv6(error)) throw error;
      return this.#openSocket(4, '0.0.0.0', port).port;
    }
  }

  #openSocket(family: 4 | 6, host: string, port: number): UdpSocket {
    const socket = this.#context.get(SOCKETS).bindUdp(
      { host, port },
      {
        received: (batch) => this.#owner.received(batch, family),
        lost: (datagrams) => this.#owner.lost(datagrams),
        failed: (error) => this.#failed(error),
      },
    );
    this.#sockets[family] = socket;
    return socket;
  }

  #closeAll(): void {
    this.#sockets[4]?.close();
    this.#sockets[6]?.close();
    this.#sockets[4] = null;
    this.#sockets[6] = null;
  }

  /** What goes through them lives on: clients do not know of it. */
  #failed(error: NetError): void {
    if (this.#port === 0) return;
    const { code, message } = error;
    this.#context.get(EVENTS).emit('listener.failed', { listener: this.#context.name, code, message });
    this.#closeAll();
    this.#reopen?.cancel();
    this.#reopen = this.#context.get(TIMERS).after(REOPEN_AFTER, () => {
      try {
        this.#bind(this.#port);
      } catch (failure) {
        this.#failed(toNetError(failure, 'UDP'));
      }
    });
  }
}

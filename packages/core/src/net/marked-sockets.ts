import type { BoundListener, ListenHandlers, ListenOptions, SocketOptions, Sockets } from './sockets.js';
import type { UdpHandlers, UdpOptions, UdpSocket } from './udp.js';

/**
 * Sockets with a mark on whatever sends by itself, as long as there is one: those of listeners as well, whose answers to far clients would go into the
 * TUN otherwise. (A TCP connection that was accepted has its address, by which the rules know it.)
 */
export class MarkedSockets implements Sockets {
  readonly #sockets: Sockets;
  /** undefined: none. */
  mark: number | undefined;

  constructor(sockets: Sockets) {
    this.#sockets = sockets;
  }

  get kind(): Sockets['kind'] {
    return this.#sockets.kind;
  }

  listen(options: ListenOptions, handlers: ListenHandlers): Promise<BoundListener> {
    return this.#sockets.listen(options, handlers);
  }

  connect(
    address: string,
    port: number,
    options: SocketOptions,
    opened: Parameters<Sockets['connect']>[3],
    failed: Parameters<Sockets['connect']>[4],
    closed?: () => void,
  ): () => void {
    return this.#sockets.connect(address, port, this.#marked(options), opened, failed, closed);
  }

  bindUdp(options: UdpOptions, handlers: UdpHandlers): UdpSocket {
    return this.#sockets.bindUdp(this.#marked(options), handlers);
  }

  close(): void {
    this.#sockets.close();
  }

  #marked<T extends { readonly mark?: number }>(options: T): T {
    return this.mark === undefined || options.mark !== undefined ? options : { ...options, mark: this.mark };
  }
}

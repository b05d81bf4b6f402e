/** The server on a UDP socket: a batch of questions in, the answers that are there at once out by one call. */
import type { Clock, Endpoint, NetError, Sockets, UdpBatch } from '@nekit/core';
import { MAX_MESSAGE } from '../wire/message.js';
import type { Answerer } from './answerer.js';
import type { Clients } from './clients.js';

/** Questions under way; beyond, new ones that have to wait are dropped, and clients ask again. */
const MAX_PENDING = 4_096;

export interface UdpListenerOptions {
  readonly sockets: Sockets;
  readonly clock: Pick<Clock, 'now'>;
  readonly server: Answerer;
  readonly clients: Clients;
  readonly endpoint: Endpoint;
  /** Whether a client may use the listener at all. */
  readonly admits: (address: string) => boolean;
  failed(error: NetError): void;
}

export class UdpListener {
  readonly #options: UdpListenerOptions;
  readonly #out = new Uint8Array(MAX_MESSAGE);
  readonly #socket: ReturnType<Sockets['bindUdp']>;
  #pending = 0;

  /** Throws an error whose `code` is the system's. */
  constructor(options: UdpListenerOptions) {
    const { sockets, endpoint } = options;
    this.#options = options;
    this.#socket = sockets.bindUdp(endpoint, { received: (batch) => this.#received(batch), failed: (error) => options.failed(error) });
  }

  close(): void {
    this.#socket.close();
  }

  #received({ length, bytes, start, end, peer }: UdpBatch): void {
    const now = this.#options.clock.now();
    for (let i = 0; i < length; i++) {
      const client = peer[i];
      if (client !== undefined) this.#question(bytes, start[i] ?? 0, end[i] ?? 0, client, now);
    }
    this.#socket.flush();
  }

  #question(bytes: Uint8Array, start: number, end: number, client: Endpoint, now: number): void {
    const { server, clients, admits } = this.#options;
    if (client.port === 0) return;
    const refusal = clients.refuses(client.host, now);
    if (refusal !== null || !admits(client.host)) {
      // An answer no longer than the question is no weapon; to who asks too often, silence.
      const length = refusal === 'often' ? 0 : server.refuse(bytes, start, end, this.#out);
      if (length > 0) this.#socket.put(this.#out, 0, length, client.host, client.port);
      return;
    }
    const length = server.respond(bytes, start, end, 'udp', this.#out);
    if (typeof length === 'number') {
      if (length > 0) this.#socket.put(this.#out, 0, length, client.host, client.port);
      return;
    }
    // What is asked meanwhile by all clients together is bounded by the client as well (maxPending): this only bounds who waits.
    if (this.#pending >= MAX_PENDING) return;
    this.#pending++;
    void length.then((answer) => {
      this.#pending--;
      if (answer === null) return;
      this.#socket.put(answer, 0, answer.length, client.host, client.port);
      this.#socket.flush();
    });
  }
}

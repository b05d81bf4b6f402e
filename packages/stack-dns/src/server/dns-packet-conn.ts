import { type Datagram, type Endpoint, type NetError, type PacketConn, PacketQueue } from '@nekit/core';
import { MAX_MESSAGE } from '../wire/message.js';
import type { Answerer } from './answerer.js';

/** Questions of one association that are under way. */
const MAX_PENDING = 256;

/** The server as a PacketConn: whoever a question is sent to, the answer comes from there. */
export class DnsPacketConn implements PacketConn {
  error: NetError | null = null;
  readonly #server: Answerer;
  readonly #out = new Uint8Array(MAX_MESSAGE);
  readonly #answers = new PacketQueue();
  #pending = 0;
  #closed = false;

  constructor(server: Answerer) {
    this.#server = server;
  }

  receive(): Promise<readonly Datagram[] | null> {
    return this.#answers.take();
  }

  send(datagrams: readonly Datagram[]): number {
    let taken = 0;
    for (const { bytes, peer } of datagrams) if (this.#question(bytes, peer)) taken++;
    return taken;
  }

  close(error?: NetError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.error = error ?? null;
    this.#answers.end();
  }

  #question(bytes: Uint8Array, peer: Endpoint): boolean {
    if (this.#closed || this.#pending >= MAX_PENDING) return false;
    const length = this.#server.respond(bytes, 0, bytes.length, 'udp', this.#out);
    if (typeof length === 'number') {
      if (length > 0) this.#answers.put({ bytes: this.#out.slice(0, length), peer });
      return true;
    }
    this.#pending++;
    void length.then((answer) => {
      this.#pending--;
      if (answer !== null) this.#answers.put({ bytes: answer, peer });
    });
    return true;
  }
}

import { type Datagram, type Deadline, type Endpoint, type NetError, type PacketConn, PacketQueue } from '@nekit/core';
import type { CodecSession } from './server-codec.js';

/** Where a session's packets go out. */
export interface PacketSender {
  /** Sends to where the session's client was last. How many were taken. */
  reply(session: ServerSession, datagrams: readonly Datagram[]): number;
  ended(session: ServerSession): void;
}

/** One client's association as `handlePackets` sees it. */
export class ServerSession implements PacketConn {
  readonly key: string;
  readonly codec: CodecSession;
  readonly user: number;
  /** Where the last packet that was believed came from, and to which of our sockets. */
  source: Endpoint;
  family: 4 | 6;
  /** When it was last put to the young end of the table, in the clock's ms. */
  movedAt: number;
  /** Ends it when nothing has come or gone for long. */
  idle: Deadline | null = null;
  readonly #sender: PacketSender;
  readonly #queue = new PacketQueue();
  #closed = false;
  #error: NetError | null = null;

  constructor(key: string, codec: CodecSession, user: number, source: Endpoint, family: 4 | 6, now: number, sender: PacketSender) {
    this.key = key;
    this.codec = codec;
    this.user = user;
    this.source = source;
    this.family = family;
    this.movedAt = now;
    this.#sender = sender;
  }

  get error(): NetError | null {
    return this.#error;
  }

  /** How many were taken. */
  put(datagrams: readonly Datagram[]): number {
    return this.#queue.putAll(datagrams);
  }

  receive(): Promise<readonly Datagram[] | null> {
    return this.#queue.take();
  }

  send(datagrams: readonly Datagram[]): number {
    return this.#closed ? 0 : this.#sender.reply(this, datagrams);
  }

  close(error?: NetError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#error = error ?? null;
    this.idle?.cancel();
    this.#queue.end();
    this.#sender.ended(this);
  }
}

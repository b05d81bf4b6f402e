import { EVENTS, type InboundConnection, type InboundContext, type InboundProtocol, TIMEOUTS, TIMERS } from '@nekit/core';
import { ViaTrail } from '../message/via.js';
import { ClientConnection } from './client-connection.js';
import { RequestParser } from './request-parser.js';
import { UpstreamPool } from './upstream-pool.js';

const CR = 0x0d;
const LF = 0x0a;

/** HTTP/1.1 as a proxy speaks it: CONNECT, and requests in absolute form. One per kernel, which owns its idle upstream connections. */
export class HttpProtocol implements InboundProtocol {
  readonly name = 'http';
  readonly #parser = new RequestParser();
  readonly #trail: ViaTrail;
  #pool: UpstreamPool | null = null;

  /** `trail`: shared with the adapters of the same kernel. */
  constructor(trail = new ViaTrail()) {
    this.#trail = trail;
  }

  /** Upstream connections that wait for a request. */
  get idleConnections(): number {
    return this.#pool?.size ?? 0;
  }

  /** A method's first letter, behind empty lines if need be (RFC 9112 section 2.2). */
  takes(first: Uint8Array): boolean | undefined {
    const start = first.find((byte) => byte !== CR && byte !== LF);
    if (start === undefined) return undefined;
    const letter = start | 0x20;
    return letter >= 0x61 && letter <= 0x7a;
  }

  serve(connection: InboundConnection, context: InboundContext): Promise<void> {
    this.#pool ??= makePool(context);
    return new ClientConnection(connection, context, { parser: this.#parser, pool: this.#pool, trail: this.#trail }).run();
  }
}

/** Idle connections go when the kernel does: nobody else would close them before their time is up. */
function makePool(context: InboundContext): UpstreamPool {
  const pool = new UpstreamPool(context.get(TIMERS), context.get(TIMEOUTS).httpPool);
  context.get(EVENTS).on('kernel.stopped', () => pool.close());
  return pool;
}

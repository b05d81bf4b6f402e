import { type InboundConnection, type InboundContext, type InboundProtocol, TIMEOUTS, TIMERS } from '@nekit/core';
import { ClientConnection } from './client-connection.js';
import { RequestParser } from './request-parser.js';
import { UpstreamPool } from './upstream-pool.js';

/** HTTP/1.1 as a proxy speaks it: CONNECT, and requests in absolute form. One per kernel, which owns its idle upstream connections. */
export class HttpProtocol implements InboundProtocol {
  readonly name = 'http';
  readonly #parser = new RequestParser();
  #pool: UpstreamPool | null = null;

  /** Upstream connections that wait for a request. */
  get idleConnections(): number {
    return this.#pool?.size ?? 0;
  }

  /** A method's first letter. */
  takes(first: Uint8Array): boolean {
    const letter = (first[0] ?? 0) | 0x20;
    return letter >= 0x61 && letter <= 0x7a;
  }

  serve(connection: InboundConnection, context: InboundContext): Promise<void> {
    this.#pool ??= new UpstreamPool(context.get(TIMERS), context.get(TIMEOUTS).httpPool);
    return new ClientConnection(connection, context, this.#parser, this.#pool).run();
  }

  /** The kernel has stopped: idle upstream connections go at once, and none is kept any more. */
  close(): void {
    this.#pool?.close();
  }
}

import {
  type Adapter,
  type AdapterContext,
  type DialOptions,
  type Endpoint,
  formatEndpoint,
  type NetError,
  normaliseHost,
  type Stream,
  type StreamDialer,
  TIMEOUTS,
  TIMERS,
  timeoutError,
  toNetError,
} from '@nekit/core';
import type { H2cConfig } from './h2c-config.js';
import { openTunnel } from './h2c-tunnel.js';

/**
 * Carries connections through an HTTP/2 proxy that is spoken to without TLS (`dialer-proxy` adds what the way there needs).
 * A dialer made from a dialer: it dials its base, shakes hands, and returns a stream. Names are sent as names; the proxy resolves them.
 */
export class H2cAdapter implements Adapter {
  readonly tag: string;
  readonly type = 'h2c';
  readonly stream?: StreamDialer;

  constructor(config: H2cConfig, context: AdapterContext) {
    this.tag = context.tag;
    const base = context.base.stream;
    // A base without streams cannot reach the proxy; no `packet`: UDP goes on to the next rule.
    if (base !== undefined) this.stream = new H2cDialer(config, base, context);
  }
}

class H2cDialer implements StreamDialer {
  readonly #base: StreamDialer;
  readonly #context: AdapterContext;
  readonly #proxy: Endpoint;
  readonly #authorization: string | null;

  constructor(config: H2cConfig, base: StreamDialer, context: AdapterContext) {
    this.#base = base;
    this.#context = context;
    this.#proxy = { host: normaliseHost(config.server) ?? config.server, port: config.port };
    const credentials = `${config.username ?? ''}:${config.password ?? ''}`;
    this.#authorization = config.username === undefined ? null : `Basic ${Buffer.from(credentials).toString('base64')}`;
  }

  async dialStream(destination: Endpoint, { session, signal }: DialOptions): Promise<Stream> {
    // `addresses` stay here: they are the destination's, and the base dials the proxy.
    const base = await this.#base.dialStream(this.#proxy, { session, signal });
    const timers = this.#context.get(TIMERS);
    const ms = this.#context.get(TIMEOUTS).handshake;
    const cut: { error: NetError | null } = { error: null };
    const stop = (reason: Error): void => {
      cut.error ??= toNetError(reason);
      base.abort(cut.error);
    };
    const deadline = timers.after(ms, () => stop(timeoutError(`CONNECT at the HTTP/2 proxy ${formatEndpoint(this.#proxy)}`, ms)));
    const forget = signal.onCancel(stop);
    try {
      const stream = await openTunnel(base, { destination, authorization: this.#authorization, timers });
      if (cut.error !== null) throw cut.error; // it fired in the last moment
      return stream;
    } catch (error) {
      const failure = cut.error ?? toNetError(error);
      base.abort(failure);
      throw failure;
    } finally {
      forget();
      deadline.cancel();
    }
  }
}

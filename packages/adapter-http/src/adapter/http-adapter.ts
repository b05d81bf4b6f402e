import {
  type Adapter,
  type AdapterContext,
  CancelSource,
  type DialOptions,
  type Endpoint,
  INSTANCE_ID,
  NetError,
  normaliseHost,
  type Stream,
  type StreamDialer,
  TIMEOUTS,
  TIMERS,
  type TimerWheel,
  TlsLayer,
  throwIfCancelled,
  timeoutError,
} from '@nekit/core';
import { ViaTrail, viaName } from '../message/via.js';
import type { HttpAdapterConfig } from './config.js';
import { type ConnectOptions, connectRequest, handshakeError, openTunnel } from './connect.js';

/** Streams through an HTTP proxy by CONNECT; names are sent as they are, the proxy resolves them. No UDP. */
export class HttpAdapter implements Adapter, StreamDialer {
  readonly tag: string;
  readonly type = 'http';
  readonly #base: Adapter;
  readonly #server: Endpoint;
  readonly #tls: TlsLayer | null;
  readonly #connect: ConnectOptions;
  readonly #trail: ViaTrail;
  readonly #name: string;
  readonly #timers: TimerWheel;
  readonly #handshakeMs: number;

  /** `trail`: the inbound's, so that loops through several proxies are seen. Throws NekitError `BAD_CA`. */
  constructor(config: HttpAdapterConfig, context: AdapterContext, trail = new ViaTrail()) {
    this.#trail = trail;
    this.#name = viaName(context.get(INSTANCE_ID));
    this.tag = context.tag;
    this.#base = context.base;
    this.#server = { host: normaliseHost(config.server) ?? config.server, port: config.port };
    this.#tls = config.tls ? new TlsLayer(config, 'the HTTP proxy', ['http/1.1']) : null;
    const hasCredentials = config.username !== undefined || config.password !== undefined;
    this.#connect = {
      credentials: hasCredentials ? `${config.username ?? ''}:${config.password ?? ''}` : null,
      headers: config.headers,
    };
    this.#timers = context.get(TIMERS);
    this.#handshakeMs = context.get(TIMEOUTS).handshake;
  }

  get stream(): StreamDialer {
    return this;
  }

  async dialStream(destination: Endpoint, { session, signal }: DialOptions): Promise<Stream> {
    const base = this.#base.stream;
    if (base === undefined) throw new NetError('unreachable', `${this.#base.tag}, which ${this.tag} dials through, carries no TCP`, { code: 'NOT_SUPPORTED' });
    const request = connectRequest(destination, this.#trail.goingOn(session, this.#name), this.#connect);
    const plain = await base.dialStream(this.#server, { session, signal });
    const cancel = new CancelSource(signal);
    cancel.onCancel((reason) => plain.abort(reason));
    const deadline = this.#timers.after(this.#handshakeMs, () =>
      cancel.cancel(timeoutError(`the handshake with the HTTP proxy ${this.tag}`, this.#handshakeMs)),
    );
    try {
      const stream = this.#tls === null ? plain : await this.#tls.secure(plain);
      const tunnel = await openTunnel(stream, request);
      throwIfCancelled(cancel);
      return tunnel;
    } catch (thrown) {
      const error = handshakeError(cancel.reason ?? thrown);
      plain.abort(error);
      throw error;
    } finally {
      deadline.cancel();
      cancel.release();
    }
  }
}

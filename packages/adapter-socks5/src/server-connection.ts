import {
  type AdapterContext,
  type DialOptions,
  type Endpoint,
  encodeSocksAddress,
  type NetError,
  type Stream,
  type StreamDialer,
  TIMEOUTS,
  TIMERS,
  type TimerWheel,
  type TlsLayer,
  timeoutError,
  toNetError,
} from '@nekit/core';
import { type Credentials, type Handshaken, shakeHands } from './client-handshake.js';

/** Where the SOCKS5 server is, and how it wants to be spoken to. */
export interface Socks5Server {
  readonly endpoint: Endpoint;
  readonly credentials: Credentials | null;
  readonly tls: TlsLayer | null;
}

/** Opens connections to one SOCKS5 server through the base adapter, up to the end of the handshake. */
export class ServerConnector {
  readonly server: Socks5Server;
  readonly timers: TimerWheel;
  readonly #base: StreamDialer;
  readonly #context: AdapterContext;

  constructor(server: Socks5Server, base: StreamDialer, context: AdapterContext) {
    this.server = server;
    this.timers = context.get(TIMERS);
    this.#base = base;
    this.#context = context;
  }

  /**
   * Sends `command` for `destination` and waits for success. Rejects with a NetError and leaves nothing behind: when the server says
   * no, when `options.signal` fires, when TLS and handshake together take longer than `timeouts.handshake`.
   */
  async open(command: number, destination: Endpoint, options: DialOptions): Promise<Handshaken> {
    const address = encodeSocksAddress(destination);
    const { session, signal } = options; // `addresses` are the destination's; the base dials the server
    const stream = await this.#base.dialStream(this.server.endpoint, { session, signal });
    const cut: { error: NetError | null } = { error: null };
    const stop = (reason: Error): void => {
      cut.error ??= toNetError(reason);
      stream.abort(cut.error);
    };
    const ms = this.#context.get(TIMEOUTS).handshake;
    const deadline = this.timers.after(ms, () => stop(timeoutError('the handshake with the SOCKS5 server', ms)));
    const release = signal.onCancel(stop);
    try {
      const done = await this.#shakeHands(stream, command, address);
      if (cut.error !== null) throw cut.error; // fired in the last moment: who gets a stream could not know that it is dead
      return done;
    } catch (error) {
      const failure = cut.error ?? toNetError(error);
      stream.abort(failure);
      throw failure;
    } finally {
      release();
      deadline.cancel();
    }
  }

  async #shakeHands(stream: Stream, command: number, address: Uint8Array): Promise<Handshaken> {
    const { tls, credentials } = this.server;
    const inner = tls === null ? stream : await tls.secure(stream);
    return shakeHands(inner, command, address, credentials);
  }
}

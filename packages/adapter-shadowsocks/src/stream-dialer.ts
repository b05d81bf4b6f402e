import {
  type AdapterContext,
  CIPHERS,
  type Ciphers,
  CLOCK,
  type Clock,
  type DialOptions,
  type Endpoint,
  encodeSocksAddress,
  type Stream,
  type StreamDialer,
  toNetError,
} from '@nekit/core';
import { clientCodec, type Secret } from './method.js';
import { SealedStream } from './sealed-stream.js';
import type { ServerLink } from './server-link.js';

/**
 * Connections through a Shadowsocks server. A dial succeeds when the server's TCP does: nothing in the protocol says whether the server reached the target, and
 * one that it did not reach shows as a reset.
 */
export class ServerDialer implements StreamDialer {
  readonly #link: ServerLink;
  readonly #secret: Secret;
  readonly #ciphers: Ciphers;
  readonly #clock: Clock;

  constructor(link: ServerLink, secret: Secret, context: Pick<AdapterContext, 'get'>) {
    this.#link = link;
    this.#secret = secret;
    this.#ciphers = context.get(CIPHERS);
    this.#clock = context.get(CLOCK);
  }

  async dialStream(destination: Endpoint, options: DialOptions): Promise<Stream> {
    const { session, signal } = options; // `addresses` are the destination's; the link dials the server
    const header = encodeSocksAddress(destination, 'Shadowsocks', 'SS');
    const codec = this.#codec(header);
    const stream = await this.#link.dial({ session, signal });
    if (signal.reason !== null) {
      const reason = toNetError(signal.reason); // fired in the last moment: who gets a stream could not know that it is dead
      stream.abort(reason);
      throw reason;
    }
    return new SealedStream(stream, codec, { clock: this.#clock, native: this.#ciphers.kind === 'native', peer: 'server' });
  }

  /** Throws a NetError where this platform lacks the cipher. */
  #codec(header: Uint8Array): ReturnType<typeof clientCodec> {
    try {
      return clientCodec(this.#ciphers, this.#secret, header);
    } catch (error) {
      throw toNetError(error, this.#secret.method.name);
    }
  }
}

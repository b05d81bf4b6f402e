/** A server that is asked, whatever it speaks. */
import {
  type Adapter,
  type Cancel,
  type Clock,
  type DialOptions,
  type Endpoint,
  NetError,
  never,
  type Session,
  type Stream,
  type TimerWheel,
  toNetError,
} from '@nekit/core';
import type { Question } from '../wire/question.js';

export interface Upstream {
  /** As the config has it. */
  readonly name: string;
  /**
   * What the server said: a message that repeats the question (the case of its letters aside) with QR set. Rejects with a NetError, also when the signal fires; it has no time limit of
   * its own.
   */
  ask(question: Question, signal: Cancel): Promise<Uint8Array>;
  close(): void;
}

/** What upstreams are made with. */
export interface UpstreamContext {
  readonly timers: TimerWheel;
  readonly clock: Clock;
  random(length: number): Uint8Array;
  /** An adapter by its tag; null: the direct one. Asked when a server is, since adapters may need resolvers. */
  adapter(tag: string | null): Adapter;
  /** Addresses of a server that has a name. Rejects with a NetError. */
  bootstrap(host: string, signal: Cancel): Promise<readonly string[]>;
}

/** How to get to one server: through an adapter, which is given the name, or addresses that were looked up for it. */
export class Route {
  readonly endpoint: Endpoint;
  readonly #adapter: string | null;
  readonly #context: UpstreamContext;

  constructor(endpoint: Endpoint, adapter: string | null, context: UpstreamContext) {
    this.endpoint = endpoint;
    this.#adapter = adapter;
    this.#context = context;
  }

  async dialStream(signal: Cancel): Promise<Stream> {
    const adapter = this.#context.adapter(this.#adapter);
    if (adapter.stream === undefined) throw new NetError('denied', `"${adapter.tag}" carries no connections`, { code: 'ADAPTER_UNAVAILABLE' });
    return adapter.stream.dialStream(this.endpoint, await this.options('tcp', signal));
  }

  get adapter(): Adapter {
    return this.#context.adapter(this.#adapter);
  }

  async options(network: 'tcp' | 'udp', signal: Cancel): Promise<DialOptions> {
    const addresses = await this.addresses(signal);
    return { session: sessionTo(this.endpoint, network, signal), signal, ...(addresses === null ? {} : { addresses }) };
  }

  /** null: the adapter is given the endpoint as it is. Only what dials directly needs addresses, and asking for them by the kernel's resolver would come back to us. */
  addresses(signal: Cancel): Promise<readonly string[] | null> {
    const { host } = this.endpoint;
    const isName = /[^0-9.]/.test(host) && !host.includes(':');
    return isName && this.#adapter === null ? this.#context.bootstrap(host, signal) : Promise.resolve(null);
  }
}

/** The kernel asks, no client. */
function sessionTo(destination: Endpoint, network: 'tcp' | 'udp', signal: Cancel): Session {
  const source = { host: '0.0.0.0', port: 0 };
  return { id: 0, network, inbound: '', inboundType: 'DNS', inboundPort: 0, source, requested: destination, destination, signal };
}

/** The promise, or the reason why it is not waited for any longer. */
export function unlessCancelled<T>(promise: Promise<T>, signal: Cancel): Promise<T> {
  if (signal === never) return promise;
  return new Promise((resolve, reject) => {
    const forget = signal.onCancel((reason) => reject(toNetError(reason)));
    promise.then(resolve, reject).finally(forget);
  });
}

/** Every answer of this server is `rcode`. */
export function fixedAnswer(name: string, rcode: number, message: (question: Question) => Uint8Array): Upstream {
  return {
    name,
    ask: (question) => {
      const answer = message(question);
      answer[2] = 0x81;
      answer[3] = 0x80 | rcode;
      return Promise.resolve(answer);
    },
    close: () => {},
  };
}

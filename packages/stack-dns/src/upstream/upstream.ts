/** A server that is asked, whatever it speaks. */
import {
  type Adapter,
  addressFamily,
  type Cancel,
  type Clock,
  type DialOptions,
  type Endpoint,
  NetError,
  never,
  type Resolver,
  type Session,
  type SessionWay,
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
  /** Its config is in force no more: questions that are under way are answered, and nothing stays open behind them. */
  close(): void;
}

/** See SectionContext.wayOf. */
export type WayOf = (session: Session, resolver: Resolver) => SessionWay | Promise<SessionWay>;

/** How one server is reached, this time. */
export interface ServerWay {
  readonly adapter: Adapter;
  readonly options: DialOptions;
}

/** What upstreams are made with. */
export interface UpstreamContext {
  readonly timers: TimerWheel;
  readonly clock: Clock;
  random(length: number): Uint8Array;
  /** An adapter by its tag; null: the direct one. Asked when a server is, since adapters may need resolvers. */
  adapter(tag: string | null): Adapter;
  /** Where the rules lead a session; null: servers without an adapter are reached directly. */
  readonly wayOf: WayOf | null;
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
    const { adapter, options } = await this.way('tcp', signal);
    if (adapter.stream === undefined) throw new NetError('denied', `"${adapter.tag}" carries no connections`, { code: 'ADAPTER_UNAVAILABLE' });
    return adapter.stream.dialStream(this.endpoint, options);
  }

  /**
   * Only what dials directly needs addresses, and asking for them by the kernel's resolver would come back to us. The rules are asked for a connection, whatever is dialled: a
   * proxy without UDP is asked by TCP, where UDP would be passed on to the next rule, and perhaps go directly.
   */
  async way(network: 'tcp' | 'udp', signal: Cancel): Promise<ServerWay> {
    const { wayOf } = this.#context;
    const session = sessionTo(this.endpoint, network, signal);
    const base = { session, signal };
    if (this.#adapter !== null || wayOf === null) {
      const addresses = this.#adapter === null && this.#isNamed ? await this.#bootstrap(signal) : null;
      return { adapter: this.#context.adapter(this.#adapter), options: addresses === null ? base : { ...base, addresses } };
    }
    const found = await wayOf({ ...session, network: 'tcp' }, { resolve: (_name, _family, cancel) => this.#bootstrap(cancel) });
    const addresses = found.addresses ?? (found.leaf.type === 'direct' && this.#isNamed ? await this.#bootstrap(signal) : null);
    return { adapter: found.adapter, options: addresses === null ? base : { ...base, addresses } };
  }

  get #isNamed(): boolean {
    return addressFamily(this.endpoint.host) === 0;
  }

  #bootstrap(signal: Cancel): Promise<readonly string[]> {
    return this.#context.bootstrap(this.endpoint.host, signal);
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

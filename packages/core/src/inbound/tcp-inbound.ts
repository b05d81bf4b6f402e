import { type Cancel, type CancelListener, CancelSource, timeoutError } from '../net/cancel.js';
import type { Endpoint } from '../net/endpoint.js';
import { NetError, toNetError } from '../net/errors.js';
import type { BoundListener, Incoming, ListenHandlers, Sockets } from '../net/sockets.js';
import type { Stream } from '../net/stream.js';
import { putBack } from '../net/stream-reader.js';
import type { Deadline } from '../net/timer-wheel.js';
import { EVENTS, OWN_ENDPOINTS, SOCKETS, TIMEOUTS, TIMERS } from '../net/tokens.js';
import { type AccessList, AddressList } from './access.js';
import { chooseProtocol } from './choose-protocol.js';
import type { ConnectionLimit } from './connection-limit.js';
import type { Inbound, InboundConnection, InboundContext, InboundProtocol, Users } from './inbound.js';
import { lacksIpv6, listenError } from './listen-error.js';

/** One for all: an error costs a stack trace, and nobody reads this one. */
const DONE = new NetError('aborted', 'the connection is done', { code: 'DONE' });

const RETIRED = new NetError('aborted', 'the listener has stopped', { code: 'RETIRED' });

/** Connections that the kernel has accepted and we have not. */
const BACKLOG = 1024;

/** Failures of a listener that goes on are told no more often than this, in ms. */
const TELL_AGAIN = 60_000;

export interface TcpInboundOptions {
  readonly host: string;
  readonly port: number;
  /** One: all connections are its. Several: chosen by the first bytes. */
  readonly protocols: readonly InboundProtocol[];
  readonly users: Users | null;
  readonly skipAuthPrefixes: readonly string[];
  readonly access: AccessList;
  readonly limit: ConnectionLimit;
}

/** A TCP port on which clients speak one or several inbound protocols. */
export class TcpInbound implements Inbound {
  readonly #options: TcpInboundOptions;
  readonly #context: InboundContext;
  readonly #skipAuth: AddressList;
  /** One for each start: after a reload that failed the listener is started again. */
  #retired = new CancelSource();
  #bound: BoundListener | null = null;
  #release: () => void = () => {};
  #port = 0;
  #toldAt = Number.NEGATIVE_INFINITY;

  constructor(options: TcpInboundOptions, context: InboundContext) {
    this.#options = options;
    this.#context = context;
    this.#skipAuth = new AddressList(options.skipAuthPrefixes);
  }

  /** Where it listens, with the real port. */
  get endpoint(): Endpoint {
    return { host: this.#options.host, port: this.#port };
  }

  async start(signal: Cancel): Promise<void> {
    const { name, type } = this.#context;
    const events = this.#context.get(EVENTS);
    const handlers: ListenHandlers = {
      connection: (incoming) => this.#accept(incoming, signal),
      failed: (error) => this.#failed(error),
    };
    const bound = await this.#listen(this.#context.get(SOCKETS), handlers);
    this.#port = bound.port;
    this.#release = this.#context.get(OWN_ENDPOINTS).add('tcp', this.#port);
    this.#bound = bound;
    this.#retired = new CancelSource();
    events.emit('listener.started', { listener: name, type, endpoint: this.endpoint });
  }

  stop(): Promise<void> {
    const bound = this.#bound;
    this.#bound = null;
    if (bound === null) return Promise.resolve();
    this.#release();
    this.#retired.cancel(RETIRED);
    this.#context.get(EVENTS).emit('listener.stopped', { listener: this.#context.name });
    bound.close(); // connections live on; they are the kernel's to drain
    return Promise.resolve();
  }

  async #listen(sockets: Sockets, handlers: ListenHandlers): Promise<BoundListener> {
    const { host, port } = this.#options;
    const { name } = this.#context;
    try {
      return await sockets.listen({ host, port, backlog: BACKLOG }, handlers);
    } catch (error) {
      // A host without IPv6 has no '::', which is how "all addresses" is written.
      if (host !== '::' || !lacksIpv6(error)) throw listenError(name, { host, port }, error);
    }
    return sockets.listen({ host: '0.0.0.0', port, backlog: BACKLOG }, handlers).catch((error: unknown) => {
      throw listenError(name, { host: '0.0.0.0', port }, error);
    });
  }

  /** It goes on listening. Without descriptors this comes ten times a second: who reads it has understood after the first. */
  #failed({ code, message }: NetError): void {
    const now = this.#context.get(TIMERS).now();
    if (now - this.#toldAt < TELL_AGAIN) return;
    this.#toldAt = now;
    this.#context.get(EVENTS).emit('listener.failed', { listener: this.#context.name, code, message });
  }

  #accept(incoming: Incoming, signal: Cancel): void {
    const events = this.#context.get(EVENTS);
    const listener = this.#context.name;
    const { source } = incoming;
    const number = this.#options.access.admits(source.host) ? this.#options.limit.enter() : 'address';
    if (number === null || number === 'address') {
      incoming.refuse();
      if (events.wants('connection.refused')) events.emit('connection.refused', { listener, source, reason: number === null ? 'limit' : 'address' });
      return;
    }
    if (events.wants('connection.accepted')) events.emit('connection.accepted', { listener, connection: number, source });
    const gone = new CancelSource(signal);
    const closed = (): void => {
      this.#options.limit.leave();
      gone.release();
      if (events.wants('connection.closed')) events.emit('connection.closed', { listener, connection: number });
    };
    const stream = incoming.open((error) => gone.cancel(error), closed);
    const users = this.#options.users === null || this.#skipAuth.includes(source.host) ? null : this.#options.users;
    const connection = new TcpConnection(incoming, stream, this.endpoint, gone, this.#retired, users);
    gone.add(connection);
    const end = (thrown?: unknown): void => {
      gone.remove(connection);
      if (thrown !== undefined && events.wants('request.failed')) {
        const { code, message } = toNetError(thrown);
        events.emit('request.failed', { listener, source, code, message });
      }
      // Whatever the protocol left open; nothing happens to a stream that has ended.
      connection.stream.abort(DONE);
    };
    this.#serve(connection, end);
  }

  /** Finds the protocol, lets it serve, and calls `end`. Nothing here waits for a protocol: what waits is memory, once for each connection. */
  #serve(connection: TcpConnection, end: (thrown?: unknown) => void): void {
    const { protocols } = this.#options;
    const only = protocols[0];
    if (protocols.length === 1 && only !== undefined) {
      this.#speak(only, connection, end);
      return;
    }
    const { stream } = connection;
    const ms = this.#context.get(TIMEOUTS).handshake;
    const deadline = this.#context.get(TIMERS).after(ms, () => stream.abort(timeoutError('the first byte', ms)));
    stream.read().then(
      (first) => {
        if (first === null) {
          deadline.cancel();
          end();
          return;
        }
        connection.stream = putBack(stream, first);
        // Nearly always the first byte tells.
        const protocol = protocols.find((candidate) => candidate.takes(first[0] ?? NO_BYTES) === true);
        if (protocol === undefined) {
          this.#look(connection, deadline).then(end, end);
          return;
        }
        deadline.cancel();
        this.#speak(protocol, connection, end);
      },
      (error: unknown) => {
        deadline.cancel();
        end(error);
      },
    );
  }

  #speak(protocol: InboundProtocol, connection: TcpConnection, end: (thrown?: unknown) => void): void {
    try {
      protocol.serve(connection, this.#context).then(end, end);
    } catch (error) {
      end(error); // a protocol that is no async function may throw
    }
  }

  /** Finds the protocol by more than the first byte. */
  async #look(connection: TcpConnection, deadline: Deadline): Promise<void> {
    try {
      const chosen = await chooseProtocol(connection.stream, this.#options.protocols);
      if (chosen === null) return;
      connection.stream = chosen.stream;
      deadline.cancel();
      await chosen.protocol.serve(connection, this.#context);
    } finally {
      deadline.cancel();
    }
  }
}

class TcpConnection implements InboundConnection, CancelListener {
  readonly source: Endpoint;
  readonly port: number;
  readonly #incoming: Incoming;
  readonly #listener: Endpoint;

  constructor(
    incoming: Incoming,
    public stream: Stream,
    listener: Endpoint,
    readonly signal: CancelSource,
    readonly retired: Cancel,
    readonly users: Users | null,
  ) {
    this.source = incoming.source;
    this.port = listener.port;
    this.#incoming = incoming;
    this.#listener = listener;
  }

  cancelled(reason: Error): void {
    this.stream.abort(reason);
  }

  get local(): Endpoint {
    return this.#incoming.local() ?? this.#listener;
  }
}

const NO_BYTES = new Uint8Array(0);

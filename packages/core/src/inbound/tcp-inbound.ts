import net from 'node:net';
import { normaliseAddress } from '../net/address.js';
import { type Cancel, CancelSource, timeoutError } from '../net/cancel.js';
import { type Endpoint, formatEndpoint } from '../net/endpoint.js';
import { errorCode, NekitError, NetError, toNetError } from '../net/errors.js';
import { reset, streamFromSocket } from '../net/socket-stream.js';
import type { Stream } from '../net/stream.js';
import { putBack } from '../net/stream-reader.js';
import type { Deadline } from '../net/timer-wheel.js';
import { EVENTS, OWN_ENDPOINTS, TIMEOUTS, TIMERS } from '../net/tokens.js';
import { type AccessList, AddressList } from './access.js';
import { chooseProtocol } from './choose-protocol.js';
import type { ConnectionLimit } from './connection-limit.js';
import type { Inbound, InboundConnection, InboundContext, InboundProtocol, Users } from './inbound.js';

/** One for all: an error costs a stack trace, and nobody reads this one. */
const DONE = new NetError('aborted', 'the connection is done', { code: 'DONE' });

const RETIRED = new NetError('aborted', 'the listener has stopped', { code: 'RETIRED' });

/** Connections that the kernel has accepted and we have not. */
const BACKLOG = 1024;

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
  #server: net.Server | null = null;
  #release: () => void = () => {};
  #port = 0;

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
    const { host, port } = this.#options;
    const { name, type } = this.#context;
    const events = this.#context.get(EVENTS);
    const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket, signal));
    try {
      await listen(server, host, port);
    } catch (error) {
      // A host without IPv6 has no '::', which is how "all addresses" is written.
      if (host !== '::' || !NO_IPV6.has(errorCode(error))) throw listenError(name, { host, port }, error);
      await listen(server, '0.0.0.0', port).catch((again: unknown) => {
        throw listenError(name, { host: '0.0.0.0', port }, again);
      });
    }
    const address = server.address();
    this.#port = address !== null && typeof address === 'object' ? address.port : port;
    this.#release = this.#context.get(OWN_ENDPOINTS).add('tcp', this.#port);
    this.#server = server;
    this.#retired = new CancelSource();
    server.on('error', (error) => events.emit('listener.failed', { listener: name, code: errorCode(error), message: error.message }));
    events.emit('listener.started', { listener: name, type, endpoint: this.endpoint });
  }

  stop(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server === null) return Promise.resolve();
    this.#release();
    this.#retired.cancel(RETIRED);
    this.#context.get(EVENTS).emit('listener.stopped', { listener: this.#context.name });
    server.close(); // its callback waits for all connections; those are the kernel's to drain
    return Promise.resolve();
  }

  #accept(socket: net.Socket, signal: Cancel): void {
    const events = this.#context.get(EVENTS);
    const listener = this.#context.name;
    const source = endpointOf(socket.remoteAddress, socket.remotePort);
    if (source === null) {
      socket.destroy(); // gone already
      return;
    }
    const number = this.#options.access.admits(source.host) ? this.#options.limit.enter() : 'address';
    if (number === null || number === 'address') {
      socket.on('error', () => socket.destroy());
      reset(socket); // a FIN would leave a half-open client waiting
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
    const stream = streamFromSocket(socket, (error) => gone.cancel(error), closed);
    const forget = gone.onCancel((reason) => stream.abort(reason));
    const users = this.#options.users === null || this.#skipAuth.includes(source.host) ? null : this.#options.users;
    const connection = new TcpConnection(socket, stream, source, this.endpoint, gone, this.#retired, users);
    const end = (): void => {
      forget();
      // Whatever the protocol left open; nothing happens to a stream that has ended.
      stream.abort(DONE);
    };
    this.#serve(connection).then(end, (thrown: unknown) => {
      const error = toNetError(thrown);
      if (events.wants('request.failed')) events.emit('request.failed', { listener, source, code: error.code, message: error.message });
      end();
    });
  }

  #serve(connection: TcpConnection): Promise<void> {
    const { protocols } = this.#options;
    const only = protocols[0];
    if (protocols.length === 1 && only !== undefined) return this.#speak(only, connection);
    const { stream } = connection;
    const ms = this.#context.get(TIMEOUTS).handshake;
    const deadline = this.#context.get(TIMERS).after(ms, () => stream.abort(timeoutError('the first byte', ms)));
    return stream.read().then(
      (first) => {
        if (first === null) {
          deadline.cancel();
          return;
        }
        connection.stream = putBack(stream, first);
        // Nearly always the first byte tells.
        const protocol = protocols.find((candidate) => candidate.takes(first[0] ?? NO_BYTES) === true);
        if (protocol === undefined) return this.#look(connection, deadline);
        deadline.cancel();
        return this.#speak(protocol, connection);
      },
      (error: unknown) => {
        deadline.cancel();
        throw error;
      },
    );
  }

  /** A protocol that is no async function may throw. */
  #speak(protocol: InboundProtocol, connection: TcpConnection): Promise<void> {
    try {
      return protocol.serve(connection, this.#context);
    } catch (error) {
      return Promise.reject(toNetError(error));
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

class TcpConnection implements InboundConnection {
  readonly port: number;
  readonly #socket: net.Socket;
  readonly #listener: Endpoint;

  constructor(
    socket: net.Socket,
    public stream: Stream,
    readonly source: Endpoint,
    listener: Endpoint,
    readonly signal: CancelSource,
    readonly retired: Cancel,
    readonly users: Users | null,
  ) {
    this.port = listener.port;
    this.#socket = socket;
    this.#listener = listener;
  }

  get local(): Endpoint {
    return endpointOf(this.#socket.localAddress, this.#socket.localPort) ?? this.#listener;
  }
}

const NO_BYTES = new Uint8Array(0);

function endpointOf(address: string | undefined, port: number | undefined): Endpoint | null {
  if (address === undefined || port === undefined) return null;
  return { host: normaliseAddress(address) ?? address, port };
}

const NO_IPV6: ReadonlySet<string> = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EINVAL']);

/** Settles when it listens; on an error the server may be told to listen again. */
function listen(server: net.Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error): void => reject(error);
    server.once('error', onError);
    server.listen({ host, port, backlog: BACKLOG, ipv6Only: host !== '::' && host.includes(':') }, () => {
      server.off('error', onError);
      resolve();
    });
  });
}

function listenError(name: string, endpoint: Endpoint, error: unknown): NekitError {
  const code = errorCode(error);
  const why =
    code === 'EADDRINUSE'
      ? 'the port is in use'
      : code === 'EACCES'
        ? 'not permitted (ports below 1024 need root)'
        : code === 'EADDRNOTAVAIL'
          ? 'this machine has no such address'
          : toNetError(error).message;
  return new NekitError('LISTEN_FAILED', `listener ${name} cannot listen on ${formatEndpoint(endpoint)}: ${why}`, { cause: error });
}

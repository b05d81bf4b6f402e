import {
  type Deadline,
  type Endpoint,
  EVENTS,
  finish,
  type InboundConnection,
  type InboundContext,
  NetError,
  type Session,
  type Stream,
  StreamReader,
  type StreamRequest,
  TIMEOUTS,
  TIMERS,
  timeoutError,
} from '@nekit/core';

/** What is to be done once the client's request is known. It is called after the handshake has returned, whose memory is free by then. */
export type NextStep = () => Promise<void>;

/** A client in its handshake: what it says, what it is told, and until when. One per connection. */
export class Client {
  readonly reader: StreamReader;
  readonly connection: InboundConnection;
  readonly context: InboundContext;
  readonly #deadline: Deadline;

  constructor(connection: InboundConnection, context: InboundContext) {
    this.connection = connection;
    this.context = context;
    this.reader = new StreamReader(connection.stream);
    const ms = context.get(TIMEOUTS).handshake;
    this.#deadline = context.get(TIMERS).after(ms, () => connection.stream.abort(timeoutError("the client's SOCKS handshake", ms)));
  }

  /** The request is read: from here on it waits for us. */
  handshakeDone(): void {
    this.#deadline.cancel();
  }

  /** Nothing here touches the connection any more. */
  release(): void {
    this.#deadline.cancel();
  }

  say(bytes: Uint8Array): Promise<void> {
    return this.connection.stream.write([bytes]);
  }

  /** A protocol or authentication error, for those who watch. */
  report(error: NetError): void {
    const events = this.context.get(EVENTS);
    if (!events.wants('request.failed')) return;
    events.emit('request.failed', { listener: this.context.name, source: this.connection.source, code: error.code, message: error.message });
  }

  session(network: 'tcp' | 'udp', inboundType: 'SOCKS4' | 'SOCKS5', requested: Endpoint, user: string | null, source = this.connection.source): Session {
    return {
      id: this.context.nextId(),
      network,
      inbound: this.context.name,
      inboundType,
      inboundPort: this.connection.port,
      source,
      requested,
      destination: requested,
      ...(user === null ? {} : { user }),
      signal: this.connection.signal,
    };
  }

  /** Hands a CONNECT on, and waits for its end. `granted` and `refusal` are the replies of the client's version. */
  connect(session: Session, granted: Uint8Array, refusal: (error: NetError) => Uint8Array): Promise<void> {
    const request = new ConnectRequest(this, session, granted, refusal);
    return this.context.handleStream(request).then(() => request.ended());
  }

  /** Last words and FIN, so that they arrive. Never rejects. */
  end(lastWords?: Uint8Array): Promise<void> {
    this.#deadline.cancel();
    return finish(this.connection.stream, lastWords ?? null, this.context.get(TIMERS), this.context.get(TIMEOUTS).halfClose);
  }
}

/** A CONNECT. Who handles it does not reject. */
class ConnectRequest implements StreamRequest {
  readonly session: Session;
  readonly #client: Client;
  readonly #granted: Uint8Array;
  readonly #refusal: (error: NetError) => Uint8Array;
  #answered = false;
  /** The refusal on its way. */
  #ending: Promise<void> | undefined;

  constructor(client: Client, session: Session, granted: Uint8Array, refusal: (error: NetError) => Uint8Array) {
    this.session = session;
    this.#client = client;
    this.#granted = granted;
    this.#refusal = refusal;
  }

  accept(): Promise<Stream> {
    if (this.#answered) return Promise.reject(new NetError('aborted', 'the request was answered before', { code: 'ANSWERED' }));
    this.#answered = true;
    return this.#client.say(this.#granted).then(() => this.#client.reader.release());
  }

  reject(error: NetError): void {
    if (this.#answered) return;
    this.#answered = true;
    this.#ending = this.#client.end(this.#refusal(error));
  }

  /** Settles when the client has its answer: nobody stays without one. */
  ended(): Promise<void> | undefined {
    if (!this.#answered) this.reject(new NetError('aborted', 'nobody answered the request'));
    return this.#ending;
  }
}

import {
  type Deadline,
  type Endpoint,
  EVENTS,
  type InboundConnection,
  type InboundContext,
  NetError,
  type Session,
  type Stream,
  StreamReader,
  TIMEOUTS,
  TIMERS,
  timeoutError,
  toNetError,
} from '@nekit/core';

/** How long a client that was told no may take to hang up, in ms. It has nothing to say any more; the FIN only must not overtake the reply. */
const LINGER = 2_000;

/** What such a client may still send (a request pipelined behind failed authentication), in bytes. */
const LINGER_BYTES = 64 * 1024;

/** A client in its handshake: what it says, what it is told, and until when. One per connection. */
export class Client {
  readonly reader: StreamReader;
  readonly connection: InboundConnection;
  readonly context: InboundContext;
  readonly #deadline: Deadline;
  readonly #forgetSignal: () => void;

  constructor(connection: InboundConnection, context: InboundContext) {
    this.connection = connection;
    this.context = context;
    this.reader = new StreamReader(connection.stream);
    this.#forgetSignal = connection.signal.onCancel((reason) => connection.stream.abort(reason));
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
    this.#forgetSignal();
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
  async connect(session: Session, granted: Uint8Array, refusal: (error: NetError) => Uint8Array): Promise<void> {
    let answered = false;
    const ending: Promise<void>[] = [];
    const reject = (error: NetError): void => {
      if (answered) return;
      answered = true;
      ending.push(this.end(refusal(error)));
    };
    const accept = async (): Promise<Stream> => {
      if (answered) throw new NetError('aborted', 'the request was answered before', { code: 'ANSWERED' });
      answered = true;
      await this.say(granted);
      this.release();
      return this.reader.release();
    };
    try {
      await this.context.handleStream({ session, accept, reject });
    } finally {
      if (!answered) reject(new NetError('aborted', 'nobody answered the request'));
      await Promise.all(ending);
    }
  }

  /**
   * Last words, FIN, and a short wait for the client's FIN: closing a socket that holds unread bytes sends RST, and RST makes the
   * client lose the reply. Never rejects.
   */
  async end(lastWords?: Uint8Array): Promise<void> {
    const { stream } = this.connection;
    this.#deadline.cancel();
    const deadline = this.context.get(TIMERS).after(LINGER, () => stream.abort(timeoutError('hanging up', LINGER)));
    try {
      if (lastWords !== undefined) await stream.write([lastWords]);
      const closed = stream.closeWrite();
      closed.catch(() => {}); // the read below fails as well, and tells
      let rest = LINGER_BYTES;
      for (let chunks = await stream.read(); chunks !== null; chunks = await stream.read()) {
        for (const chunk of chunks) rest -= chunk.length;
        if (rest < 0) throw new NetError('protocol', 'the client goes on sending after a refusal', { code: 'TOO_LONG' });
      }
      await closed;
    } catch (error) {
      stream.abort(toNetError(error));
    } finally {
      deadline.cancel();
    }
  }
}

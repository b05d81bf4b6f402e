/**
 * The server's side of Shadowsocks on TCP. Read first: SIP004, SIP022 section 3.1 (detection prevention, replay protection), Outline's notes on probing.
 *
 * Whoever has no valid request must not find out what this port is. From outside there are two kinds of connections: those that showed a valid request, and all others. The
 * others are read from and never answered, whatever is wrong with them: too short, not authentic, repeated, too old, malformed, or still to be continued. It is one loop
 * for all of them:
 *
 *   FIN from the client    FIN: all it sent has been read, so the kernel makes no RST of it
 *   time is up             RST, always (`Strangers`), the time counted from the accept
 *   MAX_READ bytes         nothing is read any more; what else is the same
 *
 * SIP022 wants salt and fixed header in one read, so that nobody can send byte by byte and see when the connection ends. Here it never ends earlier for that, so a
 * request may come in pieces, as it does through plugins.
 */
import {
  byteLength,
  type Clock,
  type InboundConnection,
  type InboundContext,
  type InboundProtocol,
  NetError,
  type Session,
  type StreamRequest,
  TIMEOUTS,
  TIMERS,
  toNetError,
} from '@nekit/core';
import { SealedStream } from '../sealed-stream.js';
import { PeerReports } from './peer-reports.js';
import { type Keyring, type OpenedRequest, RequestOpener } from './request-opener.js';
import { PATIENCE, type Stranger, Strangers } from './strangers.js';
import { TunnelRequest } from './tunnel-request.js';

/** What is read of a connection without a valid request, in bytes, from its first one on. A request has at most 66 KB. */
const MAX_READ = 1024 * 1024;

const SHORT = new NetError('protocol', 'the client left before its request was whole', { code: 'SS_PROTOCOL' });

/** Serves a request for UDP datagrams inside of the connection; null: it is for nothing of the kind. Rejects with a NetError for a client that breaks that protocol. */
export type ServeInside = (request: StreamRequest, session: Session, context: InboundContext) => Promise<void> | null;

export class ShadowsocksProtocol implements InboundProtocol {
  readonly name = 'shadowsocks';
  readonly strangers: Strangers;
  readonly #keyring: Keyring;
  readonly #clock: Clock;
  readonly #reports: PeerReports;
  readonly #inside: ServeInside;

  constructor(keyring: Keyring, clock: Clock, context: InboundContext, inside: ServeInside) {
    this.#keyring = keyring;
    this.#clock = clock;
    this.#reports = new PeerReports(clock);
    this.#inside = inside;
    this.strangers = new Strangers(context.get(TIMERS), Math.max(PATIENCE, context.get(TIMEOUTS).handshake));
  }

  /** It has a port of its own. */
  takes(): boolean {
    return true;
  }

  serve(connection: InboundConnection, context: InboundContext): Promise<void> {
    const stranger = this.strangers.admit(connection.stream);
    return this.#meet(connection, stranger, context).then((opened) => (opened === null ? undefined : this.#serve(opened, connection, context)));
  }

  /** Reads the request. null: there was none, and the connection has ended. Never rejects. */
  async #meet(connection: InboundConnection, stranger: Stranger, context: InboundContext): Promise<OpenedRequest | null> {
    const { stream, source } = connection;
    let opener: RequestOpener | null = null;
    let count = 0;
    try {
      opener = new RequestOpener(this.#keyring);
      for (let chunks = await stream.read(); chunks !== null; chunks = await stream.read()) {
        count += byteLength(chunks);
        try {
          const opened = opener?.open(chunks) ?? null;
          if (opened !== null) return opened;
        } catch (error) {
          opener = null;
          this.#reports.failed(source, toNetError(error), context);
        }
        if (count >= MAX_READ) await stranger.over(connection.signal);
      }
      if (opener !== null && count > 0) this.#reports.failed(source, SHORT, context);
      await stream.closeWrite();
    } catch (error) {
      // Reset by the client, or by us: `Strangers`, or the kernel stops.
      if (opener !== null && count > 0) this.#reports.failed(source, toNetError(error), context);
    } finally {
      stranger.leave();
    }
    return null;
  }

  #serve({ codec, destination, user, rest }: OpenedRequest, connection: InboundConnection, context: InboundContext): Promise<void> {
    const { ciphers, filter } = this.#keyring;
    filter.record(codec.salt);
    const stream = new SealedStream(connection.stream, codec, { clock: this.#clock, native: ciphers.kind === 'native', peer: 'client' });
    if (rest.length > 0) stream.unread([rest]);
    const session: Session = {
      id: context.nextId(),
      network: 'tcp',
      inbound: context.name,
      inboundType: 'SHADOWSOCKS',
      inboundPort: connection.port,
      source: connection.source,
      requested: destination,
      destination,
      ...(user === null ? {} : { user }),
      signal: connection.signal,
    };
    const request = new TunnelRequest(session, stream);
    const served = this.#inside(request, session, context) ?? context.handleStream(request);
    return served.then(
      () => request.ended(),
      (error: unknown) => {
        request.ended();
        this.#reports.failed(connection.source, toNetError(error), context);
      },
    );
  }
}

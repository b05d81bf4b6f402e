/**
 * The UDP half of a Shadowsocks server. Each client's association (an address and port; with AEAD-2022 a session id, wherever it is sent from) goes to
 * `handlePackets` as one PacketConn. What cannot be believed is dropped and counted, and nobody is told: an answer would tell a prober that something is here.
 *
 *   socket ── packet ──> codec ──> session (PacketConn) ──> handlePackets
 *     ^                                 │
 *     └─────────── sealed, to where the client was last <─ datagrams
 */
import {
  CancelSource,
  CIPHERS,
  CLOCK,
  type Datagram,
  type Endpoint,
  EVENTS,
  type InboundContext,
  MAX_UDP_PAYLOAD,
  NetError,
  OWN_ENDPOINTS,
  type PacketConn,
  type Session,
  TIMEOUTS,
  TIMERS,
  type TimerWheel,
  toNetError,
  type UdpBatch,
} from '@nekit/core';
import type { Secret } from '../method.js';
import { PeerReports } from '../server/peer-reports.js';
import { Scratch } from './scratch.js';
import type { SeenSessions } from './seen-sessions.js';
import { type OpenedPacket, type ServerCodec, serverPacketCodec } from './server-codec.js';
import { type PacketSender, ServerSession } from './server-session.js';
import { ServerSockets } from './server-sockets.js';

/** Who may use a server of several users (identity headers). */
export interface PacketUser {
  readonly username: string;
  readonly key: Uint8Array;
}

export interface ServerPacketsOptions {
  /** Associations at once; the one that was silent for longest goes first. Default 4,096: each has some KiB, and a socket at least. */
  readonly maxSessions?: number;
  /** Milliseconds since 1970, for timestamps. */
  readonly wall?: () => number;
  /** What is known of sessions at other listeners, and from before a reload. */
  readonly seen?: SeenSessions;
}

const MAX_SESSIONS = 4096;

/** SIP022 section 3.2.4 wants sessions to be known for as long at least, in ms. */
const SHORTEST_IDLE = 60_000;

/** A session is put to the young end of the table no more often than this, in ms: at each packet it would cost more than it tells. */
const MOVE_AGAIN = 1_000;

const BUSY = new NetError('denied', 'too many UDP sessions of one user in the last minutes to tell repeated packets from new ones', { code: 'SS_BUSY' });

const STOPPED = new NetError('aborted', 'the listener has stopped', { code: 'RETIRED' });

/** A source of packets: its key, and whether it may use the listener at all. */
interface Source {
  readonly key: string;
  readonly admitted: boolean;
}

export class ServerPackets implements PacketSender {
  readonly #users: readonly PacketUser[];
  readonly #context: InboundContext;
  readonly #timers: TimerWheel;
  readonly #idleMs: number;
  readonly #maxSessions: number;
  readonly #codec: ServerCodec;
  readonly #reports: PeerReports;
  readonly #sessions = new Map<string, ServerSession>();
  readonly #sources = new WeakMap<Endpoint, Source>();
  readonly #sockets: ServerSockets;
  readonly #sealed = new Scratch();
  /** One for each start. */
  #stopped = new CancelSource();
  #release: () => void = () => {};
  /** Packets that could not be believed, of clients that are not admitted, or that found a queue full; answers that could not be sent. */
  dropped = 0;

  /** `endpoint`: where it listens: an address, and the port of the TCP listener. Throws what the ciphers throw for a method that this platform lacks. */
  constructor(secret: Secret, users: readonly PacketUser[], endpoint: Endpoint, context: InboundContext, options: ServerPacketsOptions = {}) {
    const timers = context.get(TIMERS);
    this.#users = users;
    this.#context = context;
    this.#timers = timers;
    this.#idleMs = secret.method.family === '2022' ? Math.max(SHORTEST_IDLE, context.get(TIMEOUTS).udpIdle) : context.get(TIMEOUTS).udpIdle;
    this.#maxSessions = options.maxSessions ?? MAX_SESSIONS;
    const now = { monotonic: () => timers.now(), wall: options.wall ?? Date.now };
    const keys = users.map(({ key }) => key);
    this.#codec = serverPacketCodec(context.get(CIPHERS), secret, keys, now, options.seen);
    this.#reports = new PeerReports(context.get(CLOCK));
    this.#sockets = new ServerSockets(endpoint, context, {
      received: (batch, family) => this.#received(batch, family),
      lost: (datagrams) => {
        this.dropped += datagrams; // too long for the path, no route: UDP's answer is silence
      },
    });
  }

  /** The real one; 0 while it does not listen. */
  get port(): number {
    return this.#sockets.port;
  }

  /** Associations that are open. */
  get sessions(): number {
    return this.#sessions.size;
  }

  /** Listens when it returns. Port 0: any. Throws NekitError `LISTEN_FAILED` and leaves nothing open. */
  start(port?: number): void {
    this.#stopped = new CancelSource();
    this.#sockets.open(port);
    this.#release = this.#context.get(OWN_ENDPOINTS).add('udp', this.port);
  }

  /** Closes the port and ends what went through it: without the port nothing of it could go on. Idempotent. */
  stop(): void {
    this.#release();
    this.#release = () => {};
    this.#sockets.close();
    for (const session of [...this.#sessions.values()]) session.close();
    this.#stopped.cancel(STOPPED);
  }

  reply(session: ServerSession, datagrams: readonly Datagram[]): number {
    const socket = this.#sockets.of(session.family);
    let taken = 0;
    if (socket !== null) {
      const { host, port } = session.source;
      for (const { bytes, peer } of datagrams) {
        const out = this.#sealed.room(session.codec.room(bytes.length));
        const length = session.codec.seal(peer, bytes, out, 0);
        if (length >= 0 && length <= MAX_UDP_PAYLOAD && socket.put(out, 0, length, host, port)) taken++;
      }
      taken -= socket.flush();
      this.#touch(session, this.#timers.now());
    }
    this.dropped += datagrams.length - taken;
    return taken;
  }

  ended(session: ServerSession): void {
    if (this.#sessions.get(session.key) !== session) return;
    this.#sessions.delete(session.key);
    this.#codec.forget(session.key);
  }

  #received(batch: UdpBatch, family: 4 | 6): void {
    const { length, bytes, start, end, peer } = batch;
    const now = this.#timers.now();
    let room = 0;
    for (let i = 0; i < length; i++) room += (end[i] ?? 0) - (start[i] ?? 0);
    // Payloads stay in it as long as somebody has them.
    const out = Buffer.allocUnsafe(room);
    let run: ServerSession | null = null;
    let datagrams: Datagram[] = [];
    for (let i = 0, at = 0; i < length; i++) {
      const from = start[i] ?? 0;
      const to = end[i] ?? 0;
      const source = peer[i];
      const packet = source === undefined ? null : this.#open(bytes, from, to, source, out, at);
      at += to - from;
      if (source === undefined || packet === null) {
        this.dropped++;
        continue;
      }
      const session = this.#sessionOf(packet, source, family, now);
      if (session !== run && run !== null) {
        this.dropped += datagrams.length - run.put(datagrams);
        datagrams = [];
      }
      run = session;
      datagrams.push({ bytes: packet.bytes, peer: packet.peer });
    }
    if (run !== null) this.dropped += datagrams.length - run.put(datagrams);
  }

  #open(bytes: Uint8Array, start: number, end: number, source: Endpoint, out: Uint8Array, at: number): OpenedPacket | null {
    const { key, admitted } = this.#sourceOf(source);
    if (!admitted) return null;
    const { refused } = this.#codec;
    const packet = this.#codec.open(bytes, start, end, key, out, at);
    if (this.#codec.refused !== refused) this.#reports.failed(source, BUSY, this.#context);
    return packet;
  }

  /** The packet's association, which it opens if it is the first; from here on the client is where the packet came from. */
  #sessionOf(packet: OpenedPacket, source: Endpoint, family: 4 | 6, now: number): ServerSession {
    const known = this.#sessions.get(packet.key);
    if (known === undefined) {
      const session = new ServerSession(packet.key, packet.session, packet.user, source, family, now, this);
      this.#begin(session, packet.peer);
      return session;
    }
    known.source = source;
    known.family = family;
    this.#touch(known, now);
    return known;
  }

  #sourceOf(source: Endpoint): Source {
    let known = this.#sources.get(source);
    if (known === undefined) {
      known = { key: `${source.host} ${source.port}`, admitted: this.#context.admits(source.host) };
      this.#sources.set(source, known);
    }
    return known;
  }

  #begin(session: ServerSession, destination: Endpoint): void {
    this.#sessions.set(session.key, session);
    if (this.#sessions.size > this.#maxSessions) {
      for (const oldest of this.#sessions.values()) {
        oldest.close();
        break;
      }
    }
    session.idle = this.#timers.after(this.#idleMs, () => session.close());
    void this.#handle(session, destination);
  }

  #touch(session: ServerSession, now: number): void {
    if (session.idle !== null) session.idle.at = now + this.#idleMs;
    if (now - session.movedAt < MOVE_AGAIN || this.#sessions.get(session.key) !== session) return;
    session.movedAt = now;
    this.#sessions.delete(session.key);
    this.#sessions.set(session.key, session);
  }

  async #handle(conn: ServerSession, destination: Endpoint): Promise<void> {
    const { name, handlePackets } = this.#context;
    const { source, user } = conn;
    const session: Session = {
      id: this.#context.nextId(),
      network: 'udp',
      inbound: name,
      inboundType: 'SHADOWSOCKS',
      inboundPort: this.port,
      source,
      requested: destination,
      destination,
      signal: this.#stopped,
      ...(user < 0 ? {} : { user: this.#users[user]?.username ?? '' }),
    };
    let accepted = false;
    const accept = (): PacketConn => {
      accepted = true;
      return conn;
    };
    const reject = (error: NetError): void => {
      if (!accepted) conn.close(error);
    };
    try {
      await handlePackets({ session, accept, reject });
    } catch (error) {
      const { code, message } = toNetError(error);
      this.#context.get(EVENTS).emit('request.failed', { listener: name, source, code, message });
    } finally {
      conn.close();
    }
  }
}

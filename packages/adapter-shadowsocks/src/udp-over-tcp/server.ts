import {
  type Endpoint,
  type InboundContext,
  NetError,
  type PacketConn,
  readSocksAddress,
  type Session,
  type Stream,
  StreamReader,
  type StreamRequest,
  socksAddressEnd,
  TIMEOUTS,
  TIMERS,
  timeoutError,
  toNetError,
} from '@nekit/core';
import { FramedPackets } from './framed-packets.js';
import { type UotVersion, uotVersionOf } from './wire.js';

/** Serves a request for one of the names of UDP-over-TCP; null: it is for another. */
export function serveInside(request: StreamRequest, session: Session, context: InboundContext): Promise<void> | null {
  const version = uotVersionOf(session.destination.host);
  return version === null ? null : serveUdpOverTcp(request, version, context);
}

/**
 * Serves a stream to one of the names of UDP-over-TCP as a UDP association, to its end. Rejects with a NetError for a client that left, or that did not keep to the
 * protocol; its stream is then aborted.
 */
export async function serveUdpOverTcp(request: StreamRequest, version: UotVersion, context: InboundContext): Promise<void> {
  const stream = await request.accept();
  const head = version === 1 ? { stream, only: null } : await readHead(stream, context);
  const conn = new FramedPackets(head.stream, { timers: context.get(TIMERS), only: head.only, idleMs: context.get(TIMEOUTS).udpIdle });
  try {
    await serve(conn, request.session, context);
  } finally {
    conn.close();
  }
  if (conn.error !== null) throw conn.error;
}

async function serve(conn: FramedPackets, stream: Session, context: InboundContext): Promise<void> {
  const [first] = (await conn.peek()) ?? [];
  if (first === undefined) return; // it ended without a datagram
  const session: Session = { ...stream, id: context.nextId(), network: 'udp', requested: first.peer, destination: first.peer };
  let accepted = false;
  const accept = (): PacketConn => {
    accepted = true;
    return conn;
  };
  const reject = (error: NetError): void => {
    if (!accepted) conn.close(error);
  };
  await context.handlePackets({ session, accept, reject });
}

/** The stream behind the head, and the one peer if there is one. */
async function readHead(stream: Stream, context: InboundContext): Promise<{ readonly stream: Stream; readonly only: Endpoint | null }> {
  const ms = context.get(TIMEOUTS).handshake;
  const deadline = context.get(TIMERS).after(ms, () => stream.abort(timeoutError('the head of UDP-over-TCP', ms)));
  try {
    const reader = new StreamReader(stream);
    const bytes = await reader.message(measureHead);
    const address = readSocksAddress(bytes, 1);
    const single = bytes[0] === 1;
    // The address of an association with any peer says nothing: each frame has its own.
    if (!address || (bytes[0] ?? 0) > 1 || (single && (address.host === null || address.port === 0))) {
      throw new NetError('protocol', 'the client asked for no association of UDP-over-TCP', { code: 'UOT_PROTOCOL' });
    }
    const only = single && address.host !== null ? Object.freeze({ host: address.host, port: address.port }) : null;
    return { stream: reader.release(), only };
  } catch (error) {
    const failure = toNetError(error);
    stream.abort(failure);
    throw failure;
  } finally {
    deadline.cancel();
  }
}

/** Where the type is unknown so is the end: then all up to it. */
function measureHead(first: Uint8Array): number {
  const end = socksAddressEnd(first, 1);
  return end === undefined ? 0 : (end ?? 2);
}

import { abortQuietly, attempt } from '../net/attempt.js';
import type { NetError } from '../net/errors.js';
import { toNetError } from '../net/errors.js';
import { relay } from '../net/relay.js';
import type { Session } from '../net/session.js';
import type { Stream } from '../net/stream.js';
import type { Candidates, Sniffer } from '../sniff/sniffer.js';
import { dialStream } from './dial.js';
import { openRecord } from './enter.js';
import { candidatesOf, findWay, learn, notCarried, type Routing, type Way } from './routing.js';
import type { SessionRecord } from './session-table.js';
import type { RoutedStream, StreamRequest } from './stream-request.js';

/** One connection from wish to end: route, dial, accept, relay. Knows no protocol. Settles when the session has ended; never rejects. */
export function handleStream(request: StreamRequest, routing: Routing): Promise<void> {
  const record = openRecord(request.session, routing);
  const { sniffer } = routing;
  const candidates = sniffer === null || record.cancel.reason !== null ? null : candidatesOf(record.session, routing);
  return sniffer === null || candidates === null ? dialFirst(request, record, routing) : acceptFirst(request, record, routing, sniffer, candidates);
}

/** Callbacks rather than a function that awaits, here and in `acceptAndRelay`: this is done for each connection, and its frame would be a tenth of the garbage. */
function dialFirst(request: StreamRequest, record: SessionRecord, routing: Routing): Promise<void> {
  return attempt(() => findAndDial(record, routing)).then(
    (remote) => acceptAndRelay(request, remote, record, routing),
    (thrown: unknown) => {
      const error = toNetError(thrown);
      reportRejected(record, error, routing);
      try {
        request.reject(error);
      } catch {
        // The inbound's own affair: the session is over in any case.
      }
      record.close(error);
    },
  );
}

function acceptAndRelay(request: StreamRequest, remote: Stream, record: SessionRecord, routing: Routing): Promise<void> {
  return attempt(() => request.accept()).then(
    (client) => {
      reportAccepted(record, routing);
      return relayBoth(client, remote, record, routing);
    },
    (thrown: unknown) => {
      const error = toNetError(thrown, 'the client left before the relay began');
      abortQuietly(remote, error);
      record.close(error);
    },
  );
}

/** The client's first bytes decide: it is told yes before there is anything to dial, and what fails then is a reset. */
async function acceptFirst(request: StreamRequest, record: SessionRecord, routing: Routing, sniffer: Sniffer, candidates: Candidates): Promise<void> {
  let client: Stream | null = null;
  let remote: Stream;
  try {
    client = await request.accept();
    client = await lookAtClient(client, record, routing, sniffer, candidates);
    remote = await findAndDial(record, routing);
    reportAccepted(record, routing);
  } catch (thrown) {
    const error = toNetError(thrown);
    reportRejected(record, error, routing);
    abortQuietly(client, error);
    record.close(error);
    return;
  }
  return relayBoth(client, remote, record, routing);
}

async function lookAtClient(client: Stream, record: SessionRecord, routing: Routing, sniffer: Sniffer, candidates: Candidates): Promise<Stream> {
  const { timers, timeouts } = routing;
  const forget = record.cancel.onCancel((reason) => client.abort(reason));
  try {
    const { stream, sighting } = await sniffer.lookAtStream(client, record.session, candidates, timeouts.sniff, timers);
    if (sighting !== null) record.session = learn(sighting, routing);
    return stream;
  } finally {
    forget();
  }
}

/** To the session's end. Callers return the promise and do not await it: what they needed (the request, streams that were given away) is forgotten while the relay runs. */
function relayBoth(client: Stream, remote: Stream, record: SessionRecord, { timers, timeouts }: Routing): Promise<void> {
  const { cancel: signal, counters, slot } = record;
  const failed = (thrown: unknown): void => record.close(toNetError(thrown)); // a stream of somebody else's
  try {
    return relay(client, remote, { signal, idleMs: timeouts.idle, halfCloseMs: timeouts.halfClose, counters, slot }, timers).then(
      ({ error }) => record.close(error),
      failed,
    );
  } catch (thrown) {
    abortQuietly(client, toNetError(thrown));
    abortQuietly(remote, toNetError(thrown));
    failed(thrown);
    return Promise.resolve();
  }
}

/** A function of its own, so that what it needed is forgotten while the relay runs. */
function findAndDial(record: SessionRecord, routing: Routing): Promise<Stream> {
  if (record.cancel.reason !== null) return Promise.reject(record.cancel.reason);
  const way = findWay(record, routing);
  return way instanceof Promise ? way.then((found) => dialStream(record, found, routing)) : dialStream(record, way, routing);
}

/** The same up to the dial, for an inbound that moves the bytes itself. */
export async function routeStream(session: Session, routing: Routing): Promise<RoutedStream> {
  const record = openRecord(session, routing);
  let way: Way;
  try {
    if (record.cancel.reason !== null) throw record.cancel.reason;
    way = await findWay(record, routing);
    if (way.adapter.stream === undefined) throw notCarried(way.adapter, 'TCP');
  } catch (thrown) {
    const error = toNetError(thrown);
    reportRejected(record, error, routing);
    record.close(error);
    throw error;
  }
  const { requested, destination } = record.session;
  return {
    key: `${routing.generation}:${record.chain().join('>')}${requested.host === destination.host ? '' : `:${destination.host}`}`,
    counters: record.counters,
    slot: record.slot,
    signal: record.cancel,
    dial: () => dialStream(record, way, routing),
    end: (error) => {
      if (error === null) reportAccepted(record, routing);
      else reportRejected(record, error, routing);
      record.close(error);
    },
  };
}

function reportAccepted(record: SessionRecord, { events }: Routing): void {
  const session = record.session.id;
  if (events.wants('request.accepted')) events.emit('request.accepted', { session });
  if (events.wants('session.connected')) events.emit('session.connected', { session, adapter: record.chain().at(-1) ?? '' });
}

function reportRejected(record: SessionRecord, error: NetError, { events }: Routing): void {
  if (events.wants('request.rejected')) events.emit('request.rejected', { session: record.session.id, code: error.code, message: error.message });
}

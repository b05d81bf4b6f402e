import type { Adapter } from '../adapter/adapter.js';
import type { FakeIpTable } from '../ip/fake-ip.js';
import type { DialOptions } from '../net/dialer.js';
import { NetError } from '../net/errors.js';
import type { Events } from '../net/events.js';
import type { Session } from '../net/session.js';
import type { Timeouts } from '../net/timeouts.js';
import type { TimerWheel } from '../net/timer-wheel.js';
import type { Candidates, Sighting, Sniffer } from '../sniff/sniffer.js';
import type { Router } from './router.js';
import type { Decision } from './rule-list.js';
import type { SessionRecord, SessionTable } from './session-table.js';

/** What handling a request needs. `router` is asked anew for each session, so that a reload takes effect at once. */
export interface Routing {
  readonly router: Router;
  /** Counts reloads: what was made for an older one must not serve new sessions. */
  readonly generation: number;
  /** null: nobody's first bytes are looked at. */
  readonly sniffer: Sniffer | null;
  readonly sessions: SessionTable;
  /** null: no plugin has any. */
  readonly fakes: FakeIpTable | null;
  readonly events: Events;
  readonly timers: TimerWheel;
  readonly timeouts: Timeouts;
}

/** A session's way: which adapter, and what to hand to its dialer. */
export interface Way {
  readonly adapter: Adapter;
  readonly options: DialOptions;
}

/** Asks the rules. Synchronous where they are. */
export function findWay(record: SessionRecord, routing: Routing): Way | Promise<Way> {
  const decision = routing.router.route(record.session);
  return decision instanceof Promise ? decision.then((settled) => takeWay(record, settled)) : takeWay(record, decision);
}

/** Notes the decision in the session's record. */
export function takeWay(record: SessionRecord, decision: Decision): Way {
  record.rule = decision.rule?.text ?? null;
  record.adapter = decision.adapter;
  const base = { session: record.session, signal: record.cancel, chosen: (group: string, member: string) => record.choose(group, member) };
  return { adapter: decision.adapter, options: decision.addresses === null ? base : { ...base, addresses: decision.addresses } };
}

/** The error for an adapter that cannot carry this kind of traffic. */
export function notCarried(adapter: Adapter, what: 'TCP' | 'UDP'): NetError {
  return new NetError('denied', `${adapter.tag} carries no ${what}`, { code: 'NOT_SUPPORTED' });
}

/** What its first bytes are looked at for; null: nothing. What goes to an adapter whatever the rules say is left alone. */
export function candidatesOf(session: Session, { sniffer, router }: Routing): Candidates | null {
  return sniffer === null || router.claim(session) !== null ? null : sniffer.candidates(session);
}

/** The session as it goes on, and whoever listens is told. */
export function learn(sighting: Sighting, { events }: Routing): Session {
  const { session, protocol, host, ech } = sighting;
  if (events.wants('session.sniffed')) events.emit('session.sniffed', { session: session.id, protocol, host, ech });
  return session;
}

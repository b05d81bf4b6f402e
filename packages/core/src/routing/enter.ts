/** Where a session really goes: fake addresses become names again, before any rule looks. */
import type { FakeIpTable } from '../ip/fake-ip.js';
import { NetError } from '../net/errors.js';
import type { Session } from '../net/session.js';
import type { Routing } from './routing.js';
import type { SessionRecord } from './session-table.js';

/** The session with the name that its fake address stands for; itself where there is nothing to do; null: the address stands for nothing, and nobody is there. */
export function enter(session: Session, { fakes, router }: Pick<Routing, 'fakes' | 'router'>): Session | null {
  const { host, port } = session.destination;
  if (fakes?.contains(host) !== true || router.claim(session) !== null) return session;
  const name = fakes.domainOf(host);
  return name === null ? null : { ...session, destination: { host: name, port } };
}

/** Enters a session and opens its record. Where nobody is there the record has ended already, and says so. */
export function openRecord(given: Session, routing: Routing): SessionRecord {
  const session = enter(given, routing);
  const record = routing.sessions.open(session ?? given);
  if (session === null) record.cancel.cancel(unknownFake(given.destination.host));
  else if (isFake(session, routing.fakes)) record.onClose = routing.fakes?.hold(session.requested.host, () => record.cancel.cancel(recycled(session))) ?? null;
  return record;
}

/** Whether it came to a fake address that stands for its destination. */
function isFake({ requested, destination }: Session, fakes: FakeIpTable | null): boolean {
  return requested.host !== destination.host && fakes?.contains(requested.host) === true;
}

export function unknownFake(address: string): NetError {
  return new NetError('refused', `${address} stands for no name any more: its name has to be looked up again`, { code: 'UNKNOWN_FAKE_IP' });
}

function recycled({ requested, destination }: Session): NetError {
  return new NetError('aborted', `${requested.host}, which stood for ${destination.host}, was given to another name`, { code: 'FAKE_IP_RECYCLED' });
}

import type { Adapter } from '../adapter/adapter.js';
import type { Network, Session } from '../net/session.js';

/** Groups within groups; a longer chain is a loop. */
const MAX_GROUPS = 32;

/** The adapter that will carry the session, and the groups it is reached through, outermost first. */
export function leafOf(adapter: Adapter, session: Session): { readonly leaf: Adapter; readonly chain: readonly string[] } {
  const chain: string[] = [];
  let leaf = adapter;
  for (let next = nextOf(leaf, session); next !== undefined && chain.length < MAX_GROUPS; next = nextOf(leaf, session)) {
    chain.push(leaf.tag);
    leaf = next;
  }
  return { leaf, chain };
}

function nextOf(group: Adapter, session: Session): Adapter | undefined {
  return group.now === undefined ? group.wouldTake?.(session) : group.now();
}

/** Whether this kind of traffic can go through: the adapter, its choice, its choice's choice … all have to carry it. PASS carries nothing. */
export function carries(adapter: Adapter, network: Network): boolean {
  let current = adapter;
  for (let i = 0; i <= MAX_GROUPS; i++) {
    if ((network === 'tcp' ? current.stream : current.packet) === undefined) return false;
    if (current.now === undefined) return true;
    current = current.now();
  }
  return true; // nobody knows, and going on to the next rule would be another way than the one that was asked for
}

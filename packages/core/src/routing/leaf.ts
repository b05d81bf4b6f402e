import type { Adapter } from '../adapter/adapter.js';
import type { Network } from '../net/session.js';

/** Groups within groups; a longer chain is a loop. */
const MAX_GROUPS = 32;

/** The adapter that will carry the connection, and the groups it is reached through, outermost first. */
export function leafOf(adapter: Adapter): { readonly leaf: Adapter; readonly chain: readonly string[] } {
  const chain: string[] = [];
  let leaf = adapter;
  while (leaf.now !== undefined && chain.length < MAX_GROUPS) {
    chain.push(leaf.tag);
    leaf = leaf.now();
  }
  return { leaf, chain };
}

/** Whether this kind of traffic can go through: the adapter, its choice, its choice's choice … all have to carry it. PASS carries nothing. */
export function carries(adapter: Adapter, network: Network): boolean {
  let current = adapter;
  for (let i = 0; i <= MAX_GROUPS; i++) {
    if ((network === 'tcp' ? current.stream : current.packet) === undefined) return false;
    if (current.now === undefined) return true;
    current = current.now();
  }
  return false;
}

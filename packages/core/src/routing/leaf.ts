import type { Adapter } from '../adapter/adapter.js';

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

/** Whether UDP can go through: the adapter, its choice, its choice's choice … all have to carry it. */
export function carriesPackets(adapter: Adapter): boolean {
  let current = adapter;
  for (let i = 0; i <= MAX_GROUPS; i++) {
    if (current.packet === undefined) return false;
    if (current.now === undefined) return true;
    current = current.now();
  }
  return false;
}

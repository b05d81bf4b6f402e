import { addressFamily, normaliseAddress } from './address.js';
import { NetError } from './errors.js';

/** The `hosts:` of a config: canonical names to addresses, or to one other name. */
export type Hosts = ReadonlyMap<string, readonly string[]>;

/** A name may stand for a name, which may stand for a name …: so often. */
const MAX_DEPTH = 8;

/**
 * What `hosts` says about a canonical name: null if nothing; its addresses; or `alias`, another name that is in no entry and has to be
 * looked up. Throws NetError 'name' with code `HOSTS_LOOP` for a chain that comes back to itself or is longer than 8.
 */
export function lookUpHosts(hosts: Hosts, name: string): { readonly alias: string } | { readonly addresses: readonly string[] } | null {
  let values = hosts.get(name);
  if (values === undefined) return null;
  const chain = [name];
  for (;;) {
    const addresses = values.filter((value) => addressFamily(value) !== 0).map((value) => normaliseAddress(value) ?? value);
    if (addresses.length > 0) return { addresses };
    const alias = values[0];
    if (alias === undefined) return { addresses };
    chain.push(alias);
    if (chain.indexOf(alias) !== chain.length - 1 || chain.length > MAX_DEPTH + 1) {
      throw new NetError('name', `hosts: ${chain.join(' -> ')} ${chain.length > MAX_DEPTH + 1 ? 'is too long a chain' : 'is a loop'}`, { code: 'HOSTS_LOOP' });
    }
    values = hosts.get(alias);
    if (values === undefined) return { alias };
  }
}

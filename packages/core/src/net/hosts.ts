import { addressFamily, normaliseAddress } from './address.js';
import { NetError } from './errors.js';

/** The `hosts:` of a config: canonical names to addresses, or to one other name. A Map is one. */
export type Hosts = Pick<ReadonlyMap<string, readonly string[]>, 'get' | 'has' | 'size'>;

/**
 * `hosts:` with patterns, as Clash has them: `+.x` is x and all below it, `.x` all below it, a label `*` any one label. The name itself goes before a pattern, and what says more
 * before what says less: from the right, a label before `*`, and that before "all below".
 */
export class HostPatterns implements Hosts {
  readonly #names: ReadonlyMap<string, readonly string[]>;
  readonly #root: PatternNode = { labels: new Map(), values: null, below: null };
  readonly #patterns: number;

  /** The keys of `patterns` have canonical labels beside the stars. */
  constructor(names: ReadonlyMap<string, readonly string[]>, patterns: ReadonlyMap<string, readonly string[]>) {
    this.#names = names;
    this.#patterns = patterns.size;
    for (const [pattern, values] of patterns) this.#add(pattern, values);
  }

  get size(): number {
    return this.#names.size + this.#patterns;
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  get(name: string): readonly string[] | undefined {
    return this.#names.get(name) ?? find(this.#root, name.split('.').reverse(), 0) ?? undefined;
  }

  #add(pattern: string, values: readonly string[]): void {
    const isBelow = pattern.startsWith('.') || pattern.startsWith('+.');
    let node = this.#root;
    const labels = pattern
      .replace(/^\+?\./, '')
      .split('.')
      .reverse();
    for (const label of labels) {
      const next = node.labels.get(label) ?? { labels: new Map(), values: null, below: null };
      node.labels.set(label, next);
      node = next;
    }
    if (isBelow) node.below = values;
    if (!pattern.startsWith('.')) node.values = values;
  }
}

interface PatternNode {
  readonly labels: Map<string, PatternNode>;
  values: readonly string[] | null;
  /** Of all names below. */
  below: readonly string[] | null;
}

/** `labels`: the last first. */
function find(node: PatternNode, labels: readonly string[], depth: number): readonly string[] | null {
  const label = labels[depth];
  if (label === undefined) return node.values;
  for (const next of [node.labels.get(label), node.labels.get('*')]) {
    const found = next === undefined ? null : find(next, labels, depth + 1);
    if (found !== null) return found;
  }
  return node.below;
}

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

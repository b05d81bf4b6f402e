import type { DomainKey } from './rule.js';

/** Rules on names that stand one after the other, as one table: which is the first that holds? */
export class DomainRun {
  /** The ordinals of the rules that hold for a name itself, ascending; one alone is no list. */
  readonly #self = new Map<string, number | number[]>();
  /** The same for the names below it. */
  readonly #below = new Map<string, number | number[]>();

  constructor(keys: readonly DomainKey[]) {
    keys.forEach((key, ordinal) => {
      if (key.self) add(this.#self, key.name, ordinal);
      if (key.below) add(this.#below, key.name, ordinal);
    });
  }

  /** The ordinal of the first rule at or behind `from` that holds for the host; -1: none. */
  first(host: string, from = 0): number {
    if (host.includes(':')) return -1; // an address, whose zone may look like a name
    let found = atLeast(this.#self.get(host), from);
    if (this.#below.size === 0) return found;
    for (let dot = host.indexOf('.'); dot !== -1; dot = host.indexOf('.', dot + 1)) {
      const next = atLeast(this.#below.get(host.slice(dot + 1)), from);
      if (next !== -1 && (found === -1 || next < found)) found = next;
    }
    return found;
  }
}

function add(table: Map<string, number | number[]>, name: string, ordinal: number): void {
  const before = table.get(name);
  if (before === undefined) table.set(name, ordinal);
  else if (typeof before === 'number') table.set(name, [before, ordinal]);
  else before.push(ordinal);
}

function atLeast(ordinals: number | number[] | undefined, from: number): number {
  if (ordinals === undefined) return -1;
  if (typeof ordinals === 'number') return ordinals >= from ? ordinals : -1;
  return ordinals.find((ordinal) => ordinal >= from) ?? -1;
}

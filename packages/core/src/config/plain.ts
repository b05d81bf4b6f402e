/**
 * The tree of a YAML file to plain data: aliases and merge keys (`<<`) resolved, duplicates found, what is no data refused. Aliases share one
 * value, and what they would come to when expanded is counted, so that a few lines cannot make the checks behind run for ever.
 */
import { type Alias, isAlias, isMap, isScalar, isSeq, type Pair, Scalar, type YAMLMap } from 'yaml';
import type { Fault } from './yaml-tree.js';
import { MAX_DEPTH } from './yaml-tree.js';

/** Values of the whole config, with every alias expanded. 16 MiB of rules are some 600,000. */
export const MAX_VALUES = 2_000_000;

/** Values that aliases may repeat. Behind each comes as much work as behind one that is written, which a few lines must not make a minute of. */
export const MAX_REPEATED = 100_000;

export interface Plain {
  readonly value: unknown;
  readonly faults: readonly (Fault & { readonly other?: number })[];
  /** What every alias stands for. */
  readonly targets: ReadonlyMap<Alias, unknown>;
}

/** A value with its size and height when expanded. */
interface Sized {
  readonly value: unknown;
  readonly size: number;
  readonly height: number;
}

interface Anchor {
  readonly node: unknown;
  /** null while we are still inside of it. */
  done: Sized | null;
  isUsed: boolean;
}

const NULL: Sized = { value: null, size: 1, height: 0 };

export function toPlain(root: unknown): Plain {
  const converter = new Converter();
  const { value } = converter.convert(root);
  return { value, faults: converter.faults, targets: converter.targets };
}

class Converter {
  readonly faults: (Fault & { readonly other?: number })[] = [];
  readonly targets = new Map<Alias, unknown>();
  /** By name, the anchor seen last. */
  readonly #anchors = new Map<string, Anchor>();
  #spent = 0;
  #repeated = 0;
  #overflow = false;

  convert(node: unknown): Sized {
    if (this.#overflow || node === null || node === undefined) return NULL;
    if (isAlias(node)) return this.#alias(node);
    const anchor = isScalar(node) || isMap(node) || isSeq(node) ? node.anchor : undefined;
    if (anchor === undefined) return this.#counted(node);
    const entry: Anchor = { node, done: null, isUsed: false };
    this.#anchors.set(anchor, entry);
    entry.done = this.#counted(node);
    return entry.done;
  }

  #counted(node: unknown): Sized {
    const sized = this.#node(node);
    return this.#bounded(node, 1, sized.height) ? sized : NULL;
  }

  #node(node: unknown): Sized {
    if (isMap(node)) return this.#map(node);
    if (isSeq(node)) {
      this.#checkTag(node.tag, SEQ, node.range);
      const items = node.items.map((item) => this.convert(item));
      return { value: items.map((item) => item.value), size: sum(items), height: height(items) };
    }
    if (!isScalar(node)) return NULL;
    this.#checkTag(node.tag, SCALAR, node.range);
    const value: unknown = node.value;
    const plain = value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
    return { value: plain ? value : (node.source ?? ''), size: 1, height: 0 };
  }

  #map(map: YAMLMap): Sized {
    this.#checkTag(map.tag, MAP, map.range);
    const value: Record<string, unknown> = {};
    const parts: Sized[] = [];
    const merges: Sized[] = [];
    const seen = new Map<string, number>();
    for (const pair of map.items) {
      if (isMergeKey(pair)) {
        merges.push(...this.#mergeSources(pair));
        continue;
      }
      const key = this.#key(pair);
      if (key === null) continue;
      const at = startOf(pair.key) ?? 0;
      const other = seen.get(key);
      if (other !== undefined) this.faults.push({ offset: at, other, message: 'this key is there twice' });
      seen.set(key, at);
      const part = this.convert(pair.value);
      parts.push(part);
      value[key] = part.value; // never __proto__: #key refuses it
    }
    for (const source of merges) {
      parts.push(source);
      if (typeof source.value !== 'object' || source.value === null) continue;
      for (const [key, item] of Object.entries(source.value)) if (!Object.hasOwn(value, key)) value[key] = item;
    }
    return { value, size: sum(parts), height: height(parts) };
  }

  #mergeSources(pair: Pair): Sized[] {
    const direct = this.#resolve(pair.value);
    if (isSeq(direct) && isAlias(pair.value)) this.targets.set(pair.value, direct);
    const nodes: readonly unknown[] = isSeq(direct) ? direct.items : [pair.value];
    const sources: Sized[] = [];
    for (const node of nodes) {
      if (isMap(this.#resolve(node))) sources.push(this.convert(node));
      else
        this.faults.push({
          offset: startOf(node) ?? startOf(pair.key) ?? 0,
          message: '"<<" merges the keys of another section: give it an alias (*name), or a list of them',
        });
    }
    return sources;
  }

  #resolve(node: unknown): unknown {
    return isAlias(node) ? this.#anchors.get(node.source)?.node : node;
  }

  #key(pair: Pair): string | null {
    const node = pair.key;
    const key = isAlias(node) ? this.#alias(node).value : isScalar(node) ? keyText(node) : null;
    if (typeof key !== 'string') {
      this.faults.push({ offset: startOf(node) ?? 0, message: 'a key must be a plain word' });
      return null;
    }
    if (key === '__proto__') {
      this.faults.push({ offset: startOf(node) ?? 0, message: 'this key is not allowed' });
      return null;
    }
    return key;
  }

  #alias(alias: Alias): Sized {
    const anchor = this.#anchors.get(alias.source);
    const offset = alias.range?.[0] ?? 0;
    if (anchor === undefined) {
      this.faults.push({ offset, message: 'no anchor (&name) of that name stands above; put the value in quotes if it starts with "*"' });
      return NULL;
    }
    if (anchor.done === null) {
      this.faults.push({ offset, message: 'this alias stands inside of its own anchor' });
      return NULL;
    }
    this.targets.set(alias, anchor.node);
    // Once is no repetition: a long list may stand apart from its place.
    if (anchor.isUsed) this.#repeated += anchor.done.size;
    anchor.isUsed = true;
    return this.#bounded(alias, anchor.done.size, anchor.done.height) ? anchor.done : NULL;
  }

  /** Counts what was spent so far, and gives up for good when it is too much. */
  #bounded(node: unknown, size: number, depth: number): boolean {
    this.#spent += size;
    const isFew = this.#repeated <= MAX_REPEATED;
    if (isFew && this.#spent <= MAX_VALUES && depth <= MAX_DEPTH) return true;
    const most = isFew ? `at most ${MAX_VALUES} values and ${MAX_DEPTH} levels` : `they may repeat ${MAX_REPEATED} values`;
    if (!this.#overflow) this.faults.push({ offset: startOf(node) ?? 0, message: `aliases make this too large (${most})` });
    this.#overflow = true;
    return false;
  }

  #checkTag(tag: string | undefined, allowed: ReadonlySet<string>, range: readonly number[] | null | undefined): void {
    if (tag !== undefined && !allowed.has(tag))
      this.faults.push({ offset: range?.[0] ?? 0, message: 'tags (!…) are not supported; put the value in quotes if it starts with "!"' });
  }
}

const core = (...names: string[]): ReadonlySet<string> => new Set(names.map((name) => `tag:yaml.org,2002:${name}`));
const SCALAR = core('str', 'int', 'float', 'bool', 'null');
const SEQ = core('seq');
const MAP = core('map');

/** Keys keep their spelling: `080:` stays "080". */
export function keyText(node: Scalar): string {
  return typeof node.value === 'string' ? node.value : (node.source ?? String(node.value));
}

export function isMergeKey(pair: Pair): boolean {
  const { key } = pair;
  return isScalar(key) && key.value === '<<' && (key.type === undefined || key.type === Scalar.PLAIN);
}

/** Where a node starts in the text. */
export function startOf(node: unknown): number | null {
  return isScalar(node) || isMap(node) || isSeq(node) || isAlias(node) ? (node.range?.[0] ?? null) : null;
}

function sum(parts: readonly Sized[]): number {
  return parts.reduce((total, part) => total + part.size, 1);
}

function height(parts: readonly Sized[]): number {
  return parts.reduce((highest, part) => Math.max(highest, part.height + 1), 0);
}

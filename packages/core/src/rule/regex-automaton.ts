import { type Alphabet, NAMES, type RegexNode } from './regex-syntax.js';

/** Positions and edges, with repetitions written out: one match takes at most edges times characters, some milliseconds. */
const MAX_POSITIONS = 2000;
const MAX_EDGES = 20_000;

/** Steps of 2 ns to go along an edge. */
const EDGE_COST = 5;

/** Characters of no alphabet whose sets are remembered; then they are forgotten and found anew. */
const MAX_OTHERS = 256;

interface Part {
  readonly nullable: boolean;
  readonly first: readonly number[];
  readonly last: readonly number[];
}

const NOTHING: Part = { nullable: true, first: [], last: [] };

/**
 * A regular expression that goes through a name once, keeping all ways at the same time, so that no name can make it slow (Glushkov's
 * automaton, run without being made deterministic). For patterns that Node's matcher might need long for. It finds whether there is a
 * match, not where.
 */
export class RegexAutomaton {
  readonly #alphabet: Alphabet;
  /** What ^ and $ read: a character in front of the text and one behind it. */
  readonly #startBit: number;
  readonly #endBit: number;
  readonly #start: bigint;
  readonly #end: bigint;
  readonly #masks: bigint[] = [];
  /** Of each position, for characters of no alphabet. */
  readonly #others: (RegExp | null)[] = [];
  readonly #otherReads = new Map<string, Uint8Array>();
  readonly #edges: number[][] = [];
  #edgeCount = 0;
  readonly #whole: Part;
  /** A row for each character: which positions read it. */
  readonly #reads: readonly Uint8Array[];
  readonly #accepting: Uint8Array;

  /** Throws a plain Error for what is no regular language (look-arounds, \\b) or too large. */
  constructor(root: RegexNode, alphabet: Alphabet = NAMES) {
    this.#alphabet = alphabet;
    this.#startBit = alphabet.characters.length + 1;
    this.#endBit = this.#startBit + 1;
    this.#start = 1n << BigInt(this.#startBit);
    this.#end = 1n << BigInt(this.#endBit);
    this.#whole = this.#add(root);
    this.#accepting = new Uint8Array(this.#masks.length);
    for (const position of this.#whole.last) this.#accepting[position] = 1;
    this.#reads = Array.from({ length: this.#endBit + 1 }, (_, bit) => Uint8Array.from(this.#masks, (mask) => Number((mask >> BigInt(bit)) & 1n)));
  }

  /** Of one test of so many characters at most, in steps of some 2 ns. */
  cost(characters: number): number {
    return EDGE_COST * characters * (this.#edgeCount + this.#whole.first.length);
  }

  /** `name`: its letters of ASCII in lower case. */
  test(name: string): boolean {
    if (this.#whole.nullable) return true;
    const seen = new Uint32Array(this.#masks.length).fill(0xffff_ffff);
    let active: number[] = [];
    for (let i = -1; i <= name.length; i++) {
      const read = i === -1 ? this.#reads[this.#startBit] : i === name.length ? this.#reads[this.#endBit] : this.#readsOf(name.charAt(i));
      if (read === undefined) {
        active = [];
        continue;
      }
      const next: number[] = [];
      // A match may begin anywhere, so the first positions are always in reach.
      if (this.#enter(this.#whole.first, read, i, seen, next)) return true;
      for (const position of active) if (this.#enter(this.#edges[position] ?? [], read, i, seen, next)) return true;
      active = next;
    }
    return false;
  }

  /** undefined: in no set. */
  #readsOf(character: string): Uint8Array | undefined {
    const bit = this.#alphabet.characters.indexOf(character);
    if (bit !== -1 || !this.#alphabet.open) return this.#reads[bit];
    let reads = this.#otherReads.get(character);
    if (reads === undefined) {
      reads = Uint8Array.from(this.#others, (set) => Number(set?.test(character) ?? false));
      if (this.#otherReads.size === MAX_OTHERS) this.#otherReads.clear();
      this.#otherReads.set(character, reads);
    }
    return reads;
  }

  /** true: a match ends here. */
  #enter(positions: readonly number[], read: Uint8Array, at: number, seen: Uint32Array, next: number[]): boolean {
    for (const position of positions) {
      if (read[position] !== 1 || seen[position] === at + 1) continue;
      if (this.#accepting[position] === 1) return true;
      seen[position] = at + 1;
      next.push(position);
    }
    return false;
  }

  #add(node: RegexNode): Part {
    switch (node.type) {
      case 'set':
        return this.#position(node.mask, node.others);
      case 'start':
        return this.#position(this.#start);
      case 'end':
        return this.#position(this.#end);
      case 'sequence':
        return node.parts.reduce<Part>((before, part) => this.#join(before, this.#add(part)), NOTHING);
      case 'choice': {
        const parts = node.parts.map((part) => this.#add(part));
        return { nullable: parts.some((part) => part.nullable), first: parts.flatMap((part) => part.first), last: parts.flatMap((part) => part.last) };
      }
      case 'repeat':
        return this.#repeat(node);
      default:
        throw new Error('look-arounds and \\b are no part of a regular language');
    }
  }

  #position(mask: bigint, others: RegExp | null = null): Part {
    if (this.#masks.length === MAX_POSITIONS) throw tooLarge();
    this.#others.push(others);
    const position = this.#masks.push(mask) - 1;
    this.#edges.push([]);
    return { nullable: false, first: [position], last: [position] };
  }

  /** `x{2,4}` is xxx?x?, `x{2,}` is xxx*. */
  #repeat(node: RegexNode & { readonly type: 'repeat' }): Part {
    let part = NOTHING;
    const before = this.#masks.length;
    for (let i = 0; i < node.min; i++) {
      part = this.#join(part, this.#add(node.body));
      if (this.#masks.length === before) return NOTHING; // nothing, however often
    }
    if (node.max === Number.POSITIVE_INFINITY) {
      const body = this.#add(node.body);
      this.#link(body.last, body.first);
      return this.#join(part, { ...body, nullable: true });
    }
    for (let i = node.min; i < node.max; i++) part = this.#join(part, { ...this.#add(node.body), nullable: true });
    return part;
  }

  #join(a: Part, b: Part): Part {
    this.#link(a.last, b.first);
    return {
      nullable: a.nullable && b.nullable,
      first: a.nullable ? [...a.first, ...b.first] : a.first,
      last: b.nullable ? [...a.last, ...b.last] : b.last,
    };
  }

  #link(from: readonly number[], to: readonly number[]): void {
    for (const a of from) {
      for (const b of to) {
        this.#checkAnchors(this.#masks[a] ?? 0n, this.#masks[b] ?? 0n);
        if (++this.#edgeCount > MAX_EDGES) throw tooLarge();
        this.#edges[a]?.push(b);
      }
    }
  }

  /** An anchor that reads a character is right as long as no two of them have to hold at the same place. */
  #checkAnchors(a: bigint, b: bigint): void {
    if (a === b && (a === this.#start || a === this.#end)) throw new Error('an anchor stands twice at the same place: leave one out');
    if (a === this.#end && b === this.#start) throw new Error('^ stands behind $: only the empty name has both at the same place');
  }
}

function tooLarge(): Error {
  return new Error('it is too large when its repetitions are written out');
}

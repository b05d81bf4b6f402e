import type { RegexNode } from './regex-syntax.js';

/**
 * How long a regular expression may take on a name that was made to take long. Node's matcher tries one way after another, so the cost is
 * the number of ways. They are counted on the position automaton (Glushkov): a position is a character set of the pattern, an edge leads
 * to the position that may read the next character. Where no position has two edges for one character, there is one way only.
 *
 * - A loop whose body has two ways through the same text doubles them in every round: exponential.
 * - A loop that may end at any character ("a.*b.*c") multiplies them by the length of the name. Two of these take some milliseconds.
 * The count is an upper bound: what is called quick is quick, the rest need not be slow.
 */

/** log2 of the steps that one match may take: two nested walks along a name, and a little. A step takes some 50 ns. */
const MAX_BITS = 18;
/** log2 of the longest name. */
const LENGTH_BITS = 8;
/** What was judged quick is quick on so many characters. */
export const JUDGED_LENGTH = 2 ** LENGTH_BITS;
/** With repetitions written out. A name has 253 characters. */
const MAX_POSITIONS = 2000;
/** Steps of 2 ns that V8 takes to compile a position, a part of it in the first two tests, and a choice of where to go on. */
const COMPILE_COST = 512;
const CHOICE_COST = 16 * 1024;
/**
 * Edges for each position, and besides, that V8 is left to compile: it follows the ways through what may be left out, so `a?b?c?…z?_` five times
 * takes minutes. Elsewhere there is hardly more than one.
 */
const MAX_DENSITY = 2;
const FREE_EDGES = 64;
/** Copies of a body from which on they count as a walk. */
const LONG_RUN = 8;

export interface Estimate {
  /** null if Node's matcher is quick with it; or why it may not be, for a person. */
  readonly slow: string | null;
  /** If it is quick: what one name costs at most, and a share of compiling, in steps of some 2 ns. */
  readonly cost: number;
}

export function estimate(root: RegexNode): Estimate {
  try {
    const automaton = new Automaton(root);
    const { positions, edges } = automaton;
    if (edges > MAX_DENSITY * positions + FREE_EDGES) return { slow: 'it takes long to compile: less of it should be left to choose, as in a?b?c?', cost: 0 };
    const ways = automaton.bits(root);
    const bits = (isAnchored(root) ? 0 : LENGTH_BITS) + (automaton.isDeterministic() ? 0 : ways) + (automaton.hasScan ? LENGTH_BITS : 0);
    if (bits <= MAX_BITS)
      return { slow: null, cost: (1 + automaton.looks) * 2 ** bits + COMPILE_COST * positions + CHOICE_COST * Math.max(0, edges - positions) };
    const slow = 'it walks along the name too often: anchor it with ^ and $, and replace a ".*" by what may really stand there, as in [a-z0-9-]+';
    return { slow, cost: 0 };
  } catch (error) {
    if (error instanceof Slow) return { slow: error.message, cost: 0 };
    throw error;
  }
}

class Slow extends Error {}

interface Part {
  readonly nullable: boolean;
  readonly first: readonly number[];
  readonly last: readonly number[];
}

type Repeat = RegexNode & { readonly type: 'repeat' };

const NOTHING: Part = { nullable: true, first: [], last: [] };

class Automaton {
  readonly #masks: bigint[] = [];
  readonly #edges: number[][] = [];
  /** Positions that compete for a character where no edge leads to them: at the start, behind a "|". */
  readonly #starts: (readonly number[])[] = [];
  /** First position and the one behind the last, for each copy of a loop's body that is walked round and round. */
  readonly #loops = new Map<RegexNode, [number, number][]>();
  /** Choices between parts that may begin alike. */
  readonly #forks = new Set<RegexNode>();
  /** Look-arounds: each walks for itself. */
  looks = 0;
  /** There is a loop with one way only: no choice, but a walk. */
  hasScan = false;

  constructor(root: RegexNode) {
    this.#starts.push(this.#add(root).first);
  }

  get positions(): number {
    return this.#masks.length;
  }

  get edges(): number {
    return this.#edges.reduce((sum, { length }) => sum + length, 0);
  }

  #add(node: RegexNode): Part {
    switch (node.type) {
      case 'set': {
        if (this.#masks.length === MAX_POSITIONS) throw new Slow(`it has more than ${MAX_POSITIONS} characters when its repetitions are written out`);
        const position = this.#masks.push(node.mask) - 1;
        this.#edges.push([]);
        return { nullable: false, first: [position], last: [position] };
      }
      case 'look':
        this.looks++;
        this.#starts.push(this.#add(node.body).first);
        return NOTHING;
      case 'sequence':
        return node.parts.reduce<Part>((before, part) => this.#join(before, this.#add(part)), NOTHING);
      case 'choice': {
        const parts = node.parts.map((part) => this.#add(part));
        const first = parts.flatMap((part) => part.first);
        this.#starts.push(first);
        if (parts.some((part) => part.nullable) || !this.#isApart(first)) this.#forks.add(node);
        return { nullable: parts.some((part) => part.nullable), first, last: parts.flatMap((part) => part.last) };
      }
      case 'repeat':
        return this.#repeat(node);
      default:
        return NOTHING;
    }
  }

  #join(a: Part, b: Part): Part {
    this.#link(a, b);
    return {
      nullable: a.nullable && b.nullable,
      first: a.nullable ? [...a.first, ...b.first] : a.first,
      last: b.nullable ? [...a.last, ...b.last] : b.last,
    };
  }

  #link(a: Part, b: Part): void {
    for (const from of a.last) this.#edges[from]?.push(...b.first);
  }

  /** `x{3}` is xxx, `x{3,9}` and `x{3,}` are taken for xxx+. */
  #repeat(node: Repeat): Part {
    if (node.max === 0) return NOTHING;
    let part = NOTHING;
    const before = this.#masks.length;
    for (let i = 0; i < plainCopies(node); i++) {
      part = this.#join(part, this.#add(node.body));
      if (this.#masks.length === before) break; // nothing, however often
    }
    if (node.max === node.min) {
      if (part.nullable && node.max > 1) throw new Slow(emptyBody(node));
      return part;
    }
    const start = this.#masks.length;
    const body = this.#add(node.body);
    if (node.max > 1) this.#loop(node, start, body);
    return this.#join(part, { ...body, nullable: body.nullable || node.min === 0 });
  }

  #loop(node: Repeat, start: number, body: Part): void {
    if (body.nullable) throw new Slow(emptyBody(node));
    this.#link(body, body);
    const end = this.#masks.length;
    const inside = this.#edges.slice(start).map((edges) => edges.filter((to) => to >= start));
    if (!this.#isApart(body.first) || !inside.every((edges) => this.#isApart(edges))) {
      throw new Slow(
        `the loop ${shorten(node.text)} can read the same text in several ways: end each round with what the rest cannot hold, as in ([a-z0-9-]+\\.)*`,
      );
    }
    this.#loops.set(node, [...(this.#loops.get(node) ?? []), [start, end]]);
  }

  /** Whether there is never more than one way to go on. */
  isDeterministic(): boolean {
    return this.#starts.every((first) => this.#isApart(first)) && this.#edges.every((edges) => this.#isApart(edges));
  }

  #isApart(positions: readonly number[]): boolean {
    let seen = 0n;
    for (const position of positions) {
      const mask = this.#masks[position] ?? 0n;
      if ((seen & mask) !== 0n) return false;
      seen |= mask;
    }
    return true;
  }

  /** log2 of the ways through a node, for one place to begin at. */
  bits(node: RegexNode): number {
    switch (node.type) {
      case 'sequence':
        return this.#sequenceBits(node.parts);
      case 'choice':
        return (this.#forks.has(node) ? Math.log2(node.parts.length) : 0) + Math.max(...node.parts.map((part) => this.bits(part)));
      case 'look':
        return this.bits(node.body);
      case 'repeat': {
        if (node.max === 0) return 0;
        const plain = plainCopies(node) * this.bits(node.body);
        if (plainCopies(node) >= LONG_RUN) this.hasScan = true;
        if (node.max === node.min) return plain;
        if (node.max === 1) return plain + 1 + this.bits(node.body);
        return plain + this.#looks(node.body) + this.#exits(node);
      }
      default:
        return 0;
    }
  }

  /** The ways through a look-around are forgotten behind it: they do not multiply those of what follows. */
  #sequenceBits(parts: readonly RegexNode[]): number {
    let ways = 0;
    let most = 0;
    for (const part of parts) {
      if (part.type === 'look') most = Math.max(most, ways + this.bits(part.body));
      else ways += this.bits(part);
    }
    return Math.max(ways, most);
  }

  /** A loop has one way to go on, or `#loop` had thrown. It may still be able to end at many places. */
  #exits(node: Repeat): number {
    if ((this.#loops.get(node) ?? []).some(([start, end]) => this.#endsAnywhere(start, end))) {
      return node.body.type === 'set' ? Math.min(LENGTH_BITS, Math.log2(node.max - node.min + 1)) : LENGTH_BITS;
    }
    this.hasScan = true;
    return 0;
  }

  /** Whether a character may belong to the loop as well as to what stands behind it. */
  #endsAnywhere(start: number, end: number): boolean {
    return this.#edges.slice(start, end).some((edges) => {
      let inside = 0n;
      let outside = 0n;
      for (const to of edges) {
        if (to >= start && to < end) inside |= this.#masks[to] ?? 0n;
        else outside |= this.#masks[to] ?? 0n;
      }
      return (inside & outside) !== 0n;
    });
  }

  /** Look-arounds in a loop are done again in every round. */
  #looks(node: RegexNode): number {
    switch (node.type) {
      case 'look':
        return LENGTH_BITS + this.bits(node.body);
      case 'sequence':
      case 'choice':
        return node.parts.reduce((sum, part) => sum + this.#looks(part), 0);
      case 'repeat':
        return this.#looks(node.body);
      default:
        return 0;
    }
  }
}

/** Copies of the body that are no loop: all, or all but the last. */
function plainCopies(node: Repeat): number {
  return node.max === node.min ? node.min : Math.max(0, node.min - 1);
}

function emptyBody(node: Repeat): string {
  return `the loop ${shorten(node.text)} has a body that may be empty: make at least one character of it necessary`;
}

/** Whether it can match at the start of the name only. */
function isAnchored(node: RegexNode): boolean {
  if (node.type === 'choice') return node.parts.every(isAnchored);
  if (node.type === 'sequence') return node.parts[0] !== undefined && isAnchored(node.parts[0]);
  return node.type === 'start';
}

function shorten(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

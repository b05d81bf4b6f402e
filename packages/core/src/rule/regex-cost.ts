/**
 * How long a regular expression may take on a name that was made to take long. Node's matcher tries one way after another, so the cost is
 * the number of ways. They are counted on the position automaton (Glushkov): a position is a character set of the pattern, an edge leads
 * to the position that may read the next character. Where no position has two edges for one character, there is one way only.
 *
 * - A loop whose body has two ways through the same text doubles them in every round: exponential. It is refused.
 * - A loop that can stop at several characters ("a.*b.*c") multiplies them by the length of the name. So much is allowed as takes some
 *   10 ms at most for 253 characters.
 * The count is an upper bound: a pattern that is accepted is quick, one that is refused need not be slow.
 */
import { parseRegex, type RegexNode } from './regex-syntax.js';

/** Bits of steps that one match may take: three nested walks along a name of 253 characters, and a little. */
const MAX_BITS = 28;
/** log2 of the longest name. */
const LENGTH_BITS = 8;

/** Throws a plain Error that shows the part to change. The pattern has to be one that `new RegExp(source, 'i')` accepts. */
export function checkRegexCost(source: string): void {
  const root = parseRegex(source);
  const automaton = new Automaton();
  automaton.add(root);
  if (automaton.isDeterministic()) return;
  const bits = (isAnchored(root) ? 0 : LENGTH_BITS) + automaton.bits(root) + (automaton.hasScan ? LENGTH_BITS : 0);
  if (bits > MAX_BITS) {
    throw new Error('it walks along the name too often: anchor it with ^ and $, and replace a ".*" by what may really stand there, as in [a-z0-9-]+');
  }
}

interface Part {
  readonly nullable: boolean;
  readonly first: readonly number[];
  readonly last: readonly number[];
}

interface Edge {
  readonly to: number;
  readonly loop: RegexNode | null;
}

const NOTHING: Part = { nullable: true, first: [], last: [] };

class Automaton {
  readonly #masks: bigint[] = [];
  readonly #edges: Edge[][] = [];
  readonly #lasts = new Map<RegexNode, readonly number[]>();
  readonly #firsts: (readonly number[])[] = [];
  /** There is a loop that takes no part in the ways, but has to be walked along. */
  hasScan = false;

  add(node: RegexNode): Part {
    switch (node.type) {
      case 'set': {
        const position = this.#masks.push(node.mask) - 1;
        this.#edges.push([]);
        return { nullable: false, first: [position], last: [position] };
      }
      case 'look':
        this.add(node.body);
        return NOTHING;
      case 'sequence':
        return node.parts.reduce<Part>((before, part) => this.#join(before, this.add(part)), NOTHING);
      case 'choice': {
        const parts = node.parts.map((part) => this.add(part));
        const first = parts.flatMap((part) => part.first);
        this.#firsts.push(first);
        return { nullable: parts.some((part) => part.nullable), first, last: parts.flatMap((part) => part.last) };
      }
      case 'repeat':
        return this.#repeat(node);
      default:
        return NOTHING;
    }
  }

  #join(a: Part, b: Part): Part {
    for (const from of a.last) for (const to of b.first) this.#edges[from]?.push({ to, loop: null });
    return {
      nullable: a.nullable && b.nullable,
      first: a.nullable ? [...a.first, ...b.first] : a.first,
      last: b.nullable ? [...a.last, ...b.last] : b.last,
    };
  }

  #repeat(node: RegexNode & { readonly type: 'repeat' }): Part {
    const start = this.#masks.length;
    const body = this.add(node.body);
    const part = { ...body, nullable: body.nullable || node.min === 0 };
    if (node.max <= 1) return part;
    if (body.nullable) throw new Error(`the loop ${shorten(node.text)} has a body that may be empty: make at least one character of it necessary`);
    for (const from of body.last) for (const to of body.first) this.#edges[from]?.push({ to, loop: node });
    this.#lasts.set(node, body.last);
    if (this.#masks.length - start > 1 && !this.#isDeterministicFrom(start, body.first)) {
      throw new Error(
        `the loop ${shorten(node.text)} can read the same text in several ways: end each round with what the rest cannot hold, as in ([a-z0-9-]+\\.)*`,
      );
    }
    return part;
  }

  isDeterministic(): boolean {
    return this.#firsts.every((first) => this.#isApart(first)) && this.#edges.every((edges) => this.#isApart(edges.map((edge) => edge.to)));
  }

  /** Whether there is one way at most within the positions from `start` on. */
  #isDeterministicFrom(start: number, first: readonly number[]): boolean {
    for (let i = start; i < this.#edges.length; i++) {
      const inside = (this.#edges[i] ?? []).filter((edge) => edge.to >= start);
      if (!this.#isApart(inside.map((edge) => edge.to))) return false;
    }
    return this.#isApart(first);
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
        return node.parts.reduce((sum, part) => sum + this.bits(part), 0);
      case 'choice':
        return Math.log2(node.parts.length) + Math.max(...node.parts.map((part) => this.bits(part)));
      case 'look':
        return this.bits(node.body);
      case 'repeat': {
        if (node.max <= 1) return 1 + this.bits(node.body);
        // Its body has one way only, or `add` had thrown; a look-around in it is done again in every round.
        const inner = this.#looks(node.body);
        const rounds = Math.log2(Math.min(node.max, 253) - Math.min(node.min, 252) + 1);
        if (node.max === node.min) return inner;
        if (this.#stopsAnywhere(node)) return inner + rounds;
        this.hasScan = true;
        return inner;
      }
      default:
        return 0;
    }
  }

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

  /** Whether the character behind a round may belong to another round as well as to what follows. */
  #stopsAnywhere(node: RegexNode): boolean {
    return (this.#lasts.get(node) ?? []).some((position) => {
      let on = 0n;
      let out = 0n;
      for (const edge of this.#edges[position] ?? []) {
        const mask = this.#masks[edge.to] ?? 0n;
        if (edge.loop === node) on |= mask;
        else out |= mask;
      }
      return (on & out) !== 0n;
    });
  }
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

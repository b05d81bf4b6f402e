/** The shape of a regular expression, to judge and to run it. It reads what `new RegExp` has accepted (ECMA-262 without the u flag). */

export type RegexNode =
  | { readonly type: 'set'; readonly mask: bigint; readonly others: RegExp | null } /** one character of a set; `others`: decides on those of no alphabet */
  | { readonly type: 'start' | 'end' | 'boundary' } /** ^, $, \b or \B */
  | { readonly type: 'look'; readonly body: RegexNode } /** lookahead, or a lookbehind's mirror image */
  | { readonly type: 'sequence' | 'choice'; readonly parts: readonly RegexNode[] }
  | { readonly type: 'repeat'; readonly body: RegexNode; readonly min: number; readonly max: number; readonly text: string };

/** What the texts are made of, lower case. A set of characters is a mask with one bit for each. */
export interface Alphabet {
  readonly characters: string;
  /** Texts may hold any other character, too: sets that may hold one of these have the bit behind the last. */
  readonly open: boolean;
}

export const NAMES: Alphabet = { characters: 'abcdefghijklmnopqrstuvwxyz0123456789-._', open: false };

/** ASCII without capitals, which patterns do not tell apart, and whatever else may be in a file's name. */
export const PATHS: Alphabet = { characters: String.fromCharCode(...Array(0x80).keys()).replace(/[A-Z]/g, ''), open: true };

/** Throws a plain Error for what means something else here than where the pattern came from (Go, .NET), or cannot be judged. */
export function parseRegex(source: string, alphabet: Alphabet = NAMES): RegexNode {
  return new Parser(source, alphabet).choice();
}

/** Sets that hold ASCII only, by their looks: a character, an escape, a class without ^ of these. Of all others it has to be asked. */
const ASCII_ONLY = /^(?:[^.\\\u0080-\uffff]|\\[dwtnrfv0!-/:-@[-`{-~]|\[(?!\^)(?:[^\\\]\u0080-\uffff]|\\[dwtnrfv0!-/:-@[-`{-~])*\])$/;

class Parser {
  readonly #source: string;
  readonly #alphabet: Alphabet;
  #at = 0;
  readonly #sets = new Map<string, RegexNode>();

  constructor(source: string, alphabet: Alphabet) {
    this.#source = source;
    this.#alphabet = alphabet;
  }

  choice(): RegexNode {
    const parts = [this.#sequence()];
    while (this.#take('|')) parts.push(this.#sequence());
    return parts[0] !== undefined && parts.length === 1 ? parts[0] : { type: 'choice', parts };
  }

  #sequence(): RegexNode {
    const parts: RegexNode[] = [];
    while (this.#at < this.#source.length && this.#source[this.#at] !== '|' && this.#source[this.#at] !== ')') parts.push(this.#term());
    return { type: 'sequence', parts };
  }

  #term(): RegexNode {
    const from = this.#at;
    const body = this.#atom();
    const quantifier = /^(?:([*+?])|\{([0-9]+)(?:(,)([0-9]*))?\})\??/.exec(this.#source.slice(this.#at, this.#at + 40));
    if (quantifier === null) return body;
    this.#at += quantifier[0].length;
    const [, sign, least, comma, most] = quantifier;
    const min = sign === undefined ? Number(least) : sign === '+' ? 1 : 0;
    const unbounded = sign === undefined ? comma !== undefined && most === '' : sign !== '?';
    const max = unbounded ? Number.POSITIVE_INFINITY : sign === '?' ? 1 : comma === undefined ? min : Number(most);
    return { type: 'repeat', body, min, max, text: this.#source.slice(from, this.#at) };
  }

  #atom(): RegexNode {
    const from = this.#at;
    const c = this.#source[this.#at++];
    if (c === '^') return { type: 'start' };
    if (c === '$') return { type: 'end' };
    if (c === '(') return this.#group();
    if (c === '[') {
      while (this.#source[this.#at] !== ']') this.#at += this.#source[this.#at] === '\\' ? 2 : 1;
      this.#at++;
      if (/\[:[a-z]+:\]/.test(this.#source.slice(from, this.#at + 1)))
        throw new Error('[[:class:]] of POSIX is not known here: write the characters, as [a-z0-9]');
    }
    if (c === '\\') {
      const assertion = this.#escape();
      if (assertion !== null) return assertion;
    }
    return this.#set(this.#source.slice(from, this.#at));
  }

  #group(): RegexNode {
    const opening = /^\?(?:[:=!]|<[=!]|<[^>]*>)/.exec(this.#source.slice(this.#at, this.#at + 80))?.[0] ?? '';
    this.#at += opening.length;
    const body = this.choice();
    this.#take(')');
    if (/^\?<[=!]/.test(opening)) return { type: 'look', body: mirrored(body) };
    return /^\?[=!]/.test(opening) ? { type: 'look', body } : body;
  }

  /** Behind a backslash. null: the escape stands for a set of characters. */
  #escape(): RegexNode | null {
    const c = this.#source[this.#at++] ?? '';
    if (c === 'b' || c === 'B') return { type: 'boundary' };
    if (/[1-9k]/.test(c)) throw new Error(`\\${c} refers back to a group, which no name needs: spell the text out`);
    if (/[AzZGQEpPhHR]/.test(c)) throw new Error(`\\${c} is not known here: use ^ and $ for the ends, and [a-z0-9] for characters`);
    const rest = this.#source.slice(this.#at);
    if (c === 'x') this.#at += /^[0-9a-fA-F]{2}/.test(rest) ? 2 : 0;
    if (c === 'u') this.#at += /^[0-9a-fA-F]{4}/.test(rest) ? 4 : 0;
    if (c === 'c') this.#at += /^[a-zA-Z]/.test(rest) ? 1 : 0;
    return null;
  }

  #set(atom: string): RegexNode {
    let set = this.#sets.get(atom);
    if (set === undefined) {
      const { characters, open } = this.#alphabet;
      const one = new RegExp(`^(?:${atom})$`, 'i');
      const others = open && !ASCII_ONLY.test(atom) ? one : null;
      let mask = others === null ? 0n : 1n << BigInt(characters.length);
      for (let i = 0; i < characters.length; i++) if (one.test(characters[i] ?? '')) mask |= 1n << BigInt(i);
      set = { type: 'set', mask, others };
      this.#sets.set(atom, set);
    }
    return set;
  }

  #take(text: string): boolean {
    if (!this.#source.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }
}

/** A lookbehind is matched from right to left. */
function mirrored(node: RegexNode): RegexNode {
  if (node.type === 'sequence') return { type: 'sequence', parts: node.parts.map(mirrored).reverse() };
  if (node.type === 'choice') return { type: 'choice', parts: node.parts.map(mirrored) };
  if (node.type === 'repeat') return { ...node, body: mirrored(node.body) };
  return node;
}

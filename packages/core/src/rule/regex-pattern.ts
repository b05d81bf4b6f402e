import { type Alphabet, parseRegex, type RegexNode } from './regex-syntax.js';

/** Characters of a pattern. */
const MAX_PATTERN = 1000;

/** A regular expression that no text makes slow. */
export interface Pattern {
  test(text: string): boolean;
}

export interface PatternKind {
  /** Of the rule, for messages. */
  readonly kind: string;
  readonly example: string;
  /** What is in the texts. */
  readonly alphabet: Alphabet;
}

/** Reads a pattern, upper and lower case alike; `choose` says how it is run, or throws why it is not. Throws a plain Error for a person. */
export function buildPattern({ kind, example, alphabet }: PatternKind, payload: string, choose: (regex: RegExp, root: RegexNode) => Pattern): Pattern {
  if (payload === '') throw new Error(`${kind} needs a regular expression, as in ${kind},${example}`);
  if (payload.length > MAX_PATTERN)
    throw new Error(`the regular expression has ${payload.length} characters, ${MAX_PATTERN} are allowed: split it into several rules`);
  try {
    const source = payload.replace(/^\(\?i\)/, ''); // Go's spelling of what is always on
    return choose(new RegExp(source, 'i'), parseRegex(source, alphabet));
  } catch (error) {
    const reason = (error instanceof Error ? error.message : String(error)).replace(/^Invalid regular expression: /, '');
    throw new Error(`the regular expression "${payload}" is not accepted: ${reason}`, { cause: error });
  }
}

import type { PatternBudget } from './pattern-budget.js';
import { type Alphabet, parseRegex, type RegexNode } from './regex-syntax.js';

/** Characters of a pattern. */
const MAX_PATTERN = 1000;

/** A regular expression that no text makes slow. */
export interface Pattern {
  test(text: string): boolean;
}

/** How a pattern is run, and what one text costs at most, in steps of some 2 ns. */
export interface Chosen {
  readonly pattern: Pattern;
  readonly cost: number;
}

export interface PatternKind {
  /** Of the rule, for messages. */
  readonly kind: string;
  readonly example: string;
  /** What is in the texts. */
  readonly alphabet: Alphabet;
}

/** Reads a pattern, upper and lower case alike; `choose` says how it is run, or throws why it is not. Throws a plain Error for a person. */
export function buildPattern(
  { kind, example, alphabet }: PatternKind,
  payload: string,
  budget: PatternBudget,
  choose: (regex: RegExp, root: RegexNode) => Chosen,
): Pattern {
  if (payload === '') throw new Error(`${kind} needs a regular expression, as in ${kind},${example}`);
  if (payload.length > MAX_PATTERN)
    throw new Error(`the regular expression has ${payload.length} characters, ${MAX_PATTERN} are allowed: split it into several rules`);
  budget.check();
  const { pattern, cost } = compile(payload, alphabet, budget, choose);
  budget.spend(cost);
  budget.check();
  return pattern;
}

function compile(payload: string, alphabet: Alphabet, budget: PatternBudget, choose: (regex: RegExp, root: RegexNode) => Chosen): Chosen {
  try {
    const source = payload.replace(/^\(\?i\)/, ''); // Go's spelling of what is always on
    return choose(new RegExp(source, 'i'), parseRegex(source, alphabet));
  } catch (error) {
    budget.spendOnRefused();
    const reason = (error instanceof Error ? error.message : String(error)).replace(/^Invalid regular expression: /, '');
    throw new Error(`the regular expression "${payload}" is not accepted: ${reason}`, { cause: error });
  }
}

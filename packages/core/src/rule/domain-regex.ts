import type { RuleDefinition } from './definition.js';
import { domainOf } from './domain.js';
import { PatternBudget } from './pattern-budget.js';
import { RegexAutomaton } from './regex-automaton.js';
import { estimate } from './regex-cost.js';
import { buildPattern, type Chosen, type Pattern } from './regex-pattern.js';
import { NAMES, type RegexNode } from './regex-syntax.js';

/** Characters of a name (RFC 1035 section 2.3.4); more is looked at by no pattern. */
const MAX_NAME = 253;

/**
 * A JavaScript regular expression, upper and lower case alike, searched in the lower-case name. Clients choose the names, so a pattern that
 * Node's matcher may take long for is run by an automaton that never does; if it cannot, because of look-arounds, it is refused.
 */
export function domainRegex(): RuleDefinition {
  return {
    kind: 'DOMAIN-REGEX',
    description: 'names in which this regular expression is found, as ^ads?[0-9]*\\.',
    payload: true,
    create(payload, { tools }) {
      const pattern = compileRegex(payload, tools.patterns);
      return {
        match(session) {
          const name = domainOf(session);
          return name.length <= MAX_NAME && pattern.test(name);
        },
      };
    },
  };
}

/** Throws a plain Error. */
export function compileRegex(payload: string, budget = new PatternBudget()): Pattern {
  return buildPattern({ kind: 'DOMAIN-REGEX', example: '^ads?[0-9]*\\.', alphabet: NAMES }, payload, budget, (regex, root) => {
    const { slow, cost } = estimate(root);
    return slow === null ? { pattern: regex, cost } : automaton(root, slow);
  });
}

function automaton(root: RegexNode, slow: string): Chosen {
  try {
    const pattern = new RegexAutomaton(root);
    return { pattern, cost: pattern.cost(MAX_NAME) };
  } catch (error) {
    throw new Error(`${slow} (without look-arounds, \\b and large repetitions it would be no matter)`, { cause: error });
  }
}

import type { RuleDefinition } from './definition.js';
import { matchesWildcard } from './domain-wildcard.js';
import type { PatternBudget } from './pattern-budget.js';
import { RegexAutomaton } from './regex-automaton.js';
import { estimate, JUDGED_LENGTH } from './regex-cost.js';
import { buildPattern, type Pattern } from './regex-pattern.js';
import { PATHS } from './regex-syntax.js';
import type { ProcessInfo } from './rule.js';

/** Bytes of the longest path that Linux tells (PATH_MAX); patterns look at no more. */
const MAX_PATH = 4_096;

/** What is compared of a process, and how the kinds for it begin. */
interface Part {
  readonly kind: 'PROCESS-NAME' | 'PROCESS-PATH';
  readonly what: string;
  readonly example: string;
  /** '' where it is not known: no rule matches then. */
  read(info: ProcessInfo): string;
}

const NAME: Part = { kind: 'PROCESS-NAME', what: "the client program's file name", example: 'curl', read: (info) => info.name };
const PATH: Part = { kind: 'PROCESS-PATH', what: "the client program's path", example: '/usr/bin/curl', read: (info) => info.path };

/**
 * The program on this machine that opened the connection, upper and lower case alike, as in mihomo. Clients on other machines, and programs that
 * the system does not show to us, match none of these.
 */
export function processRules(): readonly RuleDefinition[] {
  return [NAME, PATH].flatMap((part) => [
    processRule(part, '', 'exactly this', part.example, exactly),
    processRule(part, '-REGEX', 'in which this regular expression is found', `^${part.example}$`, processRegex),
    processRule(part, '-WILDCARD', '* is any run of characters, ? exactly one', `${part.example}*`, wildcard),
  ]);
}

function processRule(
  part: Part,
  suffix: string,
  how: string,
  example: string,
  compile: (kind: string, payload: string, budget: PatternBudget) => Pattern,
): RuleDefinition {
  const kind = `${part.kind}${suffix}`;
  return {
    kind,
    description: `${part.what}, ${how}, as ${example}`,
    payload: true,
    create(payload, { tools }) {
      if (payload === '') throw new Error(`${kind} needs a value, as in ${kind},${example}`);
      const pattern = compile(kind, payload, tools.patterns);
      return {
        async match(_session, facts) {
          const info = await facts.process();
          const text = info === null ? '' : part.read(info);
          return text !== '' && pattern.test(text);
        },
      };
    },
  };
}

function exactly(kind: string, payload: string): Pattern {
  if (kind === 'PROCESS-NAME' && payload.includes('/')) throw new Error(`"${payload}" is a path: use PROCESS-PATH,${payload}`);
  const wanted = payload.toLowerCase();
  return { test: (text) => text.toLowerCase() === wanted };
}

function wildcard(_kind: string, payload: string): Pattern {
  const pattern = payload.toLowerCase().replace(/\*+/g, '*');
  return { test: (text) => matchesWildcard(pattern, text.toLowerCase()) };
}

/**
 * Whoever starts a program chooses its name, and a path may be long, so it is always the automaton that goes through it. What that cannot do
 * (look-arounds, \\b) Node's matcher does, if it is quick with it, for texts of the length that this was judged on; longer ones do not match.
 */
function processRegex(kind: string, payload: string, budget: PatternBudget): Pattern {
  const example = kind === 'PROCESS-NAME-REGEX' ? '^(curl|wget)$' : '^/opt/';
  return buildPattern({ kind, example, alphabet: PATHS }, payload, budget, (regex, root) => {
    try {
      const automaton = new RegexAutomaton(root, PATHS);
      const test = (text: string): boolean => text.length <= MAX_PATH && automaton.test(text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase()));
      return { pattern: { test }, cost: automaton.cost(JUDGED_LENGTH) };
    } catch (error) {
      const { slow, cost } = estimate(root);
      if (slow !== null) throw new Error(`${slow} (without look-arounds, \\b and large repetitions it would be no matter)`, { cause: error });
      return { pattern: { test: (text) => text.length <= JUDGED_LENGTH && regex.test(text) }, cost };
    }
  });
}

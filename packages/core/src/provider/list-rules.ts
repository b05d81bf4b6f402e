import type { RuleDefinition } from '../rule/definition.js';
import type { KnownRules } from '../rule/parse.js';
import type { PatternBudget } from '../rule/pattern-budget.js';
import type { RuleSet } from '../rule/rule-set.js';
import type { Geodata, RuleTools } from '../rule/tools.js';

/** Kinds that lead to other lists, which could lead round in a circle; and MODULE, which runs code: a list may come from anywhere. */
const NOT_IN_LISTS: ReadonlySet<string> = new Set(['RULE-SET', 'SUB-RULE', 'MATCH', 'MODULE']);

/** The rules that may stand in a list, with tools of the list's own: what its rules keep open ends with it, not with the config. */
export class ListRules implements KnownRules {
  readonly tools: ListTools;
  readonly #known: KnownRules;

  /** `patterns`: what its regular expressions may cost. */
  constructor(known: KnownRules, patterns: PatternBudget) {
    this.#known = known;
    this.tools = new ListTools(known.tools, patterns);
  }

  readonly definitions = (kind: string): RuleDefinition | undefined => {
    const definition = this.#known.definitions(kind);
    return definition === undefined || !NOT_IN_LISTS.has(kind) ? definition : refusing(definition);
  };

  readonly plugin = (kind: string): string | undefined => this.#known.plugin(kind);

  readonly kinds = (): Iterable<string> => [...this.#known.kinds()].filter((kind) => !NOT_IN_LISTS.has(kind));
}

class ListTools implements RuleTools {
  readonly checking: boolean;
  readonly geodata: Geodata;
  readonly patterns: PatternBudget;
  readonly #tools: RuleTools;
  #closers: (() => void)[] = [];

  constructor(tools: RuleTools, patterns: PatternBudget) {
    this.#tools = tools;
    this.patterns = patterns;
    this.checking = tools.checking;
    this.geodata = tools.geodata;
  }

  path(text: string): string {
    return this.#tools.path(text);
  }

  ruleSet(): RuleSet {
    throw new Error('a list cannot use another one');
  }

  prepare(pending: Promise<void>): void {
    this.#tools.prepare(pending);
  }

  onClose(close: () => void): void {
    this.#closers.push(close);
  }

  warn(code: string, message: string): void {
    this.#tools.warn(code, message);
  }

  close(): void {
    const closers = this.#closers;
    this.#closers = [];
    for (const close of closers) close();
  }
}

function refusing({ kind, description, payload }: RuleDefinition): RuleDefinition {
  return {
    kind,
    description,
    payload,
    create() {
      throw new Error(`${kind} cannot stand in a list of rule-providers`);
    },
  };
}

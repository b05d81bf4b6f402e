import type { Cancel } from '../net/cancel.js';
import { buildBareRule, type KnownRules } from '../rule/parse.js';
import { PatternBudget } from '../rule/pattern-budget.js';
import type { CompiledSet } from '../rule/rule-set.js';
import { compileList } from '../rule/set/compile-list.js';
import { ListRules } from './list-rules.js';
import type { Copy, Version } from './list-source.js';
import type { ProviderConfig } from './provider-config.js';

/** A list in use, by one provider or by the same one of two configs while one follows the other. */
export class LoadedList {
  readonly set: CompiledSet;
  readonly entries: number;
  /** Entries that were not understood, and the first of them. */
  readonly problems: number;
  readonly firstProblem: string;
  /** As its source knows it; a source may say that the same bytes have another name now. */
  version: Version;
  readonly #rules: ListRules;
  #holders = 1;

  private constructor(compiled: Compiled, version: Version, rules: ListRules) {
    this.set = compiled.set;
    this.entries = compiled.entries;
    this.problems = compiled.problemCount;
    this.firstProblem = describe(compiled.problems[0]);
    this.version = version;
    this.#rules = rules;
  }

  /** Rejects with a plain Error when nothing in it is understood, though there is something. */
  static async compile(copy: Copy, { behavior, format, source }: ProviderConfig, known: KnownRules, signal: Cancel): Promise<LoadedList> {
    const rules = new ListRules(known, source.type === 'inline' ? known.tools.patterns : PatternBudget.ofList());
    try {
      const compiled = await compileList(copy.bytes, { behavior, format, buildRule: (text) => buildBareRule(text, rules), signal });
      const list = new LoadedList(compiled, copy.version, rules);
      if (list.entries === 0 && list.problems > 0)
        throw new Error(`none of its ${list.problems} entries was understood as ${format} with behavior ${behavior}, the first: ${list.firstProblem}`);
      return list;
    } catch (error) {
      rules.tools.close();
      throw error;
    }
  }

  /** For one more holder. */
  hold(): this {
    this.#holders++;
    return this;
  }

  /** One holder less; the last one ends what the rules in it keep open. */
  release(): void {
    if (--this.#holders === 0) this.#rules.tools.close();
  }
}

type Compiled = Awaited<ReturnType<typeof compileList>>;

function describe(problem: Compiled['problems'][number] | undefined): string {
  if (problem === undefined) return '';
  return problem.line === null ? problem.message : `line ${problem.line}: ${problem.message}`;
}

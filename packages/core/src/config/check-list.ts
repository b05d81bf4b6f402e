import { knownRules } from '../plugin/known-rules.js';
import type { Registry } from '../plugin/registry.js';
import { ListRules } from '../provider/list-rules.js';
import { buildBareRule } from '../rule/parse.js';
import { PatternBudget } from '../rule/pattern-budget.js';
import { type CompiledList, compileList } from '../rule/set/compile-list.js';
import { inspectList, type ListKind } from '../rule/set/inspect-list.js';
import { ConfigRuleTools } from '../rule/tools.js';

export interface CheckedList extends ListKind, Omit<CompiledList, 'set'> {}

/**
 * What is in a list of rules, and what in it could not be understood, without a config. What `hints` do not say is guessed. Rejects with a plain Error if the
 * bytes are no list.
 */
export async function checkList(bytes: Uint8Array, registry: Registry, hints: Partial<ListKind> = {}): Promise<CheckedList> {
  const kind = inspectList(bytes, hints);
  const rules = new ListRules(knownRules(registry, new ConfigRuleTools({ checking: true, folder: process.cwd() })), PatternBudget.ofList());
  try {
    const { entries, kinds, problems, problemCount } = await compileList(bytes, { ...kind, buildRule: (text) => buildBareRule(text, rules) });
    return { ...kind, entries, kinds, problems, problemCount };
  } finally {
    rules.tools.close();
  }
}

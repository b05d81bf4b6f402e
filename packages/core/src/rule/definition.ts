import type { Rule } from './rule.js';
import type { RuleTools } from './tools.js';

/**
 * A kind of rule, as core or a plugin registers it. In the config: `KIND,payload,target[,parameter…]`, or
 * `{ type: KIND, value: payload, to: target, … }`.
 */
export interface RuleDefinition {
  /** Upper-case, with dashes. */
  readonly kind: string;
  /** One line for `plugins` and for the schema. */
  readonly description: string;
  /** Kinds without a payload (MATCH) say false. */
  readonly payload: boolean;
  /**
   * Words that may stand behind the target, in lower case. Clash's own (`no-resolve`, `src`) may stand behind any rule and mean nothing to most;
   * others have to be named here, or they are an error.
   */
  readonly parameters?: readonly string[];
  /** Further keys of the object form. */
  readonly options?: readonly string[];
  /**
   * Builds the rule from its payload. Throws a plain Error whose message names what is wrong with it; the caller adds file and line.
   */
  create(payload: string, context: RuleContext): Rule;
}

export interface RuleContext {
  /** The parameters behind the target, in lower case: `no-resolve`, `src`; also keys of the object form that are true. */
  readonly parameters: ReadonlySet<string>;
  /** All other keys of the object form. */
  readonly options: Readonly<Record<string, unknown>>;
  /** Builds a nested rule from `KIND,payload` (logic rules). */
  nested(text: string): Rule;
  readonly tools: RuleTools;
}

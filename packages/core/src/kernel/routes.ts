import type { RouteConfig } from '../config/types.js';
import { NekitError } from '../net/errors.js';
import type { Route } from '../routing/rule-list.js';
import { buildRule, type KnownRules } from '../rule/parse.js';

/** The rules of a checked config, built. */
export function buildRoutes(rules: readonly RouteConfig[], known: KnownRules): Route[] {
  return rules.map(({ kind, payload, target, sub, parameters, options, text, where }) => {
    try {
      return { rule: buildRule(kind, payload, parameters, options, known), kind, payload, target, sub, text };
    } catch (error) {
      throw new NekitError('BAD_RULE', `${where}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  });
}

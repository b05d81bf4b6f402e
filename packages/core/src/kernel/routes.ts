import type { RouteConfig } from '../config/types.js';
import { NekitError } from '../net/errors.js';
import type { Registry } from '../plugin/registry.js';
import type { Route } from '../routing/router.js';
import { buildRule } from '../rule/parse.js';

/** The rules of a checked config, built. */
export function buildRoutes(rules: readonly RouteConfig[], registry: Registry): Route[] {
  const definitions = (kind: string): ReturnType<typeof lookUp> => lookUp(registry, kind);
  return rules.map(({ kind, payload, target, parameters, options, text, where }) => {
    try {
      return { rule: buildRule(kind, payload, parameters, options, definitions), kind, payload, target, text };
    } catch (error) {
      throw new NekitError('BAD_RULE', `${where}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  });
}

function lookUp(registry: Registry, kind: string): import('../rule/definition.js').RuleDefinition | undefined {
  return registry.rules.get(kind)?.definition;
}

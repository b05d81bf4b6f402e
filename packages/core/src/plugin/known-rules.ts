import type { KnownRules } from '../rule/parse.js';
import type { RuleTools } from '../rule/tools.js';
import type { Registry } from './registry.js';

/** Every kind that core and the plugins brought, to build rules with. */
export function knownRules(registry: Registry, tools: RuleTools): KnownRules {
  return {
    definitions: (kind) => registry.rules.get(kind)?.definition,
    plugin: (kind) => registry.rules.get(kind)?.plugin,
    kinds: () => registry.rules.names(),
    tools,
  };
}

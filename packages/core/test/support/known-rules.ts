import { builtinRules } from '../../dist/rule/builtin.js';
import type { RuleDefinition } from '../../dist/rule/definition.js';
import type { KnownRules } from '../../dist/rule/parse.js';
import { ConfigRuleTools, type RuleToolsOptions } from '../../dist/rule/tools.js';

/** Core's kinds and others, as a config would know them. */
export function knownRules(more: readonly RuleDefinition[] = [], tools: Partial<RuleToolsOptions> = {}): KnownRules {
  const byKind = new Map([...builtinRules, ...more].map((definition) => [definition.kind, definition]));
  return {
    definitions: (kind) => byKind.get(kind),
    plugin: () => 'test',
    kinds: () => byKind.keys(),
    tools: new ConfigRuleTools({ checking: false, folder: '/nowhere', ...tools }),
  };
}

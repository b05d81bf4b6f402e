import type { RuleDefinition } from './definition.js';

/** The last line of most configs. */
export function match(): RuleDefinition {
  return { kind: 'MATCH', description: 'everything', payload: false, create: () => ({ match: () => true }) };
}

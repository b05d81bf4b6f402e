import type { RuleDefinition } from './definition.js';
import { closingParenthesis } from './split.js';

/** `SUB-RULE,(NETWORK,TCP),name`: where the rule in the parentheses holds, the list of that name under `sub-rules` is asked; the router does that. */
export function subRule(): RuleDefinition {
  return {
    kind: 'SUB-RULE',
    description: 'a list of sub-rules is asked where a rule holds, as (NETWORK,TCP); its target is the name of the list',
    payload: true,
    create(payload, context) {
      const text = payload.trim();
      if (!text.startsWith('(') || closingParenthesis(text, 0) !== text.length)
        throw new Error('SUB-RULE needs one rule in parentheses and the name of a list, as in SUB-RULE,(NETWORK,TCP),name');
      return context.nested(text.slice(1, -1).trim());
    },
  };
}

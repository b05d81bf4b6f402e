import type { RuleDefinition } from './definition.js';

/** `RULE-SET,name,target[,no-resolve][,src]`: an entry of the list of that name under `rule-providers`. */
export function ruleSet(): RuleDefinition {
  return {
    kind: 'RULE-SET',
    description: 'in a list of rule-providers, by its name; no-resolve and src as for IP-CIDR',
    payload: true,
    create(payload, { parameters, tools }) {
      if (payload === '') throw new Error('RULE-SET needs the name of a list under rule-providers, as in RULE-SET,ads,REJECT');
      const set = tools.ruleSet(payload);
      const how = { noResolve: parameters.has('no-resolve'), source: parameters.has('src') };
      return { match: (session, facts) => set.current.match(session, facts, how) };
    },
  };
}

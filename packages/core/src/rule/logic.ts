import type { Session } from '../net/session.js';
import { both, either, judgementOf, others } from './addresses.js';
import type { RuleDefinition } from './definition.js';
import type { Facts, Judgement, Rule, Verdict } from './rule.js';
import { splitGroups } from './split.js';

/** AND: from left to right, until one does not hold. What stands behind is neither evaluated nor looked up. */
export function and(): RuleDefinition {
  return {
    kind: 'AND',
    description: 'all of several rules, as ((DOMAIN-SUFFIX,example.com),(NETWORK,UDP))',
    payload: true,
    create: (payload, context) => new All(splitGroups('AND', payload).map((text) => context.nested(text))),
  };
}

/** OR: from left to right, until one holds whatever is dialled. */
export function or(): RuleDefinition {
  return {
    kind: 'OR',
    description: 'at least one of several rules, as ((DOMAIN,a.example),(DST-PORT,22))',
    payload: true,
    create: (payload, context) => new Any(splitGroups('OR', payload).map((text) => context.nested(text))),
  };
}

export function not(): RuleDefinition {
  return {
    kind: 'NOT',
    description: 'the opposite of one rule, as ((NETWORK,UDP))',
    payload: true,
    create(payload, context) {
      const [text, more] = splitGroups('NOT', payload);
      if (text === undefined || more !== undefined) throw new Error('NOT takes exactly one rule, as in NOT,((NETWORK,UDP)): put several into an AND or an OR');
      return new Not(context.nested(text));
    },
  };
}

class All implements Rule {
  readonly #rules: readonly Rule[];

  constructor(rules: readonly Rule[]) {
    this.#rules = rules;
  }

  match(session: Session, facts: Facts): Verdict | Promise<Verdict> {
    return this.#from(0, true, session, facts);
  }

  #from(start: number, sofar: Judgement, session: Session, facts: Facts): Judgement | Promise<Judgement> {
    let verdict = sofar;
    for (let i = start; i < this.#rules.length && verdict !== false; i++) {
      const next = this.#rules[i]?.match(session, facts) ?? true;
      if (next instanceof Promise) {
        const before = verdict;
        return next.then((found) => this.#from(i + 1, both(before, judgementOf(found)), session, facts));
      }
      verdict = both(verdict, judgementOf(next));
    }
    return verdict;
  }
}

class Any implements Rule {
  readonly #rules: readonly Rule[];

  constructor(rules: readonly Rule[]) {
    this.#rules = rules;
  }

  match(session: Session, facts: Facts): Verdict | Promise<Verdict> {
    return this.#from(0, false, session, facts);
  }

  #from(start: number, sofar: Judgement, session: Session, facts: Facts): Judgement | Promise<Judgement> {
    let verdict = sofar;
    for (let i = start; i < this.#rules.length && verdict !== true; i++) {
      const next = this.#rules[i]?.match(session, facts) ?? false;
      if (next instanceof Promise) {
        const before = verdict;
        return next.then((found) => this.#from(i + 1, either(before, judgementOf(found), facts), session, facts));
      }
      verdict = either(verdict, judgementOf(next), facts);
    }
    return verdict;
  }
}

class Not implements Rule {
  readonly #rule: Rule;

  constructor(rule: Rule) {
    this.#rule = rule;
  }

  match(session: Session, facts: Facts): Verdict | Promise<Verdict> {
    const verdict = this.#rule.match(session, facts);
    return verdict instanceof Promise ? verdict.then((found) => others(judgementOf(found), facts)) : others(judgementOf(verdict), facts);
  }
}

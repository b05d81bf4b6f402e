import { type Facts, matchAddresses, type Rule, type RuleContext, type Session, type Verdict } from '@nekit/core';

/** Whether it holds for an address. */
export type Test = (address: string, facts: Facts) => boolean;

/** `source`: always the client's address; else the destination's, unless `src` stands behind the rule. */
export function addressRule(context: RuleContext, source: boolean, test: Test): Rule {
  if (source || context.parameters.has('src')) return { match: (session, facts) => test(session.source.host, facts) };
  return new DestinationRule(context.parameters.has('no-resolve'), test);
}

class DestinationRule implements Rule {
  readonly #noResolve: boolean;
  readonly #test: Test;

  constructor(noResolve: boolean, test: Test) {
    this.#noResolve = noResolve;
    this.#test = test;
  }

  match(_session: Session, facts: Facts): Verdict | Promise<Verdict> {
    return matchAddresses(facts, this.#noResolve, { has: (address) => this.#test(address, facts) });
  }
}

/** Keys of the object form that core does not look at. A slip in one could turn a rule into its opposite, so none is passed over. */
export function checkOptions(kind: string, context: RuleContext, known: readonly string[]): void {
  const allowed = ['no-resolve', 'src', ...known];
  const stray = Object.keys(context.options).find((key) => !allowed.includes(key));
  if (stray !== undefined) throw new Error(`"${stray}" is no key of a ${kind} rule: there are ${allowed.join(', ')}`);
}

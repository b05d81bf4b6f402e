import type { RuleContext } from '../rule/definition.js';
import type { FactKey, Facts, ProcessInfo } from '../rule/rule.js';
import { ConfigRuleTools, type RuleToolsOptions } from '../rule/tools.js';

/** Facts of a destination whose addresses are known (`known`), or have to be looked up (`found`) and are known afterwards. */
export class FakeFacts implements Facts {
  /** Look-ups of addresses, and facts that `once` had to find. */
  lookups = 0;
  readonly #found: readonly string[];
  readonly #process: ProcessInfo | null;
  readonly #own = new Map<object, unknown>();
  #known: readonly string[] | null;

  constructor(known: readonly string[] | null = [], found: readonly string[] = [], process: ProcessInfo | null = null) {
    this.#known = known;
    this.#found = found;
    this.#process = process;
  }

  addresses(): readonly string[] | Promise<readonly string[]> {
    if (this.#known !== null) return this.#known;
    this.lookups++;
    return Promise.resolve().then(() => (this.#known = this.#found));
  }

  knownAddresses(): readonly string[] | null {
    return this.#known;
  }

  process(): Promise<ProcessInfo | null> {
    return Promise.resolve(this.#process);
  }

  once<T>(key: FactKey<T>, find: () => T | Promise<T>): T | Promise<T> {
    // Whoever has the key has put its value there.
    if (this.#own.has(key)) return this.#own.get(key) as T | Promise<T>;
    this.lookups++;
    const found = find();
    this.#own.set(key, found);
    return found;
  }
}

/** What a kind's `create` gets: no parameters, no options, no nested rules unless they are given. */
export function ruleContext(given: Partial<RuleContext> & { readonly config?: Partial<RuleToolsOptions> } = {}): RuleContext {
  const { config, ...context } = given;
  return {
    parameters: new Set(),
    options: {},
    nested: (text) => {
      throw new Error(`no rule was given for "${text}"`);
    },
    tools: new ConfigRuleTools({ checking: false, folder: '.', ...config }),
    ...context,
  };
}

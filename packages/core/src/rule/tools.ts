import { isAbsolute, resolve } from 'node:path';
import { closest } from '../net/closest.js';
import { PatternBudget } from './pattern-budget.js';
import type { RuleSet } from './rule-set.js';

/** What rules need of the config around them. Made anew with each config, and closed with it. */
export interface RuleTools {
  /** true: the rule is built to find mistakes and thrown away. What would stay open (watchers, workers) is not opened. */
  readonly checking: boolean;
  /** Data files that the config names (`geodata`), absolute; null: none. */
  readonly geodata: Geodata;
  /** What the regular expressions of a list may cost together; without end for the config itself. */
  readonly patterns: PatternBudget;
  /** A path that stands in the config, absolute: paths are relative to the folder of the config file. */
  path(text: string): string;
  /** A set of `rule-providers`. Throws a plain Error with a "did you mean" for a name that is not there. */
  ruleSet(name: string): RuleSet;
  /** Something to wait for before the config is in force. It has a time limit of its own and never rejects. */
  prepare(pending: Promise<void>): void;
  /** Runs when the config is no longer in force. */
  onClose(close: () => void): void;
  /** Something that cannot be said when the config is checked: a file that broke while it was watched. Told as `kernel.warning`. */
  warn(code: string, message: string): void;
}

export interface Geodata {
  /** MMDB with countries. */
  readonly country: string | null;
  /** MMDB with autonomous systems. */
  readonly asn: string | null;
  /** v2ray's geosite.dat. */
  readonly geosite: string | null;
}

export interface RuleToolsOptions {
  readonly checking: boolean;
  /** Folder of the config file. */
  readonly folder: string;
  readonly geodata?: Partial<Geodata>;
  readonly ruleSets?: ReadonlyMap<string, RuleSet>;
  readonly warn?: (code: string, message: string) => void;
}

export class ConfigRuleTools implements RuleTools {
  readonly checking: boolean;
  readonly geodata: Geodata;
  readonly patterns = new PatternBudget();
  readonly #options: RuleToolsOptions;
  #closers: (() => void)[] = [];
  #pending: Promise<void>[] = [];

  constructor(options: RuleToolsOptions) {
    this.#options = options;
    this.checking = options.checking;
    const { country = null, asn = null, geosite = null } = options.geodata ?? {};
    this.geodata = { country: this.#orNull(country), asn: this.#orNull(asn), geosite: this.#orNull(geosite) };
  }

  path(text: string): string {
    return isAbsolute(text) ? text : resolve(this.#options.folder, text);
  }

  ruleSet(name: string): RuleSet {
    const sets = this.#options.ruleSets;
    const set = sets?.get(name);
    if (set !== undefined) return set;
    const guess = closest(name, sets?.keys() ?? []);
    throw new Error(`there is no rule-provider "${name}"${guess === null ? ': name it under rule-providers' : `, did you mean "${guess}"?`}`);
  }

  prepare(pending: Promise<void>): void {
    this.#pending.push(pending);
  }

  /** Settles when all that rules prepare is there. */
  async prepared(): Promise<void> {
    const pending = this.#pending;
    this.#pending = [];
    await Promise.all(pending);
  }

  onClose(close: () => void): void {
    this.#closers.push(close);
  }

  warn(code: string, message: string): void {
    this.#options.warn?.(code, message);
  }

  close(): void {
    const closers = this.#closers;
    this.#closers = [];
    for (const close of closers) close();
  }

  #orNull(text: string | null): string | null {
    return text === null ? null : this.path(text);
  }
}

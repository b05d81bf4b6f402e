import type { RuleTools } from './tools.js';

/** Messages of one version of a module; a module may fail in a new way for each session. */
const MAX_MESSAGES = 20;

/** Tells each thing once: a rule runs for every session. */
export class ModuleReports {
  readonly #path: string;
  readonly #tools: RuleTools;
  readonly #told = new Set<string>();

  constructor(path: string, tools: RuleTools) {
    this.#path = path;
    this.#tools = tools;
  }

  /** `what`: goes on behind the file's name. */
  tell(code: string, what: string): void {
    const message = `the rule module ${this.#path} ${what}`;
    if (this.#told.has(message) || this.#told.size > MAX_MESSAGES) return;
    this.#told.add(message);
    if (this.#told.size <= MAX_MESSAGES) this.#tools.warn(code, message);
    else this.#tools.warn(code, `the rule module ${this.#path} fails in many ways: no more of them are told until it changes`);
  }

  /** For a new version. */
  reset(): void {
    this.#told.clear();
  }
}

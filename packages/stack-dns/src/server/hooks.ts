/** What plugins change of questions and answers. */
import type { NameHook, NameQuestion, NameReply } from '@nekit/core';

export class Hooks {
  readonly #hooks: readonly NameHook[];
  readonly #warn: (message: string) => void;
  #isTold = false;

  constructor(hooks: readonly NameHook[], warn: (message: string) => void) {
    this.#hooks = hooks;
    this.#warn = warn;
  }

  get size(): number {
    return this.#hooks.length;
  }

  /** Of the first that says something. */
  question(question: NameQuestion): NameReply | null {
    for (const hook of this.#hooks) {
      const reply = this.#guarded(() => hook.question?.(question) ?? null);
      if (reply !== null) return reply;
    }
    return null;
  }

  /** One after the other; `message` itself if nobody changes it. */
  answer(question: NameQuestion, message: Uint8Array): Uint8Array {
    let last = message;
    for (const hook of this.#hooks) last = this.#guarded(() => hook.answer?.(question, last) ?? null) ?? last;
    return last;
  }

  /** One that throws says nothing, which is told once. */
  #guarded<T>(run: () => T | null): T | null {
    try {
      return run();
    } catch (error) {
      if (!this.#isTold) this.#warn(`a name hook of a plugin failed: ${error instanceof Error ? error.message : String(error)}`);
      this.#isTold = true;
      return null;
    }
  }
}

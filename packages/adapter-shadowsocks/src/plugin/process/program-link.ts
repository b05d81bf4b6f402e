import type { DialOptions, Stream } from '@nekit/core';
import type { ServerLink } from '../../server-link.js';
import { type Program, type ProgramOptions, type ProgramSurroundings, stopped } from './program.js';
import type { Programs } from './programs.js';

/** One entry's part in a program: with the next config another link takes its place, and the program may stay. */
export class ProgramLink implements ServerLink {
  readonly #programs: Programs;
  readonly #options: ProgramOptions;
  readonly #around: ProgramSurroundings;
  /** Held from the start or the first dial on, so that one that never comes to that keeps nothing. */
  #program: Program | null = null;
  #closed = false;

  constructor(programs: Programs, options: ProgramOptions, around: ProgramSurroundings) {
    this.#programs = programs;
    this.#options = options;
    this.#around = around;
  }

  start(): void {
    if (!this.#closed) this.#held().start();
  }

  dial(options: DialOptions): Promise<Stream> {
    if (this.#closed) return Promise.reject(stopped(this.#options.name));
    return this.#held().dial(this.#around.direct, options);
  }

  close(): void {
    this.#closed = true;
    this.#program?.release(this.#around);
    this.#program = null;
  }

  #held(): Program {
    this.#program ??= this.#programs.hold(this.#options, this.#around);
    return this.#program;
  }
}

import { Program, type ProgramOptions, type ProgramSurroundings } from './program.js';

/** The programs of one kernel: what a reload does not change goes from the entry of one config to that of the next. */
export class Programs {
  readonly #programs = new Map<string, Program>();
  /** A plugin's own `stop` is not told which kernel stops: the kernel says it. */
  #hears = false;
  #stopped = false;

  /** Whoever holds it has to release it, with the same surroundings. */
  hold(options: ProgramOptions, around: ProgramSurroundings): Program {
    const { name, program: file, options: text, server } = options;
    // One for each entry, also where two are alike: one that hangs does not take the other with it.
    const key = JSON.stringify([around.tag, name, file, text, server.host, server.port]);
    let program = this.#programs.get(key);
    if (program === undefined) {
      const made = new Program(options, around, () => this.#programs.delete(key));
      this.#programs.set(key, made);
      program = made;
    }
    program.hold(around);
    if (this.#stopped) program.stop();
    if (!this.#hears) around.events.on('kernel.stopped', () => this.stop());
    this.#hears = true;
    return program;
  }

  /** Ends all, whatever goes through them, and for good: the kernel has stopped. */
  stop(): void {
    this.#stopped = true;
    for (const program of [...this.#programs.values()]) program.stop();
  }
}

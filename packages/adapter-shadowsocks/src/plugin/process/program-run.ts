import { type ChildProcess, spawn } from 'node:child_process';
import type { Clock, Stream } from '@nekit/core';
import { OutputTail } from './output-tail.js';

/** From SIGTERM to SIGKILL, in ms: what a program may need to take leave. */
const GRACE = 2_000;

export interface RunOptions {
  /** The file to run; no shell sees it. */
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Not to be shown in what is quoted of its output. */
  readonly secrets: readonly string[];
  /** False: we have to see to it that it ends with this process. */
  readonly diesWithUs: boolean;
  readonly clock: Clock;
  /** As soon as the process is gone; what it said last may be still to come. */
  exited?(how: string): void;
  /** Once, with what happened: it ended, or could not be started. */
  ended(what: string): void;
}

/** One process from its start to its end. */
export class ProgramRun {
  /** The port that it was told to listen on. */
  readonly port: number;
  readonly startedAt: number;
  /** Whether a connection to it has succeeded. */
  listening = false;
  /** The server's host, as it was told. */
  host = '';
  /** Takes back that the server is reached beside a TUN. */
  unexempt = (): void => {};
  /** Open connections to it. */
  readonly streams = new Set<Stream>();
  /** How it ended, or null while it runs. */
  end: string | null = null;
  readonly #child: ChildProcess;
  readonly #options: RunOptions;
  readonly #tail: OutputTail;
  #cancelKill: (() => void) | null = null;
  #forgetExit: (() => void) | null = null;
  #stopping = false;

  constructor(port: number, options: RunOptions) {
    this.port = port;
    this.startedAt = options.clock.now();
    this.#options = options;
    this.#tail = new OutputTail(options.secrets);
    const { command, args, env } = options;
    // A group of its own would outlive Ctrl-C in a terminal; in ours it gets the signal, as we do.
    this.#child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'], shell: false, windowsHide: true });
    this.#child.stdout?.on('data', (bytes: Uint8Array) => this.#tail.add(bytes));
    this.#child.stderr?.on('data', (bytes: Uint8Array) => this.#tail.add(bytes));
    this.#child.on('error', (error) => this.#over(`cannot be started: ${error.message}`));
    // 'close' and not 'exit': its last words are in then. What it left behind may hold its output open, so that is not waited for without end.
    this.#child.once('exit', (code, signal) => this.#exited(code, signal));
    if (!options.diesWithUs) this.#forgetExit = this.#dieWithUs();
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Ends it; at once with SIGTERM, after a while with SIGKILL. Idempotent. */
  stop(): void {
    if (this.#stopping || this.end !== null) return;
    this.#stopping = true;
    this.#child.kill('SIGTERM');
    this.#cancelKill = this.#options.clock.after(GRACE, () => this.#child.kill('SIGKILL'));
  }

  #exited(code: number | null, signal: NodeJS.Signals | null): void {
    this.#cancelKill?.();
    const how = code === null ? `was ended by ${signal ?? 'a signal'}` : `exited with code ${code}`;
    this.#options.exited?.(how);
    const last = (): void => {
      forget();
      this.#child.removeListener('close', last);
      this.#child.stdout?.destroy();
      this.#child.stderr?.destroy();
      const words = this.#tail.text();
      this.#over(words === '' ? `${how} and said nothing` : `${how}; its last words: ${words}`);
    };
    const forget = this.#options.clock.after(LAST_WORDS, last);
    this.#child.once('close', last);
  }

  #over(what: string): void {
    if (this.end !== null) return;
    this.end = what;
    this.#cancelKill?.();
    this.#forgetExit?.();
    this.#options.ended(what);
  }

  /** On process.exit and after an uncaught error. A SIGKILL to us alone leaves it behind: nothing of ours runs then. */
  #dieWithUs(): () => void {
    const kill = (): void => {
      this.#child.kill('SIGKILL');
    };
    process.setMaxListeners(process.getMaxListeners() + 1); // one for each program that runs is no leak
    process.once('exit', kill);
    return () => {
      process.removeListener('exit', kill);
      process.setMaxListeners(process.getMaxListeners() - 1);
    };
  }
}

/** For output that is still in the pipe when a program has ended, in ms. */
const LAST_WORDS = 100;

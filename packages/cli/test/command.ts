import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export const BIN = fileURLToPath(new URL('../bin/nekit-kernel.js', import.meta.url));

/** For anything a test waits for: start-up on a busy machine takes seconds. */
const LIMIT_MS = 40_000;

export interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface SpawnOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  /** Another installation's command. */
  readonly bin?: string;
}

/** The real command in a process of its own. `stop` it, or let it end. */
export class Command {
  stdout = '';
  stderr = '';
  readonly ended: Promise<Result>;
  readonly #child: ChildProcess;
  #changed: () => void = () => undefined;

  constructor(args: readonly string[], options: SpawnOptions = {}) {
    const { NEKIT_DEBUG: _, ...env } = process.env;
    this.#child = spawn(process.execPath, [options.bin ?? BIN, ...args], {
      cwd: options.cwd,
      env: { ...env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#take(() => (this.stdout += text)));
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => this.#take(() => (this.stderr += text)));
    this.ended = new Promise((resolve, reject) => {
      const limit = setTimeout(() => this.kill('SIGKILL'), 2 * LIMIT_MS);
      this.#child.on('error', reject);
      this.#child.on('close', (code) => {
        clearTimeout(limit);
        this.#changed();
        resolve({ code, stdout: this.stdout, stderr: this.stderr });
      });
    });
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  stop(): Promise<Result> {
    this.kill('SIGTERM');
    return this.ended;
  }

  /** Until the output (both kinds) matches. Rejects when it ends or takes too long. */
  async until(pattern: RegExp): Promise<RegExpExecArray> {
    const deadline = Date.now() + LIMIT_MS;
    for (;;) {
      const match = pattern.exec(`${this.stdout}\n${this.stderr}`);
      if (match !== null) return match;
      const left = deadline - Date.now();
      if (left <= 0 || this.#child.exitCode !== null || this.#child.signalCode !== null) {
        throw new Error(`no ${pattern} in the output (exit ${this.#child.exitCode}):\n${this.stdout}\n${this.stderr}`);
      }
      await new Promise<void>((resolve) => {
        const limit = setTimeout(resolve, left);
        this.#changed = () => {
          clearTimeout(limit);
          resolve();
        };
      });
    }
  }

  /** Of the listener with this name, when it listens. */
  async port(listener: string): Promise<number> {
    const match = await this.until(new RegExp(`"listener":"${listener}"[^}]*"port":(\\d+)`));
    return Number(match[1]);
  }

  /** Log lines with this message or key. */
  lines(has: (line: Record<string, unknown>) => boolean): Record<string, unknown>[] {
    return this.stdout
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(has);
  }

  #take(add: () => void): void {
    add();
    this.#changed();
  }
}

export function run(args: readonly string[], options?: SpawnOptions): Promise<Result> {
  return new Command(args, options).ended;
}

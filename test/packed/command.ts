import { type ChildProcess, spawn } from 'node:child_process';
import { cleanEnvironment } from './npm.js';

/** How long the command may take to listen, to answer or to stop, in ms. */
const COMMAND_MS = 30_000;

export interface Outcome {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** An installed nekit-kernel that runs. */
export class Command {
  readonly #child: ChildProcess;
  readonly #ended: Promise<Outcome>;
  #stdout = '';
  #stderr = '';
  #changed: () => void = () => {};

  constructor(file: string, args: readonly string[], folder: string, env: NodeJS.ProcessEnv = {}) {
    const child = spawn(file, [...args], { cwd: folder, env: { ...cleanEnvironment(), ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
      this.#changed();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
      this.#changed();
    });
    this.#ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (exitCode) => {
        resolve({ exitCode, stdout: this.#stdout, stderr: this.#stderr });
        this.#changed();
      });
    });
    this.#ended.catch(() => {}); // whoever waits for it has the error
  }

  /** The port of a listener, as its log line says. */
  listening(listener: string): Promise<number> {
    return this.#logged((line) => (line.listener === listener && typeof line.port === 'number' ? line.port : null), `listener ${listener}`);
  }

  /** The log line of the first session that came in by this listener. */
  session(inbound: string): Promise<Record<string, unknown>> {
    return this.#logged((line) => (line.inbound === inbound ? line : null), `a session of ${inbound}`);
  }

  /** Settles when it has ended by itself. */
  ended(limitMs = COMMAND_MS): Promise<Outcome> {
    return this.#bounded(this.#ended, 'to end', limitMs);
  }

  stop(): Promise<Outcome> {
    this.#child.kill('SIGTERM');
    return this.ended();
  }

  /** For teardowns: at once, and nothing happens if it has ended. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await Promise.allSettled([this.#ended]);
  }

  #logged<T>(find: (line: Record<string, unknown>) => T | null, what: string): Promise<T> {
    const waiting = new Promise<T>((resolve, reject) => {
      this.#changed = () => {
        for (const line of jsonLines(this.#stdout)) {
          const found = find(line);
          if (found !== null) return resolve(found);
        }
        if (this.#child.exitCode !== null) reject(new Error(`it ended (${this.#child.exitCode}) before ${what}: ${this.#stderr}`));
      };
      this.#changed();
    });
    return this.#bounded(waiting, `to log ${what}`);
  }

  async #bounded<T>(promise: Promise<T>, what: string, limitMs = COMMAND_MS): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        this.#child.kill('SIGKILL');
        reject(new Error(`nekit-kernel took longer than ${limitMs} ms ${what}; stdout: ${this.#stdout}; stderr: ${this.#stderr}`));
      }, limitMs);
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

function jsonLines(text: string): Record<string, unknown>[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Programs in processes of their own: for what ends a process, or needs its limits. */
import { spawn } from 'node:child_process';
import type { Binding } from '../native/binding.js';

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

const DIST = new URL('../../dist/', import.meta.url);

/** In front of each program: the relay and what it needs, and `sockets` of one binding. `HEAD` is this text itself, for workers. */
function prelude(binding: Binding): string {
  return `
    import { findAddon } from '${DIST.href}native/load.js';
    import { openSockets } from '${DIST.href}native/open-sockets.js';
    import { relay } from '${DIST.href}net/relay.js';
    import { never } from '${DIST.href}net/cancel.js';
    import { TimerWheel } from '${DIST.href}net/timer-wheel.js';
    import { systemClock } from '${DIST.href}net/clock.js';
    const addon = ${binding === 'ts' ? 'null' : 'findAddon().addon'};
    const sockets = openSockets(addon);
  `;
}

export interface ChildOptions {
  readonly binding?: Binding;
  /** Its limit of open files. */
  readonly descriptors?: number;
  /**
   * It exits in the middle of things: what V8 holds then looks like leaks to LeakSanitizer, which does not see V8's heap. Everything else is still
   * reported.
   */
  readonly abrupt?: boolean;
  readonly ms?: number;
}

/** Runs a module's text with the prelude in front, for a minute at most. */
export function runChild(text: string, { binding = 'native', descriptors = 0, abrupt = false, ms = 60_000 }: ChildOptions = {}): Promise<Ended> {
  const head = prelude(binding);
  const args = ['--input-type=module', '-e', `${head} const HEAD = ${JSON.stringify(head)};\n${text}`];
  const limited = ['-c', `ulimit -n ${descriptors}; exec "$0" "$@"`, process.execPath, ...args];
  const env: NodeJS.ProcessEnv = { ...process.env };
  if (abrupt && env.ASAN_OPTIONS !== undefined) env.ASAN_OPTIONS += ':detect_leaks=0';
  const child = descriptors === 0 ? spawn(process.execPath, args, { env }) : spawn('/bin/sh', limited, { env });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    stdout += part;
  });
  child.stderr.setEncoding('utf8').on('data', (part: string) => {
    stderr += part;
  });
  const patience = setTimeout(() => child.kill('SIGKILL'), ms);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(patience);
      resolve({ code, signal, stdout, stderr });
    });
  });
}

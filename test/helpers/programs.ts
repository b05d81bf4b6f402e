/** Real programs as peers: found on the machine or not, started in a folder of their own, on loopback, and ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closedPort } from '@nekit/core/testing';

/** sbin is where Debian puts proxies, and not on everybody's path. */
const PATH = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`;
const env = { ...process.env, PATH, http_proxy: '', https_proxy: '', all_proxy: '', no_proxy: '', NO_PROXY: '' };

export function hasProgram(name: string): boolean {
  return PATH.split(':').some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch (error) {
      return !(error instanceof Error); // "not here", whatever the reason
    }
  });
}

/** For tap's `skip`: false, or why. */
export function unlessInstalled(...names: readonly string[]): string | false {
  const missing = names.filter((name) => !hasProgram(name));
  return missing.length > 0 && `not installed: ${missing.join(', ')} (see .ci/debian-packages)`;
}

/** A temporary folder; `remove` takes it away. */
export function makeFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'nekit-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true, maxRetries: 5 }) };
}

export interface Outcome {
  /** The exit code, or the signal that ended it. */
  readonly code: number | string | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface RunOptions {
  readonly stdin?: Uint8Array;
  readonly ms?: number;
  /** Ends the program when it settles. */
  readonly until?: Promise<unknown>;
}

/** Runs a program to its end. It is killed after `ms` (60,000). */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const child = spawn(command, args, { env, stdio: 'pipe', detached: true });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (part: Buffer) => stdout.push(part));
  child.stderr.on('data', (part: Buffer) => stderr.push(part));
  child.stdin.on('error', () => {}); // it may end before it has read all
  child.stdin.end(options.stdin);
  const late = setTimeout(() => signalGroup(child, 'SIGKILL'), options.ms ?? 60_000);
  const end = (): void => void stop(child);
  void options.until?.then(end, end);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(late);
      resolve({ code: code ?? signal, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() });
    });
  });
}

export interface Program {
  readonly port: number;
  stop(): Promise<void>;
}

/**
 * Starts a program that will listen on the port it is told; settles when it accepts. `args` also writes its config. A port that was free
 * may be taken a moment later, so it is tried again with another.
 */
export async function startProgram(command: string, args: (port: number) => readonly string[], ms = 15_000): Promise<Program> {
  let output = '';
  for (let attempt = 0; attempt < 3; attempt++) {
    const port = await closedPort();
    // A group of its own: what it forks ends with it.
    const child = spawn(command, args(port), { env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    const hear = (part: Buffer): void => {
      output = (output + part.toString()).slice(-4_000);
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    child.on('error', (error) => hear(Buffer.from(error.message)));
    if (await accepts(port, child, ms)) return { port, stop: () => stop(child) };
    await stop(child);
  }
  throw new Error(`${command} does not start: ${output}`);
}

async function accepts(port: number, child: ChildProcess, ms: number): Promise<boolean> {
  const end = performance.now() + ms;
  while (performance.now() < end && child.exitCode === null && child.pid !== undefined) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = net.connect(port, '127.0.0.1');
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
      socket.once('close', () => socket.removeAllListeners());
      socket.once('connect', () => socket.destroy());
    });
    if (open) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  signalGroup(child, 'SIGTERM');
  const late = setTimeout(() => signalGroup(child, 'SIGKILL'), 3_000);
  await gone;
  clearTimeout(late);
  signalGroup(child, 'SIGKILL'); // whoever is left
}

/** The program and what it forked. */
function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

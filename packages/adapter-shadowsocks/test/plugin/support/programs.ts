/** Real peers: found on the machine or not, started on loopback, and ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { closedPort } from '@nekit/core/testing';

/** For tap's `skip`: false, or why. */
export function unlessInstalled(...names: readonly string[]): string | false {
  const missing = names.filter((name) => !(process.env.PATH ?? '').split(':').some((folder) => isProgram(join(folder, name))));
  return missing.length > 0 && `not installed: ${missing.join(', ')} (see .ci/debian-packages)`;
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch (error) {
    return !(error instanceof Error);
  }
}

export interface Program {
  readonly port: number;
  stop(): Promise<void>;
}

/** Starts a program that listens on the port it is told; settles when it accepts. A port may be taken in between, so it is tried again. */
export async function startProgram(command: string, args: (port: number) => readonly string[], stdin = '', env: NodeJS.ProcessEnv = {}): Promise<Program> {
  let output = '';
  for (let attempt = 0; attempt < 3; attempt++) {
    const port = await closedPort();
    const child = spawn(command, args(port), { stdio: 'pipe', env: { ...process.env, ...env } });
    const hear = (part: Buffer): void => {
      output = (output + part.toString()).slice(-4_000);
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    child.on('error', (error) => hear(Buffer.from(error.message)));
    child.stdin.on('error', (error) => hear(Buffer.from(error.message)));
    child.stdin.end(stdin.replaceAll('$PORT', String(port)));
    if (await accepts(port, child)) return { port, stop: () => stop(child) };
    await stop(child);
  }
  throw new Error(`${command} does not start: ${output}`);
}

async function accepts(port: number, child: ChildProcess): Promise<boolean> {
  const end = performance.now() + 10_000;
  while (performance.now() < end && child.exitCode === null && child.pid !== undefined) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = net.connect(port, '127.0.0.1');
      socket.once('connect', () => {
        socket.destroy();
        resolve(true);
      });
      socket.once('error', () => resolve(false));
    });
    if (open) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), 3_000);
  await gone;
  clearTimeout(late);
}

/** The real command in a namespace, and what it has done to the network there. */
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { eventually } from '@nekit/core/testing';
import type { Namespace } from './namespace.js';

const CLI = fileURLToPath(new URL('../../packages/cli/bin/nekit-kernel.js', import.meta.url));

export interface HomeKernel {
  readonly process: ChildProcess;
  /** All that it has said so far. */
  log(): string;
  /** Settles with its exit code, or the signal that ended it. */
  end(signal: NodeJS.Signals): Promise<number | string | null>;
}

/** Settles when it says that it runs. */
export async function startKernelIn(namespace: Namespace, cacheFolder: string, args: readonly string[]): Promise<HomeKernel> {
  const kernel = namespace.spawn(process.execPath, [CLI, ...args], { ...process.env, XDG_CACHE_HOME: cacheFolder });
  let log = '';
  for (const pipe of [kernel.stdout, kernel.stderr])
    pipe?.on('data', (part: Buffer) => {
      log += part.toString();
    });
  const ended = new Promise<number | string | null>((resolve) => kernel.once('exit', (code, signal) => resolve(code ?? signal)));
  await eventually(() => log.includes('nekit-kernel runs') || kernel.exitCode !== null, 30_000, 'the kernel');
  if (kernel.exitCode !== null) throw new Error(`the kernel does not run: ${log}`);
  return {
    process: kernel,
    log: () => log,
    end(signal) {
      kernel.kill(signal);
      return ended;
    },
  };
}

/** Rules and routes of all tables, as text. */
export function routesOf(namespace: Namespace): Promise<string> {
  return namespace.sh('ip rule; ip -6 rule; ip route show table all; ip -6 route show table all');
}

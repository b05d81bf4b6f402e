import { ConfigError, checkConfig, clean, formatProblem } from '@nekit/core';
import { configLines } from './config-lines.js';
import type { RunOptions } from './run-kernel.js';
import { prepare, topLevel } from './setup.js';

/** Prints the config that would run, as a file, with what it would set in comments behind it. Opens and sets nothing. Rejects with ConfigError. */
export async function dryRun(options: RunOptions): Promise<number> {
  const { source, registry } = await prepare(options);
  const { config, problems } = checkConfig(source, registry, { strict: options.strict });
  if (config === null) throw new ConfigError(problems);
  for (const problem of problems) process.stderr.write(`${formatProblem(problem)}\n`);
  const lines = [...configLines(topLevel(source))];
  process.stdout.write(`${lines.map(clean).join('\n')}\n`);
  return 0;
}

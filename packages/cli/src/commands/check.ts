import type { Problem } from '@nekit/core';
import { UsageError } from '../failure.js';
import { CONFIG, PLUGINS, parse, STRICT, splitNames } from '../options.js';

/** 0 without errors, 1 with errors. Plugins that cannot be loaded are errors too. */
export async function check(args: readonly string[]): Promise<number> {
  const { values } = parse(args, { ...CONFIG, ...PLUGINS, ...STRICT }, 0);
  const { config: file } = values;
  if (file === undefined) throw new UsageError('name the config to check: nekit-kernel check -c FILE');
  const { formatProblem } = await import('@nekit/core'); // not before the command line is known to be right
  const problems = await problemsOf(file, splitNames(values.plugins), values.strict ?? false);
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  for (const problem of problems) process.stdout.write(`${formatProblem(problem)}\n`);
  process.stdout.write(`${file}: ${count(errors, 'error')}, ${count(problems.length - errors, 'warning')}\n`);
  return errors === 0 ? 0 : 1;
}

async function problemsOf(file: string, plugins: readonly string[], strict: boolean): Promise<readonly Problem[]> {
  const { checkConfig, isConfigError } = await import('@nekit/core');
  const { prepare } = await import('../setup.js');
  try {
    const { source, registry } = await prepare({ config: file, plugins });
    return checkConfig(source, registry, { strict }).problems;
  } catch (error) {
    if (isConfigError(error)) return error.problems;
    throw error;
  }
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

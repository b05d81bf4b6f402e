import type { CheckedConfig, KernelConfig } from '@nekit/core';
import { UsageError } from '../failure.js';
import { CONFIG, PLUGINS, PROXY, parse, STRICT, splitNames } from '../options.js';
import type { SetupOptions } from '../setup.js';

/** 0 without errors, 1 with errors. Plugins that cannot be loaded are errors too. */
export async function check(args: readonly string[]): Promise<number> {
  const { values } = parse(args, { ...CONFIG, ...PLUGINS, ...PROXY, ...STRICT, ...TUN }, 0);
  const { config: file } = values;
  const options: SetupOptions = { config: file, plugins: splitNames(values.plugins), proxies: values.proxy ?? [] };
  if (file === undefined && values.tun !== true) throw new UsageError('name the config to check: nekit-kernel check -c FILE');
  const { formatProblem } = await import('@nekit/core'); // not before the command line is known to be right
  const { config, problems } = await checked(file === undefined ? quickStart(options) : options, values.strict ?? false);
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  for (const problem of problems) process.stdout.write(`${formatProblem(problem)}\n`);
  process.stdout.write(`${file ?? 'no config, a TUN'}: ${count(errors, 'error')}, ${count(problems.length - errors, 'warning')}\n`);
  if (config !== null && values.tun === true) await tellTun(config);
  return errors === 0 ? 0 : 1;
}

const TUN = { tun: { type: 'boolean' } } as const;

/** What `nekit-kernel --tun` runs; its TUN is the same whatever proxy and other plugins are named. */
function quickStart(options: SetupOptions): SetupOptions {
  return { ...options, plugins: [...new Set([...(options.plugins ?? []), 'tcp', 'dns'])], tun: true };
}

/** What the TUNs of a config would set, what of it is set now, and what was left over. Changes nothing. */
async function tellTun(config: KernelConfig): Promise<void> {
  const { tunState } = await import('@nekit/core');
  const { lines, leftovers } = tunState(config);
  if (lines.length === 0) process.stdout.write('no TUN\n');
  for (const { isSet, command } of lines) process.stdout.write(`${isSet ? 'set      ' : 'not set  '}${command}\n`);
  for (const line of leftovers) process.stdout.write(`left     ${line}\n`);
  if (leftovers.length > 0) process.stdout.write('what is left over of a kernel that was killed goes at the next start with auto-route\n');
}

async function checked(options: SetupOptions, strict: boolean): Promise<CheckedConfig> {
  const { checkConfig, isConfigError } = await import('@nekit/core');
  const { prepare } = await import('../setup.js');
  try {
    const { source, registry } = await prepare(options);
    return checkConfig(source, registry, { strict });
  } catch (error) {
    if (isConfigError(error)) return { config: null, problems: error.problems };
    throw error;
  }
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

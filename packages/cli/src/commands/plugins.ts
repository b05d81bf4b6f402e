import type { InstalledPlugin } from '@nekit/core';
import { CONFIG, JSON_OUTPUT, parse } from '../options.js';

/** What is installed where plugins are looked for. No plugin's code runs. */
export async function plugins(args: readonly string[]): Promise<number> {
  const { values } = parse(args, { ...CONFIG, ...JSON_OUTPUT }, 0);
  const { clean, installedPlugins } = await import('@nekit/core');
  const { loadOptions } = await import('../setup.js');
  const found = await installedPlugins(loadOptions(values.config));
  if (values.json === true) process.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
  else if (found.length === 0) process.stdout.write('no plugins are installed\n');
  else process.stdout.write(`${found.flatMap(describe).map(clean).join('\n')}\n`);
  return 0;
}

function describe({ name, version, alias, path, problem, notes }: InstalledPlugin): string[] {
  const short = alias.length === 0 ? '' : `  (${alias.join(', ')})`;
  return [
    `${name} ${version ?? '?'}${short}`,
    `  ${path}`,
    ...(problem === null ? [] : [`  cannot be used: ${problem.message}`]),
    ...notes.map((note) => `  note: ${note}`),
  ];
}

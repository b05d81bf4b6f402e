import { CONFIG, PLUGINS, parse, splitNames } from '../options.js';

export async function schema(args: readonly string[]): Promise<number> {
  const { values } = parse(args, { ...CONFIG, ...PLUGINS }, 0);
  const { jsonSchema } = await import('@nekit/core');
  const { prepare } = await import('../setup.js');
  const { registry } = await prepare({ config: values.config, plugins: splitNames(values.plugins) });
  process.stdout.write(`${JSON.stringify(jsonSchema(registry), null, 2)}\n`);
  return 0;
}

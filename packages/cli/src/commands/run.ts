import { UsageError } from '../failure.js';
import { asLogLevel, CONFIG, PLUGINS, PROXY, parse, parsePort, STRICT, splitNames } from '../options.js';

/** Settles when the kernel has stopped, after SIGINT or SIGTERM. Rejects if it cannot start. */
export async function run(args: readonly string[]): Promise<number> {
  const options = {
    ...CONFIG,
    ...PLUGINS,
    ...PROXY,
    ...STRICT,
    'mixed-port': { type: 'string' },
    'log-level': { type: 'string' },
    tun: { type: 'boolean' },
    'dry-run': { type: 'boolean' },
  } as const;
  const { values } = parse(args, options, 0);
  const logLevel = values['log-level'];
  if (logLevel !== undefined && asLogLevel(logLevel) === null) throw new UsageError('--log-level must be silent, error, warning, info or debug');
  const mixedPort = parsePort('--mixed-port', values['mixed-port']);
  const runOptions = {
    config: values.config,
    plugins: splitNames(values.plugins),
    proxies: values.proxy ?? [],
    mixedPort,
    logLevel: logLevel ?? null,
    strict: values.strict ?? false,
    tun: values.tun ?? false,
  };
  // Not before the command line is known to be right.
  if (values['dry-run'] === true) return (await import('../dry-run.js')).dryRun(runOptions);
  const { serve } = await import('../run-kernel.js');
  return serve(runOptions);
}

import { networkInterfaces } from 'node:os';
import { ConfigError, checkConfig, clean, formatProblem, type KernelConfig, tunPlan } from '@nekit/core';
import { configLines } from './config-lines.js';
import type { RunOptions } from './run-kernel.js';
import { isRecord, prepare, topLevel } from './setup.js';

/** Prints the config that would run, as a file, and behind it in comments what it would set. Opens and sets nothing. Rejects with ConfigError. */
export async function dryRun(options: RunOptions): Promise<number> {
  const { source, registry } = await prepare(options);
  const { config, problems } = checkConfig(source, registry, { strict: options.strict });
  if (config === null) throw new ConfigError(problems);
  for (const problem of problems) process.stderr.write(`${formatProblem(problem)}\n`);
  const top = topLevel(source);
  const lines = [...configLines(top), ...['# Nothing was started or set. With this config:', ...effects(config, top)].map((line) => clean(line))];
  process.stdout.write(`${lines.join('\n')}\n`);
  return 0;
}

/** What would be seen of it in the system. */
function effects(config: KernelConfig, top: Readonly<Record<string, unknown>>): string[] {
  const interfaces = Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
    addresses?.some(({ internal }) => !internal) ? [{ name, index: 0 }] : [],
  );
  const listeners = config.listeners.filter(({ type }) => type !== 'tun');
  return [
    ...listeners.map(({ name, type, host, port }) => `#   listens: ${type} on ${host}:${port} (${name})`),
    ...tunPlan(config, interfaces).map(({ command }) => `#   ${command}`),
    ...dnsLines(top.dns, isRecord(top.tun) && top.tun.enable !== false ? top.tun['dns-hijack'] : undefined),
  ];
}

function dnsLines(dns: unknown, hijack: unknown): string[] {
  if (!isRecord(dns) || dns.enable !== true) return [];
  const fakes = ['fake-ip-range', 'fake-ip-range6'].flatMap((key) => (typeof dns[key] === 'string' ? [dns[key]] : []));
  return [
    ...(Array.isArray(hijack) && hijack.length > 0
      ? [`#   DNS: what goes into the TUN for ${hijack.join(', ')} is answered here; /etc/resolv.conf stays as it is`]
      : []),
    ...(dns['enhanced-mode'] === 'fake-ip' && fakes.length > 0 ? [`#   DNS: names get addresses of ${fakes.join(' and ')}`] : []),
    ...(['nameserver', 'proxy-server-nameserver', 'direct-nameserver'] as const).flatMap((key) =>
      Array.isArray(dns[key]) ? [`#   DNS: ${PURPOSES[key]}: ${dns[key].join(', ')}`] : [],
    ),
  ];
}

const PURPOSES = {
  nameserver: 'everything else is asked of',
  'proxy-server-nameserver': "the names of proxies' servers are asked of",
  'direct-nameserver': 'what is dialled directly is asked of',
} as const;

import type { Explanation } from '@nekit/core';
import { UsageError } from '../failure.js';
import { CONFIG, JSON_OUTPUT, PLUGINS, PROXY, parse, STRICT, splitNames } from '../options.js';

/** What a name without a port most likely stands for. */
const DEFAULT_PORT = 443;

export async function explain(args: readonly string[]): Promise<number> {
  const { values, positionals } = parse(
    args,
    { ...CONFIG, ...PLUGINS, ...PROXY, ...STRICT, ...JSON_OUTPUT, udp: { type: 'boolean' }, source: { type: 'string' }, sniffed: { type: 'string' } },
    1,
  );
  const [text] = positionals;
  if (text === undefined) throw new UsageError('name a destination: nekit-kernel explain -c FILE HOST[:PORT]');
  const { addressFamily, clean, createKernel, normaliseHost, parseEndpoint } = await import('@nekit/core');
  const { prepare } = await import('../setup.js');
  const destination = parseEndpoint(text, DEFAULT_PORT);
  if (destination === null) throw new UsageError(`"${text}" is no HOST or HOST:PORT`);
  const source = values.source === undefined ? null : parseEndpoint(values.source, 0);
  if (values.source !== undefined && (source === null || addressFamily(source.host) === 0)) throw new UsageError(`--source: "${values.source}" is no address`);
  const sniffed = values.sniffed === undefined ? null : normaliseHost(values.sniffed);
  if (values.sniffed !== undefined && (sniffed === null || addressFamily(sniffed) !== 0)) throw new UsageError(`--sniffed: "${values.sniffed}" is no name`);
  const setup = await prepare({ config: values.config, plugins: splitNames(values.plugins), proxies: values.proxy ?? [] });
  const kernel = createKernel(setup.source, { plugins: setup.plugins, strict: values.strict ?? false });
  // What could not be loaded makes the answer another one.
  kernel.on('kernel.warning', ({ message }) => process.stderr.write(`nekit-kernel: ${clean(message)}\n`));
  try {
    const explanation = await kernel.explain({
      destination,
      network: values.udp === true ? 'udp' : 'tcp',
      ...(source === null ? {} : { source }),
      ...(sniffed === null ? {} : { sniffed }),
    });
    process.stdout.write(values.json === true ? `${JSON.stringify(explanation)}\n` : `${describe(explanation).map(clean).join('\n')}\n`);
  } finally {
    await kernel.stop();
  }
  return 0;
}

const VERDICTS = {
  match: 'matches',
  miss: 'no',
  'not-carried': 'matches, but its target carries no such traffic: goes on',
  error: 'failed: counts as no',
  entered: 'holds: its rules are asked',
} as const satisfies Record<Explanation['tried'][number]['verdict'], string>;

/** Misses in a row that are shown one by one; of more only how many there were. */
const SHOWN_MISSES = 20;

function describe(explanation: Explanation): string[] {
  const { tried, lookups } = explanation;
  return [
    `${explanation.destination} -> ${[...explanation.chain, explanation.adapter].join(' -> ')}`,
    ...(explanation.sniffed === null ? [] : [`seen in the first bytes: ${explanation.sniffed}`]),
    ...(explanation.sniffer.length === 0
      ? []
      : [`the first bytes are looked at (${explanation.sniffer.join(', ')}) and may show a name: --sniffed NAME tells what becomes of it`]),
    `because: ${explanation.rule ?? (tried.length === 0 ? 'there are no rules, or the mode decides' : 'no rule matches')}`,
    ...(tried.length === 0 ? [] : ['rules tried:']),
    ...triedLines(tried),
    ...lookups.map(({ name, from, addresses, value, error, ms }) => {
      const found = error === null ? (value ?? (addresses.join(', ') || 'no address')) : error.message;
      return `looked up: ${name} (${from}, ${cost(ms)}): ${found}`;
    }),
    ...(explanation.addresses === null ? [] : [`a direct connection keeps to: ${explanation.addresses.join(', ')}`]),
  ];
}

function triedLines(tried: Explanation['tried']): string[] {
  const width = Math.min(60, Math.max(0, ...tried.slice(-SHOWN_MISSES).map(({ rule }) => rule.length)));
  const lines: string[] = [];
  for (let at = 0; at < tried.length; ) {
    const end = tried.findIndex(({ verdict }, index) => index >= at && verdict !== 'miss');
    const misses = (end === -1 ? tried.length : end) - at;
    if (misses > SHOWN_MISSES) {
      lines.push(`       … ${misses} rules that do not match (--json names them)`);
      at += misses;
    }
    const one = tried[at++];
    if (one === undefined) break;
    const { rule, index, list, verdict, ms } = one;
    lines.push(`  ${list === undefined ? '' : `${list} `}${String(index + 1).padStart(3)}  ${rule.padEnd(width)}  ${VERDICTS[verdict]} (${cost(ms)})`);
  }
  return lines;
}

function cost(ms: number): string {
  return ms < 1 ? `${Math.round(ms * 1000)} us` : `${Math.round(ms)} ms`;
}

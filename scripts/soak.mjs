// npm run soak -- [--minutes N] [--seed N] [--only proxy|tun]: a kernel under mixed load as a proxy and, at the same time, another with a TUN (as root), by default for
// 30 minutes. Prints RSS, heap, descriptors and sessions every 10 s; fails if memory rises, or if a session, a timer or a descriptor is left.
// NEKIT_NATIVE=off: the fallback, which has no TUN.
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    only: { type: 'string' },
  },
});
const minutes = Number(values.minutes);
const seed = Number(values.seed);
if (!(minutes > 0) || !Number.isInteger(seed) || !['proxy', 'tun', undefined].includes(values.only))
  throw new Error('usage: npm run soak -- [--minutes N] [--seed N] [--only proxy|tun]');

const load = (file) => import(new URL(`../dist-test/${file}.js`, import.meta.url));
const [{ soak }, { tunSoak }, { unlessNamespaces }] = await Promise.all([load('soak/load'), load('soak/tun-load'), load('helpers/namespace')]);
const print = (line) => process.stdout.write(`${line}\n`);
print(`# ${minutes} minutes, seed ${seed}`);
const noTun = process.env.NEKIT_NATIVE === 'off' ? 'the fallback has none' : unlessNamespaces();
if (noTun !== false && values.only !== 'proxy') print(`# no TUN: ${noTun}`);
const runs = {
  ...(values.only === 'tun' ? {} : { proxy: soak(minutes, seed, print) }),
  ...(values.only === 'proxy' || noTun !== false ? {} : { TUN: tunSoak(minutes, seed, print) }),
};
const kib = (bytes) => `${Math.round(bytes / 1024)} KiB`;
let failed = Object.keys(runs).length === 0;
for (const [name, run] of Object.entries(runs)) {
  const { failures, connections, rssRise, heapRise } = await run;
  print(`# ${name}: ${connections} connections; after the first third RSS rose by ${kib(rssRise)}, the heap by ${kib(heapRise)}`);
  for (const failure of failures) print(`# FAILED: ${failure}`);
  failed ||= failures.length > 0;
}
print(failed ? 'soak: failed' : 'soak: passed');
process.exitCode = failed ? 1 : 0;

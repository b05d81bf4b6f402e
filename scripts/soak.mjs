// npm run soak -- [--minutes N] [--seed N]: a kernel under mixed load, by default for 30 minutes. Prints RSS, heap, descriptors and sessions every
// 10 s; fails if memory rises, or if a session, a timer or a descriptor is left. NEKIT_NATIVE=off: the fallback.
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '30' }, seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) } },
});
const minutes = Number(values.minutes);
const seed = Number(values.seed);
if (!(minutes > 0) || !Number.isInteger(seed)) throw new Error('usage: npm run soak -- [--minutes N] [--seed N]');

const { soak } = await import(new URL('../dist-test/soak/load.js', import.meta.url));
process.stdout.write(`# ${minutes} minutes, seed ${seed}\n`);
const { failures, connections, rssRise, heapRise } = await soak(minutes, seed, (line) => process.stdout.write(`${line}\n`));
const kib = (bytes) => `${Math.round(bytes / 1024)} KiB`;
process.stdout.write(`# ${connections} connections; after the first third RSS rose by ${kib(rssRise)}, the heap by ${kib(heapRise)}\n`);
for (const failure of failures) process.stdout.write(`# FAILED: ${failure}\n`);
process.stdout.write(failures.length === 0 ? 'soak: passed\n' : 'soak: failed\n');
process.exitCode = failures.length === 0 ? 0 : 1;

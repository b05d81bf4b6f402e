/** A kernel whose lists change with every reload; tells its parent how much memory is in use after each. For lists.test.ts. */
import { join } from 'node:path';
import { createKernel, parseConfig } from '@nekit/core';

export interface Measured {
  /** In use after the start and after each reload. */
  readonly bytes: readonly number[];
  /** Of a reload, on average. */
  readonly loadMs: number;
}

const [folder = '', times = '', ...configs] = process.argv.slice(2);

function inUse(): number {
  if (gc === undefined) throw new Error('run it with --expose-gc');
  gc();
  gc();
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return heapUsed + external + arrayBuffers;
}

function sourceOf(turn: number): ReturnType<typeof parseConfig> {
  return parseConfig(configs[turn % configs.length] ?? '', join(folder, 'config.yaml'));
}

const kernel = createKernel(sourceOf(0));
await kernel.start();
const bytes = [inUse()];
let loadMs = 0;
for (let turn = 1; turn <= Number(times); turn++) {
  const begin = performance.now();
  await kernel.reload(sourceOf(turn));
  loadMs += (performance.now() - begin) / Number(times);
  const { adapter } = await kernel.explain({ destination: { host: `n1.${turn % 2 === 0 ? 'a' : 'b'}.bulk.example`, port: 443 } });
  if (adapter !== 'REJECT') throw new Error(`after reload ${turn} the new list is not in force`);
  await new Promise((resolve) => setImmediate(resolve));
  bytes.push(inUse());
}
await kernel.stop();
process.send?.({ bytes, loadMs } satisfies Measured);
process.disconnect();

#!/usr/bin/env node
// Any Node since 14.13.1 has to understand this file, and to load it without the rest: no `await` outside of functions, no `?.`.
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';

const { engines } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const needed = engines.node.replace('>=', '');

if (isOlder(process.versions.node, needed)) {
  process.stderr.write(`nekit-kernel needs Node.js ${needed} or newer, this is ${process.versions.node}\n`);
  process.exitCode = 1;
} else {
  void start();
}

/** Both as `major.minor.patch`. */
function isOlder(version, than) {
  const wanted = than.split('.').map(Number);
  const given = version.split('.').map(Number);
  const at = wanted.findIndex((number, index) => number !== given[index]);
  return at !== -1 && given[at] < wanted[at];
}

async function start() {
  const { main } = await import('../dist/main.js');

  // Node reads from sockets into buffers outside of V8's heap, which V8 counts against a heap that is small in a proxy: it then collects
  // the old generation again and again, at half the throughput. A larger step between two collections ends that and costs no memory.
  setFlagsFromString('--heap-growing-percent=300');

  // Each chunk that is read lies in a block of its own from malloc. glibc gives memory at the end of its heap back to the system beyond a
  // threshold, and takes it again a moment later: a page fault for every 4 KiB that pass, which costs up to half the throughput. The threshold
  // is twice the largest block that was ever freed (mallopt(3), M_MMAP_THRESHOLD), so one is made, not touched, and left to the collector.
  Buffer.allocUnsafeSlow(16 * 1024 * 1024);

  await main(process.argv.slice(2));
}

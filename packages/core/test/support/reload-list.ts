// In a process of its own (--expose-gc): compiles a list many times, each in place of the one before, and prints what memory is in use.

import { buildBareRule } from '../../dist/rule/parse.js';
import { compileList } from '../../dist/rule/set/compile-list.js';
import { knownRules } from './known-rules.js';

const count = Number(process.argv[2]);
const known = knownRules();
const lines = Array.from({ length: count }, (_, i) =>
  i % 5 === 0 ? `IP-CIDR,${1 + (i % 200)}.${(i >> 8) & 255}.${i & 255}.0/24` : `DOMAIN-SUFFIX,host${i}.example.com`,
);
lines.push('DOMAIN-KEYWORD,x', 'DOMAIN,a..b', 'DOMAIN-REGEX,(');
const bytes = Buffer.from(lines.join('\n'));

function inUse(): number {
  globalThis.gc?.();
  globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

let current = null;
const used: number[] = [];
for (let round = 0; round < 20; round++) {
  current = await compileList(bytes, { format: 'text', behavior: 'classical', buildRule: (text) => buildBareRule(text, known) });
  used.push(inUse());
}
process.stdout.write(JSON.stringify({ early: Math.max(...used.slice(2, 6)), late: Math.min(...used.slice(-4)), size: count * 20, entries: current?.entries }));

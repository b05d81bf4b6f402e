// Loaded into nekit-kernel by --import: on SIGUSR2 writes what its event loop and its heap have been through since the last time, as a line of JSON on stderr.
// With --expose-gc.
import { monitorEventLoopDelay, PerformanceObserver } from 'node:perf_hooks';

const RESOLUTION_MS = 1;
const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
delay.enable();

let answers = 0;
let collections = 0;
let collectedMs = 0;
const observer = new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) {
    collections++;
    collectedMs += duration;
  }
});
observer.observe({ entryTypes: ['gc'] });

process.on('SIGUSR2', () => {
  // The resolution is what a delay of 0 is recorded as.
  const ms = (ns) => Math.max(0, ns / 1e6 - RESOLUTION_MS);
  const loop = { p50: ms(delay.percentile(50)), p99: ms(delay.percentile(99)), max: ms(delay.max) };
  const counted = { collections, collectedMs };
  globalThis.gc();
  const { heapUsed, rss } = process.memoryUsage();
  process.stderr.write(`${JSON.stringify({ probe: ++answers, loop, ...counted, heapUsed, rss })}\n`);
  setImmediate(() => {
    delay.reset();
    collections = 0;
    collectedMs = 0;
  });
});

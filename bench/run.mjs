// SOCKS5 and HTTP to direct on loopback, every proxy under the same load in turns. See bench/README.md.
//
//   npm run bench -- [--quick] [--rounds N] [--seconds N] [--peers a,b] [--only bulk,connections,http,connect,idle] [--streams 1,8]
//                    [--congestion NAME] [--idle COUNT] [--node PATH|22|24]... [--node-flags FLAGS] [--profile FOLDER] [--no-namespace]
import { execFileSync, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { judge, told } from './floors.mjs';
import { measureIdle } from './idle.mjs';
import { canHaveNamespace, inNamespaceOfItsOwn, limitTimeWait, machine, prioritise } from './machine.mjs';
import { options } from './options.mjs';
import { peers as knownPeers, NEKIT, NEKIT_TS, onOtherNodes } from './peers.mjs';
import { endAll } from './processes.mjs';
import { facts, render } from './report.mjs';
import { measureSpeed } from './speed.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const QUICK = [NEKIT, NEKIT_TS, 'plain-node'];
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

if (!options.inNamespace && !options.noNamespace && canHaveNamespace()) runInNamespace();
else await main();

/** This script once more in a namespace of its own. */
function runInNamespace() {
  const command = [process.execPath, ...process.execArgv, fileURLToPath(import.meta.url), '--in-namespace', ...process.argv.slice(2)];
  const child = spawn('unshare', inNamespaceOfItsOwn(command), { stdio: 'inherit' });
  for (const signal of SIGNALS) process.on(signal, () => child.kill(signal));
  child.on('exit', (code) => {
    process.exitCode = code ?? 1;
  });
}

async function main() {
  const folder = await mkdtemp(join(os.tmpdir(), 'nekit-bench-'));
  const { undo, refused } = await prioritise();
  const cleanUp = async () => {
    await endAll();
    await undo();
    await rm(folder, { recursive: true, force: true });
  };
  leaveNothingBehind(cleanUp);
  const outcome = { machine: await machine(), settings: { ...options }, versions: {}, tests: {}, idle: {}, problems: [] };
  try {
    await limitTimeWait();
    const load = await buildLoad();
    const chosen = choose(outcome);
    print(facts(outcome));
    if (refused !== undefined) print(`# runs at normal priority: ${refused}`);
    const run = { load, folder, chosen, outcome, print };
    await measureSpeed(run);
    if (options.only.includes('idle')) await measureIdle(run);
    print(`\n${render(outcome, ['direct', ...chosen.map((peer) => peer.name)])}\n`);
    for (const problem of outcome.problems) print(`PROBLEM ${problem}`);
    const verdicts = judge(outcome);
    for (const line of told(verdicts)) print(line);
    const times = (verdict) => verdicts.filter(({ ok }) => ok === verdict).length;
    print(`floors: ${times(true)} met, ${times(false)} not met, ${times(null)} without a peer to compare with`);
    print(`raw figures: ${await save({ ...outcome, verdicts })}`);
    if (outcome.problems.length > 0 || verdicts.some(({ ok }) => ok === false)) process.exitCode = 1;
  } finally {
    await cleanUp();
  }
}

/** A run that is ended from outside ends its children, also when only the process that started it is gone. */
function leaveNothingBehind(cleanUp) {
  let ending = false;
  const end = async (why) => {
    if (ending) return;
    ending = true;
    print(`# ended by ${why}`);
    await cleanUp().finally(() => process.exit(1));
  };
  process.stdout.on('error', () => {}); // nobody reads any more; ending goes on
  for (const signal of SIGNALS) process.on(signal, end);
  if (!options.inNamespace) return;
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    void end('the end of its parent');
  }, 1000);
  timer.unref();
}

/** Those that are wanted and here; `versions` tells of the others why they are left out. */
function choose(outcome) {
  const all = [...knownPeers, ...onOtherNodes(options.nodes)];
  const wanted = options.peers ?? (options.quick ? QUICK : knownPeers.map((peer) => peer.name));
  for (const name of wanted)
    if (!knownPeers.some((peer) => peer.name === name)) throw new Error(`no peer ${name}; known: ${knownPeers.map((peer) => peer.name).join(', ')}`);
  return all.filter((peer) => {
    if (knownPeers.includes(peer) && !wanted.includes(peer.name)) {
      outcome.versions[peer.name] = 'left out: not wanted';
      return false;
    }
    const { version, missing } = peer.look();
    outcome.versions[peer.name] = version ?? `left out: ${missing}`;
    return version !== undefined;
  });
}

async function buildLoad() {
  const sources = (await readdir(join(here, 'load'))).filter((name) => name.endsWith('.c')).map((name) => join(here, 'load', name));
  await mkdir(join(here, 'build'), { recursive: true });
  const output = join(here, 'build', 'load');
  execFileSync('cc', ['-O2', '-std=c11', '-Wall', '-Wextra', '-o', output, ...sources], { stdio: 'inherit' });
  return output;
}

async function save(outcome) {
  await mkdir(join(here, 'results'), { recursive: true });
  const name = `${outcome.machine.at.replaceAll(/[:.]/g, '-')}.json`;
  await writeFile(join(here, 'results', name), `${JSON.stringify(outcome, null, 2)}\n`);
  return `bench/results/${name}`;
}

function print(text) {
  process.stdout.write(`${text}\n`);
}

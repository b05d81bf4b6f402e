// SOCKS5 -> direct on loopback, every proxy under the same load in turns (A B C, B C A, ...). See bench/README.md.
//
//   npm run bench -- [--quick] [--rounds N] [--seconds N] [--peers a,b] [--only bulk,connections,idle] [--streams 1,8]
//                    [--congestion NAME] [--idle COUNT] [--node-flags FLAGS] [--profile FOLDER] [--no-namespace]
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { peers as knownPeers } from './peers.mjs';
import { costs, freePort, lineOf, listening, result, start, stop, stopAll } from './processes.mjs';
import { floors, render } from './report.mjs';

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    peers: { type: 'string' },
    only: { type: 'string', default: 'bulk,connections,idle' },
    streams: { type: 'string', default: '1,8' },
    congestion: { type: 'string' },
    idle: { type: 'string', default: '5000' },
    profile: { type: 'string' },
    'node-flags': { type: 'string', default: '' },
    'no-namespace': { type: 'boolean', default: false },
    'in-namespace': { type: 'boolean', default: false },
  },
});

const here = fileURLToPath(new URL('.', import.meta.url));
const CONNECTIONS_AT_A_TIME = 64;
/** One stream is fastest and steadiest under reno, eight are erratic under it; the default of the machine may be either. */
const CONGESTION = { 1: 'reno', 8: 'bbr' };
const TCP_SYSCTL = '/proc/sys/net/ipv4';

const inNamespace = options['in-namespace'];
if (!inNamespace && !options['no-namespace'] && canHaveNamespace()) {
  // A network namespace of our own: nobody else's traffic, our congestion control for every proxy, few TIME_WAIT sockets.
  const script = 'ulimit -n "$(ulimit -Hn)" && ip link set lo up && exec "$@"';
  const command = [
    '--net',
    '--',
    'sh',
    '-c',
    script,
    'sh',
    process.execPath,
    ...process.execArgv,
    fileURLToPath(import.meta.url),
    '--in-namespace',
    ...process.argv.slice(2),
  ];
  process.exitCode = spawnSync('unshare', command, { stdio: 'inherit' }).status ?? 1;
} else {
  await main();
}

async function main() {
  const rounds = Number(options.rounds ?? (options.quick ? 2 : 5));
  const seconds = Number(options.seconds ?? (options.quick ? 1 : 3));
  const only = options.only.split(',');
  const streams = options.streams.split(',').map(Number);
  const folder = await mkdtemp(join(os.tmpdir(), 'nekit-bench-'));
  const outcome = {
    machine: await machine(),
    settings: { rounds, seconds, quick: options.quick, nodeFlags: options['node-flags'] },
    versions: {},
    bulk: {},
    connections: {},
    idle: {},
    problems: [],
  };
  const backToNormal = await prioritise();
  try {
    if (inNamespace) await writeFile(`${TCP_SYSCTL}/tcp_max_tw_buckets`, '1000');
    const load = await buildLoad();
    const chosen = choose(outcome);
    print(facts(outcome));
    const run = { load, folder, chosen, rounds, seconds, streams, outcome };
    if (only.includes('bulk') || only.includes('connections')) await measureSpeed(run, only);
    if (only.includes('idle')) await measureIdle(run);
    const names = ['direct', ...chosen.map((peer) => peer.name)];
    print(`\n${render(outcome, names)}\n`);
    for (const problem of outcome.problems) print(`PROBLEM ${problem}`);
    const verdicts = floors(outcome);
    for (const { ok, text } of verdicts) print(`${ok ? 'PASS' : 'FAIL'} ${text}`);
    if (verdicts.length === 0) print('no floor was measured');
    print(`raw figures: ${await save(outcome)}`);
    if (outcome.problems.length > 0 || verdicts.some(({ ok }) => !ok)) process.exitCode = 1;
  } finally {
    await stopAll();
    await backToNormal();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Bulk and connections: all proxies run side by side, and only one is under load at a time. */
async function measureSpeed({ load, folder, chosen, rounds, seconds, streams, outcome }, only) {
  const server = start([load, 'serve'], { env: await loadEnvironment() });
  const target = (await lineOf(server, /^port (\d+)$/))[1];
  const entrants = [{ name: 'direct', port: 0, process: null }];
  for (const peer of chosen) entrants.push({ name: peer.name, ...(await startPeer(peer, folder, outcome)) });
  const able = entrants.filter((entrant) => entrant.port !== undefined);
  const tests = [];
  if (only.includes('bulk')) {
    for (const count of streams) for (const direction of ['up', 'down']) tests.push({ kind: 'bulk', label: `${direction} ${count}`, count, direction });
  }
  if (only.includes('connections')) tests.push({ kind: 'connections', label: 'connections', count: 1 });
  for (const test of tests) {
    if (test.kind === 'bulk') outcome.bulk[test.label] = {};
    const congestion = await setCongestion(test.count);
    const command = (entrant, time) =>
      test.kind === 'bulk'
        ? [load, 'bulk', String(entrant.port), target, String(test.count), test.direction, String(time)]
        : [load, 'connections', String(entrant.port), target, String(CONNECTIONS_AT_A_TIME), String(time)];
    const sheet = test.kind === 'bulk' ? outcome.bulk[test.label] : outcome.connections;
    print(`# ${test.label} (${congestion}): warm-up and ${rounds} rounds of ${seconds} s`);
    for (const entrant of able) await attempt(outcome, `${entrant.name}, warm-up of ${test.label}`, () => result(command(entrant, 1), 60_000));
    for (let round = 0; round < rounds; round++) {
      for (let turn = 0; turn < able.length; turn++) {
        const entrant = able[(turn + round) % able.length];
        sheet[entrant.name] ??= [];
        sheet[entrant.name][round] = await attempt(outcome, `${entrant.name}, ${test.label}`, async () => {
          const before = entrant.process === null ? null : await costs(entrant.process.pid);
          const figures = await result(command(entrant, seconds), (seconds + 60) * 1000);
          if (before === null) return figures;
          const after = await costs(entrant.process.pid);
          const cpuMs = after.cpuMs - before.cpuMs;
          const share = test.kind === 'bulk' ? { cpuMsPerGbit: cpuMs / ((figures.bytes * 8) / 1e9) } : { cpuUsEach: (cpuMs * 1000) / figures.connections };
          return { ...figures, cpuMs, rss: after.rss, ...share };
        });
      }
    }
  }
  for (const entrant of able) if (entrant.process !== null) await stop(entrant.process);
  await stop(server);
}

/** Memory of idle relayed connections: a fresh process for each proxy. */
async function measureIdle({ load, folder, chosen, outcome }) {
  const limit = Number(/^Max open files\s+\S+\s+(\d+)/m.exec(await readFile('/proc/self/limits', 'utf8'))?.[1] ?? 1024);
  const count = Math.min(Number(options.idle), Math.floor((limit - 200) / 2));
  for (const peer of chosen.filter((one) => one.idle)) {
    print(`# idle: ${count} connections through ${peer.name}`);
    const measured = await attempt(outcome, `${peer.name}, idle`, async () => {
      await setCongestion(1);
      const server = start([load, 'serve']);
      const target = (await lineOf(server, /^port (\d+)$/))[1];
      const { port, process: proxy } = await startPeer(peer, folder, outcome);
      if (proxy === undefined) return null;
      await pause(1000);
      const begin = await costs(proxy.pid);
      await result([load, 'idle', String(port), target, '200'], 60_000);
      await pause(2000);
      const warm = await costs(proxy.pid);
      const holder = start([load, 'idle', String(port), target, String(count)]);
      await lineOf(holder, /^ready$/, 120_000);
      await pause(4000);
      const held = await costs(proxy.pid);
      const done = lineOf(holder, /^\{/, 60_000);
      holder.child.stdin.end('go\n');
      await done; // every connection still carries a ping
      await pause(4000);
      const after = await costs(proxy.pid);
      await stop(proxy);
      await stop(server);
      return {
        count,
        start: begin,
        warm,
        held,
        after,
        rssAboveStart: (held.rss - begin.rss) / count,
        rssAboveWarm: (held.rss - warm.rss) / count,
        pssAboveWarm: (held.pss - warm.pss) / count,
        kept: (after.rss - warm.rss) / count,
      };
    });
    if (measured !== null) outcome.idle[peer.name] = measured;
    await stopAll();
  }
}

/** A port and a process, or neither when the proxy cannot be started. */
async function startPeer(peer, folder, outcome) {
  const flags = options['node-flags'].split(' ').filter((flag) => flag !== '');
  if (options.profile !== undefined) flags.push('--cpu-prof', `--cpu-prof-dir=${options.profile}`);
  const started = await attempt(outcome, `${peer.name}, start`, async () => {
    const port = await freePort();
    const child = start(await peer.command(port, folder, flags));
    child.child.stdout.resume();
    await listening(child, port);
    return { port, process: child };
  });
  return started ?? {};
}

/** A measurement that fails is a problem of its own in the report, and does not end the others. */
async function attempt(outcome, what, measure) {
  try {
    return await measure();
  } catch (error) {
    outcome.problems.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
}

function choose(outcome) {
  const wanted = options.peers?.split(',') ?? (options.quick ? ['nekit-kernel', 'plain-node'] : knownPeers.map((peer) => peer.name));
  for (const name of wanted)
    if (!knownPeers.some((peer) => peer.name === name)) throw new Error(`no peer ${name}; known: ${knownPeers.map((peer) => peer.name).join(', ')}`);
  for (const peer of knownPeers) outcome.versions[peer.name] = peer.version() ?? 'not installed';
  return knownPeers.filter((peer) => wanted.includes(peer.name) && outcome.versions[peer.name] !== 'not installed');
}

async function buildLoad() {
  const sources = (await readdir(join(here, 'load'))).filter((name) => name.endsWith('.c')).map((name) => join(here, 'load', name));
  await mkdir(join(here, 'build'), { recursive: true });
  const output = join(here, 'build', 'load');
  execFileSync('cc', ['-O2', '-std=c11', '-Wall', '-Wextra', '-o', output, ...sources], { stdio: 'inherit' });
  return output;
}

function canHaveNamespace() {
  return process.getuid?.() === 0 && spawnSync('unshare', ['--net', '--', 'ip', 'link', 'set', 'lo', 'up'], { stdio: 'ignore' }).status === 0;
}

/** Sets the congestion control of every new socket, the proxies' included, where we own the namespace. Returns what is in force. */
async function setCongestion(streams) {
  const wanted = options.congestion ?? CONGESTION[streams] ?? 'reno';
  const available = await readFile(`${TCP_SYSCTL}/tcp_available_congestion_control`, 'utf8');
  if (inNamespace && available.split(/\s/).includes(wanted)) await writeFile(`${TCP_SYSCTL}/tcp_congestion_control`, wanted);
  return (await readFile(`${TCP_SYSCTL}/tcp_congestion_control`, 'utf8')).trim();
}

/** Without a namespace at least the generator's sockets can be set to reno. */
async function loadEnvironment() {
  const allowed = await readFile(`${TCP_SYSCTL}/tcp_allowed_congestion_control`, 'utf8');
  return !inNamespace && allowed.split(/\s/).includes('reno') ? { ...process.env, LOAD_CONGESTION: 'reno' } : process.env;
}

/**
 * Puts us ahead of what else runs here, so that strangers' load shows less; not everybody may. Where the scheduler groups processes by
 * session, the nice value counts inside of the session only, and the session has one of its own. Returns how to put that back.
 */
async function prioritise() {
  const group = '/proc/self/autogroup';
  try {
    os.setPriority(-10);
    const before = /nice (-?\d+)/.exec(await readFile(group, 'utf8').catch(() => ''))?.[1];
    if (before === undefined) return async () => {};
    await writeFile(group, '-10');
    return () => writeFile(group, before);
  } catch (error) {
    print(`# runs at normal priority: ${error instanceof Error ? error.message : String(error)}`);
    return async () => {};
  }
}

async function machine() {
  const text = async (file) => (await readFile(file, 'utf8')).trim();
  return {
    cpu: os.cpus()[0]?.model ?? 'unknown',
    cores: os.cpus().length,
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    kernel: os.release(),
    node: process.version,
    loadBefore: os.loadavg()[0],
    busyCores: await busyCores(),
    namespace: inNamespace,
    congestionDefault: await text(`${TCP_SYSCTL}/tcp_congestion_control`),
    commit: spawnSync('git', ['describe', '--always', '--dirty'], { cwd: here, encoding: 'utf8' }).stdout?.trim() ?? '',
    at: new Date().toISOString(),
  };
}

/** How many cores others keep busy, over half a second. */
async function busyCores() {
  const idleMs = () => os.cpus().reduce((sum, cpu) => sum + cpu.times.idle, 0);
  const [before, began] = [idleMs(), performance.now()];
  await pause(500);
  const took = performance.now() - began;
  return Math.max(0, os.cpus().length - (idleMs() - before) / took);
}

function facts({ machine: m, settings, versions }) {
  return [
    `${m.cpu}, ${m.cores} cores, ${m.memoryGiB} GiB, Linux ${m.kernel}, Node ${m.node}, commit ${m.commit}`,
    `load before ${m.loadBefore.toFixed(2)}, ${m.busyCores.toFixed(2)} cores busy; ${m.namespace ? 'own network namespace' : 'NO namespace of our own: congestion control and TIME_WAIT are the machine’s'}`,
    `client, proxy and server share the cores: ratios within this run count, digits do not; ${settings.rounds} rounds of ${settings.seconds} s`,
    Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', '),
  ].join('\n');
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

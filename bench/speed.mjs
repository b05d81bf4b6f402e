// Bulk, connections and HTTP: all proxies run side by side, and only one is under load at a time, in turns (A B C, B C A, ...).
import { attempt, startPeer } from './entrants.mjs';
import { loadEnvironment, setCongestion } from './machine.mjs';
import { options } from './options.mjs';
import { costs, lineOf, result, start, stop } from './processes.mjs';

const AT_A_TIME = 64;

/**
 * @typedef {object} Test
 * @property {string} label
 * @property {'bulk' | 'connections' | 'requests'} kind     which figures it gives
 * @property {'socks' | 'http'} through
 * @property {number} streams      what its congestion control is chosen by
 * @property {'serve' | 'origin'} server
 * @property {string} mode         of the generator
 * @property {string[]} load       arguments of the generator between target and seconds
 */

/** @returns {Test[]} */
function chosenTests() {
  const tests = [];
  for (const streams of options.only.includes('bulk') ? options.streams : []) {
    for (const direction of ['up', 'down']) {
      const load = [String(streams), direction];
      tests.push({ label: `${direction} ${streams}`, kind: 'bulk', through: 'socks', streams, server: 'serve', mode: 'bulk', load });
    }
  }
  const small = { streams: 1, load: [String(AT_A_TIME)] };
  if (options.only.includes('connections')) {
    tests.push({ ...small, label: 'connections', kind: 'connections', through: 'socks', server: 'serve', mode: 'connections' });
  }
  if (options.only.includes('connect')) tests.push({ ...small, label: 'connect', kind: 'connections', through: 'http', server: 'serve', mode: 'connections' });
  if (options.only.includes('http')) tests.push({ ...small, label: 'http', kind: 'requests', through: 'http', server: 'origin', mode: 'http' });
  return tests;
}

export async function measureSpeed({ load, folder, chosen, outcome, print }) {
  const tests = chosenTests();
  if (tests.length === 0) return;
  const env = { ...process.env, ...(await loadEnvironment()) };
  const servers = {};
  for (const mode of new Set(tests.map((test) => test.server))) {
    const server = start([load, mode], { env });
    servers[mode] = { process: server, port: (await lineOf(server, /^port (\d+)$/))[1] };
  }
  const entrants = [{ name: 'direct', process: null }];
  for (const peer of chosen.filter(({ serves }) => tests.some((test) => serves.includes(test.through)))) {
    const entrant = await startPeer(peer, folder, outcome);
    if (entrant !== null) entrants.push(entrant);
  }
  for (const test of tests) {
    const congestion = await setCongestion(test.streams);
    print(`# ${test.label} (${congestion}): warm-up and ${options.rounds} rounds of ${options.seconds} s`);
    const sheet = { kind: test.kind, congestion, peers: {} };
    outcome.tests[test.label] = sheet;
    const able = entrants.filter(({ serves }) => serves === undefined || serves.includes(test.through));
    const run = (entrant, seconds) => {
      const proxy = entrant.process === null ? '0' : `${test.through}:${entrant.ports[test.through]}`;
      return result([load, test.mode, proxy, servers[test.server].port, ...test.load, String(seconds)], (seconds + 60) * 1000, env);
    };
    for (const entrant of able) await attempt(outcome, `${entrant.name}, warm-up of ${test.label}`, () => run(entrant, 1));
    for (let round = 0; round < options.rounds; round++) {
      for (let turn = 0; turn < able.length; turn++) {
        const entrant = able[(turn + round) % able.length];
        sheet.peers[entrant.name] ??= [];
        sheet.peers[entrant.name][round] = await attempt(outcome, `${entrant.name}, ${test.label}`, async () => {
          const before = entrant.process === null ? null : await costs(entrant.process.pid);
          const figures = await run(entrant, options.seconds);
          if (figures.failed > 0) outcome.problems.push(`${entrant.name}, ${test.label}: ${figures.failed} failed: ${JSON.stringify(figures.failures)}`);
          return before === null ? figures : { ...figures, ...cpuFigures(figures, before, await costs(entrant.process.pid)) };
        });
      }
    }
  }
  for (const { process: one } of [...entrants, ...Object.values(servers)]) if (one !== null) await stop(one);
}

/** What it cost the proxy. "Per core": per second of its CPU time, whichever cores that was on. */
function cpuFigures(figures, before, after) {
  const cpuMs = after.cpuMs - before.cpuMs;
  const common = { cpuMs, rss: after.rss };
  if (figures.gbits !== undefined) {
    const gbit = (figures.bytes * 8) / 1e9;
    return { ...common, cpuMsPerGbit: cpuMs / gbit, gbitsPerCore: gbit / (cpuMs / 1000) };
  }
  const count = figures.connections ?? figures.requests;
  return { ...common, cpuUsEach: (cpuMs * 1000) / count, ratePerCore: count / (cpuMs / 1000) };
}

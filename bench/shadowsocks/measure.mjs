// For each cipher all servers and clients run side by side, and only one pair is under load at a time, in turns.
import { join } from 'node:path';
import { attempt } from '../entrants.mjs';
import { loadEnvironment, setCongestion } from '../machine.mjs';
import { options } from '../options.mjs';
import { costs, freePorts, lineOf, listening, result, start, stop } from '../processes.mjs';

const AT_A_TIME = 64;
/** What fits into an Ethernet frame with everything that is put around it. */
const DATAGRAM = 1400;

/**
 * @typedef {object} Test
 * @property {string} label
 * @property {'bulk' | 'connections' | 'udp'} kind
 * @property {number} streams          what its congestion control is chosen by
 * @property {'serve' | 'serve-udp'} server
 * @property {string[]} load           mode of the generator, and its arguments between target and seconds
 */

/** @returns {Test[]} */
function chosenTests() {
  const tests = [];
  for (const streams of options.only.includes('bulk') ? options.streams : [])
    for (const direction of ['up', 'down'])
      tests.push({ label: `${direction} ${streams}`, kind: 'bulk', streams, server: 'serve', load: ['bulk', String(streams), direction] });
  if (options.only.includes('connections'))
    tests.push({ label: 'connections', kind: 'connections', streams: 1, server: 'serve', load: ['connections', String(AT_A_TIME)] });
  if (options.only.includes('udp'))
    tests.push({ label: 'udp', kind: 'udp', streams: 1, server: 'serve-udp', load: ['udp', String(DATAGRAM), String(AT_A_TIME)] });
  return tests;
}

/** Fills `outcome.tests`: for each cipher and test a sheet with the figures of every pair, by rounds. */
export async function measure({ load, folder, outcome, print, ciphers, sides, pairs }) {
  const env = { ...process.env, ...(await loadEnvironment()) };
  const tests = chosenTests();
  const targets = {};
  for (const mode of new Set(tests.map((test) => test.server))) {
    const process = start([load, mode], { env });
    targets[mode] = { process, port: (await lineOf(process, /^port (\d+)$/))[1] };
  }
  for (const cipher of ciphers) {
    const entrants = await startAll({ cipher, folder, outcome, sides, pairs });
    for (const test of tests) {
      const congestion = await setCongestion(test.streams);
      print(`# ${cipher.name}, ${test.label} (${congestion}): warm-up and ${options.rounds} rounds of ${options.seconds} s`);
      const sheet = { cipher: cipher.name, label: test.label, kind: test.kind, congestion, pairs: {} };
      outcome.tests[`${cipher.name}, ${test.label}`] = sheet;
      await rounds({ load, env, test, sheet, target: targets[test.server].port, entrants, outcome, cipher });
    }
    for (const process of new Set(entrants.flatMap(({ client, server }) => [client, server]))) await stop(process);
  }
  for (const { process } of Object.values(targets)) await stop(process);
}

async function rounds({ load, env, test, sheet, target, entrants, outcome, cipher }) {
  const [mode, ...between] = test.load;
  const run = ({ socks }, seconds) => {
    const command = [load, mode, `socks:${socks}`, target, ...between, String(seconds)];
    const alone = options.lock === undefined ? [] : ['flock', options.lock];
    return result([...alone, ...command], (seconds + (alone.length > 0 ? 600 : 60)) * 1000, env);
  };
  const what = (entrant) => `${entrant.name}, ${cipher.name}, ${test.label}`;
  for (const entrant of entrants) await attempt(outcome, `warm-up: ${what(entrant)}`, () => run(entrant, 1));
  for (let round = 0; round < options.rounds; round++) {
    for (let turn = 0; turn < entrants.length; turn++) {
      const entrant = entrants[(turn + round) % entrants.length];
      sheet.pairs[entrant.name] ??= [];
      sheet.pairs[entrant.name][round] = await attempt(outcome, what(entrant), async () => {
        const before = await costsOf(entrant);
        const figures = await run(entrant, options.seconds);
        if (figures.failed > 0) outcome.problems.push(`${what(entrant)}: ${figures.failed} failed: ${JSON.stringify(figures.failures)}`);
        return { ...figures, ...cpuFigures(figures, before, await costsOf(entrant)) };
      });
    }
  }
}

async function costsOf({ client, server }) {
  return { client: await costs(client.pid), server: await costs(server.pid) };
}

/** CPU time of client and server: microseconds for each MB, connection or datagram there and back. */
function cpuFigures(figures, before, after) {
  const count = figures.connections ?? figures.packets ?? figures.bytes / 1e6;
  const us = (side) => ((after[side].cpuMs - before[side].cpuMs) * 1000) / count;
  return { clientUs: us('client'), serverUs: us('server'), cpuUs: us('client') + us('server'), clientRss: after.client.rss, serverRss: after.server.rss };
}

/** A server of each side, and a client for each pair. A pair of which one does not start is left out, and told. */
async function startAll({ cipher, folder, outcome, sides, pairs }) {
  const able = pairs.filter((pair) => [pair.client, pair.server].every((name) => sides.some((side) => side.name === name && side.speaks(cipher))));
  const byName = (name) => sides.find((side) => side.name === name);
  const servers = {};
  for (const name of new Set(able.map((pair) => pair.server))) {
    const [port] = await freePorts(1);
    servers[name] = await attempt(outcome, `${name} as a server, ${cipher.name}`, async () => {
      const process = running(await byName(name).server({ cipher, port, file: join(folder, `server-${name}.yaml`) }));
      await listening(process, port);
      return { port, process };
    });
  }
  const entrants = [];
  for (const pair of able.filter(({ server }) => servers[server] !== null)) {
    const [socks] = await freePorts(1);
    const entrant = await attempt(outcome, `${pair.name}, ${cipher.name}`, async () => {
      const { port, process: server } = servers[pair.server];
      const client = running(await byName(pair.client).client({ cipher, port, socks, file: join(folder, `client-${pair.name.replaceAll(/\W+/g, '-')}.yaml`) }));
      await listening(client, socks);
      return { name: pair.name, client, server, socks };
    });
    if (entrant !== null) entrants.push(entrant);
  }
  return entrants;
}

function running(command) {
  const process = start(command);
  process.child.stdout.resume();
  return process;
}

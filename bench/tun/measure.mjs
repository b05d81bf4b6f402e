// All proxies run side by side, each with a TUN and a server address of its own; only one is under load at a time, in turns.
import { spawnSync } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { attempt } from '../entrants.mjs';
import { options } from '../options.mjs';
import { costs, lineOf, result, start, stop } from '../processes.mjs';
import { Network, serverAddress } from './network.mjs';
import { CABLE_ONLY, LOOPBACK, OURS, OURS_PLAIN, PROBE, startSocks } from './proxies.mjs';

const AT_A_TIME = 64;
/** What fits into the MTU with everything that is put in front of it. */
const DATAGRAM = 1400;
const FLOWS = 16;
const IDLE = 15_000;
const IDLE_SOON_MS = 4_000;
const IDLE_LATER_MS = 30_000;
/** As many packets are to leave nothing on the heap. */
const PACKETS = 10_000_000;
const LOOPBACK_ADDRESS = '127.0.0.1';

/**
 * @typedef {object} Test
 * @property {string} label
 * @property {'bulk' | 'fairness' | 'connections' | 'udp'} kind
 * @property {boolean} socks         the proxies go on by SOCKS5
 * @property {number} streams        what its congestion control is chosen by
 * @property {string[]} load         arguments of iperf3, or of the generator: mode first
 */

/** @returns {Test[]} */
function chosenTests() {
  const { only } = options;
  const tests = [];
  const streamCounts = options.hasStreams ? options.streams : options.quick ? [1, 8] : [1, 8, 64];
  for (const socks of [false, true])
    for (const streams of only.includes(socks ? 'socks' : 'bulk') ? streamCounts : [])
      for (const direction of ['up', 'down']) {
        const load = ['-P', String(streams), ...(direction === 'down' ? ['-R'] : [])];
        tests.push({ label: `${direction} ${streams}${socks ? ', SOCKS5' : ''}`, kind: 'bulk', socks, streams, load });
      }
  if (only.includes('fairness')) tests.push({ label: `fairness`, kind: 'fairness', socks: false, streams: FLOWS, load: ['-P', String(FLOWS), '-R'] });
  if (only.includes('connections'))
    tests.push({ label: 'connections', kind: 'connections', socks: false, streams: 1, load: ['connections', String(AT_A_TIME)] });
  if (only.includes('udp')) tests.push({ label: 'udp', kind: 'udp', socks: false, streams: 1, load: ['udp', String(DATAGRAM), String(AT_A_TIME)] });
  return tests;
}

/** Without it a measurement would share the cores with what else is measured here. */
const alone = (command) => (options.lock === undefined ? command : ['flock', options.lock, ...command]);
const WAIT_MS = options.lock === undefined ? 60_000 : 600_000;

export async function measure({ load, folder, outcome, print, chosen }) {
  const tests = chosenTests();
  const numbers = new Map();
  const network = await Network.make(4 * chosen.length + 4);
  const servers = await startServers(network, load);
  const place = (proxy, socks, extra = {}) => {
    const number = numbers.size + 1;
    numbers.set(number, proxy.name);
    return { number, address: serverAddress(number), folder, socks, flags: [], env: {}, ...extra };
  };
  const bare = [
    { name: CABLE_ONLY, address: serverAddress(4 * chosen.length + 4), wrap: (command) => command },
    { name: LOOPBACK, address: LOOPBACK_ADDRESS, wrap: (command) => command },
  ];
  for (const socks of [false, true]) {
    const wanted = tests.filter((test) => test.socks === socks);
    if (wanted.length === 0) continue;
    const upstream = socks ? await startSocks(network, folder) : null;
    const entrants = socks ? [] : [...bare];
    for (const proxy of chosen.filter((one) => !socks || one.hasSocks)) {
      const where = place(proxy, socks);
      const entrant = await attempt(outcome, `${proxy.name}, start`, () => proxy.start(where));
      if (entrant !== null) entrants.push({ name: proxy.name, address: where.address, ...entrant });
    }
    for (const test of wanted) {
      const congestion = await network.setCongestion(test.streams);
      print(`# ${test.label} (${congestion}): warm-up and ${options.rounds} rounds of ${options.seconds} s`);
      const sheet = { label: test.label, kind: test.kind, congestion, peers: {} };
      outcome.tests[test.label] = sheet;
      await rounds({ test, sheet, entrants, servers, load, outcome, network });
    }
    for (const { process } of entrants) if (process !== undefined) await stop(process);
    if (upstream !== null) await stop(upstream);
  }
  if (options.only.includes('idle'))
    for (const proxy of chosen.filter(({ offload }) => offload !== false)) {
      print(`# idle: ${IDLE} connections through ${proxy.name}`);
      await network.setCongestion(1);
      const figures = await attempt(outcome, `${proxy.name}, idle`, () => idle({ proxy, place: place(proxy, false), servers, load }));
      if (figures !== null) outcome.idle[proxy.name] = figures;
    }
  const ours = chosen.filter(({ name }) => name === OURS || name === OURS_PLAIN);
  if (options.only.includes('loop'))
    for (const proxy of ours) {
      print(`# event loop and heap of ${proxy.name}`);
      const probed = { flags: ['--expose-gc', '--import', PROBE] };
      const figures = await attempt(outcome, `${proxy.name}, loop`, () => loop({ proxy, place: place(proxy, false, probed), network, load }));
      if (figures !== null) outcome.loop[proxy.name] = figures;
    }
}

/** Outside for all, and at home for loopback. */
async function startServers(network, load) {
  const env = { ...process.env, LOAD_HOST: '0.0.0.0' };
  const here = (command) => command;
  const ports = { outside: {}, home: {}, udp: new Map() };
  for (const [side, wrap] of [
    ['outside', (command) => network.command(command)],
    ['home', here],
  ]) {
    ports[side].serve = (await lineOf(start(wrap([load, 'serve']), { env }), /^port (\d+)$/))[1];
    start(wrap(['iperf3', '-s'])).child.stdout.resume();
  }
  await pause(500);
  return ports;
}

/** Bound to the entrant's address: that is where the echo has to come from. */
async function udpPort(servers, { address }, network, load) {
  if (!servers.udp.has(address)) {
    const command = [load, 'serve-udp'];
    const server = start(address === LOOPBACK_ADDRESS ? command : network.command(command), { env: { ...process.env, LOAD_HOST: address } });
    servers.udp.set(address, (await lineOf(server, /^port (\d+)$/))[1]);
  }
  return servers.udp.get(address);
}

const portsFor = (servers, { address }) => (address === LOOPBACK_ADDRESS ? servers.home : servers.outside);

async function rounds({ test, sheet, entrants, servers, load, outcome, network }) {
  const run = async (entrant, seconds) => {
    if (test.kind === 'bulk' || test.kind === 'fairness') return iperf(entrant, test.load, seconds);
    const [mode, ...rest] = test.load;
    const port = mode === 'udp' ? await udpPort(servers, entrant, network, load) : portsFor(servers, entrant).serve;
    const env = { ...process.env, LOAD_HOST: entrant.address };
    return result(alone(entrant.wrap([load, mode, '0', port, ...rest, String(seconds)])), seconds * 1000 + WAIT_MS, env);
  };
  for (const entrant of entrants) await attempt(outcome, `${entrant.name}, warm-up of ${test.label}`, () => run(entrant, 1));
  for (let round = 0; round < options.rounds; round++)
    for (let turn = 0; turn < entrants.length; turn++) {
      const entrant = entrants[(turn + round) % entrants.length];
      sheet.peers[entrant.name] ??= [];
      sheet.peers[entrant.name][round] = await attempt(outcome, `${entrant.name}, ${test.label}`, async () => {
        const before = entrant.pid === undefined ? null : await costs(entrant.pid);
        const figures = await run(entrant, options.seconds);
        if (figures.failed > 0) outcome.problems.push(`${entrant.name}, ${test.label}: ${figures.failed} failed: ${JSON.stringify(figures.failures)}`);
        return before === null ? figures : { ...figures, ...cpuFigures(figures, before, await costs(entrant.pid)) };
      });
    }
}

/** Its server takes one test at a time, and may still be clearing up after the last one. */
const BUSY = /busy running a test/;
const BUSY_TRIES = 20;

async function iperf(entrant, flags, seconds) {
  for (let tries = 1; ; tries++) {
    const answer = await iperfOnce(entrant, flags, seconds);
    if (answer.end?.sum_received !== undefined) {
      const { bytes, bits_per_second: rate } = answer.end.sum_received;
      const each = answer.end.streams.map(({ receiver }) => receiver.bits_per_second);
      return { gbits: rate / 1e9, bytes, jain: jain(each) };
    }
    if (tries === BUSY_TRIES || !BUSY.test(answer.error ?? '')) throw new Error(answer.error ?? 'iperf3 said nothing');
    await pause(100);
  }
}

async function iperfOnce(entrant, flags, seconds) {
  const command = entrant.wrap(['iperf3', '-c', entrant.address, '-t', String(seconds), '-J', '--connect-timeout', '5000', ...flags]);
  const child = start(alone(command));
  const parts = [];
  child.child.stdout.on('data', (part) => parts.push(part));
  const ended = new Promise((resolve) => child.child.once('close', resolve));
  const timer = setTimeout(() => child.child.kill('SIGKILL'), seconds * 1000 + WAIT_MS);
  await ended;
  clearTimeout(timer);
  return JSON.parse(parts.join('') || '{}');
}

/** Jain's index: 1 when all have the same, 1/n when one has everything. */
function jain(values) {
  const sum = values.reduce((total, value) => total + value, 0);
  const squares = values.reduce((total, value) => total + value * value, 0);
  return (sum * sum) / (values.length * squares);
}

/** What it cost the proxy. "Per core": per second of its CPU time, whichever cores that was on. */
function cpuFigures(figures, before, after) {
  const cpuMs = after.cpuMs - before.cpuMs;
  const common = { cpuMs, rss: after.rss };
  if (figures.gbits !== undefined) {
    const gbit = (figures.bytes * 8) / 1e9;
    return { ...common, cores: (cpuMs * figures.gbits) / (gbit * 1000), gbitsPerCore: gbit / (cpuMs / 1000) };
  }
  const count = figures.connections ?? figures.packets;
  return { ...common, cores: cpuMs / (1000 * figures.seconds), cpuUsEach: (cpuMs * 1000) / count };
}

/** A fresh process: memory of idle connections, each of which has carried a ping; soon after the last has come, and when all have been idle for a while. */
async function idle({ proxy, place, servers, load }) {
  const entrant = await proxy.start(place);
  try {
    const env = { ...process.env, LOAD_HOST: place.address };
    const port = servers.outside.serve;
    const command = (count) => entrant.wrap([load, 'idle', '0', port, String(count)]);
    await pause(1000);
    const begin = await costs(entrant.pid);
    await result(alone(command(200)), WAIT_MS, env);
    await pause(2000);
    const warm = await costs(entrant.pid);
    const holder = start(alone(command(IDLE)), { env });
    await lineOf(holder, /^ready$/, WAIT_MS);
    await pause(IDLE_SOON_MS);
    const held = await costs(entrant.pid);
    await pause(IDLE_LATER_MS - IDLE_SOON_MS);
    const later = await costs(entrant.pid);
    const done = lineOf(holder, /^\{/, 60_000);
    holder.child.stdin.end('go\n');
    await done; // every connection still carries a ping
    const each = (one) => (held.rss - one.rss) / IDLE;
    return { count: IDLE, begin, held, later, rssAboveStart: each(begin), rssAboveWarm: each(warm), rssLater: (later.rss - begin.rss) / IDLE };
  } finally {
    await stop(entrant.process);
  }
}

/** A fresh process with the probe: its loop's delay under each load, its heap over very many packets. */
async function loop({ proxy, place, network }) {
  const entrant = { ...(await proxy.start(place)), address: place.address };
  const probe = () => ask(entrant.process);
  const packets = () => {
    // /sys shows the devices of another namespace.
    const { stdout } = spawnSync('ip', ['-s', '-j', 'link', 'show', entrant.device], { encoding: 'utf8' });
    const [{ stats64 }] = JSON.parse(stdout);
    return stats64.rx.packets + stats64.tx.packets;
  };
  try {
    const delays = {};
    for (const [streams, direction] of [
      [1, 'up'],
      [1, 'down'],
      [8, 'up'],
      [8, 'down'],
      [64, 'down'],
    ]) {
      await network.setCongestion(streams);
      await iperf(entrant, ['-P', String(streams)], 1);
      await probe();
      const { gbits } = await iperf(entrant, ['-P', String(streams), ...(direction === 'down' ? ['-R'] : [])], options.seconds);
      delays[`${direction} ${streams}`] = { ...(await probe()).loop, gbits };
    }
    await network.setCongestion(8);
    const wanted = options.quick ? PACKETS / 10 : PACKETS;
    const before = { ...(await probe()), packets: packets() };
    let [collections, collectedMs, after] = [0, 0, before];
    let carried = 0;
    for (let tries = 0; tries < 100 && carried < wanted; tries++) {
      await iperf(entrant, ['-P', '8', ...(tries % 2 === 1 ? ['-R'] : [])], 5);
      after = await probe();
      collections += after.collections;
      collectedMs += after.collectedMs;
      carried = packets() - before.packets;
    }
    return { delays, packets: carried, heapGrowth: after.heapUsed - before.heapUsed, collections, collectedMs };
  } finally {
    await stop(entrant.process);
  }
}

async function ask(process) {
  const last = answerOf(process)?.probe ?? 0;
  process.child.kill('SIGUSR2');
  for (let tries = 0; tries < 100; tries++) {
    await pause(50);
    const answer = answerOf(process);
    if (answer !== undefined && answer.probe > last) return answer;
  }
  throw new Error('the probe says nothing');
}

/** The last one; `probe` is its number. */
function answerOf(process) {
  const line = process
    .said()
    .split('\n')
    .findLast((one) => one.startsWith('{"probe"') && one.endsWith('}'));
  return line === undefined ? undefined : JSON.parse(line);
}

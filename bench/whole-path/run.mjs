// The whole path of a home: a name is asked for, its fake address connected to through a TUN, 1 KiB echoed by a target behind a Shadowsocks
// server. nekit-kernel as its quick start runs it, beside sing-box with TUN and fake IPs. See bench/README.md. Needs root.
//
//   npm run bench:whole-path -- [--quick] [--rounds N] [--seconds N] [--peers nekit-kernel,sing-box] [--profile FOLDER]
import { setTimeout as pause } from 'node:timers/promises';
import { attempt } from '../entrants.mjs';
import { told } from '../floors.mjs';
import { options } from '../options.mjs';
import { costs, lineOf, result, start, stop } from '../processes.mjs';
import { digits, facts, ratio, table } from '../report.mjs';
import { finish, inSetting, print } from '../setting.mjs';
import { medianOf, pairedRatio } from '../statistics.mjs';
import { DOMAIN, entrants as known, OURS, SING_BOX, serverCommand } from './entrants.mjs';
import { makeHome, NAME_SERVER, setUpOutside, TARGET } from './home.mjs';

const NAMES = 256;
const READY_MS = 20_000;

/** What the generator does between the names and the seconds; port 0: only questions. */
const TESTS = [
  { label: 'whole path, 64 at a time', parallel: 64, connects: true, least: 1 },
  { label: 'whole path, one at a time', parallel: 1, connects: true },
  { label: 'fake answers, 64 at a time', parallel: 64, connects: false },
];

await inSetting(import.meta.url, async ({ load, folder, outcome, refused }) => {
  if (!options.inNamespace) throw new Error('needs root, for namespaces with TUNs');
  const chosen = known.filter(({ name, look }) => {
    const { version, missing } = look();
    const wanted = options.peers === null || options.peers.includes(name);
    outcome.versions[name] = wanted ? (version ?? `left out: ${missing}`) : 'left out: not wanted';
    return wanted && version !== undefined;
  });
  print(facts(outcome));
  if (refused !== undefined) print(`# runs at normal priority: ${refused}`);
  setUpOutside();
  const target = start([load, 'serve', TARGET]);
  const [, port] = await lineOf(target, /^port (\d+)$/);
  const server = start(await serverCommand(folder, TARGET));
  server.child.stdout.resume();
  const running = [];
  for (const [index, entrant] of chosen.entries()) {
    const one = await attempt(outcome, `${entrant.name}, start`, () => startIn(index, entrant, { load, folder, port }));
    if (one !== null) running.push(one);
  }
  for (const test of TESTS) await rounds({ test, load, port, running, server, outcome });
  for (const { process, home } of running) {
    await stop(process);
    await home.close();
  }
  print(`\n${render(outcome, running)}\n`);
  const verdicts = judge(outcome);
  await finish(outcome, verdicts, told(verdicts));
});

async function startIn(index, entrant, { load, folder, port }) {
  const home = await makeHome(index);
  const command = home.inside(await entrant.command(folder));
  const process = start(command, { env: { ...globalThis.process.env, XDG_CACHE_HOME: folder } });
  process.child.stdout.resume();
  // Until a first connection has come through.
  for (const end = performance.now() + READY_MS; ; ) {
    const one = await result(home.inside([load, 'names', NAME_SERVER, DOMAIN, '1', port, '1', '1']), READY_MS).catch((error) => error);
    if (one.names > 0) return { name: entrant.name, home, process };
    if (process.child.exitCode !== null) throw new Error(`it ended with ${process.child.exitCode}: ${process.said()}`);
    if (performance.now() > end) throw new Error(`nothing comes through: ${JSON.stringify(one.failures ?? one.message)} ${process.said()}`);
    await pause(200);
  }
}

async function rounds({ test, load, port, running, server, outcome }) {
  print(`# ${test.label}: warm-up and ${options.rounds} rounds of ${options.seconds} s`);
  const sheet = {};
  outcome.tests[test.label] = { label: test.label, peers: sheet };
  const run = ({ home }, seconds) => {
    const target = test.connects ? port : '0';
    return result(home.inside([load, 'names', NAME_SERVER, DOMAIN, String(NAMES), target, String(test.parallel), String(seconds)]), (seconds + 30) * 1000);
  };
  for (const one of running) await attempt(outcome, `warm-up: ${one.name}, ${test.label}`, () => run(one, 1));
  for (let round = 0; round < options.rounds; round++) {
    for (let turn = 0; turn < running.length; turn++) {
      const one = running[(turn + round) % running.length];
      sheet[one.name] ??= [];
      sheet[one.name][round] = await attempt(outcome, `${one.name}, ${test.label}`, async () => {
        const [before, servers] = [await costs(one.process.pid), await costs(server.pid)];
        const figures = await run(one, options.seconds);
        const [after, served] = [await costs(one.process.pid), await costs(server.pid)];
        if (figures.failed > 0) outcome.problems.push(`${one.name}, ${test.label}: ${figures.failed} failed: ${JSON.stringify(figures.failures)}`);
        const each = (from, to) => ((to.cpuMs - from.cpuMs) * 1000) / figures.names;
        return { ...figures, cpuUs: each(before, after), serverUs: each(servers, served), rss: after.rss };
      });
    }
  }
}

function render({ tests }, running) {
  return Object.values(tests)
    .flatMap(({ label, peers }) => [
      label,
      table(
        ['', 'per second', 'p50 ms', 'p99 ms', 'CPU us each', 'server us', 'RSS MiB'],
        running.map(({ name }) => {
          const all = peers[name];
          const places = { rate: 0, p50: 2, p99: 2, cpuUs: 0, serverUs: 0 };
          return [name, ...Object.entries(places).map(([figure, count]) => digits(medianOf(all, figure), count)), digits(medianOf(all, 'rss') / 1024, 0)];
        }),
      ),
      `${OURS} / ${SING_BOX}: ${['rate', 'p50', 'p99', 'cpuUs'].map((figure) => `${figure} ${ratio(pairedRatio(peers[OURS], peers[SING_BOX], figure))}`).join(', ')}`,
    ])
    .join('\n\n');
}

function judge({ tests, versions }) {
  return TESTS.filter(({ least }) => least !== undefined).map(({ label, least }) => {
    const { peers } = tests[label];
    const value = pairedRatio(peers[OURS], peers[SING_BOX], 'rate');
    const why = peers[SING_BOX] === undefined ? versions[SING_BOX] : 'no figures, see PROBLEM';
    if (Number.isNaN(value)) return { ok: null, text: `${label}: against ${SING_BOX} (${why})`, peer: SING_BOX, why };
    return { ok: value >= least, text: `${label}: ${value.toFixed(2)}x ${SING_BOX} per second (at least ${least}x)` };
  });
}

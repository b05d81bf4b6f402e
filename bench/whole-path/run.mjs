// The whole path of a home: a name is asked for, its fake address connected to through a TUN, 1 KiB echoed by a target behind a Shadowsocks
// server. nekit-kernel as its quick start runs it, beside sing-box with TUN and fake IPs. See bench/README.md. Needs root.
//
//   npm run bench:whole-path -- [--quick] [--rounds N] [--seconds N] [--peers nekit-kernel,sing-box] [--profile FOLDER]
import { attempt } from '../entrants.mjs';
import { told } from '../floors.mjs';
import { options } from '../options.mjs';
import { costs, lineOf, start } from '../processes.mjs';
import { digits, facts, ratio, table } from '../report.mjs';
import { finish, inSetting, print } from '../setting.mjs';
import { medianOf, pairedRatio } from '../statistics.mjs';
import { entrants as known, OURS, SING_BOX, SOCKET, serverCommand } from './entrants.mjs';
import { makeHome, setUpOutside, TARGET } from './home.mjs';
import { Running, WARM_SECONDS } from './running.mjs';

/** What the generator does between the names and the seconds; port 0: only questions. */
const TESTS = [
  { label: 'whole path, 64 at a time', parallel: 64, connects: true, least: { [SING_BOX]: 1 } },
  { label: 'whole path, one at a time', parallel: 1, connects: true },
  { label: 'fake answers, 64 at a time', parallel: 64, connects: false, least: { [SOCKET]: 0.8 } },
];

const FIGURES = ['rate', 'p50', 'p99', 'cpuUs'];

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
    const one = new Running(entrant, await makeHome(index), { load, folder, port });
    if ((await attempt(outcome, `${entrant.name}, start`, () => one.start().then(() => true))) !== null) running.push(one);
  }
  for (const test of TESTS) await rounds({ test, running, server, outcome });
  for (const one of running) await one.close();
  print(`\n${render(outcome)}\n`);
  const verdicts = judge(outcome);
  await finish(outcome, verdicts, told(verdicts));
});

async function rounds({ test, running: all, server, outcome }) {
  const running = all.filter((one) => one.takesPart(test));
  print(`# ${test.label}: warm-up and ${options.rounds} rounds of ${options.seconds} s`);
  const sheet = {};
  outcome.tests[test.label] = { label: test.label, peers: sheet };
  for (const one of running) await attempt(outcome, `warm-up: ${one.name}, ${test.label}`, () => one.load(test, WARM_SECONDS));
  for (let round = 0; round < options.rounds; round++) {
    for (let turn = 0; turn < running.length; turn++) {
      const one = running[(turn + round) % running.length];
      sheet[one.name] ??= [];
      sheet[one.name][round] = await attempt(outcome, `${one.name}, ${test.label}`, async () => {
        await one.refresh(test);
        const [before, servers] = [await costs(one.process.pid), await costs(server.pid)];
        const figures = await one.load(test, options.seconds);
        const [after, served] = [await costs(one.process.pid), await costs(server.pid)];
        if (figures.failed > 0) outcome.problems.push(`${one.name}, ${test.label}: ${figures.failed} failed: ${JSON.stringify(figures.failures)}`);
        const each = (from, to) => ((to.cpuMs - from.cpuMs) * 1000) / figures.names;
        return { ...figures, cpuUs: each(before, after), serverUs: each(servers, served), rss: after.rss };
      });
    }
  }
}

function render({ tests }) {
  return Object.values(tests)
    .flatMap(({ label, peers }) => [
      label,
      table(
        ['', 'per second', 'p50 ms', 'p99 ms', 'CPU us each', 'server us', 'RSS MiB'],
        Object.entries(peers).map(([name, all]) => {
          const places = { rate: 0, p50: 2, p99: 2, cpuUs: 0, serverUs: 0 };
          return [name, ...Object.entries(places).map(([figure, count]) => digits(medianOf(all, figure), count)), digits(medianOf(all, 'rss') / 1024, 0)];
        }),
      ),
      ...Object.keys(peers)
        .filter((name) => name !== OURS)
        .map((name) => `${OURS} / ${name}: ${FIGURES.map((figure) => `${figure} ${ratio(pairedRatio(peers[OURS], peers[name], figure))}`).join(', ')}`),
    ])
    .join('\n\n');
}

function judge({ tests, versions }) {
  return TESTS.flatMap(({ label, least = {} }) =>
    Object.entries(least).map(([name, times]) => {
      const { peers } = tests[label];
      const value = pairedRatio(peers[OURS], peers[name], 'rate');
      const why = peers[name] === undefined ? versions[name] : 'no figures, see PROBLEM';
      if (Number.isNaN(value)) return { ok: null, text: `${label}: against ${name} (${why})`, peer: name, why };
      return { ok: value >= times, text: `${label}: ${value.toFixed(2)}x ${name} per second (at least ${times}x)` };
    }),
  );
}

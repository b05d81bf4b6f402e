// TCP and UDP through a TUN, in network namespaces: ours, sing-box's three stacks, pasta. See bench/README.md.
//
//   npm run bench:tun -- [--quick] [--rounds N] [--seconds N] [--peers 'nekit,pasta'] [--only bulk,socks,fairness,connections,udp,idle,loop] [--streams 1,8,64]
//                        [--congestion NAME] [--node-flags FLAGS] [--profile FOLDER] [--lock FILE]
import { told } from '../floors.mjs';
import { options } from '../options.mjs';
import { facts } from '../report.mjs';
import { finish, inSetting, print } from '../setting.mjs';
import { judge } from './floors.mjs';
import { measure } from './measure.mjs';
import { CABLE_ONLY, GVISOR, LOOPBACK, OURS, OURS_PLAIN, PASTA, proxies } from './proxies.mjs';
import { render } from './report.mjs';

const QUICK = [OURS, OURS_PLAIN, GVISOR, PASTA];

await inSetting(import.meta.url, async ({ folder, load, outcome, refused }) => {
  if (!options.inNamespace) throw new Error('needs root, and a machine that gives network namespaces');
  const chosen = choose(outcome);
  print(facts(outcome));
  print('  tun2socks: left out: its module cannot be had from the proxy of Go modules');
  if (refused !== undefined) print(`# runs at normal priority: ${refused}`);
  outcome.loop = {};
  await measure({ load, folder, outcome, print, chosen });
  print(`\n${render(outcome, [LOOPBACK, CABLE_ONLY, ...proxies.map(({ name }) => name)])}\n`);
  const verdicts = judge(outcome);
  await finish(outcome, verdicts, told(verdicts));
});

function choose(outcome) {
  const wanted = options.peers ?? (options.quick ? QUICK : proxies.map(({ name }) => name));
  for (const name of wanted)
    if (!proxies.some((proxy) => proxy.name === name)) throw new Error(`no peer ${name}; known: ${proxies.map((proxy) => proxy.name).join('; ')}`);
  return proxies.filter((proxy) => {
    if (!wanted.includes(proxy.name)) return false;
    const { version, missing } = proxy.look();
    outcome.versions[proxy.name] = version ?? `left out: ${missing}`;
    return version !== undefined;
  });
}

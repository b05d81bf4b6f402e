// SOCKS5 and HTTP to direct on loopback, every proxy under the same load in turns. See bench/README.md.
//
//   npm run bench -- [--quick] [--rounds N] [--seconds N] [--peers a,b] [--only bulk,connections,http,connect,idle] [--streams 1,8]
//                    [--congestion NAME] [--idle COUNT] [--node PATH|22|24]... [--node-flags FLAGS] [--profile FOLDER] [--no-namespace]
import { judge, told } from './floors.mjs';
import { measureIdle } from './idle.mjs';
import { options } from './options.mjs';
import { peers as knownPeers, NEKIT, NEKIT_TS, onOtherNodes } from './peers.mjs';
import { facts, render } from './report.mjs';
import { finish, inSetting, print } from './setting.mjs';
import { measureSpeed } from './speed.mjs';

const QUICK = [NEKIT, NEKIT_TS, 'plain-node'];

await inSetting(import.meta.url, async ({ folder, load, outcome, refused }) => {
  const chosen = choose(outcome);
  print(facts(outcome));
  if (refused !== undefined) print(`# runs at normal priority: ${refused}`);
  const run = { load, folder, chosen, outcome, print };
  await measureSpeed(run);
  if (options.only.includes('idle')) await measureIdle(run);
  print(`\n${render(outcome, ['direct', ...chosen.map((peer) => peer.name)])}\n`);
  const verdicts = judge(outcome);
  await finish(outcome, verdicts, told(verdicts));
});

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

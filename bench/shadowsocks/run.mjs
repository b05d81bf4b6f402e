// Shadowsocks, client and server in processes of their own on loopback: ours, shadowsocks-libev and shadowsocks-rust, and each of ours with
// another's. See bench/README.md.
//
//   npm run bench:shadowsocks -- [--quick] [--rounds N] [--seconds N] [--peers nekit,libev,rust] [--ciphers a,b] [--only bulk,connections,udp]
//                                [--streams 1,8] [--congestion NAME] [--node-flags FLAGS] [--profile FOLDER] [--lock FILE] [--no-namespace]
import { told } from '../floors.mjs';
import { options } from '../options.mjs';
import { facts } from '../report.mjs';
import { finish, inSetting, print } from '../setting.mjs';
import { judge } from './floors.mjs';
import { measure } from './measure.mjs';
import { render } from './report.mjs';
import { ciphers as allCiphers, sides as allSides, pairsOf } from './sides.mjs';

await inSetting(import.meta.url, async ({ folder, load, outcome, refused }) => {
  const ciphers = pick('cipher', allCiphers, options.ciphers);
  const sides = pick('peer', allSides, options.peers).filter((side) => {
    const { version, missing } = side.look();
    outcome.versions[side.name] = version ?? `left out: ${missing}`;
    return version !== undefined;
  });
  const pairs = pairsOf(sides.map(({ name }) => name));
  print(facts(outcome));
  if (refused !== undefined) print(`# runs at normal priority: ${refused}`);
  await measure({ load, folder, outcome, print, ciphers, sides, pairs });
  print(`\n${render(outcome, pairs)}\n`);
  const verdicts = judge(outcome, allSides);
  await finish(outcome, verdicts, told(verdicts));
});

function pick(what, all, names) {
  if (names === null) return all;
  for (const name of names) if (!all.some((one) => one.name === name)) throw new Error(`no ${what} ${name}; known: ${all.map((one) => one.name).join(', ')}`);
  return all.filter(({ name }) => names.includes(name));
}

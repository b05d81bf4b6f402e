// Memory of idle relayed connections: a fresh process for each proxy.
import { setTimeout as pause } from 'node:timers/promises';
import { attempt, startPeer } from './entrants.mjs';
import { descriptorLimit, loadEnvironment, setCongestion } from './machine.mjs';
import { options } from './options.mjs';
import { costs, lineOf, result, start, stopAll } from './processes.mjs';

const WARM_UP = 200;
/** What a proxy has open besides those of its connections. */
const OTHER_DESCRIPTORS = 200;
/** How far above the start RSS may stay, and how long after the end it is given to come down: V8 collects in an idle process every 8 s. */
const RETURNED = 1.2;
const RETURN_SECONDS = 20;

export async function measureIdle({ load, folder, chosen, outcome, print }) {
  const limit = await descriptorLimit();
  for (const peer of chosen.filter((one) => one.idle)) {
    const each = peer.descriptorsEach ?? 2;
    const count = Math.min(options.idle, Math.floor((limit - OTHER_DESCRIPTORS) / each));
    const fewer = count < options.idle ? ` (not ${options.idle}: it needs ${each} descriptors for each, and may have ${limit})` : '';
    print(`# idle: ${count} connections through ${peer.name}${fewer}`);
    const figures = await attempt(outcome, `${peer.name}, idle`, () => measure({ peer, load, folder, outcome, count }));
    if (figures !== null) outcome.idle[peer.name] = figures;
    await stopAll();
  }
}

async function measure({ peer, load, folder, outcome, count }) {
  await setCongestion(1);
  const env = { ...process.env, ...(await loadEnvironment()) };
  const server = start([load, 'serve'], { env });
  const target = (await lineOf(server, /^port (\d+)$/))[1];
  const entrant = await startPeer(peer, folder, outcome);
  if (entrant === null) return null;
  const cost = () => costs(entrant.process.pid);
  const command = (connections) => [load, 'idle', `socks:${entrant.ports.socks}`, target, String(connections)];
  await pause(1000);
  const begin = await cost();
  await result(command(WARM_UP), 60_000, env);
  await pause(2000);
  const warm = await cost();
  const holder = start(command(count), { env });
  await lineOf(holder, /^ready$/, 120_000);
  await pause(4000);
  const held = await cost();
  const done = lineOf(holder, /^\{/, 60_000);
  holder.child.stdin.end('go\n');
  await done; // every connection still carries a ping
  let after = await cost();
  let seconds = 0;
  for (; seconds < RETURN_SECONDS && after.rss > RETURNED * begin.rss; seconds++) {
    await pause(1000);
    after = await cost();
  }
  return {
    count,
    start: begin,
    warm,
    held,
    after,
    afterSeconds: seconds,
    rssAboveStart: (held.rss - begin.rss) / count,
    rssAboveWarm: (held.rss - warm.rss) / count,
    pssAboveWarm: (held.pss - warm.pss) / count,
    rssReturned: after.rss / begin.rss,
  };
}

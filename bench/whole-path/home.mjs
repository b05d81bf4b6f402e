// A network namespace with one way out, a cable to the namespace that the run is in: what a machine with a TUN is.
import { execFileSync } from 'node:child_process';
import { lineOf, start, stop } from '../processes.mjs';

/** What lies outside, all on the loopback of the run's namespace. */
export const PROXY = '198.51.100.10';
export const TARGET = '198.51.100.80';
/** Nobody is there: whoever is asked here is asked in the TUN. */
export const NAME_SERVER = '198.51.100.53';

export function setUpOutside() {
  for (const address of [PROXY, TARGET]) ip('addr', 'add', `${address}/32`, 'dev', 'lo');
}

/** The `number`-th home: `inside` makes a command run in it. */
export async function makeHome(number) {
  const holder = start(['unshare', '--net', 'sh', '-c', 'ip link set lo up && echo inside && exec cat']);
  await lineOf(holder, /^inside$/);
  const inside = (command) => ['nsenter', '-t', String(holder.pid), '--net', ...command];
  const run = (...args) => execFileSync('nsenter', ['-t', String(holder.pid), '--net', 'ip', ...args]);
  const [here, there] = [`10.9.${number}.1`, `10.9.${number}.2`];
  ip('link', 'add', `home${number}`, 'type', 'veth', 'peer', 'name', 'cable', 'netns', String(holder.pid));
  ip('addr', 'add', `${here}/24`, 'dev', `home${number}`);
  ip('link', 'set', `home${number}`, 'up');
  run('addr', 'add', `${there}/24`, 'dev', 'cable');
  run('link', 'set', 'cable', 'up');
  run('route', 'add', 'default', 'via', here);
  execFileSync(...split(inside(['sysctl', '-qw', 'net.ipv4.tcp_max_tw_buckets=1000'])));
  return { inside, close: () => stop(holder) };
}

function ip(...args) {
  execFileSync('ip', args);
}

function split([command, ...args]) {
  return [command, args];
}

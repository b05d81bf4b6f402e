// Where TUNs are measured:
//
//   ours (client, proxies)  ── veth "cable" ──  outside: servers on 203.0.113.0/24, one address for each proxy
//
// The route to a proxy's address leads into its TUN; a proxy's own sockets are bound to the cable, where the address lies in truth.
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { setCongestion } from '../machine.mjs';
import { lineOf, start } from '../processes.mjs';

export const CABLE = 'cable';
/** Of our end and of the other one. */
export const OUTSIDE = '10.1.0.2';

export const serverAddress = (number) => `203.0.113.${number}`;

export function sh(line) {
  const { status, stderr } = spawnSync('sh', ['-ec', line], { encoding: 'utf8', timeout: 20_000 });
  if (status !== 0) throw new Error(`${line}: ${stderr.trim()}`);
}

/** Runs a command outside: the words in front of it. */
export class Network {
  /** @param addresses     how many the servers have */
  static async make(addresses) {
    const holder = start(['unshare', '--net', 'sh', '-c', 'ip link set lo up && echo inside && exec sleep infinity']);
    await lineOf(holder, /^inside$/);
    const network = new Network(holder.pid);
    sh(`ip link add ${CABLE} type veth peer name ${CABLE} netns ${holder.pid}; ip addr add 10.1.0.1/24 dev ${CABLE}; ip link set ${CABLE} up`);
    const all = Array.from({ length: addresses }, (_, i) => `ip addr add ${serverAddress(i + 1)}/32 dev lo`);
    network.outside(`${all.join('; ')}; ip addr add ${OUTSIDE}/24 dev ${CABLE}; ip link set ${CABLE} up`);
    network.outside('sysctl -qw net.ipv4.tcp_max_tw_buckets=1000');
    // pasta asks for a default route.
    sh(`ip route add default via ${OUTSIDE} dev ${CABLE}; ip route add 203.0.113.0/24 via ${OUTSIDE} dev ${CABLE} metric 100`);
    // 15,000 connections from one address to another.
    await writeFile('/proc/sys/net/ipv4/ip_local_port_range', '10000 65000');
    return network;
  }

  constructor(pid) {
    this.pid = pid;
  }

  /** The command, to be run there. */
  command(command) {
    return inNamespace(this.pid, command);
  }

  outside(line) {
    const [program, ...rest] = this.command(['sh', '-ec', line]);
    const { status, stderr } = spawnSync(program, rest, { encoding: 'utf8', timeout: 20_000 });
    if (status !== 0) throw new Error(`${line}: ${stderr.trim()}`);
  }

  /** At both ends: who sends is who decides. */
  async setCongestion(streams) {
    const name = await setCongestion(streams);
    this.outside(`sysctl -qw net.ipv4.tcp_congestion_control=${name}`);
    return name;
  }
}

export function inNamespace(pid, command) {
  return ['nsenter', '-t', String(pid), '-n', ...command];
}

/** Waits for a TUN that is up, and sends what goes to the address into it. */
export async function routeInto(device, address, process) {
  for (let tries = 0; ; tries++) {
    const { stdout } = spawnSync('ip', ['link', 'show', device], { encoding: 'utf8' });
    if (/[<,]UP[,>]/.test(stdout)) break;
    if (process.child.exitCode !== null) throw new Error(`it ended with ${process.child.exitCode}: ${process.said()}`);
    if (tries === 200) throw new Error(`no ${device} within 20 s: ${process.said()}`);
    await pause(100);
  }
  await pause(300); // who makes a TUN also has something to do with it
  sh(`ip route add ${address}/32 dev ${device} metric 1`);
}

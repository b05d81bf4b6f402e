// Who carries the packets of a TUN here, and how each is started.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { options } from '../options.mjs';
import { builtCli, debian, nekitVersion, output, TO_PEERS } from '../peers.mjs';
import { singBox } from '../pinned.mjs';
import { start } from '../processes.mjs';
import { CABLE, inNamespace, OUTSIDE, routeInto } from './network.mjs';

export const OURS = 'nekit';
export const OURS_PLAIN = 'nekit gso:off';
export const PASTA = 'pasta';
export const GVISOR = 'sing-box gvisor';
export const SYSTEM = 'sing-box system';
export const MIXED = 'sing-box mixed';
/** No proxy: over the cable, and over loopback. */
export const CABLE_ONLY = 'no proxy, veth';
export const LOOPBACK = 'no proxy, loopback';

const MTU = 1500;
const SOCKS_PORT = 1080;

/**
 * @typedef {object} Proxy
 * @property {string} name
 * @property {boolean} [offload]     false: packets of the MTU only, from and to the kernel
 * @property {boolean} hasSocks      whether it can go on by SOCKS5
 * @property {() => { version: string } | { missing: string }} look     is it here?
 * @property {(place: Place) => Promise<Entrant>} start
 *
 * @typedef {{ number: number, address: string, folder: string, socks: boolean, flags: string[], env: Record<string, string> }} Place
 *   the proxy's number, the server's address that is its own, whether to go on by SOCKS5; flags for our Node
 * @typedef {{ pid: number, device: string, wrap: (command: string[]) => string[], process: object }} Entrant
 *   `wrap`: where its clients run
 */

const here = (command) => command;

/** @returns {Proxy} */
function nekit(name, gso) {
  return {
    name,
    offload: gso,
    hasSocks: true,
    look: nekitVersion,
    async start({ number, address, folder, socks, flags, env }) {
      const device = `nekit${number}`;
      const file = join(folder, `${device}.yaml`);
      const config = {
        plugins: ['tcp', 'udp'],
        'log-level': 'error',
        'max-connections': 20_000,
        'interface-name': CABLE,
        tun: { enable: true, 'auto-route': false, device, mtu: MTU, gso, 'inet4-address': [`172.19.${number}.1/30`], 'inet6-address': [] },
        ...(socks ? { proxies: [{ name: 'up', type: 'socks5', server: OUTSIDE, port: SOCKS_PORT, udp: false }] } : {}),
        rules: [socks ? 'MATCH,up' : 'MATCH,DIRECT'],
      };
      await writeFile(file, JSON.stringify(config)); // JSON is YAML
      const profile = options.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${options.profile}`];
      const process = start([globalThis.process.execPath, ...options.nodeFlags, ...profile, ...flags, builtCli, 'run', '-c', file], {
        env: { ...globalThis.process.env, ...env },
      });
      return ready(process, device, address);
    },
  };
}

/** @returns {Proxy} */
function singBoxOf(name, stack) {
  return {
    name,
    hasSocks: true,
    look() {
      if (!existsSync(singBox.file)) return { missing: `not installed: ${TO_PEERS} -- sing-box` };
      return { version: `${output(singBox.file, ['version']).split('\n')[0].replace('sing-box version ', '')}` };
    },
    async start({ number, address, folder, socks }) {
      const device = `sing${number}`;
      const file = join(folder, `${device}.json`);
      const config = {
        log: { level: 'error' },
        inbounds: [{ type: 'tun', interface_name: device, address: [`172.19.${number}.1/30`], mtu: MTU, auto_route: false, stack }],
        outbounds: [socks ? { type: 'socks', server: OUTSIDE, server_port: SOCKS_PORT, bind_interface: CABLE } : { type: 'direct', bind_interface: CABLE }],
      };
      await writeFile(file, JSON.stringify(config));
      return ready(start([singBox.file, 'run', '-c', file]), device, address);
    },
  };
}

async function ready(process, device, address) {
  process.child.stdout.resume();
  await routeInto(device, address, process);
  return { process, pid: process.pid, device, wrap: here };
}

/** It makes a namespace of its own for its clients, with a TAP whose MTU is as large as can be: that is its offload. */
const pasta = {
  name: PASTA,
  hasSocks: false,
  look: () => debian('pasta', 'passt'),
  async start() {
    const none = ['-t', 'none', '-u', 'none', '-T', 'none', '-U', 'none'];
    const process = start(['pasta', '-f', '-4', '--config-net', '--runas', '0', ...none, '--', 'cat']); // until its input ends
    process.child.stdout.resume();
    for (let tries = 0; tries < 100; tries++) {
      await pause(100);
      const inside = spawnSync('pgrep', ['-P', String(process.pid), '-x', 'cat'], { encoding: 'utf8' }).stdout.trim();
      if (inside === '') continue;
      const routes = spawnSync('nsenter', ['-t', inside, '-n', 'ip', 'route'], { encoding: 'utf8' }).stdout;
      if (routes.includes('default')) return { process, pid: process.pid, device: '', wrap: (command) => inNamespace(inside, command) };
    }
    throw new Error(`its namespace has no route: ${process.said()}`);
  },
};

/** @type {Proxy[]} */
export const proxies = [
  nekit(OURS, true),
  nekit(OURS_PLAIN, false),
  singBoxOf(GVISOR, 'gvisor'),
  singBoxOf(SYSTEM, 'system'),
  singBoxOf(MIXED, 'mixed'),
  pasta,
];

/** The SOCKS5 server that all go on by, outside: this project's, whose relays are the kernel's splice. */
export async function startSocks(network, folder) {
  const file = join(folder, 'socks.yaml');
  const config = {
    'log-level': 'error',
    'max-connections': 20_000,
    'socks-port': SOCKS_PORT,
    'allow-lan': true,
    'bind-address': OUTSIDE,
    rules: ['MATCH,DIRECT'],
  };
  await writeFile(file, JSON.stringify(config));
  const process = start(network.command([globalThis.process.execPath, builtCli, 'run', '-c', file]));
  process.child.stdout.resume();
  await pause(2000);
  if (process.child.exitCode !== null) throw new Error(`the SOCKS5 server ended: ${process.said()}`);
  return process;
}

export const PROBE = fileURLToPath(new URL('./probe.mjs', import.meta.url));

// What is measured side by side: how each proxy is started on ports of 127.0.0.1, and which version it is.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeProgram, singBox } from './pinned.mjs';

export const NEKIT = 'nekit-kernel';
export const NEKIT_TS = 'nekit-kernel-ts';

export const builtCli = fileURLToPath(new URL('../packages/cli/bin/nekit-kernel.js', import.meta.url));
const built = fileURLToPath(new URL('../packages/cli/dist/', import.meta.url));
export const TO_PEERS = 'npm run bench:peers';

/**
 * @typedef {{ socks: number, http: number, folder: string, nodeFlags: string[] }} Place
 *   the ports to serve, a folder for configs, flags for nekit-kernel's Node
 *
 * @typedef {object} Peer
 * @property {string} name
 * @property {('socks' | 'http')[]} serves
 * @property {boolean} [mixed]   serves both on one port: `socks` and `http` are the same
 * @property {boolean} idle      whether its memory per idle connection is measured
 * @property {number} [descriptorsEach]     how many a relayed connection takes, if not 2
 * @property {Record<string, string | undefined>} [env]     undefined: not set, whatever it is here
 * @property {() => { version: string } | { missing: string }} look     is it here?
 * @property {(place: Place) => Promise<string[]>} command
 */

export function nekitVersion(node = process.execPath, env = {}) {
  if (!existsSync(built)) return { missing: 'not built: npm run build' };
  if (!existsSync(node)) return { missing: `no ${node}: ${TO_PEERS}` };
  return { version: `${output(node, [builtCli, '--version'], env).replace(/^nekit-kernel /, '')}, Node ${output(node, ['--version'])}` };
}

/** @returns {Peer} */
function nekit(name, node, native) {
  const env = { NEKIT_NATIVE: native };
  return {
    name,
    serves: ['socks', 'http'],
    mixed: true,
    idle: true,
    env,
    look: () => nekitVersion(node, env),
    async command({ socks, folder, nodeFlags }) {
      const config = join(folder, 'nekit.yaml');
      await writeFile(config, `mixed-port: ${socks}\nlog-level: error\nmax-connections: 20000\nrules:\n  - MATCH,DIRECT\n`);
      return [node, ...nodeFlags, builtCli, 'run', '-c', config];
    },
  };
}

/** @type {Peer[]} */
export const peers = [
  nekit(NEKIT, process.execPath, undefined),
  nekit(NEKIT_TS, process.execPath, 'off'),
  {
    name: 'plain-node',
    serves: ['socks'],
    idle: true,
    look: () => ({ version: process.version }),
    command: async ({ socks }) => [process.execPath, fileURLToPath(new URL('./peers/plain-node.mjs', import.meta.url)), String(socks)],
  },
  {
    name: 'sing-box',
    serves: ['socks', 'http'],
    mixed: true,
    idle: true,
    descriptorsEach: 6, // it holds a pipe for each direction
    look() {
      if (!existsSync(singBox.file)) return { missing: `not installed: ${TO_PEERS}` };
      return { version: /^sing-box version (\S+)/.exec(output(singBox.file, ['version']))?.[1] ?? 'version unknown' };
    },
    async command({ socks, folder }) {
      const config = join(folder, 'sing-box.json');
      const inbound = { type: 'mixed', tag: 'in', listen: '127.0.0.1', listen_port: socks };
      await writeFile(config, JSON.stringify({ log: { disabled: true }, inbounds: [inbound], outbounds: [{ type: 'direct', tag: 'out' }] }));
      return [singBox.file, 'run', '-c', config];
    },
  },
  {
    name: 'v2ray',
    serves: ['socks', 'http'],
    idle: true,
    look: () => debian('v2ray', 'v2ray'),
    async command({ socks, http, folder }) {
      const config = join(folder, 'v2ray.json');
      const inbounds = [
        { listen: '127.0.0.1', port: socks, protocol: 'socks', settings: { auth: 'noauth' } },
        { listen: '127.0.0.1', port: http, protocol: 'http' },
      ];
      await writeFile(config, JSON.stringify({ log: { loglevel: 'none' }, inbounds, outbounds: [{ protocol: 'freedom' }] }));
      return ['v2ray', '-config', config];
    },
  },
  {
    name: 'microsocks',
    serves: ['socks'],
    idle: true,
    look: () => debian('microsocks', 'microsocks'),
    // It reports every connection on stderr and cannot be told not to.
    command: async ({ socks }) => ['sh', '-c', 'exec microsocks -i 127.0.0.1 -p "$1" 2>/dev/null', 'sh', String(socks)],
  },
  {
    name: 'dante',
    serves: ['socks'],
    idle: false, // a process for every few clients: 300 kB each, and minutes to start
    look: () => debian('danted', 'dante-server'),
    async command({ socks, folder }) {
      const config = join(folder, 'danted.conf');
      const pass = 'from: 0.0.0.0/0 to: 0.0.0.0/0';
      await writeFile(
        config,
        `logoutput: /dev/null\ninternal: 127.0.0.1 port = ${socks}\nexternal: 127.0.0.1\nsocksmethod: none\nclientmethod: none\nuser.unprivileged: nobody\nclient pass { ${pass} }\nsocks pass { ${pass} }\n`,
      );
      return [programOnPath('danted') ?? 'danted', '-f', config, '-p', join(folder, 'danted.pid')];
    },
  },
  {
    name: 'tinyproxy',
    serves: ['http'],
    idle: false,
    look: () => debian('tinyproxy', 'tinyproxy-bin'),
    async command({ http, folder }) {
      const config = join(folder, 'tinyproxy.conf');
      await writeFile(config, `Port ${http}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 600\nMaxClients 1000\nLogLevel Critical\nLogFile "/dev/null"\n`);
      return [programOnPath('tinyproxy') ?? 'tinyproxy', '-d', '-c', config];
    },
  },
  {
    name: 'squid',
    serves: ['http'],
    idle: false,
    look: () => debian('squid', 'squid'),
    async command({ http, folder }) {
      const config = join(folder, 'squid.conf');
      const lines = [
        `http_port 127.0.0.1:${http}`,
        'http_access allow localhost',
        'http_access deny all',
        'cache deny all',
        'cache_mem 8 MB',
        'memory_cache_shared off',
        'access_log none',
        'cache_log /dev/null',
        'cache_store_log none',
        'netdb_filename none',
        'pinger_enable off',
        'pid_filename none',
        'coredump_dir none',
        'shutdown_lifetime 0 seconds',
      ];
      await writeFile(config, `${lines.join('\n')}\n`);
      return [programOnPath('squid') ?? 'squid', '-N', '-f', config];
    },
  },
];

/** nekit-kernel once more for each `--node`: a path, or 22 and the like for what install-peers.mjs installed. */
export function onOtherNodes(values) {
  return values.map((value) => {
    const node = nodeProgram(value);
    const version = existsSync(node) ? output(node, ['--version']) : value;
    return nekit(`${NEKIT} ${version}`, node, undefined);
  });
}

export function output(command, args, env = {}) {
  return execFileSync(command, args, { encoding: 'utf8', env: { ...process.env, ...env }, timeout: 20_000 }).trim();
}

/** Debian keeps proxies in sbin, which is not on everybody's path. */
function programOnPath(command) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, command)).find((file) => existsSync(file));
}

/** dpkg's own placeholder. */
const FORMAT = '$' + '{Version}';

export function debian(command, packageName) {
  if (programOnPath(command) === undefined) return { missing: `not installed: apt-get install ${packageName}` };
  try {
    return { version: execFileSync('dpkg-query', ['-W', '--showformat', FORMAT, packageName], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }) };
  } catch {
    return { version: 'version unknown' };
  }
}

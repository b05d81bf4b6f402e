// What is measured side by side: how each proxy is started as a SOCKS5 server on a port of 127.0.0.1, and which version it is.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const cli = fileURLToPath(new URL('../packages/cli/bin/nekit-kernel.js', import.meta.url));
const built = fileURLToPath(new URL('../packages/cli/dist/', import.meta.url));

/**
 * @typedef {object} Peer
 * @property {string} name
 * @property {boolean} idle      whether its memory per idle connection is measured
 * @property {() => string | null} version      null: not here
 * @property {(port: number, folder: string, nodeFlags: string[]) => Promise<string[]>} command      `folder` is for its config
 */

/** @type {Peer[]} */
export const peers = [
  {
    name: 'nekit-kernel',
    idle: true,
    version: () => (existsSync(cli) && existsSync(built) ? JSON.parse(readFileSync(join(built, '../package.json'), 'utf8')).version : null),
    async command(port, folder, nodeFlags) {
      const config = join(folder, 'nekit.yaml');
      await writeFile(config, `mixed-port: ${port}\nlog-level: error\nmax-connections: 20000\nrules:\n  - MATCH,DIRECT\n`);
      return [process.execPath, ...nodeFlags, cli, 'run', '-c', config];
    },
  },
  {
    name: 'plain-node',
    idle: true,
    version: () => process.version,
    command: async (port) => [process.execPath, fileURLToPath(new URL('./peers/plain-node.mjs', import.meta.url)), String(port)],
  },
  {
    name: 'microsocks',
    idle: true,
    version: () => debianVersion('microsocks', 'microsocks'),
    // It reports every connection on stderr and cannot be told not to.
    command: async (port) => ['sh', '-c', 'exec microsocks -i 127.0.0.1 -p "$1" 2>/dev/null', 'sh', String(port)],
  },
  {
    name: 'dante',
    idle: false, // a process for every few clients: 300 kB each, and minutes to start
    version: () => debianVersion('danted', 'dante-server'),
    async command(port, folder) {
      const config = join(folder, 'danted.conf');
      const pass = 'from: 0.0.0.0/0 to: 0.0.0.0/0';
      await writeFile(
        config,
        `logoutput: /dev/null\ninternal: 127.0.0.1 port = ${port}\nexternal: 127.0.0.1\nsocksmethod: none\nclientmethod: none\nuser.unprivileged: nobody\nclient pass { ${pass} }\nsocks pass { ${pass} }\n`,
      );
      return ['danted', '-f', config, '-p', join(folder, 'danted.pid')];
    },
  },
  {
    name: 'v2ray',
    idle: true,
    version: () => debianVersion('v2ray', 'v2ray'),
    async command(port, folder) {
      const config = join(folder, 'v2ray.json');
      const inbound = { listen: '127.0.0.1', port, protocol: 'socks', settings: { auth: 'noauth' } };
      await writeFile(config, JSON.stringify({ log: { loglevel: 'none' }, inbounds: [inbound], outbounds: [{ protocol: 'freedom' }] }));
      return ['v2ray', '-config', config];
    },
  },
];

/** dpkg's own placeholder. */
const FORMAT = '$' + '{Version}';

/** The version of the package, or null when its command is not on the path. */
function debianVersion(command, packageName) {
  const found = (process.env.PATH ?? '').split(delimiter).some((folder) => existsSync(join(folder, command)));
  if (!found) return null;
  try {
    return execFileSync('dpkg-query', ['-W', '--showformat', FORMAT, packageName], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch (error) {
    return error instanceof Error ? 'version unknown' : String(error);
  }
}

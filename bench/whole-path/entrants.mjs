// Who is measured: how each takes the traffic of a home by a TUN with fake IPs, and sends it to the same Shadowsocks server.
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { options } from '../options.mjs';
import { builtCli, nekitVersion, output, TO_PEERS } from '../peers.mjs';
import { singBox } from '../pinned.mjs';
import { PROXY } from './home.mjs';

export const OURS = 'nekit-kernel';
export const SING_BOX = 'sing-box';

export const SERVER = { cipher: 'aes-256-gcm', password: 'a password of the bench', port: 8388 };
/** Names under it are known to the server only. */
export const DOMAIN = 'bench.test';

/** @type {{ name: string, look: () => { version: string } | { missing: string }, command: (folder: string) => Promise<string[]> }[]} */
export const entrants = [
  {
    name: OURS,
    look: nekitVersion,
    async command() {
      const { cipher, password, port } = SERVER;
      const uri = `ss://${Buffer.from(`${cipher}:${password}`).toString('base64url')}@${PROXY}:${port}#far`;
      const flags = [...options.nodeFlags, ...(options.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${options.profile}`])];
      return [process.execPath, ...flags, builtCli, '--plugins', 'ss,tcp,dns', '--proxy', uri, '--tun', '--log-level', 'error'];
    },
  },
  {
    name: SING_BOX,
    look() {
      if (!existsSync(singBox.file)) return { missing: `not installed: ${TO_PEERS}` };
      return { version: /^sing-box version (\S+)/.exec(output(singBox.file, ['version']))?.[1] ?? 'version unknown' };
    },
    async command(folder) {
      const { cipher, password, port } = SERVER;
      const file = join(folder, 'sing-box.json');
      const config = {
        log: { disabled: true },
        dns: {
          servers: [
            { type: 'local', tag: 'local' },
            { type: 'fakeip', tag: 'fake', inet4_range: '198.18.0.0/16', inet6_range: 'fc00::/18' },
          ],
          rules: [{ query_type: ['A', 'AAAA'], server: 'fake' }],
        },
        // The one stack that is always built in; it is also its fastest.
        inbounds: [{ type: 'tun', tag: 'in', address: ['172.19.0.1/30', 'fdfe:dcba:9876::1/126'], auto_route: true, mtu: 9000, stack: 'system' }],
        outbounds: [{ type: 'shadowsocks', tag: 'far', server: PROXY, server_port: port, method: cipher, password }],
        route: { auto_detect_interface: true, rules: [{ port: 53, action: 'hijack-dns' }], final: 'far' },
      };
      await writeFile(file, JSON.stringify(config));
      return [singBox.file, 'run', '-c', file];
    },
  },
];

/** Ours, for both: it needs no name server for the names. */
export async function serverCommand(folder, target) {
  const file = join(folder, 'server.yaml');
  const { cipher, password, port } = SERVER;
  const config = {
    plugins: ['ss'],
    'log-level': 'error',
    'max-connections': 20_000,
    hosts: { [`+.${DOMAIN}`]: target },
    listeners: [{ name: 'in', type: 'shadowsocks', listen: PROXY, port, cipher, password }],
    rules: ['MATCH,DIRECT'],
  };
  await writeFile(file, JSON.stringify(config));
  return [process.execPath, builtCli, 'run', '-c', file];
}

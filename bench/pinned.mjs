// Peers that no Debian package brings: which version is measured, and where bench/install-peers.mjs puts it. Versions are pinned, so
// that figures of two days compare.
import { fileURLToPath } from 'node:url';

const SING_BOX = '1.14.1';
const SING_BOX_MODULE = 'github.com/sagernet/sing-box';
const SHADOWSOCKS_RUST = '1.25.0';
const NODES = { 22: '22.23.3', 24: '24.21.0' };

/** Git, biome, oxlint and knip pass it over, as all of bench/build. */
const cache = fileURLToPath(new URL('./build/peers/', import.meta.url));

/**
 * @typedef {object} Pinned
 * @property {string} name         what install-peers.mjs and the report call it
 * @property {string} file         the program, once it is installed
 * @property {string[]} install    the command that installs it
 * @property {Record<string, string>} env
 * @property {number} minutes      how long that may take
 */

const singBoxFolder = `${cache}sing-box-${SING_BOX}-gvisor`;

/** @type {Pinned} */
export const singBox = {
  name: 'sing-box',
  file: `${singBoxFolder}/sing-box`,
  // No build tag but that of its userland TCP stack: what others add (QUIC, WireGuard, an API) has no part in what is measured. `-p 1`: others work here too.
  install: [
    'go',
    'install',
    '-p',
    '1',
    '-tags',
    'with_gvisor',
    '-trimpath',
    '-ldflags',
    `-s -w -X ${SING_BOX_MODULE}/constant.Version=${SING_BOX}`,
    `${SING_BOX_MODULE}/cmd/sing-box@v${SING_BOX}`,
  ],
  env: { GOBIN: singBoxFolder, GOMAXPROCS: '1' },
  minutes: 30,
};

const rustFolder = `${cache}shadowsocks-rust-${SHADOWSOCKS_RUST}`;

/** @type {Pinned} */
export const shadowsocksRust = {
  name: 'shadowsocks-rust',
  file: `${rustFolder}/bin/sslocal`, // ssserver is beside it
  // What speaks Shadowsocks, with every cipher; no logging, DNS, HTTP or TUN. `-j 1`: others work here too.
  install: [
    'cargo',
    'install',
    '-j',
    '1',
    '--locked',
    '--root',
    rustFolder,
    '--no-default-features',
    '--features',
    'local,server,multi-threaded,stream-cipher,aead-cipher,aead-cipher-extra,aead-cipher-2022,aead-cipher-2022-extra,security-replay-attack-detect',
    '--bin',
    'sslocal',
    '--bin',
    'ssserver',
    `shadowsocks-rust@${SHADOWSOCKS_RUST}`,
  ],
  env: {},
  minutes: 60,
};

/** @type {Pinned[]} */
const nodes = Object.entries(NODES).map(([major, version]) => {
  const folder = `${cache}node-${version}`;
  return {
    name: `node${major}`,
    file: `${folder}/node_modules/node/bin/node`,
    install: ['npm', 'install', '--prefix', folder, '--no-audit', '--no-fund', '--no-save', `node@${version}`],
    env: {},
    minutes: 10,
  };
});

export const pinned = [singBox, shadowsocksRust, ...nodes];

/** The program of `--node 22` and the like; any other value is a path already. */
export function nodeProgram(value) {
  return pinned.find(({ name }) => name === `node${value}`)?.file ?? value;
}

// Who speaks Shadowsocks here, and how each is started as a client (SOCKS5 in front) and as a server, on ports of 127.0.0.1.
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { options } from '../options.mjs';
import { builtCli, debian, nekitVersion, output, TO_PEERS } from '../peers.mjs';
import { shadowsocksRust } from '../pinned.mjs';

export const OURS = 'nekit';
export const LIBEV = 'libev';
export const RUST = 'rust';

/**
 * @typedef {{ name: string, family: 'aead' | '2022' | 'stream', password: string }} Cipher
 *
 * @typedef {object} Place
 * @property {Cipher} cipher
 * @property {number} port       of the server
 * @property {number} socks      of the client
 * @property {string} file       for a config; no other process writes there
 *
 * @typedef {object} Side
 * @property {string} name
 * @property {(cipher: Cipher) => boolean} speaks
 * @property {() => { version: string } | { missing: string }} look     is it here?
 * @property {(place: Place) => Promise<string[]>} client     the command
 * @property {(place: Place) => Promise<string[]>} server
 */

/** @type {Cipher[]} */
export const ciphers = [
  { name: 'aes-256-gcm', family: 'aead', password: 'a password of the bench' },
  { name: 'chacha20-ietf-poly1305', family: 'aead', password: 'a password of the bench' },
  { name: '2022-blake3-aes-256-gcm', family: '2022', password: randomBytes(32).toString('base64') },
  { name: 'aes-256-cfb', family: 'stream', password: 'a password of the bench' },
];

const ssserver = join(dirname(shadowsocksRust.file), 'ssserver');

/** JSON is YAML, and quotes what has to be. */
async function nekitCommand(file, config) {
  await writeFile(file, JSON.stringify({ plugins: ['ss'], 'log-level': 'error', 'max-connections': 20_000, ...config }));
  const flags = options.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${options.profile}`];
  return [process.execPath, ...options.nodeFlags, ...flags, builtCli, 'run', '-c', file];
}

const secretOf = ({ name, family, password }) => ({ cipher: name, password, ...(family === 'stream' ? { 'allow-insecure-ciphers': true } : {}) });

const libev = (program, { cipher, port }, ...more) => [program, '-s', '127.0.0.1', '-p', String(port), '-k', cipher.password, '-m', cipher.name, '-u', ...more];
const rust = (program, { cipher, port }, ...more) => [program, '-s', `127.0.0.1:${port}`, '-m', cipher.name, '-k', cipher.password, '-U', ...more];

/** @type {Side[]} */
export const sides = [
  {
    name: OURS,
    speaks: () => true,
    look: nekitVersion,
    client: (place) =>
      nekitCommand(place.file, {
        'mixed-port': place.socks,
        proxies: [{ name: 'up', type: 'ss', server: '127.0.0.1', port: place.port, ...secretOf(place.cipher), udp: true }],
        rules: ['MATCH,up'],
      }),
    server: (place) =>
      nekitCommand(place.file, {
        listeners: [{ name: 'in', type: 'shadowsocks', listen: '127.0.0.1', port: place.port, ...secretOf(place.cipher) }],
        rules: ['MATCH,DIRECT'],
      }),
  },
  {
    name: LIBEV,
    speaks: ({ family }) => family !== '2022',
    look: () => debian('ss-local', 'shadowsocks-libev'),
    client: async (place) => libev('ss-local', place, '-b', '127.0.0.1', '-l', String(place.socks)),
    server: async (place) => libev('ss-server', place),
  },
  {
    name: RUST,
    speaks: () => true,
    look: () =>
      existsSync(shadowsocksRust.file)
        ? { version: output(shadowsocksRust.file, ['--version']).replace(/^shadowsocks /, '') }
        : { missing: `not installed: ${TO_PEERS} -- shadowsocks-rust` },
    client: async (place) => rust(shadowsocksRust.file, place, '-b', `127.0.0.1:${place.socks}`),
    server: async (place) => rust(ssserver, place),
  },
];

/** Client and server; the three of one kind first, then each of ours with another's. */
export function pairsOf(names) {
  const same = names.map((name) => ({ name, client: name, server: name }));
  if (!names.includes(OURS) || options.quick) return same;
  const others = names.filter((name) => name !== OURS);
  const mixed = others.flatMap((name) => [
    { name: `${OURS} > ${name}`, client: OURS, server: name },
    { name: `${name} > ${OURS}`, client: name, server: OURS },
  ]);
  return [...same, ...mixed];
}

/** Shadowsocks of others: how each is started as a server, and as a client with SOCKS5 in front, on 127.0.0.1. */
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Program, startProgram, unlessInstalled } from './programs.js';

/** What both ends of a tunnel know. */
export interface Shared {
  readonly cipher: string;
  /** A client's: behind identity keys where the server has users. */
  readonly password: string;
  /** A server's, where it differs: its own key, and those of its users. */
  readonly server?: { readonly password: string; readonly users: readonly { readonly username: string; readonly password: string }[] };
}

export interface ClientOptions {
  /** The SIP003 plugin, with its options as text. */
  readonly plugin?: { readonly name: string; readonly options: string };
  /** UDP over TCP of this version. */
  readonly udpOverTcp?: number;
}

export interface Peer {
  readonly name: string;
  /** For tap: false, or why it cannot be had. */
  readonly skip: string | false;
  /** The ciphers that it and we have. */
  readonly ciphers: readonly string[];
  /** Ciphers that only its client has. */
  readonly clientCiphers?: readonly string[];
  /** Ciphers of which only its server is of use. */
  readonly serverCiphers?: readonly string[];
  /** false: it passes no FIN on, or ends the whole connection at the first. */
  readonly halfCloses: boolean;
  /** false: it takes datagrams for an application only from where that has sent some. */
  readonly fullCone: boolean;
  /** Bytes of a datagram that it passes on. */
  readonly longest: number;
  server(folder: string, shared: Shared, plugin?: ClientOptions['plugin']): Promise<Program>;
  /** `port` of what it gives is that of SOCKS5. */
  client(folder: string, shared: Shared, serverPort: number, options?: ClientOptions): Promise<Program>;
}

export const AEAD = ['aes-128-gcm', 'aes-192-gcm', 'aes-256-gcm', 'chacha20-ietf-poly1305', 'xchacha20-ietf-poly1305'];
export const AEAD_2022 = ['2022-blake3-aes-128-gcm', '2022-blake3-aes-256-gcm', '2022-blake3-chacha20-poly1305'];
const CFB = ['aes-128-cfb', 'aes-192-cfb', 'aes-256-cfb'];
const CTR = ['aes-128-ctr', 'aes-192-ctr', 'aes-256-ctr'];
export const STREAM = [...CFB, ...CTR, 'chacha20', 'chacha20-ietf', 'salsa20', 'rc4-md5'];

const key = (length: number): string => randomBytes(length).toString('base64');
const keyLength = (cipher: string): number => (cipher === '2022-blake3-aes-128-gcm' ? 16 : 32);

export function sharedFor(cipher: string): Shared {
  return { cipher, password: cipher.startsWith('2022-') ? key(keyLength(cipher)) : 'correct horse: "battery" staple' };
}

/** A server with two users, of whom the second calls. */
export function sharedByUsers(cipher: string): Shared {
  const length = keyLength(cipher);
  const [own, first, second] = [key(length), key(length), key(length)];
  const users = [
    { username: 'ann', password: first },
    { username: 'bob', password: second },
  ];
  return { cipher, password: `${own}:${second}`, server: { password: own, users } };
}

let files = 0;

function write(folder: string, name: string, value: unknown): string {
  const path = join(folder, `${files++}-${name}.json`);
  writeFileSync(path, JSON.stringify(value), { mode: 0o600 });
  return path;
}

const host = '127.0.0.1';

export const libev: Peer = {
  name: 'shadowsocks-libev',
  skip: unlessInstalled('ss-local', 'ss-server'),
  ciphers: [...AEAD, ...STREAM],
  halfCloses: false,
  fullCone: true,
  longest: 1_400, // its packets have room for an Ethernet frame
  server: (folder, shared, plugin) =>
    startProgram('ss-server', (port) => ['-c', write(folder, 'ss-server', { server: host, server_port: port, ...libevConfig(shared, plugin) })]),
  client: (folder, shared, serverPort, { plugin } = {}) =>
    startProgram('ss-local', (port) => {
      const config = { server: host, server_port: serverPort, local_address: host, local_port: port, ...libevConfig(shared, plugin) };
      return ['-c', write(folder, 'ss-local', config)];
    }),
};

function libevConfig({ cipher, password }: Shared, plugin: ClientOptions['plugin']): Record<string, unknown> {
  return { method: cipher, password, mode: 'tcp_and_udp', ...(plugin === undefined ? {} : { plugin: plugin.name, plugin_opts: plugin.options }) };
}

export const v2ray: Peer = {
  name: 'v2ray',
  skip: unlessInstalled('v2ray'),
  ciphers: ['aes-128-gcm', 'aes-256-gcm', 'chacha20-ietf-poly1305', 'none'],
  halfCloses: false,
  fullCone: false,
  longest: 1_400, // its buffers have 2 KiB, and an 8 KiB datagram ends its client
  server: (folder, { cipher: method, password }) =>
    startV2ray(folder, (port) => ({
      inbounds: [{ listen: host, port, protocol: 'shadowsocks', settings: { method, password, network: 'tcp,udp' } }],
      outbounds: [{ protocol: 'freedom' }],
    })),
  client: (folder, { cipher: method, password }, serverPort) =>
    startV2ray(folder, (port) => ({
      inbounds: [{ listen: host, port, protocol: 'socks', settings: { udp: true, ip: host } }],
      outbounds: [{ protocol: 'shadowsocks', settings: { servers: [{ address: host, port: serverPort, method, password }] } }],
    })),
};

function startV2ray(folder: string, config: (port: number) => Record<string, unknown>): Promise<Program> {
  return startProgram('v2ray', (port) => ['-config', write(folder, 'v2ray', { log: { loglevel: 'warning' }, ...config(port) })]);
}

/** The server of v2ray-plugin is v2ray with this config: WebSocket in, what is inside of it to `behind`. */
export function startV2rayPluginServer(folder: string, behind: number, path: string, mux: boolean): Promise<Program> {
  return startV2ray(folder, (port) => ({
    inbounds: [
      {
        listen: host,
        port,
        protocol: 'dokodemo-door',
        settings: { address: mux ? 'v1.mux.cool' : host, port: behind, network: 'tcp' },
        streamSettings: { network: 'ws', wsSettings: { path } },
      },
    ],
    outbounds: [{ protocol: 'freedom', settings: { redirect: `${host}:${behind}` } }],
  }));
}

/** obfs-server before a server that knows nothing of it. */
export function startObfsServer(behind: number, mode: string): Promise<Program> {
  return startProgram('obfs-server', (port) => ['-s', host, '-p', String(port), '-r', `${host}:${behind}`, '--obfs', mode]);
}

/** Where bench/install-peers.mjs puts what Debian does not have. */
const installed = fileURLToPath(new URL('../../bench/build/peers/', import.meta.url));

function pinned(name: string, program: string): { readonly path: string; readonly skip: string | false } {
  const folder = existsSync(installed) ? readdirSync(installed).find((entry) => entry.startsWith(`${name}-`)) : undefined;
  const path = join(installed, folder ?? name, program);
  if (process.env.NEKIT_INTEROP !== 'full') return { path, skip: 'it takes minutes to build; npm run interop:full' };
  return { path, skip: existsSync(path) ? false : `not installed: npm run bench:peers -- ${name}` };
}

const sslocal = pinned('shadowsocks-rust', 'bin/sslocal');
const ssserver = pinned('shadowsocks-rust', 'bin/ssserver');

export const rust: Peer = {
  name: 'shadowsocks-rust',
  skip: sslocal.skip,
  ciphers: [...AEAD.filter((cipher) => cipher !== 'aes-192-gcm'), ...AEAD_2022, ...CFB, ...CTR, 'chacha20-ietf', 'rc4-md5', 'none'],
  halfCloses: true,
  fullCone: true,
  longest: 8_192,
  server: (folder, { cipher, password, server }) =>
    startProgram(ssserver.path, (port) => {
      const users = server === undefined ? {} : { users: server.users.map((user) => ({ name: user.username, password: user.password })) };
      // It knows users only in this form of its config.
      const one = { server: host, server_port: port, method: cipher, password: server?.password ?? password, mode: 'tcp_and_udp', ...users };
      return ['-c', write(folder, 'ssserver', { servers: [one] })];
    }),
  client: (folder, { cipher, password }, serverPort) =>
    startProgram(sslocal.path, (port) => {
      const config = { server: host, server_port: serverPort, local_address: host, local_port: port, method: cipher, password, mode: 'tcp_and_udp' };
      return ['-c', write(folder, 'sslocal', config)];
    }),
};

const singBoxProgram = pinned('sing-box', 'sing-box');

export const singBox: Peer = {
  name: 'sing-box',
  skip: singBoxProgram.skip,
  ciphers: [...AEAD, ...AEAD_2022],
  clientCiphers: [...CFB, ...CTR, 'chacha20-ietf', 'rc4-md5'],
  serverCiphers: ['none'], // with it, its client waits for the application for ever
  halfCloses: false,
  fullCone: true,
  longest: 8_192,
  server: (folder, { cipher: method, password, server }) => {
    const users = server === undefined ? {} : { users: server.users.map((user) => ({ name: user.username, password: user.password })) };
    const secret = { method, password: method === 'none' ? '' : (server?.password ?? password), ...users };
    return startSingBox(folder, (port) => [{ type: 'shadowsocks', listen: host, listen_port: port, ...secret }], [{ type: 'direct', tag: 'out' }]);
  },
  client: (folder, { cipher: method, password }, serverPort, { plugin, udpOverTcp } = {}) => {
    const out = {
      type: 'shadowsocks',
      tag: 'out',
      server: host,
      server_port: serverPort,
      method,
      password: method === 'none' ? '' : password,
      ...(plugin === undefined ? {} : { plugin: plugin.name, plugin_opts: plugin.options }),
      ...(udpOverTcp === undefined ? {} : { udp_over_tcp: { enabled: true, version: udpOverTcp } }),
    };
    return startSingBox(folder, (port) => [{ type: 'mixed', listen: host, listen_port: port }], [out]);
  },
};

function startSingBox(folder: string, inbounds: (port: number) => readonly unknown[], outbounds: readonly unknown[]): Promise<Program> {
  return startProgram(singBoxProgram.path, (port) => {
    const names = { servers: [{ type: 'local', tag: 'names' }] };
    const config = { log: { level: 'error' }, dns: names, inbounds: inbounds(port), outbounds, route: { default_domain_resolver: 'names' } };
    return ['run', '-c', write(folder, 'sing-box', config)];
  });
}

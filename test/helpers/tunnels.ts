/** Kernels of ours at one end of a Shadowsocks tunnel, and programs of others at the other. */
import type { EntryInput } from '@nekit/core';
import type { Test } from 'tap';
import { startKernel, type TestKernel } from './kernel.js';
import type { Program } from './programs.js';
import { type ClientOptions, type Peer, type Shared, STREAM } from './shadowsocks.js';
import { carriesBytes, carriesDatagrams, comesUp, hearsStrangers, reachesTargets, type Tunnel } from './tunnel.js';

const server = '127.0.0.1';
/** What our server knows; programs of others find their names in /etc/hosts. */
export const OUR_NAME = 'target.test';
const THEIR_NAME = 'localhost';

const insecure = (cipher: string): Record<string, unknown> => (STREAM.includes(cipher) ? { 'allow-insecure-ciphers': true } : {});

/** UDP of the stream ciphers was given up with them; TCP stays for old servers. */
export const hasUdp = (cipher: string): boolean => !STREAM.includes(cipher);

/** Our client, with SOCKS5 in front. */
export async function startOurClient(t: Test, { cipher, password }: Shared, port: number, more: Record<string, unknown> = {}): Promise<TestKernel> {
  const proxy: EntryInput = { name: 'up', type: 'ss', server, port, cipher, password, udp: hasUdp(cipher), ...insecure(cipher), ...more };
  const kernel = await startKernel({ proxies: [proxy], rules: ['MATCH,up'] }, { timeouts: { handshake: 8_000 } });
  t.teardown(() => kernel.stop());
  return kernel;
}

/** Our server; `port` of what it gives is that of Shadowsocks. */
export async function startOurServer(t: Test, { cipher, password, server: own }: Shared): Promise<TestKernel> {
  const users = own === undefined ? {} : { users: own.users };
  const listener = { name: 'in', type: 'shadowsocks', port: 0, cipher, password: own?.password ?? password, ...users, ...insecure(cipher) };
  const kernel = await startKernel({ listeners: [listener], hosts: { [OUR_NAME]: server }, rules: ['MATCH,DIRECT'] });
  t.teardown(() => kernel.stop());
  return kernel;
}

/** Ends the program with the test. */
export async function started(t: Test, program: Promise<Program>): Promise<number> {
  const running = await program;
  t.teardown(() => running.stop());
  return running.port;
}

/** Our client through a server of `peer`. */
export async function toTheirServer(t: Test, peer: Peer, folder: string, shared: Shared, more: Record<string, unknown> = {}): Promise<Tunnel> {
  const port = await started(t, peer.server(folder, shared));
  const kernel = await startOurClient(t, shared, port, more);
  return { ...peer, port: kernel.port, name: THEIR_NAME };
}

/** A client of `peer` through our server. */
export async function fromTheirClient(t: Test, peer: Peer, folder: string, shared: Shared, options: ClientOptions = {}): Promise<Tunnel> {
  const kernel = await startOurServer(t, shared);
  const port = await started(t, peer.client(folder, shared, kernel.port, options));
  return { ...peer, port, name: OUR_NAME };
}

/** Bytes and datagrams; with `whole` also what is the same for every cipher. `late`: it listens before all of it is there, as programs with a plugin of theirs do. */
export async function checkTunnel(
  t: Test,
  tunnel: Tunnel,
  { udp, whole, late = false }: { readonly udp: boolean; readonly whole: boolean; readonly late?: boolean },
): Promise<void> {
  if (late) await comesUp(tunnel);
  await carriesBytes(t, tunnel);
  if (whole) await reachesTargets(t, tunnel);
  if (udp) await carriesDatagrams(t, tunnel);
  if (udp && whole && tunnel.fullCone) await hearsStrangers(t, tunnel);
}

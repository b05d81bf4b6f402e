/** What the tests of auto-route ask around a home: configs, servers outside, and who answers whom. */
import { eventually } from '@nekit/core/testing';
import type { Test } from 'tap';
import { type AutoRouteHome, makeAutoRouteHome, type RunningKernel, SERVER, SERVER_6, TUN } from './auto-route-home.js';
import type { Namespace } from './namespace.js';
import { serve } from './tun-home.js';

export const config = (tun = '', more = ''): string => `
plugins: [tcp, udp]
mixed-port: 7890
tun: { enable: true, device: ${TUN}${tun} }
rules:
  - DST-PORT,81,REJECT
  - MATCH,DIRECT
${more}`;

/** TCP on 80 and 81 says who asks; UDP on 9 and 53 answers with it. */
const SERVERS = `
const net = require('node:net'), dgram = require('node:dgram');
const http = (socket) => { socket.on('error', () => {}); socket.once('data', () => socket.end('HTTP/1.0 200 OK\\r\\n\\r\\n' + socket.remoteAddress.replace('::ffff:', ''))); };
let left = 6;
const ready = () => { if (--left === 0) console.log('ready'); };
for (const port of [80, 81]) net.createServer(http).listen(port, '::', ready);
for (const port of [9, 53]) for (const [type, hosts] of [['udp4', ['${SERVER}', '10.1.0.2']], ['udp6', ['${SERVER_6}', 'fd01::2']]])
  for (const host of hosts) {
    const socket = dgram.createSocket(type);
    socket.on('message', (message, remote) => socket.send(remote.address, remote.port, remote.address)).bind(port, host, () => { if (host.length > 8) ready(); });
  }
`;

export async function prepare(t: Test): Promise<AutoRouteHome> {
  const around = await makeAutoRouteHome();
  t.teardown(around.close);
  await serve(around.outside, SERVERS);
  return around;
}

export const HOSTS = [SERVER, `[${SERVER_6}]`];

/** What the server answers: the address that it sees. '' where there is no connection. */
export async function fetch(from: Namespace, host: string, port = 80, ...args: readonly string[]): Promise<string> {
  return (await from.run('curl', ['-sS', '--max-time', '8', ...args, `http://${host}:${port}/`])).stdout.toString();
}

/** What a UDP server answers; '' if it does not. */
export async function ask(from: Namespace, host: string, port: number): Promise<string> {
  const text = `
    const socket = require('node:dgram').createSocket('udp${host.includes(':') ? 6 : 4}');
    socket.on('message', (message, remote) => { process.stdout.write(remote.address === '${host}' ? message : 'another'); socket.close(); });
    socket.send('?', ${port}, '${host}');
    setTimeout(() => process.exit(), 3000).unref();`;
  return (await from.run(process.execPath, ['-e', text], { ms: 10_000 })).stdout.toString();
}

/** Whether the kernel has told of a session to there. */
export function carried(kernel: RunningKernel, target: string): Promise<boolean> {
  return eventually(() => kernel.log().includes(target), 5_000, target).then(
    () => true,
    () => false,
  );
}

// What the examples promise, with the kernel that runs them.
import { readFile } from 'node:fs/promises';
import net from 'node:net';
import { httpPlugin } from '@nekit/adapter-http';
import { socks5Plugin } from '@nekit/adapter-socks5';
import { createKernel, type Kernel, parseConfig } from '@nekit/core';
import { startEcho, within } from '@nekit/core/testing';
import t from 'tap';

const HOSTS = '\nhosts: { inside.example: 192.168.1.2, loop.example: [203.0.113.1, 127.0.0.1], web.example: 203.0.113.1 }\n';

async function kernelOf(name: string, change: (text: string) => string): Promise<Kernel> {
  const text = change(await readFile(new URL(`../examples/${name}`, import.meta.url), 'utf8'));
  const kernel = createKernel(parseConfig(text + HOSTS, name), { plugins: [httpPlugin, socks5Plugin] });
  await kernel.start();
  t.teardown(() => kernel.stop());
  return kernel;
}

/** The status of a CONNECT. */
async function connect(port: number, target: string, user: string): Promise<number> {
  const socket = net.connect(port, '127.0.0.1');
  try {
    socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: Basic ${Buffer.from(user).toString('base64')}\r\n\r\n`);
    const answer = new Promise<string>((resolve, reject) => {
      socket.once('data', (chunk: Buffer) => resolve(chunk.toString('latin1')));
      socket.once('close', () => reject(new Error('closed without an answer')));
      socket.once('error', reject);
    });
    return Number((await within(answer, 10_000)).split(' ', 2)[1]);
  } finally {
    socket.destroy();
  }
}

void t.test('gateway.yaml: guests reach nothing of the gateway and of the house', async (t) => {
  const echo = await startEcho();
  t.teardown(() => echo.close());
  // Ports that any user may have; the echo stands for a service on a port of the web.
  const kernel = await kernelOf('gateway.yaml', (text) =>
    text
      .replace(/^(?:socks-)?port: .*$/gm, '')
      .replace('port: 8081', 'port: 0')
      .replace('listen: "*"', 'listen: 127.0.0.1')
      .replace('80/443', `80/443/${echo.port}`),
  );
  const port = kernel.listeners().find(({ name }) => name === 'guests')?.endpoint?.port ?? 0;
  const hosts = ['127.0.0.1', '127.9.9.9', '0.0.0.0', 'localhost', 'loop.example', '[::1]', '[::]', '[::ffff:127.0.0.1]', '2130706433', '[::ffff:0.0.0.0]'];
  for (const host of hosts) t.equal(await connect(port, `${host}:${echo.port}`, 'guest:change me too'), 403, host);
  t.equal(echo.connections(), 0);
  const way = async (host: string, dport = 443): Promise<string> => (await kernel.explain({ destination: { host, port: dport }, inbound: 'guests' })).adapter;
  const inside = ['10.1.2.3', '172.31.0.1', '192.168.1.2', '169.254.169.254', '100.100.100.100', 'fd00::1', 'fe80::1', '::ffff:10.0.0.1', 'inside.example'];
  for (const host of inside) t.equal(await way(host), 'REJECT', host);
  for (const host of ['203.0.113.1', '172.32.0.1', '2001:db8::1', 'web.example']) t.equal(await way(host), 'DIRECT', host);
  t.equal(await way('203.0.113.1', 22), 'REJECT');
});

void t.test('upstream.yaml: everything but the local network', async (t) => {
  const kernel = await kernelOf('upstream.yaml', (text) => text.replace('mixed-port: 7890', ''));
  const way = async (host: string): Promise<string> => (await kernel.explain({ destination: { host, port: 443 } })).adapter;
  for (const host of ['127.0.0.1', '::1', 'localhost', '10.0.0.1', '172.16.0.1', '192.168.0.1', '169.254.1.1', '100.64.0.1', 'fd00::1', 'fe80::1'])
    t.equal(await way(host), 'DIRECT', host);
  for (const host of ['203.0.113.1', '2001:db8::1', 'a.example']) t.equal(await way(host), 'home', host);
});

/** What an application says to a proxy, in bytes and without any of the kernel's own handshake code. */
import net from 'node:net';
import { type Endpoint, formatEndpoint, type Stream, StreamReader, streamFromSocket } from '@nekit/core';
import { within } from '@nekit/core/testing';

export interface Login {
  readonly username: string;
  readonly password: string;
}

/** The proxy said no; `answer` is what it said: `REP 5`, `CD 91`, `502`. */
export class ProxyRefusal extends Error {
  readonly answer: string;
  constructor(answer: string) {
    super(`the proxy answered ${answer}`);
    this.answer = answer;
  }
}

/** Opens a connection to a target through the proxy on `port`. Rejects with ProxyRefusal. */
export type OpenThrough = (port: number, target: Endpoint, login?: Login) => Promise<Stream>;

export function connectTo(port: number): Promise<Stream> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true });
    socket.once('error', reject);
    socket.once('connect', () => {
      const stream = streamFromSocket(socket);
      socket.off('error', reject);
      resolve(stream);
    });
  });
}

export const throughSocks5: OpenThrough = (port, target, login) =>
  handshake(port, async (stream, reader) => {
    const bound = await socks5(stream, reader, 1, target, login);
    if (bound.port !== 0) throw new Error('BND of a CONNECT is 0.0.0.0:0');
  });

/** The same with a proxy of others, which may tell any address. */
export const throughAnySocks5: OpenThrough = (port, target, login) =>
  handshake(port, async (stream, reader) => {
    await socks5(stream, reader, 1, target, login);
  });

/** SOCKS 4a: always a name. */
export const throughSocks4: OpenThrough = (port, target) =>
  handshake(port, async (stream, reader) => {
    await stream.write([Buffer.from([4, 1, target.port >> 8, target.port & 0xff, 0, 0, 0, 1]), Buffer.from(`user\0${target.host}\0`)]);
    const answer = await reader.exactly(8);
    if (answer[0] !== 0) throw new Error(`VN ${answer[0]}`);
    if (answer[1] !== 90) throw new ProxyRefusal(`CD ${answer[1]}`);
  });

export const throughConnect: OpenThrough = (port, target, login) =>
  handshake(port, async (stream, reader) => {
    const authority = formatEndpoint(target);
    const credentials = login === undefined ? '' : `Proxy-Authorization: Basic ${Buffer.from(`${login.username}:${login.password}`).toString('base64')}\r\n`;
    await stream.write([Buffer.from(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${credentials}\r\n`)]);
    const head = Buffer.from(await reader.until(Buffer.from('\r\n\r\n'), 8192)).toString('latin1');
    const status = /^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1];
    if (status !== '200') throw new ProxyRefusal(status ?? head);
  });

/** Sends one SOCKS5 request with `command` and gives BND of the reply. */
export async function socks5(stream: Stream, reader: StreamReader, command: number, target: Endpoint, login?: Login): Promise<Endpoint> {
  await stream.write([Uint8Array.from(login === undefined ? [5, 1, 0] : [5, 1, 2])]);
  const [version, method] = await reader.exactly(2);
  if (version !== 5 || method === 0xff) throw new ProxyRefusal(`method ${method}`);
  if (login !== undefined) {
    const [username, password] = [Buffer.from(login.username), Buffer.from(login.password)];
    await stream.write([Buffer.from([1, username.length]), username, Buffer.from([password.length]), password]);
    const status = (await reader.exactly(2))[1];
    if (status !== 0) throw new ProxyRefusal(`status ${status}`);
  }
  await stream.write([Buffer.from([5, command, 0]), socksAddress(target)]);
  const [, rep, , type] = await reader.exactly(4);
  const bytes = await reader.exactly((type === 4 ? 16 : 4) + 2);
  if (rep !== 0) throw new ProxyRefusal(`REP ${rep}`);
  return { host: type === 4 ? 'IPv6' : [...bytes.subarray(0, 4)].join('.'), port: ((bytes.at(-2) ?? 0) << 8) | (bytes.at(-1) ?? 0) };
}

/** ATYP, address and port. */
export function socksAddress({ host, port }: Endpoint): Buffer {
  return Buffer.concat([addressBytes(host), Buffer.from([port >> 8, port & 0xff])]);
}

function addressBytes(host: string): Buffer {
  if (net.isIPv4(host)) return Buffer.from([1, ...host.split('.').map(Number)]);
  if (!net.isIPv6(host)) return Buffer.concat([Buffer.from([3, host.length]), Buffer.from(host)]);
  const [left = [], right] = host.split('::').map((half) => half.split(':').filter((group) => group !== ''));
  const zeros = right === undefined ? [] : Array.from({ length: 8 - left.length - right.length }, () => '0');
  const groups = [...left, ...zeros, ...(right ?? [])].map((group) => Number.parseInt(group, 16));
  return Buffer.from([4, ...groups.flatMap((group) => [group >> 8, group & 0xff])]);
}

async function handshake(port: number, run: (stream: Stream, reader: StreamReader) => Promise<void>): Promise<Stream> {
  const stream = await connectTo(port);
  const reader = new StreamReader(stream);
  try {
    await within(run(stream, reader), 15_000, 'the handshake with the proxy');
  } catch (error) {
    stream.abort(error instanceof Error ? error : new Error(String(error)));
    throw error;
  }
  return reader.release();
}

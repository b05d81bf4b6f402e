import net from 'node:net';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import { startTarget, type Target } from '@nekit/core/testing';
import type { Certificate } from './certificate.js';

export interface ConnectProxy extends Target {
  /** Heads that came, in order. */
  readonly heads: string[];
}

/** A CONNECT proxy that has nothing in common with the code under test: half-closes, and passes a reset on as a reset. */
export async function startConnectProxy(certificate?: Certificate): Promise<ConnectProxy> {
  const heads: string[] = [];
  const target = await startTarget((raw) => {
    const socket =
      certificate === undefined ? raw : new tls.TLSSocket(raw, { isServer: true, key: certificate.key, cert: certificate.cert, ALPNProtocols: ['http/1.1'] });
    serve(socket, raw, heads);
  });
  return { ...target, heads };
}

function serve(socket: Duplex, raw: net.Socket, heads: string[]): void {
  let head = Buffer.alloc(0);
  socket.on('error', () => raw.destroy()); // clients of tests reset on purpose
  const onData = (chunk: Buffer): void => {
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\r\n\r\n');
    if (end === -1) return;
    socket.removeListener('data', onData);
    socket.pause();
    const text = head.subarray(0, end + 4).toString('latin1');
    heads.push(text);
    const [, host = '', port = ''] = /^CONNECT \[?([^\]\s]*?)\]?:(\d+) HTTP\/1\.1\r\n/.exec(text) ?? [];
    const upstream = net.connect({ host, port: Number(port), allowHalfOpen: true });
    upstream.once('error', () => socket.end('HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n'));
    raw.on('close', () => upstream.destroy());
    upstream.once('connect', () => {
      upstream.removeAllListeners('error');
      upstream.on('error', () => raw.resetAndDestroy());
      socket.write('HTTP/1.1 200 OK\r\nX-Proxy: test\r\n\r\n');
      upstream.write(head.subarray(end + 4));
      socket.pipe(upstream);
      upstream.pipe(socket);
    });
  };
  socket.on('data', onData);
}

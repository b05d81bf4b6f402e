/** An HTTP server on loopback, and a dialer that counts what goes through it. */
import assert from 'node:assert/strict';
import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { StreamDialer } from '../../dist/net/dialer.js';
import type { Endpoint } from '../../dist/net/endpoint.js';
import { testContext } from '../../dist/testing.js';

export interface Origin {
  readonly url: string;
  readonly requests: http.IncomingMessage[];
  /** Connections that are open now. */
  connections(): number;
  close(): Promise<void>;
}

export async function startOrigin(handle: http.RequestListener, tls?: { readonly key: string; readonly cert: string }): Promise<Origin> {
  const requests: http.IncomingMessage[] = [];
  const open = new Set<Socket>();
  const listener: http.RequestListener = (request, response) => {
    requests.push(request);
    response.on('error', () => undefined); // clients of tests leave in the middle
    handle(request, response);
  };
  const server = tls === undefined ? http.createServer(listener) : https.createServer(tls, listener);
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => open.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${address.port}`,
    requests,
    connections: () => open.size,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        for (const socket of open) socket.destroy();
      }),
  };
}

export interface CountingDialer extends StreamDialer {
  readonly dialled: Endpoint[];
}

/** DIRECT, by real sockets and real time. Every name is 127.0.0.1. */
export function countingDialer(): CountingDialer {
  const { context } = testContext({ resolver: { resolve: () => Promise.resolve(['127.0.0.1']) } });
  const dialled: Endpoint[] = [];
  return {
    dialled,
    dialStream: (destination, options) => {
      dialled.push(options.session.destination);
      assert.deepEqual(options.session.destination, destination);
      return context.base.stream?.dialStream(destination, options) ?? assert.fail('DIRECT carries streams');
    },
  };
}

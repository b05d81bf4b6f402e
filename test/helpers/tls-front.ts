import type net from 'node:net';
import tls from 'node:tls';
import { duplexFromStream, never, relay, type Stream, streamFromSocket, systemClock, TimerWheel, toNetError } from '@nekit/core';
import { startTarget, type Target } from '@nekit/core/testing';
import type { Certificate } from '../../packages/adapter-socks5/dist-test/certificate.js';
import { connectTo } from './apps.js';

/** A TLS terminator as one puts in front of a proxy: half-closes and resets go through it like bytes. */
export function startTlsFront(behind: number, { key, cert }: Certificate): Promise<Target> {
  const timers = new TimerWheel(systemClock);
  const context = tls.createSecureContext({ key, cert });
  return startTarget((raw: net.Socket) => {
    const plain = streamFromSocket(raw);
    const socket = new tls.TLSSocket(duplexFromStream(plain), { isServer: true, secureContext: context });
    const secure = streamFromSocket(socket);
    const client: Stream = {
      read: () => secure.read(),
      write: (chunks) => secure.write(chunks),
      closeWrite: () => secure.closeWrite(),
      abort: (reason) => {
        plain.abort(reason); // RST; TLS alone would end it like any other connection
        secure.abort(reason);
      },
    };
    const options = { signal: never, idleMs: 60_000, halfCloseMs: 10_000, counters: new Float64Array(2), slot: 0 };
    connectTo(behind).then(
      (upstream) => relay(client, upstream, options, timers),
      (error: unknown) => client.abort(toNetError(error)),
    );
  });
}

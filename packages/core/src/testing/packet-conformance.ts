import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { CancelSource } from '../net/cancel.js';
import type { PacketDialer } from '../net/dialer.js';
import { isNetError, NetError } from '../net/errors.js';
import type { PacketConn } from '../net/packet-conn.js';
import { dialOptions } from './context.js';
import type { RegisterTest } from './stream-conformance.js';
import { within } from './wait.js';

export interface PacketDialerUnderTest {
  readonly dialer: PacketDialer;
  close(): Promise<void> | void;
}

/** What every PacketDialer promises (contract: net/dialer.ts, net/packet-conn.ts), against a target of its own on the loopback addresses. */
export function packetDialerConformance(test: RegisterTest, makeDialer: () => Promise<PacketDialerUnderTest>): void {
  const on = (name: string, run: (dialer: PacketDialer, port: number) => Promise<void>): void => {
    test(name, async () => {
      const target = await startEcho();
      const made = await makeDialer();
      try {
        await within(run(made.dialer, target.port), 20_000, name);
      } finally {
        await made.close();
        for (const socket of target.sockets) socket.close();
      }
    });
  };

  on('carries datagrams to an address and back, whole', async (dialer, port) => {
    const conn = await dialer.dialPacket(dialOptions({ host: '127.0.0.1', port }));
    for (const text of ['a', 'b'.repeat(1_200), 'c']) assert.equal(await ask(conn, '127.0.0.1', port, text), text);
    conn.close();
  });

  on('reaches a peer by name', async (dialer, port) => {
    const conn = await dialer.dialPacket(dialOptions({ host: 'localhost', port }));
    for (const text of ['by name', 'and again']) assert.equal(await ask(conn, 'localhost', port, text), text);
    conn.close();
  });

  on('goes on when the signal of its dial fires afterwards', async (dialer, port) => {
    const source = new CancelSource();
    const conn = await dialer.dialPacket(dialOptions({ host: 'localhost', port }, { signal: source }));
    source.cancel(new NetError('timeout', 'the time to dial is up'));
    assert.equal(await ask(conn, 'localhost', port, 'by name'), 'by name');
    assert.equal(await ask(conn, '127.0.0.1', port, 'by address'), 'by address');
    conn.close();
  });

  on('close ends it, for who waits as well', async (dialer, port) => {
    const conn = await dialer.dialPacket(dialOptions({ host: '127.0.0.1', port }));
    const waiting = conn.receive();
    conn.close();
    conn.close();
    assert.equal(await waiting, null);
    assert.equal(await conn.receive(), null);
    assert.equal(conn.send([{ bytes: Buffer.from('x'), peer: { host: '127.0.0.1', port } }]), 0);
  });

  on('does not dial when it is already cancelled', async (dialer, port) => {
    const source = new CancelSource();
    source.cancel(new NetError('aborted', 'the client has left', { code: 'CLIENT_LEFT' }));
    await assert.rejects(dialer.dialPacket(dialOptions({ host: '127.0.0.1', port }, { signal: source })), isNetError);
  });
}

/** The answer to one datagram. */
async function ask(conn: PacketConn, host: string, port: number, text: string): Promise<string> {
  assert.equal(conn.send([{ bytes: Buffer.from(text), peer: { host, port } }]), 1);
  const [datagram] = (await within(conn.receive(), 5_000, `the answer of ${host}`)) ?? assert.fail('it has ended');
  return Buffer.from(datagram?.bytes ?? assert.fail('no datagram')).toString();
}

/** Sends back what comes, at whichever of its addresses `localhost` leads to. */
async function startEcho(): Promise<{ readonly port: number; readonly sockets: readonly dgram.Socket[] }> {
  const four = await bind('udp4', '127.0.0.1', 0);
  const { port } = four.address();
  try {
    return { port, sockets: [four, await bind('udp6', '::1', port)] };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') return { port, sockets: [four] }; // a host without IPv6
    four.close();
    return startEcho();
  }
}

function bind(type: dgram.SocketType, host: string, port: number): Promise<dgram.Socket> {
  const socket = dgram.createSocket(type);
  socket.on('message', (bytes, from) => socket.send(bytes, from.port, from.address));
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, host, () => resolve(socket.off('error', reject)));
  });
}

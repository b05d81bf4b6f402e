/** What every tunnel must do, whoever its two ends are: an application goes in by SOCKS5, the targets are on this machine. */
import { isNetError, type Stream } from '@nekit/core';
import { collect, eventually, send, type Target, within } from '@nekit/core/testing';
import type { Test } from 'tap';
import { throughAnySocks5 } from './apps.js';
import { bytesOf, sha256, startBanner, startCounted, startEndsFirst, startExchange } from './targets.js';
import { UdpApp, UdpPeer } from './udp.js';

export interface Tunnel {
  /** SOCKS5. */
  readonly port: number;
  /** A name that its far end knows to be 127.0.0.1. */
  readonly name: string;
  /** false: one of its ends passes no FIN on, or closes all at the first. */
  readonly halfCloses: boolean;
  /** false: it takes datagrams only from where some were sent to. */
  readonly fullCone: boolean;
  /** Bytes of a datagram that it passes on. */
  readonly longest: number;
  /** false: it has no datagrams for names. */
  readonly datagramsByName?: boolean;
}

const MS = 20_000;
const local = '127.0.0.1';
const up = bytesOf(1_500_001, 5);
const down = bytesOf(2_000_003, 6);

/** Settles when a connection through it carries bytes. */
export async function comesUp(tunnel: Tunnel): Promise<void> {
  await withTarget(startBanner(Buffer.from('ready')), (target) =>
    eventually(
      async () => {
        try {
          const stream = await throughAnySocks5(tunnel.port, { host: local, port: target.port });
          const heard = (await take(stream, 5)).toString();
          stream.abort(new Error('done'));
          return heard === 'ready';
        } catch (error) {
          if (isNetError(error)) return false;
          throw error;
        }
      },
      MS,
      'the tunnel comes up',
    ),
  );
}

/** Some MB both ways at the same time, as far as the tunnel can with each end's FIN first. */
export async function carriesBytes(t: Test, tunnel: Tunnel): Promise<void> {
  if (!tunnel.halfCloses) {
    await withTarget(startCounted(down, up.length), async (target) => {
      const stream = await throughAnySocks5(tunnel.port, { host: local, port: target.port });
      const all = Buffer.concat([down, Buffer.from(sha256(up))]);
      const [back] = await Promise.all([take(stream, all.length), give(stream, up)]);
      t.equal(sha256(back), sha256(all), 'MB both ways');
      stream.abort(new Error('done'));
    });
    return;
  }
  await withTarget(startExchange(down), async (target) => {
    const stream = await throughAnySocks5(tunnel.port, { host: local, port: target.port });
    const [back] = await Promise.all([collect(stream), send(stream, up)]);
    t.equal(sha256(back), sha256(Buffer.concat([down, Buffer.from(sha256(up))])), 'MB both ways, the app ends first');
  });
  await withTarget(startEndsFirst(down), async (target) => {
    const stream = await throughAnySocks5(tunnel.port, { host: local, port: target.port });
    t.equal(sha256(await collect(stream)), sha256(down), 'MB down, the target ends first');
    await send(stream, up);
    t.equal(await target.heard, sha256(up), 'and MB up after that');
  });
}

/** A server that speaks first, at each kind of address. */
export async function reachesTargets(t: Test, tunnel: Tunnel): Promise<void> {
  for (const { host, listen } of [
    { host: local, listen: local },
    { host: '::1', listen: '::1' },
    { host: tunnel.name, listen: local },
  ]) {
    await withTarget(startBanner(Buffer.from('220 ready\r\n'), listen), async (target) => {
      const stream = await throughAnySocks5(tunnel.port, { host, port: target.port });
      t.equal((await take(stream, 11)).toString(), '220 ready\r\n', `${host}: speaks first`);
      await stream.write([Buffer.from('QUIT\r\n')]);
      t.equal((await take(stream, 6)).toString(), 'QUIT\r\n', `${host}: and answers`);
      stream.abort(new Error('done'));
    });
  }
}

/** Datagrams of several sizes to two targets through one association, each answer from where it comes. */
export async function carriesDatagrams(t: Test, tunnel: Tunnel): Promise<void> {
  const [one, other, app] = [await UdpPeer.echo(), await UdpPeer.echo(), await UdpApp.open(tunnel.port)];
  try {
    for (const size of new Set([1, 1_400, tunnel.longest])) {
      for (const target of [one, other]) {
        const bytes = bytesOf(size, size + target.port);
        const to = { host: local, port: target.port };
        app.send(to, bytes);
        t.same(await app.next(MS / 4), { bytes, from: to }, `${size} bytes`);
      }
    }
    if (tunnel.datagramsByName !== false) {
      app.send({ host: tunnel.name, port: one.port }, Buffer.from('by name'));
      t.equal((await app.next(MS / 4)).bytes.toString(), 'by name');
    }
    const seen = [one, other].map((target) => target.received[0]?.from.port);
    if (tunnel.fullCone) t.equal(seen[0], seen[1], 'both see the same sender');
    t.equal(app.unseen, 0, 'nothing came twice');
  } finally {
    await app.close();
    await one.close();
    await other.close();
  }
}

/** Full cone: what a stranger sends to the address that a target has seen arrives too. */
export async function hearsStrangers(t: Test, tunnel: Tunnel): Promise<void> {
  const [target, stranger, app] = [await UdpPeer.echo(), await UdpPeer.open(), await UdpApp.open(tunnel.port)];
  try {
    app.send({ host: local, port: target.port }, Buffer.from('hello'));
    await app.next(MS / 4);
    stranger.send(Buffer.from('out of the blue'), target.received[0]?.from.port ?? 0);
    t.same(await app.next(MS / 4), { bytes: Buffer.from('out of the blue'), from: { host: local, port: stranger.port } }, 'a stranger is heard');
  } finally {
    await app.close();
    await target.close();
    await stranger.close();
  }
}

export async function give(stream: Stream, all: Uint8Array): Promise<void> {
  for (let at = 0; at < all.length; at += 100_000) await stream.write([all.subarray(at, at + 100_000)]);
}

/** At least `length` bytes, or what there is before the end. */
export async function take(stream: Stream, length: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for (let left = length; left > 0; ) {
    const chunks = await stream.read();
    if (chunks === null) break;
    parts.push(...chunks);
    for (const chunk of chunks) left -= chunk.length;
  }
  return Buffer.concat(parts);
}

async function withTarget<T extends Target>(made: Promise<T>, use: (target: T) => Promise<void>): Promise<void> {
  const target = await made;
  try {
    await within(use(target), MS, 'the tunnel');
  } finally {
    await target.close();
  }
}

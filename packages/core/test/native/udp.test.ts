// One suite over both implementations of UDP sockets.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import t, { type Test } from 'tap';
import { findAddon } from '../../dist/native/load.js';
import { openSockets } from '../../dist/native/open-sockets.js';
import type { NetError } from '../../dist/net/errors.js';
import type { Sockets } from '../../dist/net/sockets.js';
import { keepBatch, MAX_UDP_PAYLOAD, type UdpBatch, type UdpHandlers, type UdpSocket } from '../../dist/net/udp.js';
import { eventually, within } from '../../dist/testing/wait.js';

const { addon } = findAddon();

/** A payload that tells its number and length, and whose bytes depend on both. */
function payload(number: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = number * 7 + i * 13 + (i >> 8);
  if (length >= 4) new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}
const numberOf = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
const digest = (bytes: Uint8Array): string => createHash('sha1').update(bytes).digest('base64');

/** Datagrams that came to this port of 127.0.0.1 and found its socket's buffer full. */
function dropsOf(port: number): number {
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const sockets = readFileSync('/proc/self/net/udp', 'utf8').split('\n');
  return Number(/ (\d+)\s*$/.exec(sockets.find((line) => line.includes(local)) ?? '')?.[1]);
}

/** For tap's `skip`: false, or why the system gives a socket no more than the usual room. */
function unlessLargeBuffers(): string | false {
  const allowed = Number(readFileSync('/proc/sys/net/core/rmem_max', 'utf8'));
  const capabilities = BigInt(`0x${/CapEff:\s*(\w+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`);
  const isWhole = /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8')); // not root of a user namespace only
  const mayForce = isWhole && (capabilities & (1n << 12n)) !== 0n; // CAP_NET_ADMIN
  return !mayForce && allowed < 4 * 1024 * 1024 && `net.core.rmem_max is ${allowed}, and this process may not go beyond it`;
}

/** A worker that sends to itself, and sends again what comes. */
const ENDLESS = `
  const { parentPort, workerData } = require('node:worker_threads');
  const start = async () => {
    const { findAddon } = await import(workerData + 'load.js');
    const { openSockets } = await import(workerData + 'open-sockets.js');
    let turns = 0;
    const socket = openSockets(findAddon().addon).bindUdp({ host: '127.0.0.1', port: 0 }, {
      received({ length, bytes, start, end }) {
        for (let i = 0; i < length; i++) socket.put(bytes, start[i], end[i], '127.0.0.1', socket.port);
        socket.flush();
        if (++turns === 100) parentPort.postMessage('busy');
      },
      failed(error) { throw error; },
    });
    for (let i = 0; i < 50; i++) socket.put(new Uint8Array(500), 0, 500, '127.0.0.1', socket.port);
    socket.flush();
  };
  void start();
`;

/** A socket that keeps what it receives. */
class Box {
  readonly got: { readonly bytes: Uint8Array; readonly peer: { readonly host: string; readonly port: number } }[] = [];
  readonly batches: number[] = [];
  readonly errors: NetError[] = [];
  readonly socket: UdpSocket;
  lost = 0;

  constructor(sockets: Sockets, host = '127.0.0.1', handlers: Partial<UdpHandlers> = {}) {
    this.socket = sockets.bindUdp(
      { host, port: 0 },
      {
        received: (batch) => {
          this.batches.push(batch.length);
          this.got.push(...keepBatch(batch));
        },
        lost: (datagrams) => {
          this.lost += datagrams;
        },
        failed: (error) => this.errors.push(error),
        ...handlers,
      },
    );
  }

  send(bytes: Uint8Array, to: Box, host = '127.0.0.1'): boolean {
    return this.socket.send(bytes, 0, bytes.length, host, to.socket.port);
  }
}

/** Sends every datagram back to where it came from. */
function echo(sockets: Sockets, host: string): UdpSocket {
  const socket = sockets.bindUdp({ host, port: 0 }, { received: (batch) => answer(socket, batch), failed: () => {} });
  return socket;
}

function answer(socket: UdpSocket, { length, bytes, start, end, peer }: UdpBatch): void {
  for (let i = 0; i < length; i++) socket.put(bytes, start[i] ?? 0, end[i] ?? 0, peer[i]?.host ?? '', peer[i]?.port ?? 0);
  socket.flush();
}

function suite(kind: 'native' | 'node', open: () => Sockets): void {
  const test = (name: string, run: (t: Test, sockets: Sockets) => Promise<void>): void => {
    t.test(`${kind}: ${name}`, async (t) => {
      const sockets = open();
      t.equal(sockets.kind, kind);
      await run(t, sockets);
      sockets.close();
    });
  };

  for (const host of ['127.0.0.1', '::1']) {
    test(`all sizes come back from ${host}`, async (t, sockets) => {
      const server = echo(sockets, host);
      const client = new Box(sockets, host);
      t.equal(server.family, host === '::1' ? 6 : 4);
      t.ok(server.port > 0);
      for (const [i, size] of [0, 1, 1472, 9000, MAX_UDP_PAYLOAD].entries()) {
        const bytes = payload(i, size);
        t.ok(client.socket.send(bytes, 0, size, host, server.port), `${size} bytes`);
        await eventually(() => client.got.length === i + 1);
        const { peer, bytes: got } = client.got[i] ?? { peer: null, bytes: payload(0, 0) };
        t.equal(digest(got), digest(bytes));
        t.strictSame(peer, { host, port: server.port });
        t.ok(Object.isFrozen(peer));
        t.equal(peer, client.got[0]?.peer, 'one object per remote');
      }
      const long = new Uint8Array(MAX_UDP_PAYLOAD + 1);
      t.notOk(client.socket.send(long, 0, long.length, host, server.port));
      t.notOk(client.socket.send(long, 0, 1, host === '::1' ? '127.0.0.1' : '::1', server.port), 'of the other family');
      t.notOk(client.socket.send(long, 0, 1, 'localhost', server.port), 'a name');
      // A part of a larger array, behind a head.
      const bytes = payload(1, 100);
      t.ok(client.socket.put(bytes, 10, 20, host, server.port, payload(2, 5)));
      t.equal(client.socket.flush(), 0);
      await eventually(() => client.got.length === 6);
      t.strictSame([...(client.got[5]?.bytes ?? [])], [...payload(2, 5), ...bytes.subarray(10, 20)]);
      server.close();
      client.socket.close();
    });
  }

  test('`send` tells where there is no way', async (t, sockets) => {
    const { socket } = new Box(sockets);
    t.notOk(socket.send(payload(1, 10), 0, 10, '255.255.255.255', 9), 'without SO_BROADCAST the system says no');
    t.ok(socket.send(payload(1, 10), 0, 10, '127.0.0.1', 9));
    socket.close();
  });

  test('1000 datagrams at a time keep their contents', async (t, sockets) => {
    const server = echo(sockets, '127.0.0.1');
    const client = new Box(sockets);
    for (let round = 0; round < 3; round++) {
      const sent = new Map<number, string>();
      client.got.length = 0;
      // No more than the system's buffers hold when nobody reads meanwhile, and sizes mixed: alone, equal, shorter at the end.
      for (let part = 0; part < 10; part++) {
        for (let i = 0; i < 100; i++) {
          const number = part * 100 + i;
          const bytes = payload(number, 4 + (number % 7 === 0 ? number : 200 + 50 * part));
          sent.set(number, digest(bytes));
          t.ok(client.socket.put(bytes, 0, bytes.length, '127.0.0.1', server.port));
        }
        t.equal(client.socket.flush(), 0);
        await eventually(() => client.got.length === (part + 1) * 100);
      }
      for (const { bytes } of client.got) {
        const number = numberOf(bytes);
        if (sent.get(number) !== digest(bytes)) t.fail(`datagram ${number} is not what was sent`);
        sent.delete(number);
      }
      t.equal(sent.size, 0);
    }
    server.close();
    client.socket.close();
  });

  test('runs of one size with a shorter one behind them', async (t, sockets) => {
    const [from, to] = [new Box(sockets), new Box(sockets)];
    for (const [size, count, last] of [
      [1400, 45, 7],
      [1400, 46, 1400],
      [1200, 130, 1],
      [1, 200, 1],
      [100, 63, 99],
      [100, 64, 1],
      [100, 65, 50],
      [9000, 7, 600],
      [32_000, 3, 10],
    ] as const) {
      to.got.length = 0;
      const sizes = [...new Array<number>(count).fill(size), last, size, 0, size];
      for (const [i, length] of sizes.entries()) t.ok(from.socket.put(payload(i, length), 0, length, '127.0.0.1', to.socket.port));
      t.equal(from.socket.flush(), 0);
      await eventually(() => to.got.length === sizes.length, 5_000, `${count} of ${size}`);
      t.strictSame(
        to.got.map(({ bytes }) => digest(bytes)),
        sizes.map((length, i) => digest(payload(i, length))),
        `${count} of ${size}, then ${last}: in order`,
      );
    }
    if (kind === 'native') t.ok(Math.max(...to.batches) > 40, 'many in one call');
    from.socket.close();
    to.socket.close();
  });

  test('many peers, in turns and in runs', async (t, sockets) => {
    const server = echo(sockets, '127.0.0.1');
    const hub = new Box(sockets);
    const peers = Array.from({ length: 60 }, (_, i) => new Box(sockets, `127.0.0.${1 + (i % 50)}`));
    for (let round = 0; round < 4; round++) {
      for (const [i, peer] of peers.entries()) peer.socket.send(payload(i, 50), 0, 50, '127.0.0.1', server.port);
      await eventually(() => peers.every((peer) => peer.got.length === round + 1));
    }
    for (const [i, peer] of peers.entries()) t.ok(peer.got.every(({ bytes }) => digest(bytes) === digest(payload(i, 50))));
    for (const peer of peers) peer.send(payload(0, 9), hub);
    await eventually(() => hub.got.length === peers.length);
    t.equal(new Set(hub.got.map(({ peer }) => peer)).size, peers.length);
    // One call with a datagram for each, and then runs.
    for (const [i, { peer }] of hub.got.entries()) hub.socket.put(payload(i, 300), 0, 300, peer.host, peer.port);
    for (let i = 0; i < peers.length * 3; i++) {
      const to = peers[Math.floor(i / 3)]?.socket.port ?? 0;
      hub.socket.put(payload(i, 60), 0, 60, `127.0.0.${1 + (Math.floor(i / 3) % 50)}`, to);
    }
    t.equal(hub.socket.flush(), 0);
    await eventually(() => peers.every((peer) => peer.got.length === 8));
    for (const peer of [server, hub.socket, ...peers.map(({ socket }) => socket)]) peer.close();
  });

  test('two sockets gather at the same time', async (t, sockets) => {
    const [a, b, to] = [new Box(sockets), new Box(sockets), new Box(sockets)];
    for (let i = 0; i < 20; i++) for (const from of [a, b]) t.ok(from.socket.put(payload(i, 10), 0, 10, '127.0.0.1', to.socket.port));
    t.equal(a.socket.flush() + b.socket.flush(), 0);
    await eventually(() => to.got.length === 40);
    for (const { socket } of [a, b]) t.equal(to.got.filter(({ peer }) => peer.port === socket.port).length, 20);
    for (const { socket } of [a, b, to]) socket.close();
  });

  test('a port that nobody has does not end the socket', async (t, sockets) => {
    const gone = new Box(sockets);
    const [client, server] = [new Box(sockets), echo(sockets, '127.0.0.1')];
    gone.socket.close();
    for (let i = 0; i < 5; i++) {
      client.send(payload(i, 10), gone);
      client.socket.send(payload(i, 10), 0, 10, '127.0.0.1', server.port);
      await eventually(() => client.got.length === i + 1);
    }
    t.strictSame(client.errors, []);
    server.close();
    client.socket.close();
  });

  test('closed in the middle of traffic, also by its own handler', async (t, sockets) => {
    const from = new Box(sockets);
    for (let round = 0; round < 20; round++) {
      let got = 0;
      const to = sockets.bindUdp(
        { host: '127.0.0.1', port: 0 },
        {
          received: ({ length }) => {
            got += length;
            if (got > 10) to.close();
          },
          failed: () => t.fail('it was closed, not broken'),
        },
      );
      for (let i = 0; i < 200; i++) from.socket.put(payload(i, i % 90), 0, i % 90, '127.0.0.1', to.port);
      from.socket.flush();
      if (round % 2 === 0) await eventually(() => got > 10);
      to.close();
      to.close();
      t.notOk(to.send(payload(0, 1), 0, 1, '127.0.0.1', from.socket.port));
      t.equal(to.flush(), 0);
      const before = got;
      await new Promise((resolve) => setImmediate(resolve));
      t.equal(got, before, 'nothing after it was closed');
    }
    from.socket.close();
  });

  test('a port that is taken, an address that is none of ours', async (t, sockets) => {
    const first = new Box(sockets);
    const handlers: UdpHandlers = { received: () => {}, failed: () => {} };
    t.throws(() => sockets.bindUdp({ host: '127.0.0.1', port: first.socket.port }, handlers), { code: 'EADDRINUSE' });
    t.throws(() => sockets.bindUdp({ host: '192.0.2.1', port: 0 }, handlers), { code: 'EADDRNOTAVAIL' });
    // Each family by itself.
    const any = sockets.bindUdp({ host: '0.0.0.0', port: 0 }, handlers);
    const six = sockets.bindUdp({ host: '::', port: any.port }, handlers);
    t.equal(six.port, any.port);
    if (kind === 'native') {
      const shared = sockets.bindUdp({ host: '127.0.0.1', port: 0, reusePort: true }, handlers);
      sockets.bindUdp({ host: '127.0.0.1', port: shared.port, reusePort: true }, handlers).close();
      shared.close();
    } else {
      t.throws(() => sockets.bindUdp({ host: '127.0.0.1', port: 0, reusePort: true }, handlers), { code: 'NATIVE_NEEDED' });
      t.throws(() => sockets.bindUdp({ host: '127.0.0.1', port: 0, mark: 1 }, handlers), { code: 'NATIVE_NEEDED' });
    }
    for (const socket of [any, six, first.socket]) socket.close();
  });

  test('what cannot be sent is dropped, and the rest goes on', async (t, sockets) => {
    const [from, to] = [new Box(sockets), new Box(sockets)];
    // Bound to the loopback address: the way out is not there, or not allowed.
    let dropped = 0;
    for (let i = 0; i < 10; i++) {
      from.socket.put(payload(i, 100), 0, 100, '127.0.0.1', to.socket.port);
      if (!from.socket.put(payload(i, 100), 0, 100, '192.0.2.1', 9)) dropped++;
    }
    dropped += from.socket.flush();
    await eventually(() => to.got.length === 10);
    await eventually(() => dropped + from.lost === 10, 1_000, 'all of them are counted');
    t.strictSame(from.errors, []);
    from.socket.close();
    to.socket.close();
  });

  test('a flood is bounded: what does not fit is dropped by the system, and it goes on', async (t, sockets) => {
    const [from, to] = [new Box(sockets), new Box(sockets)];
    let refused = 0;
    for (let i = 0; i < 20_000; i++) if (!from.socket.put(payload(i, 1400), 0, 1400, '127.0.0.1', to.socket.port)) refused++;
    refused += from.socket.flush();
    await eventually(() => to.got.length > 0);
    for (let before = -1; before !== to.got.length; await new Promise((resolve) => setTimeout(resolve, 30))) before = to.got.length;
    t.ok(to.got.length + refused <= 20_000);
    t.ok(to.got.every(({ bytes }) => digest(bytes) === digest(payload(numberOf(bytes), 1400))));
    const before = to.got.length;
    t.ok(from.send(payload(1, 1400), to));
    await eventually(() => to.got.length === before + 1);
    from.socket.close();
    to.socket.close();
  });
}

suite('node', () => openSockets(null));
if (addon !== null) suite('native', () => openSockets(addon));
else t.test('native', { skip: 'the addon is not there' }, async () => {});

if (addon !== null) {
  t.test('native: a worker that is ended in the middle of traffic leaves nothing behind', async (t) => {
    const descriptors = (): number => readdirSync('/proc/self/fd').length;
    let before = 0;
    for (let i = 0; i < 6; i++) {
      const worker = new Worker(ENDLESS, { eval: true, workerData: new URL('../../dist/native/', import.meta.url).href });
      await once(worker, 'message');
      await worker.terminate();
      if (i === 0) before = descriptors(); // what Node itself opens with its first worker
    }
    await eventually(() => descriptors() <= before);
    t.ok(descriptors() <= before, 'nothing is left open');
  });

  t.test('native and node: runs reach a socket that knows of none, and its single datagrams come back', async (t) => {
    const [native, node] = [openSockets(addon), openSockets(null)];
    for (const host of ['127.0.0.1', '::1']) {
      const client = new Box(native, host);
      const server = echo(node, host);
      for (let i = 0; i < 90; i++) client.socket.put(payload(i, i === 89 ? 3 : 1200), 0, i === 89 ? 3 : 1200, host, server.port);
      t.equal(client.socket.flush(), 0);
      await eventually(() => client.got.length === 90);
      for (const [i, { bytes }] of client.got.entries()) if (digest(bytes) !== digest(payload(i, i === 89 ? 3 : 1200))) t.fail(`datagram ${i}`);
      client.socket.close();
      server.close();
    }
    native.close();
    node.close();
  });

  t.test('native: the system holds 2,000 datagrams while nobody looks after them', { skip: unlessLargeBuffers() }, async (t) => {
    const sockets = openSockets(addon);
    const [from, to] = [new Box(sockets), new Box(sockets)];
    t.teardown(() => {
      from.socket.close();
      to.socket.close();
      sockets.close();
    });
    for (let i = 0; i < 2_000; i++) from.send(payload(i, 1_400), to);
    const dropped = dropsOf(to.socket.port); // by the socket: on its way, a busy loopback drops what is above net.core.netdev_max_backlog
    await eventually(() => to.got.length >= 2_000, 5_000, `${to.got.length} of 2000`).catch(() => {});
    t.equal(dropped, 0);
    t.ok(to.got.length > 900, `${to.got.length} came`);
  });

  t.test('native: streams and datagrams share a slab, and neither starves', async (t) => {
    const sockets = openSockets(addon);
    const large = 100_000_000;
    let streamed = 0;
    /** All ends of the streams: nothing may be under way when the sockets are closed. */
    const ends: Promise<unknown>[] = [];
    const listener = await sockets.listen(
      { host: '127.0.0.1', port: 0, backlog: 64 },
      {
        connection: (incoming) => {
          const stream = incoming.open(
            () => {},
            () => {},
          );
          const receive = async (): Promise<void> => {
            for (let chunks = await stream.read(); chunks !== null; chunks = await stream.read()) for (const chunk of chunks) streamed += chunk.length;
            await stream.closeWrite();
          };
          ends.push(receive());
        },
        failed: () => {},
      },
    );
    const server = echo(sockets, '127.0.0.1');
    const client = new Box(sockets);
    let writing = true;
    const chunk = Buffer.alloc(256 * 1024);
    for (let i = 0; i < 16; i++) {
      sockets.connect(
        '127.0.0.1',
        listener.port,
        {},
        (stream) => {
          const send = async (): Promise<void> => {
            while (writing) await stream.write([chunk]);
            await stream.closeWrite();
            await stream.read();
          };
          ends.push(send());
        },
        () => t.fail('not connected'),
      );
    }
    for (let i = 0; i < 100 || streamed < large; i++) {
      t.ok(client.socket.send(payload(i, 1000), 0, 1000, '127.0.0.1', server.port));
      await eventually(() => client.got.length === i + 1, 10_000, 'the answer');
    }
    writing = false;
    listener.close();
    server.close();
    client.socket.close();
    await within(Promise.all(ends), 20_000, 'the streams');
    sockets.close();
    t.equal(ends.length, 32);
    t.ok(streamed >= large);
  });
}

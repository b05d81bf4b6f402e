// Listening, connecting and the life of a connection, in both bindings.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { findAddon } from '../../dist/native/load.js';
import { openSockets } from '../../dist/native/open-sockets.js';
import { never } from '../../dist/net/cancel.js';
import { systemClock } from '../../dist/net/clock.js';
import { toNodeSocket } from '../../dist/net/duplex.js';
import { errorCode, isNetError, NetError } from '../../dist/net/errors.js';
import { relay } from '../../dist/net/relay.js';
import type { ListenOptions, Sockets } from '../../dist/net/sockets.js';
import type { Stream } from '../../dist/net/stream.js';
import { StreamReader } from '../../dist/net/stream-reader.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import { pattern, streamConformance } from '../../dist/testing/stream-conformance.js';
import { closedPort } from '../../dist/testing/targets.js';
import { collect, eventually, send, within } from '../../dist/testing/wait.js';
import { type Ended, runChild } from '../support/child.js';
import { connectPair, connectTo, Door, LOOPBACK, openDescriptors, turns } from '../support/pairs.js';
import { testBinding } from './binding.js';

const enough = (): NetError => new NetError('aborted', 'enough', { code: 'ENOUGH' });
const quiet = { connection: () => {}, failed: () => {} };

/** A plain socket of Node's, which is none of those under test. */
async function outside(port: number, host = LOOPBACK): Promise<net.Socket> {
  const socket = net.connect({ port, host, allowHalfOpen: true, noDelay: true });
  socket.on('error', () => socket.destroy());
  await within(once(socket, 'connect'));
  return socket;
}

for (const binding of ['ts', 'native'] as const) {
  testBinding(binding, async (t, sockets) => {
    const addon = findAddon().addon;
    const timers = new TimerWheel(systemClock, 10);
    const listen = (over: Partial<ListenOptions> = {}): ReturnType<Sockets['listen']> =>
      sockets.listen({ host: LOOPBACK, port: 0, backlog: 16, ...over }, quiet);
    const test = (name: string, run: () => Promise<void>): unknown =>
      t.test(name, async () => {
        const before = openDescriptors();
        await run();
        await eventually(() => openDescriptors() <= before, 5_000, `${openDescriptors()} descriptors to be ${before} again`);
      });
    await connectPair(sockets, sockets).then(({ near, stream }) => {
      near.abort(enough());
      stream.abort(enough());
    });

    for (const [host, address] of [
      [LOOPBACK, LOOPBACK],
      ['::1', '::1'],
      ['localhost', null],
      ['::', LOOPBACK],
      ['::', '::1'],
    ] as const) {
      await test(`listens on ${host}, is reached at ${address ?? 'its address'}`, async () => {
        const door = await Door.open(sockets, host);
        assert.ok(door.port > 0);
        const near = await connectTo(sockets, door.port, { host: LOOPBACK }).catch((error: unknown) => {
          assert.ok(address !== LOOPBACK && isNetError(error));
          return connectTo(sockets, door.port, { host: '::1' });
        });
        near.abort(enough());
        const stream = await connectTo(sockets, door.port, { host: address ?? door.accepted[0]?.incoming.local()?.host ?? LOOPBACK }).catch(() =>
          connectTo(sockets, door.port, { host: '::1' }),
        );
        await eventually(() => door.accepted.length === 2);
        const { incoming, stream: far } = door.accepted[1] ?? assert.fail('accepted');
        const local = incoming.local() ?? assert.fail('it has a local address');
        if (address !== null) assert.equal(local.host, address, 'IPv4 in IPv6 is IPv4');
        assert.equal(local.port, door.port);
        assert.equal(incoming.source.host, local.host);
        assert.ok(incoming.source.port > 0 && incoming.source.port !== door.port);
        const [got] = await Promise.all([collect(far), send(stream, Buffer.from('hello'))]);
        assert.equal(got.toString(), 'hello');
        await far.closeWrite();
        assert.equal(await stream.read(), null);
        for (const { stream: one } of door.accepted) one.abort(enough());
        door.close();
      });
    }

    await test('Unix sockets', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'nekit-unix-'));
      const path = join(folder, 'door');
      const door = await Door.open(sockets, path);
      assert.equal(door.port, 0);
      await assert.rejects(listen({ host: path }), { code: 'EADDRINUSE' });
      const near = await connectTo(sockets, 0, { host: path });
      const { incoming, stream: far } = await door.next();
      assert.deepEqual(incoming.source, { host: path, port: 0 });
      const [there, back] = await Promise.all([collect(far), collect(near), send(near, Buffer.from('there')), send(far, Buffer.from('back'))]);
      assert.deepEqual([there.toString(), back.toString()], ['there', 'back']);
      door.close();
      await assert.rejects(connectTo(sockets, 0, { host: path }), (error) => isNetError(error) && error.code === 'ENOENT');
      await rm(folder, { recursive: true });
    });

    await test('an IPv6 address other than :: takes no IPv4', async () => {
      const door = await Door.open(sockets, '::1');
      await assert.rejects(connectTo(sockets, door.port), { code: 'ECONNREFUSED' });
      door.close();
    });

    await test('why it cannot listen', async () => {
      const first = await listen();
      await assert.rejects(listen({ port: first.port }), { code: 'EADDRINUSE' });
      await assert.rejects(listen({ host: '192.0.2.1' }), { code: 'EADDRNOTAVAIL' });
      await assert.rejects(listen({ host: 'no-such-name.invalid' }), (error) => ['ENOTFOUND', 'EAI_AGAIN'].includes(errorCode(error)));
      first.close();
      const again = await listen({ port: first.port });
      again.close();
      if (binding === 'native') {
        const shared = await listen({ reusePort: true });
        (await listen({ reusePort: true, port: shared.port })).close();
        shared.close();
      } else await assert.rejects(listen({ reusePort: true }), { code: 'NATIVE_NEEDED' });
    });

    await test('a port below 1024 without the right to it: EACCES', async () => {
      const ended = await runChild(
        `const root = process.getuid() === 0; // until it ends: tap has its own to do then
         if (root) process.seteuid(65534);
         sockets.listen({ host: '127.0.0.1', port: 1, backlog: 1 }, { connection() {}, failed() {} })
           .then(() => 'it listens', (error) => error.code).then((said) => { if (root) process.seteuid(0); console.log(said); sockets.close(); });`,
        { binding },
      );
      assert.deepEqual(ended, { code: 0, signal: null, stdout: 'EACCES\n', stderr: '' } satisfies Ended);
    });

    await test('why it cannot connect', async () => {
      await assert.rejects(
        connectTo(sockets, await closedPort()),
        (error) => isNetError(error) && error.failure === 'refused' && error.code === 'ECONNREFUSED',
      );
      // No route: a broadcast address, and one of the wrong family to send from.
      await assert.rejects(connectTo(sockets, 9, { host: '255.255.255.255' }), (error) => isNetError(error) && error.failure === 'unreachable');
      await assert.rejects(connectTo(sockets, 9, { sourceAddress: '192.0.2.1' }), (error) => isNetError(error) && error.code === 'EADDRNOTAVAIL');
    });

    await test('sends from the address that it is told', async () => {
      const door = await Door.open(sockets);
      const near = await connectTo(sockets, door.port, { sourceAddress: '127.0.0.2', keepAliveSeconds: 60 });
      const far = await door.next();
      assert.equal(far.incoming.source.host, '127.0.0.2');
      near.abort(enough());
      far.stream.abort(enough());
      door.close();
    });

    await test('a connect that is given up calls nobody, whenever that is, and leaves nothing', async () => {
      const door = await Door.open(sockets);
      const refused = await closedPort();
      let told = 0;
      for (const port of [door.port, refused]) {
        for (let wait = 0; wait < 20; wait++) {
          let opened: Stream | null = null;
          let failed = 0;
          const giveUp = sockets.connect(
            LOOPBACK,
            port,
            {},
            (stream) => {
              opened = stream;
              told++;
            },
            () => {
              failed++;
              told++;
            },
          );
          await turns(wait % 4);
          const before = told;
          giveUp();
          giveUp();
          await turns(3);
          assert.equal(told, before);
          (opened as Stream | null)?.abort(enough());
          assert.ok(failed <= 1);
        }
      }
      // Refused in the call itself.
      const giveUp = sockets.connect(
        LOOPBACK,
        9,
        { sourceAddress: '192.0.2.1' },
        () => assert.fail('opened'),
        () => assert.fail('given up'),
      );
      giveUp();
      await turns(3);
      for (const { stream } of door.accepted) stream.abort(enough());
      door.close();
    });

    await test('a listener that closes at its first connection leaves none of the others behind', async () => {
      let count = 0;
      const listener = await sockets.listen(
        { host: LOOPBACK, port: 0, backlog: 64 },
        {
          connection: (incoming) => {
            count++;
            listener.close();
            incoming.refuse();
          },
          failed: () => {},
        },
      );
      const clients = Array.from({ length: 20 }, () => net.connect(listener.port, LOOPBACK).on('error', () => {}));
      const closed = clients.map((client) => new Promise((resolve) => client.once('close', resolve)));
      await within(Promise.all(closed), 5_000, 'the end of all clients');
      assert.ok(count >= 1);
    });

    await test('refuse is a reset', async () => {
      const listener = await sockets.listen({ host: LOOPBACK, port: 0, backlog: 4 }, { connection: (incoming) => incoming.refuse(), failed: () => {} });
      const client = net.connect(listener.port, LOOPBACK);
      const [error] = (await within(once(client, 'error'))) as [Error];
      assert.equal(errorCode(error), 'ECONNRESET');
      listener.close();
    });

    await test('onAbort and onClose, once each or never, in every end', async () => {
      const door = await Door.open(sockets);
      const begin = async (): Promise<{ client: net.Socket; far: Awaited<ReturnType<Door['next']>> }> => {
        const client = await outside(door.port);
        return { client, far: await door.next() };
      };
      const ends: { name: string; aborts: number; run(client: net.Socket, far: Stream): Promise<void> }[] = [
        { name: 'a reset by the peer, nobody reads', aborts: 1, run: async (client) => void client.resetAndDestroy() },
        {
          name: 'a reset by the peer while a read waits',
          aborts: 1,
          run: async (client, far) => {
            const reading = far.read();
            client.resetAndDestroy();
            await assert.rejects(reading, isNetError);
          },
        },
        {
          name: 'a reset by the peer while a write waits',
          aborts: 1,
          run: async (client, far) => {
            const writing = far.write([Buffer.alloc(32 * 1024 * 1024)]);
            await turns(5);
            client.resetAndDestroy();
            await assert.rejects(writing, isNetError);
          },
        },
        { name: 'our abort', aborts: 0, run: async (_client, far) => far.abort(enough()) },
        {
          name: 'FIN from both, ours first',
          aborts: 0,
          run: async (client, far) => {
            await far.closeWrite();
            client.resume();
            client.end();
            assert.equal(await far.read(), null);
          },
        },
        {
          name: 'FIN from both, ours first, and nobody reads',
          aborts: 0,
          run: async (client, far) => {
            await far.closeWrite();
            client.resume();
            client.end('goodbye');
          },
        },
        {
          name: 'FIN from both, the peer first',
          aborts: 0,
          run: async (client, far) => {
            client.end();
            assert.equal(await far.read(), null);
            client.resume();
            await far.closeWrite();
          },
        },
        {
          name: 'FIN from the peer, then its reset',
          aborts: 1,
          run: async (client, far) => {
            client.end();
            assert.equal(await far.read(), null);
            client.resetAndDestroy();
            await assert.rejects(async () => {
              for (let i = 0; i < 200; i++) {
                await far.write([Buffer.from('x')]);
                await turns(1);
              }
            }, isNetError);
          },
        },
        {
          name: 'given to a relay',
          aborts: 0,
          run: async (client, far) => {
            const target = await connectPair(sockets, sockets);
            client.end('question');
            const done = relay(far, target.near, { signal: never, idleMs: 5_000, halfCloseMs: 5_000, counters: new Float64Array(2), slot: 0 }, timers);
            assert.equal((await collect(target.stream)).toString(), 'question');
            client.resume();
            await target.stream.closeWrite();
            assert.equal((await within(done)).error, null);
          },
        },
        {
          name: 'given to Node',
          aborts: 0,
          run: async (client, far) => {
            const socket = await toNodeSocket(far);
            socket.resume();
            socket.end();
            client.resume();
            client.end();
          },
        },
      ];
      for (const { name, aborts, run } of ends) {
        const { client, far } = await begin();
        await within(run(client, far.stream), 5_000, name);
        await eventually(() => far.closes === 1, 3_000, `${name}: it is told to be closed`);
        client.destroy();
        far.stream.abort(enough());
        await turns(5);
        assert.equal(far.closes, 1, `${name}: closed once`);
        assert.equal(far.aborts.length, aborts, `${name}: aborted ${far.aborts.length} times`);
      }
      door.close();
    });

    await test('FIN comes behind a write that nobody has waited for', async () => {
      const { near, stream } = await connectPair(sockets, sockets);
      const bytes = pattern(8_000_000, 8);
      const writing = near.write([bytes]);
      writing.catch(() => {});
      const finishing = near.closeWrite();
      assert.ok((await within(collect(stream), 10_000)).equals(bytes));
      await finishing;
      if (binding === 'native') await writing; // Node tells of no 'drain' after `end`
      near.abort(enough());
      stream.abort(enough());
    });

    await test('a listener that is closed lets its connections live', async () => {
      const { near, stream } = await connectPair(sockets, sockets);
      await near.write([Buffer.from('still here')]);
      assert.equal(Buffer.concat((await stream.read()) ?? []).toString(), 'still here');
      near.abort(enough());
      stream.abort(enough());
    });

    await test('toNodeSocket: bytes, half-close, what was unread, abort', async () => {
      const bytes = pattern(3_000_000, 9);
      const opened = async (first: string): Promise<{ node: Duplex; far: Stream; stream: Stream }> => {
        const { near, stream: far } = await connectPair(sockets, sockets);
        await far.write([Buffer.from(first)]);
        const reader = new StreamReader(near);
        assert.equal(Buffer.from(await reader.peek(first.length)).toString(), first);
        await reader.exactly(1);
        const stream = reader.release();
        const node = await toNodeSocket(stream);
        node.on('error', () => {});
        if (binding === 'native') assert.ok(node instanceof net.Socket);
        return { node, far, stream };
      };
      const { node, far } = await opened('!unread ');
      const parts: Buffer[] = [];
      node.on('data', (part: Buffer) => parts.push(part));
      const [got] = await Promise.all([
        collect(far),
        (async () => {
          node.end(bytes);
          await once(node, 'finish');
        })(),
      ]);
      assert.ok(got.equals(bytes));
      await Promise.all([send(far, Buffer.from('after its FIN')), once(node, 'end')]);
      assert.equal(Buffer.concat(parts).toString(), 'unread after its FIN');
      await eventually(() => node.destroyed);

      const aborted = await opened('!x');
      aborted.node.resume(); // a Duplex hears of it when it reads
      aborted.stream.abort(enough());
      await eventually(() => aborted.node.destroyed);
      await assert.rejects(async () => {
        for (let chunks = await aborted.far.read(); chunks !== null; chunks = await aborted.far.read());
        throw enough(); // a closed socket with unread bytes resets, without any it says FIN: both are an end
      }, isNetError);
      aborted.far.abort(enough());

      const reset = await opened('!x');
      reset.node.resume();
      reset.far.abort(enough());
      await eventually(() => reset.node.destroyed || reset.node.readableEnded);
      reset.node.destroy();

      const failed = await connectPair(sockets, sockets);
      failed.near.abort(enough());
      if (binding === 'native') await assert.rejects(toNodeSocket(failed.near), isNetError);
      failed.stream.abort(enough());
    });

    await t.test('streams: both ends of these sockets', async (t) => {
      streamConformance(
        (name, run) => t.test(name, run),
        async () => {
          const { near, stream } = await connectPair(sockets, sockets);
          return { a: near, b: stream };
        },
      );
    });
    if (binding === 'native') {
      await t.test("streams: one end of these, one of Node's", async (t) => {
        const node = openSockets(null);
        streamConformance(
          (name, run) => t.test(name, run),
          async () => {
            const { near, stream } = await connectPair(sockets, node);
            return { a: near, b: stream };
          },
        );
      });
    }

    await t.test('close with open streams, listeners and attempts lets the process end', async () => {
      const ended = await runChild(
        `const door = await sockets.listen({ host: '127.0.0.1', port: 0, backlog: 4 }, { connection: (incoming) => { incoming.open(() => {}, () => {}); }, failed() {} });
         const stream = await new Promise((resolve, reject) => sockets.connect('127.0.0.1', door.port, {}, resolve, reject));
         stream.write([Buffer.alloc(100)]).catch(() => {});
         stream.read().catch(() => {});
         sockets.connect('127.0.0.1', door.port, {}, (late) => late.abort(new Error('late')), () => {});
         door.close();
         sockets.close();
         sockets.close();
         stream.abort(new Error('after it was closed'));
         await stream.write([Buffer.alloc(1)]).then(() => console.log('written'), () => console.log('rejected'));
         ${binding === 'ts' ? 'setTimeout(() => process.exit(0), 100);' : ''}`,
        { binding, abrupt: binding === 'ts' },
      );
      assert.deepEqual({ ...ended, stderr: '' }, { code: 0, signal: null, stdout: 'rejected\n', stderr: '' } satisfies Ended, ended.stderr);
    });

    await t.test('no descriptors left: it says so now and then, and goes on when there are some', async () => {
      const ended = await runChild(EXHAUSTION, { binding, descriptors: 64 });
      assert.equal(ended.code, 0, ended.stderr);
      const said = JSON.parse(ended.stdout) as { failed: Record<string, number>; opened: number; afterwards: number; ms: number };
      if (binding === 'native') {
        assert.ok((said.failed.EMFILE ?? 0) >= 1, 'the listener says it');
        assert.deepEqual(Object.keys(said.failed), ['EMFILE']);
      }
      const told = Object.values(said.failed).reduce((sum, count) => sum + count, 0);
      assert.ok(told <= 20 + said.ms / 50, `${told} times in ${said.ms} ms is a flood`);
      assert.ok(said.opened < 64);
      assert.equal(said.afterwards, 20, 'all that come later are served');
    });
    assert.ok(addon !== null || binding === 'ts');
  });
}

/** A server with too few descriptors for its clients, which are in a process of their own. Prints what happened. */
const EXHAUSTION = `
  const { fork } = await import('node:child_process');
  const failed = {};
  const open = new Set();
  let opened = 0;
  const listener = await sockets.listen({ host: '127.0.0.1', port: 0, backlog: 256 }, {
    connection: (incoming) => {
      opened++;
      const stream = incoming.open(() => open.delete(stream), () => open.delete(stream));
      open.add(stream);
      stream.read().then(async (chunks) => {
        if (chunks !== null) await stream.write(chunks);
        await stream.closeWrite();
      }).catch(() => {});
    },
    failed: (error) => { failed[error.code] = (failed[error.code] ?? 0) + 1; },
  });
  const clients = fork('-', ['--input-type=module'], { stdio: 'ignore', execPath: '/bin/sh', execArgv: ['-c', 'ulimit -n 1024; exec "$0" --input-type=module -e "$1" "$2"', process.execPath, \`
    import net from 'node:net';
    const port = Number(process.env.PORT);
    const hold = Array.from({ length: 100 }, () => net.connect(port, '127.0.0.1').on('error', () => {}));
    process.on('message', async () => {
      for (const socket of hold) socket.destroy();
      let answered = 0;
      const ask = () => new Promise((resolve) => {
        const socket = net.connect(port, '127.0.0.1', () => socket.end('hello'));
        socket.on('data', () => answered++).on('error', () => {}).on('close', resolve);
      });
      // Until the descriptors of those that have left are free again, one may be turned away.
      for (let i = 0; i < 1000 && answered < 5; i++) await ask();
      answered = 0;
      for (let i = 0; i < 20; i++) await ask();
      process.send(answered);
    });
  \`], env: { ...process.env, PORT: String(listener.port) } });
  const began = performance.now();
  const until = async (check) => { for (const end = performance.now() + 10_000; !check() && performance.now() < end; ) await new Promise((r) => setTimeout(r, 10)); };
  await until(() => opened > 20);
  for (let before = -1; before !== opened; await new Promise((r) => setTimeout(r, 300))) before = opened;
  const most = opened;
  const ms = performance.now() - began;
  const told = { ...failed };
  const answer = new Promise((resolve) => clients.once('message', resolve));
  clients.send('go');
  const afterwards = await answer;
  clients.disconnect();
  console.log(JSON.stringify({ failed: told, opened: most, afterwards, ms }));
  listener.close();
  for (const stream of open) stream.abort(new Error('over'));
  sockets.close();
`;

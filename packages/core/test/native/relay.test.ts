// Relays between real sockets, in both bindings: the engine's relay, on the loop and on its thread, and the pumps.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { findAddon } from '../../dist/native/load.js';
import { openSockets } from '../../dist/native/open-sockets.js';
import { CancelSource, never } from '../../dist/net/cancel.js';
import { systemClock } from '../../dist/net/clock.js';
import { isNetError, NetError } from '../../dist/net/errors.js';
import { relay } from '../../dist/net/relay.js';
import type { Sockets } from '../../dist/net/sockets.js';
import type { RelayOptions, Stream, Totals } from '../../dist/net/stream.js';
import { StreamReader } from '../../dist/net/stream-reader.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import { pattern } from '../../dist/testing/stream-conformance.js';
import { collect, eventually, send, within } from '../../dist/testing/wait.js';
import { type Accepted, connectPair, openDescriptors, turns } from '../support/pairs.js';
import { testBinding } from './binding.js';

const MIB = 1024 * 1024;
/** Above it a relay of the engine has gone to its thread (kToThread and a little more). */
const BULK = 1 * MIB;

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const aborted = (): NetError => new NetError('aborted', 'the peer resets', { code: 'PEER' });

/** Threads of this process that carry bulk. */
const relayThreads = (): number => readdirSync('/proc/self/task').filter((id) => readFileSync(`/proc/self/task/${id}/comm`, 'utf8') === 'nekit-relay\n').length;

/** A relay that runs, and its peers, which are none of the sockets under test. */
interface Joined {
  readonly client: Stream;
  readonly server: Stream;
  readonly done: Promise<Totals>;
  readonly counters: Float64Array;
  /** The accepted side of the relay. */
  readonly accepted: Accepted;
}

type Change = (stream: Stream) => Stream | Promise<Stream>;
const same: Change = (stream) => stream;

for (const binding of ['ts', 'native'] as const) {
  testBinding(binding, async (t, sockets) => {
    // Peers that tell FIN from RST exactly, which libuv does not: bytes with RST behind them are bytes and FIN to it (uv__stream_io: POLLHUP after a
    // partial read is EOF). Nor does it see a reset while nobody reads and nobody writes. So some of this asks too much of `ts`.
    const world = openSockets(findAddon().addon);
    const native = binding === 'native';
    const timers = new TimerWheel(systemClock, 5);
    const counters = new Float64Array(4);

    const join = async (over: Partial<RelayOptions> = {}, left: Change = same, right: Change = same, from: Sockets = sockets): Promise<Joined> => {
      const accepted = await connectPair(world, sockets);
      const target = await connectPair(from, world);
      if (over.counters === undefined) counters.fill(0);
      const options: RelayOptions = { signal: never, idleMs: 20_000, halfCloseMs: 20_000, counters, slot: 2, ...over };
      const done = relay(await left(accepted.stream), await right(target.near), options, timers);
      return { client: accepted.near, server: target.stream, done: within(done, 20_000, 'the relay'), counters: options.counters, accepted };
    };
    const start = (left: Stream, right: Stream, ms = 20_000): Promise<Totals> => {
      counters.fill(0);
      return within(relay(left, right, { signal: never, idleMs: ms, halfCloseMs: ms, counters, slot: 2 }, timers), 20_000, 'the relay');
    };
    const test = (name: string, run: () => Promise<void>): unknown =>
      t.test(name, async () => {
        const before = openDescriptors();
        await run();
        await eventually(() => openDescriptors() <= before, 5_000, `${openDescriptors()} descriptors to be ${before} again`);
        assert.equal(timers.size, 0);
      });
    const resetOf = async (stream: Stream): Promise<void> => {
      await assert.rejects(within(collect(stream), 5_000, 'a reset'), (error) => isNetError(error) && (error.code === 'ECONNRESET' || error.code === 'EPIPE'));
    };
    /** So many bytes have gone up, and nothing else happens. */
    const grow = async ({ client, server }: Joined, bytes: number): Promise<void> => {
      const sending = (async () => {
        for (let sent = 0; sent < bytes; sent += 64 * 1024) await client.write([Buffer.alloc(Math.min(64 * 1024, bytes - sent), 1)]);
      })();
      for (let got = 0; got < bytes; ) for (const chunk of (await server.read()) ?? assert.fail('ended')) got += chunk.length;
      await sending;
    };

    /** `count` relays at once that carry bulk both ways. */
    const crowd = async (count: number): Promise<void> => {
      const all = await Promise.all(Array.from({ length: count }, () => join({ counters: new Float64Array(4) })));
      await Promise.all(
        all.map(async ({ client, server, done }, i) => {
          const [up, down] = [pattern(5 * BULK, i), pattern(4 * BULK, 100 + i)];
          const [atServer, atClient] = await Promise.all([collect(server), collect(client), send(client, up), send(server, down)]);
          assert.equal(digest(atServer), digest(up));
          assert.equal(digest(atClient), digest(down));
          assert.deepEqual(await done, { up: up.length, down: down.length, error: null });
        }),
      );
    };

    await crowd(8); // what is made once is made: the engine, its threads, their pipes

    await test('many relays at once share a few threads', async () => {
      await crowd(20);
      if (native && process.platform === 'linux') assert.equal(relayThreads(), Math.min(availableParallelism(), 4));
    });

    for (const size of [0, 1, 64 * 1024, 10 * MIB]) {
      await test(`${size} bytes both ways at once`, async () => {
        const joined = await join();
        const { client, server, done } = joined;
        const up = pattern(size, 1);
        const down = pattern(size, 2);
        const [atServer, atClient] = await Promise.all([collect(server), collect(client), send(client, up, 100_000), send(server, down)]);
        assert.equal(digest(atServer), digest(up));
        assert.equal(digest(atClient), digest(down));
        assert.deepEqual(await done, { up: size, down: size, error: null });
        assert.deepEqual([...counters], [0, 0, size, size]);
        await eventually(() => joined.accepted.closes === 1);
        assert.deepEqual(joined.accepted.aborts, []);
      });
    }

    for (const bytes of [10, 2 * BULK]) {
      const size = bytes > 10 ? 'bulk' : 'small';
      await test(`half-close each way: ${size}`, async () => {
        for (const swapped of [false, true]) {
          const { client, server, done } = await join();
          const [first, second] = swapped ? [server, client] : [client, server];
          const question = pattern(bytes, 3);
          const [asked] = await Promise.all([collect(second), send(first, question, 50_000)]);
          assert.equal(digest(asked), digest(question));
          await turns(3);
          const [answered] = await Promise.all([collect(first), send(second, question, 50_000)]);
          assert.equal(digest(answered), digest(question));
          assert.deepEqual(await done, { up: bytes, down: bytes, error: null });
        }
      });

      await test(`a reset by either side, in every phase, resets the other: ${size}`, async () => {
        for (const phase of ['open', 'I have ended', 'the other has ended', 'unread behind it'] as const) {
          if (phase === 'unread behind it' && !native) continue;
          for (const swapped of [false, true]) {
            const joined = await join();
            await grow(joined, bytes);
            const [mine, other] = swapped ? [joined.server, joined.client] : [joined.client, joined.server];
            if (phase === 'I have ended') {
              await mine.closeWrite();
              assert.equal(await within(other.read()), null);
            } else if (phase === 'the other has ended') {
              await other.closeWrite();
              assert.equal(await within(mine.read()), null);
            } else if (phase === 'unread behind it') {
              await mine.write([Buffer.alloc(1000)]);
              await turns(2);
            }
            mine.abort(aborted());
            let running = true;
            const telling = (async () => {
              while (phase === 'I have ended' && !native && running) {
                await other.write([Buffer.alloc(1000)]); // it shows to who writes
                await turns(1);
              }
            })().catch((thrown: unknown) => assert.ok(isNetError(thrown)));
            const { error } = await joined.done;
            running = false;
            await telling;
            assert.ok(error !== null, `${phase}: an error`);
            if (phase === 'I have ended') {
              // The system's word for a reset behind FIN is EPIPE; to the other side it is a reset.
              assert.ok(['ECONNRESET', 'EPIPE'].includes(error.code), `${phase}: ${error.code}`);
              await assert.rejects(async () => {
                for (let i = 0; i < 1000; i++) {
                  await other.write([Buffer.alloc(1000)]);
                  await turns(1);
                }
              }, isNetError);
            } else {
              assert.equal(error.code, 'ECONNRESET', phase);
              await resetOf(other);
            }
            other.abort(aborted());
          }
        }
      });

      await test(`silence: idle, half-close, and neither while bytes flow: ${size}`, async () => {
        const idle = await join({ idleMs: 500 });
        await grow(idle, bytes);
        for (let i = 0; i < 7; i++) {
          await idle.server.write([Buffer.from('x')]);
          await idle.client.read();
          await new Promise((resolve) => setTimeout(resolve, 90));
        }
        const began = performance.now();
        const { error } = await idle.done;
        assert.equal(error?.failure, 'timeout');
        assert.equal(error?.code, 'IDLE_TIMEOUT');
        assert.ok(performance.now() - began < 5_000);
        await resetOf(idle.client);
        await resetOf(idle.server);
        const half = await join({ halfCloseMs: 60 });
        await grow(half, bytes);
        await half.client.closeWrite();
        assert.equal(await within(half.server.read()), null);
        assert.equal((await half.done).error?.code, 'IDLE_TIMEOUT');
        await resetOf(half.client);
        half.server.abort(aborted());
      });

      await test(`the signal, before, at and during it: ${size}`, async () => {
        const before = new CancelSource();
        before.cancel(new NetError('aborted', 'too late', { code: 'STOPPED' }));
        const early = await join({ signal: before });
        assert.deepEqual([(await early.done).error?.code, (await early.done).up], ['STOPPED', 0]);
        await resetOf(early.client);
        await resetOf(early.server);

        const at = new CancelSource();
        const starting = await join({ signal: at });
        at.cancel(new NetError('aborted', 'now', { code: 'STOPPED' }));
        assert.equal((await starting.done).error?.code, 'STOPPED');
        await resetOf(starting.client);
        await resetOf(starting.server);

        for (let i = 0; i < 20; i++) {
          const signal = new CancelSource();
          const during = await join({ signal });
          await grow(during, bytes);
          await during.client.write([Buffer.from('an event that comes with the abort')]);
          await turns(i % 3);
          signal.cancel(new NetError('aborted', 'now', { code: 'STOPPED' }));
          const { error, up } = await during.done;
          assert.equal(error?.code, 'STOPPED');
          assert.ok(up >= bytes);
          await resetOf(during.client);
          if (world.kind === 'native') await resetOf(during.server);
          else during.server.abort(aborted()); // bytes and a reset are bytes and FIN to libuv
        }
      });

      await test(`counters tell while it runs: ${size}`, async () => {
        const joined = await join();
        await grow(joined, bytes);
        assert.equal(counters[2], bytes);
        await joined.server.write([Buffer.alloc(77)]);
        await joined.client.read();
        await eventually(() => counters[3] === 77);
        await Promise.all([joined.client.closeWrite(), joined.server.closeWrite()]);
        await Promise.all([collect(joined.client), collect(joined.server)]);
        assert.deepEqual(await joined.done, { up: bytes, down: 77, error: null });
      });
    }

    await test('a slow reader stalls the sender, and memory stays bounded', async () => {
      const { client, server, done } = await join();
      const rss = process.memoryUsage.rss();
      let sent = 0;
      const total = 200 * MIB;
      const chunk = Buffer.alloc(256 * 1024, 7);
      const sending = (async () => {
        for (; sent < total; sent += chunk.length) await client.write([Buffer.from(chunk)]);
        await client.closeWrite();
      })();
      for (let before = -1; before !== sent; await new Promise((resolve) => setTimeout(resolve, 100))) before = sent;
      assert.ok(sent < 64 * MIB, `${sent} bytes were taken without a reader`);
      assert.ok(process.memoryUsage.rss() - rss < 64 * MIB, 'memory grew');
      let received = 0;
      for (let chunks = await server.read(); chunks !== null; chunks = await server.read()) for (const part of chunks) received += part.length;
      await sending;
      await server.closeWrite();
      assert.equal(await client.read(), null);
      assert.deepEqual([received, (await done).up], [total, total]);
    });

    /** What libuv does not tell: see README, limits. */
    const nativeOnly = (name: string, run: () => Promise<void>): unknown =>
      native ? test(name, run) : t.test(name, { skip: 'libuv does not tell a reset behind bytes from FIN' }, () => Promise.resolve());
    await nativeOnly('a reset behind bytes that cannot be delivered is found', async () => {
      const { client, server, done } = await join();
      let failed: unknown = null;
      const sending = (async () => {
        for (;;) await client.write([Buffer.alloc(256 * 1024)]);
      })().catch((error: unknown) => {
        failed = error;
      });
      for (let before = -1; before !== counters[2]; await new Promise((resolve) => setTimeout(resolve, 60))) before = counters[2] ?? 0;
      client.abort(aborted()); // nobody reads at the server
      await sending;
      assert.ok(isNetError(failed));
      assert.equal((await done).error?.code, 'ECONNRESET');
      await resetOf(server);
    });

    await test('unread bytes in front, on both sides', async () => {
      const [up, down] = [pattern(300_000, 4), pattern(200_000, 5)];
      const accepted = await connectPair(world, sockets);
      const target = await connectPair(sockets, world);
      const sending = [send(accepted.near, up), send(target.stream, down)];
      const peeked = async (stream: Stream, bytes: number): Promise<Stream> => {
        const reader = new StreamReader(stream);
        await reader.peek(bytes);
        return reader.release();
      };
      const [left, right] = [await peeked(accepted.stream, 100_000), await peeked(target.near, 10)];
      const done = start(left, right);
      const [atServer, atClient] = await within(Promise.all([collect(target.stream), collect(accepted.near), ...sending]), 10_000, 'the bytes');
      assert.equal(digest(atServer), digest(up));
      assert.equal(digest(atClient), digest(down));
      assert.deepEqual(await done, { up: up.length, down: down.length, error: null });
    });

    await test('unread bytes and FIN before it begins', async () => {
      const accepted = await connectPair(world, sockets);
      const target = await connectPair(sockets, world);
      await send(accepted.near, Buffer.from('request'));
      const reader = new StreamReader(accepted.stream);
      assert.equal((await reader.peek(100)).length, 7); // it has read FIN
      const done = start(reader.release(), target.near);
      assert.equal((await within(collect(target.stream))).toString(), 'request');
      await send(target.stream, Buffer.from('response'));
      assert.equal((await within(collect(accepted.near))).toString(), 'response');
      assert.deepEqual(await done, { up: 7, down: 8, error: null });
    });

    await nativeOnly('one side has said FIN before it begins, and bytes come while the other is still written to', async () => {
      const accepted = await connectPair(world, sockets);
      const target = await connectPair(sockets, world);
      await accepted.stream.closeWrite();
      const early = Buffer.alloc(8 * MIB, 9);
      const writing = target.near.write([early]); // more than the kernel takes: the relay waits for it
      const done = start(accepted.stream, target.near);
      await accepted.near.write([Buffer.from('while it waits ')]);
      await turns(5);
      await Promise.all([accepted.near.write([Buffer.from('and later')]).then(() => accepted.near.closeWrite()), target.stream.closeWrite()]);
      const got = await within(collect(target.stream), 10_000, 'the bytes');
      await writing;
      assert.equal(got.subarray(early.length).toString(), 'while it waits and later');
      assert.equal(await accepted.near.read(), null);
      assert.deepEqual(await done, { up: 24, down: 0, error: null });
    });

    await nativeOnly('a reset while it waits for the other side to be written is found', async () => {
      const accepted = await connectPair(world, sockets);
      const target = await connectPair(sockets, world);
      const writing = target.near.write([Buffer.alloc(8 * MIB, 9)]);
      const done = start(accepted.stream, target.near, 3_000);
      await turns(2);
      accepted.near.abort(aborted());
      await turns(5);
      await Promise.all([
        writing.catch((error: unknown) => assert.ok(isNetError(error))),
        resetOf(target.stream),
        done.then(({ error }) => assert.equal(error?.code, 'ECONNRESET')),
      ]);
    });

    await test('a conn of another engine: the pumps take over', async () => {
      for (const bytes of [100, 3 * MIB]) {
        const foreign = await join({}, same, same, world);
        const [up, down] = [pattern(bytes, 6), pattern(bytes + 1, 7)];
        const [atServer, atClient] = await Promise.all([
          collect(foreign.server),
          collect(foreign.client),
          send(foreign.client, up, 70_000),
          send(foreign.server, down),
        ]);
        assert.equal(digest(atServer), digest(up));
        assert.equal(digest(atClient), digest(down));
        assert.deepEqual(await foreign.done, { up: bytes, down: bytes + 1, error: null });
      }
      for (const swapped of [false, true]) {
        const { client, server, done } = await join({}, same, same, world);
        const [mine, other] = swapped ? [server, client] : [client, server];
        await mine.write([Buffer.from('x')]);
        await other.read();
        mine.abort(aborted());
        await resetOf(other);
        assert.equal((await done).error?.code, 'ECONNRESET');
      }
      const idle = await join({ idleMs: 50 }, same, same, world);
      assert.equal((await idle.done).error?.code, 'IDLE_TIMEOUT');
      await resetOf(idle.client);
      await resetOf(idle.server);
    });

    await test('300 flows beside one that carries bulk: none starves', async () => {
      const bulk = await join({ slot: 0, counters: new Float64Array(2) });
      let running = true;
      const pushing = (async () => {
        const chunk = Buffer.alloc(256 * 1024);
        while (running) await bulk.client.write([Buffer.from(chunk)]);
        await bulk.client.closeWrite();
      })();
      const pulling = collectCount(bulk.server);
      await eventually(() => (bulk.counters[0] ?? 0) > 4 * BULK);
      const many = new Float64Array(2 * 300);
      const flows: Joined[] = [];
      for (let i = 0; i < 300; i++) flows.push(await join({ slot: 2 * i, counters: many }));
      let slowest = 0;
      for (let round = 0; round < 3; round++) {
        await Promise.all(
          flows.map(async ({ client, server }, i) => {
            const began = performance.now();
            const text = Buffer.from(`flow ${i} round ${round}`);
            await client.write([text]);
            const asked = await server.read();
            assert.equal(Buffer.concat(asked ?? []).toString(), text.toString());
            await server.write([text]);
            const answered = await client.read();
            assert.equal(Buffer.concat(answered ?? []).toString(), text.toString());
            slowest = Math.max(slowest, performance.now() - began);
          }),
        );
      }
      assert.ok(slowest < 5_000, `one round took ${slowest} ms`);
      await Promise.all(flows.flatMap(({ client, server }) => [client.closeWrite(), server.closeWrite(), collect(client), collect(server)]));
      for (const { done } of flows) assert.equal((await done).error, null);
      running = false;
      await pushing;
      const received = await pulling;
      await bulk.server.closeWrite();
      await bulk.client.read();
      assert.equal((await bulk.done).up, received);
    });

    world.close();
  });
}

async function collectCount(stream: Stream): Promise<number> {
  let count = 0;
  for (let chunks = await stream.read(); chunks !== null; chunks = await stream.read()) for (const chunk of chunks) count += chunk.length;
  return count;
}

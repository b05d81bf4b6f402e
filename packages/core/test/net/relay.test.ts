import assert from 'node:assert/strict';
import t from 'tap';
import { CancelSource, never } from '../../dist/net/cancel.js';
import { isNetError, NetError } from '../../dist/net/errors.js';
import type { Datagram, PacketConn } from '../../dist/net/packet-conn.js';
import { PacketQueue } from '../../dist/net/packet-queue.js';
import { relay } from '../../dist/net/relay.js';
import { relayPackets } from '../../dist/net/relay-packets.js';
import { staggered } from '../../dist/net/staggered.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import { collect, FakeClock, pattern, pipePair, send, settle, within } from '../../dist/testing.js';
import { brokenStream } from '../support/broken-streams.js';

const options = (over: Partial<Parameters<typeof relay>[2]> = {}): Parameters<typeof relay>[2] => ({
  signal: never,
  idleMs: 60_000,
  halfCloseMs: 10_000,
  counters: new Float64Array(4),
  slot: 2,
  ...over,
});

void t.test('relay', async (t) => {
  const joined = (over: Partial<Parameters<typeof relay>[2]> = {}) => {
    const clock = new FakeClock();
    const timers = new TimerWheel(clock);
    const [client, a] = pipePair();
    const [b, server] = pipePair();
    const given = options(over);
    return { clock, timers, client, server, given, done: relay(a, b, given, timers) };
  };

  await t.test('moves bytes both ways, counts them in the shared array, ends with both FINs', async () => {
    const { client, server, given, done, timers } = joined();
    const up = pattern(500_000, 1);
    const down = pattern(300_000, 2);
    const [gotUp, gotDown] = await Promise.all([collect(server), collect(client), send(client, up), send(server, down)]);
    assert.ok(gotUp.equals(up));
    assert.ok(gotDown.equals(down));
    assert.deepEqual(await done, { up: up.length, down: down.length, error: null });
    assert.deepEqual([...given.counters], [0, 0, up.length, down.length]);
    assert.equal(timers.size, 0);
  });

  await t.test('a stream that moves its bytes itself is given the socket, and a failed detach ends both', async () => {
    const clock = new FakeClock();
    const timers = new TimerWheel(clock);
    const given = options();
    const [stack, client] = pipePair();
    const [remote, server] = pipePair();
    const conn = { abort: () => {} };
    const spliced: unknown[] = [];
    const totals = { up: 1, down: 2, error: null };
    const a = Object.assign(Object.create(stack) as typeof stack, {
      read: () => stack.read(),
      abort: (reason: Error) => stack.abort(reason),
      splice: (remoteConn: unknown, relayOptions: unknown) => {
        spliced.push(remoteConn, relayOptions);
        return Promise.resolve(totals);
      },
    });
    const withNative = (detach: () => Promise<never>) => ({
      read: () => remote.read(),
      write: (chunks: readonly Uint8Array[]) => remote.write(chunks),
      closeWrite: () => remote.closeWrite(),
      abort: (reason: Error) => remote.abort(reason),
      native: { detach },
    });
    assert.equal(
      await relay(
        a,
        withNative(() => Promise.resolve(conn as never)),
        given,
        timers,
      ),
      totals,
    );
    assert.deepEqual(spliced, [conn, given]);
    const failed = relay(
      a,
      withNative(() => Promise.reject(new NetError('aborted', 'gone', { code: 'GONE' }))),
      given,
      timers,
    );
    assert.equal((await failed).error?.code, 'GONE');
    await assert.rejects(client.read(), isNetError);
    await assert.rejects(server.read(), isNetError);
  });

  await t.test('passes a half-close on and goes on the other way', async () => {
    const { client, server, done } = joined();
    await send(client, Buffer.from('request'));
    assert.equal((await collect(server)).toString(), 'request');
    await send(server, Buffer.from('response'));
    assert.equal((await collect(client)).toString(), 'response');
    assert.equal((await done).error, null);
  });

  await t.test('an abort of one end is an abort of the other, never a FIN', async () => {
    const { client, server, done } = joined();
    await client.write([Buffer.from('x')]);
    await server.read();
    client.abort(new NetError('aborted', 'reset'));
    await assert.rejects(server.read(), isNetError);
    assert.equal((await done).error?.failure, 'aborted');
  });

  await t.test('the signal aborts both ends with its reason', async () => {
    const signal = new CancelSource();
    const { client, server, done } = joined({ signal });
    signal.cancel(new NetError('aborted', 'stop', { code: 'STOPPED' }));
    await assert.rejects(client.read(), isNetError);
    await assert.rejects(server.read(), isNetError);
    assert.equal((await done).error?.code, 'STOPPED');
  });

  await t.test('a signal that had fired before aborts at once', async () => {
    const signal = new CancelSource();
    signal.cancel(new NetError('aborted', 'too late', { code: 'STOPPED' }));
    assert.equal((await joined({ signal }).done).error?.code, 'STOPPED');
  });

  await t.test('silence ends it; every byte postpones that', async () => {
    const { client, server, clock, done } = joined();
    let over = false;
    void done.then(() => (over = true));
    await clock.advance(50_000);
    await client.write([Buffer.from('x')]);
    await server.read();
    await clock.advance(59_000);
    assert.equal(over, false);
    await clock.advance(1_200);
    assert.equal((await done).error?.code, 'IDLE_TIMEOUT');
  });

  await t.test('after a FIN the shorter half-close timeout rules', async () => {
    const { client, clock, done } = joined();
    await client.closeWrite();
    await clock.advance(10_200);
    assert.equal((await done).error?.code, 'IDLE_TIMEOUT');
  });

  await t.test('what is written while it fails is counted', async () => {
    let written = (): void => {};
    const [client, near] = pipePair();
    const b = { ...brokenStream(), write: () => new Promise<void>((resolve) => (written = resolve)) };
    const signal = new CancelSource();
    const timers = new TimerWheel(new FakeClock());
    const done = relay(near, b, options({ signal }), timers);
    await client.write([Buffer.from('abc')]);
    await settle();
    signal.cancel(new NetError('aborted', 'enough', { code: 'STOPPED' }));
    written();
    const totals = await within(done);
    assert.equal(totals.up, 3);
    assert.equal(totals.error?.code, 'STOPPED');
    assert.equal(timers.size, 0);
  });

  await t.test('a stream that throws at once has failed, and nothing waits for long for one whose abort throws', async () => {
    for (const calls of [['read'], ['write'], ['closeWrite'], ['abort'], ['read', 'abort'], ['write', 'abort'], ['closeWrite', 'abort']] as const) {
      for (const isClient of [true, false]) {
        const clock = new FakeClock();
        const timers = new TimerWheel(clock);
        const signal = new CancelSource();
        const [peer, near] = pipePair();
        const bad = brokenStream(...calls);
        const done = isClient ? relay(bad, near, options({ signal }), timers) : relay(near, bad, options({ signal }), timers);
        await peer.write([Buffer.from('x')]).catch(() => undefined);
        await peer.closeWrite().catch(() => undefined);
        if (calls[0] === 'abort') signal.cancel(new NetError('aborted', 'abort threw', { code: 'STOPPED' }));
        await settle();
        await clock.advance(1_100);
        assert.equal((await within(done)).error?.message, `${calls[0]} threw`);
        await assert.rejects(peer.read(), isNetError);
        assert.equal(timers.size, 0);
      }
    }
  });

  await t.test('a stream that gives what is none has failed', async () => {
    for (const given of [undefined, 5, new TypeError('none')]) {
      const [, near] = pipePair();
      const bad = { ...brokenStream(), read: () => Promise.resolve(given as never) };
      assert.match((await within(relay(near, bad, options(), new TimerWheel(new FakeClock())))).error?.message ?? '', /iterable|undefined/);
    }
  });

  await t.test('a native end that throws has failed', async () => {
    const broken = (): never => {
      throw new Error('detach threw');
    };
    const [, spliced] = pipePair();
    const stack = Object.assign(spliced, { splice: broken });
    for (const native of [
      { detach: broken },
      { detach: () => Promise.resolve({ abort: broken } as never) },
      { detach: broken, detachNow: () => ({ abort: broken }) as never },
    ])
      for (const a of [stack, { ...brokenStream('abort'), native }]) {
        const totals = await within(relay(a, { ...brokenStream('abort'), native }, options(), new TimerWheel(new FakeClock())));
        assert.ok(totals.error !== null);
      }
  });

  await t.test('backpressure: a reader that stands still stops the writer', async () => {
    const { client, server, done } = joined();
    let written = 0;
    const writing = (async () => {
      for (let i = 0; i < 64; i++) {
        await client.write([new Uint8Array(64 * 1024)]);
        written++;
      }
      await client.closeWrite();
    })();
    await settle();
    assert.ok(written < 8, `${written} chunks were taken`);
    assert.equal((await collect(server)).length, 64 * 64 * 1024);
    await writing;
    await server.closeWrite();
    await collect(client);
    assert.equal((await done).error, null);
  });
});

class MemoryConn implements PacketConn {
  readonly incoming = new PacketQueue();
  readonly sent: Datagram[] = [];
  error: NetError | null = null;
  closed = false;
  limit = Number.POSITIVE_INFINITY;
  receive(): Promise<readonly Datagram[] | null> {
    return this.incoming.take();
  }
  send(datagrams: readonly Datagram[]): number {
    const taken = datagrams.slice(0, Math.max(0, this.limit - this.sent.length));
    this.sent.push(...taken);
    return taken.length;
  }
  close(error?: NetError): void {
    this.closed = true;
    this.error ??= error ?? null;
    this.incoming.end();
  }
}

void t.test('relayPackets', async (t) => {
  const peer = Object.freeze({ host: '192.0.2.1', port: 53 });
  const joined = () => {
    const clock = new FakeClock();
    const timers = new TimerWheel(clock);
    const a = new MemoryConn();
    const b = new MemoryConn();
    const given = options();
    return { clock, timers, a, b, given, done: relayPackets(a, b, given, timers) };
  };

  await t.test('moves datagrams with their peers and counts what was taken', async () => {
    const { a, b, given, done, timers } = joined();
    b.limit = 1;
    a.incoming.put({ bytes: Buffer.from('four'), peer });
    a.incoming.put({ bytes: Buffer.from('dropped'), peer });
    b.incoming.put({ bytes: Buffer.from('answer'), peer });
    await settle();
    assert.equal(b.sent.length, 1);
    assert.equal(b.sent[0]?.peer, peer);
    assert.equal(a.sent.length, 1);
    a.close();
    assert.deepEqual(await done, { up: 4, down: 6, error: null });
    assert.ok(b.closed);
    assert.equal(given.counters[2], 4);
    assert.equal(timers.size, 0);
  });

  await t.test('silence ends it without an error', async () => {
    const { clock, done, a, b } = joined();
    await clock.advance(60_200);
    assert.equal((await done).error, null);
    assert.ok(a.closed && b.closed);
  });

  await t.test('the error of one end is the outcome', async () => {
    const { done, b } = joined();
    b.close(new NetError('unreachable', 'gone'));
    assert.equal((await done).error?.failure, 'unreachable');
  });

  await t.test('a conn whose close throws keeps nothing open', async () => {
    for (const how of ['silence', 'signal', 'end'] as const) {
      const clock = new FakeClock();
      const timers = new TimerWheel(clock);
      const signal = new CancelSource();
      const a = new MemoryConn();
      const bad = Object.assign(new MemoryConn(), {
        close: () => {
          throw new Error('by somebody else');
        },
      });
      const done = relayPackets(a, bad, options({ signal }), timers);
      if (how === 'silence') await clock.advance(60_200);
      else if (how === 'signal') signal.cancel(new NetError('aborted', 'stop', { code: 'STOPPED' }));
      else a.close();
      assert.equal((await within(done)).error?.code, how === 'signal' ? 'STOPPED' : undefined);
      assert.ok(a.closed);
      assert.equal(timers.size, 0);
    }
  });

  await t.test('a conn that has no error has ended without one', async () => {
    const { timers, a, given } = joined();
    const plain = { receive: () => Promise.resolve(null), send: () => 0, close: () => {} };
    assert.equal((await within(relayPackets(a, plain as never, given, timers))).error, null);
  });

  await t.test('a conn that throws ends both', async () => {
    for (const broken of ['send', 'receive'] as const) {
      const { a, b, timers, clock } = joined();
      const bad = Object.assign(new MemoryConn(), {
        [broken]: () => {
          throw new Error('by somebody else');
        },
      });
      a.incoming.put({ bytes: Buffer.from('x'), peer });
      const { error } = await relayPackets(a, bad, options(), timers);
      assert.match(String(error), /by somebody else/);
      assert.ok(a.closed && bad.closed);
      b.close();
      await clock.advance(1);
    }
  });
});

void t.test('PacketQueue drops what does not fit, and says so', async () => {
  const queue = new PacketQueue(2);
  const datagram = { bytes: new Uint8Array(1), peer: { host: '192.0.2.1', port: 1 } };
  assert.deepEqual([queue.put(datagram), queue.put(datagram), queue.put(datagram)], [true, true, false]);
  assert.equal(queue.dropped, 1);
  assert.equal((await queue.take())?.length, 2);
  queue.end();
  assert.equal(await queue.take(), null);
  assert.equal(queue.put(datagram), false);
});

void t.test('queues that share a bound of bytes: what is fetched, or has no reader any more, makes room', async () => {
  const all = { now: 0, most: 3_000 };
  const [one, two] = [new PacketQueue(256, all), new PacketQueue(256, all)];
  const datagram = { bytes: new Uint8Array(1_000 - 128), peer: { host: '192.0.2.1', port: 1 } };
  assert.equal(one.putAll([datagram, datagram]), 2);
  assert.deepEqual([two.put(datagram), two.put(datagram), one.putAll([datagram])], [true, false, 0]);
  assert.deepEqual([one.dropped, two.dropped, all.now], [1, 1, 3_000]);
  assert.equal((await one.take())?.length, 2);
  assert.equal(all.now, 1_000);
  two.end();
  assert.equal(all.now, 0);
  assert.equal((await two.take())?.length, 1, 'it may still be fetched');
  assert.equal(all.now, 0);
  const reading = one.take();
  assert.equal(one.putAll(Array.from({ length: 9 }, () => datagram)), 9, 'what goes to a reader at once does not wait');
  assert.equal(all.now, 0);
  assert.equal((await reading)?.length, 9);
});

void t.test('what one turn brings to a reader that waits goes to it together, whatever the limit', async () => {
  const queue = new PacketQueue(2);
  const datagram = { bytes: new Uint8Array(1), peer: { host: '192.0.2.1', port: 1 } };
  const reading = queue.take();
  assert.equal(queue.put(datagram), true);
  assert.equal(queue.putAll([datagram, datagram, datagram]), 3);
  assert.equal((await reading)?.length, 4);
  assert.equal(queue.putAll([datagram, datagram, datagram]), 2, 'nobody waits');
  assert.equal((await queue.take())?.length, 2);
  const last = queue.take();
  queue.put(datagram);
  queue.end();
  assert.equal(queue.put(datagram), false);
  assert.equal((await last)?.length, 1);
  assert.equal(await queue.take(), null);
});

void t.test('staggered', async (t) => {
  /** Attempts whose outcome the test decides. */
  const scene = (gaps: number[]) => {
    const clock = new FakeClock();
    const signal = new CancelSource();
    const runs: { resolve(value: string): void; reject(error: Error): void; cancelled: Error | null }[] = [];
    const late: string[] = [];
    const attempts = gaps.map((gapMs) => ({
      gapMs,
      run: (cancel: { onCancel(run: (reason: Error) => void): unknown }) =>
        new Promise<string>((resolve, reject) => {
          const run: (typeof runs)[number] = { resolve, reject, cancelled: null };
          cancel.onCancel((reason) => (run.cancelled = reason));
          runs.push(run);
        }),
    }));
    return { clock, signal, runs, late, outcome: staggered(attempts, { clock, signal, discard: (value) => late.push(value) }) };
  };

  await t.test('starts with gaps; the first success cancels the others, and late ones are discarded', async () => {
    const { clock, signal, runs, late, outcome } = scene([0, 250, 250]);
    assert.equal(runs.length, 1);
    await clock.advance(250);
    assert.equal(runs.length, 2);
    runs[1]?.resolve('second');
    assert.equal(await outcome, 'second');
    assert.equal((runs[0]?.cancelled as NetError | null)?.code, 'LOST_RACE');
    signal.cancel(new NetError('aborted', 'afterwards'));
    assert.equal(runs[1]?.cancelled, null, 'the winner has not lost, and is not dialling any more');
    runs[0]?.resolve('first, too late');
    await clock.advance(1_000);
    assert.deepEqual(late, ['first, too late']);
    assert.equal(runs.length, 2);
    assert.equal(clock.pending, 0);
  });

  await t.test('does not wait when nothing is running any more', async () => {
    const { clock, runs, outcome } = scene([0, 10_000]);
    runs[0]?.reject(new NetError('refused', 'no'));
    await settle();
    assert.equal(runs.length, 2);
    runs[1]?.resolve('ok');
    assert.equal(await outcome, 'ok');
    assert.equal(clock.pending, 0);
  });

  await t.test('rejects when all have failed, with all errors', async () => {
    const { clock, runs, outcome } = scene([0, 100]);
    outcome.catch(() => {});
    await clock.advance(100);
    runs[0]?.reject(new NetError('refused', 'no'));
    runs[1]?.reject(new NetError('timeout', 'late'));
    await assert.rejects(
      outcome,
      (error) => isNetError(error) && error.failure === 'timeout' && error.cause instanceof AggregateError && error.cause.errors.length === 2,
    );
  });

  await t.test('the signal cancels all attempts', async () => {
    const { signal, runs, outcome } = scene([0, 100]);
    const reason = new NetError('aborted', 'left', { code: 'CLIENT_LEFT' });
    signal.cancel(reason);
    await assert.rejects(outcome, reason);
    assert.equal(runs[0]?.cancelled, reason);
  });

  await t.test('nothing to try is an error', async () => {
    await assert.rejects(scene([]).outcome, (error) => isNetError(error) && error.code === 'NO_ATTEMPT');
  });
});

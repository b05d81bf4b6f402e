// Connections of another plugin's, whose calls throw where they should reject.
import http from 'node:http';
import { type Adapter, createKernel, definePlugin, type Stream, TimerWheel } from '@nekit/core';
import { FakeClock, settle, within } from '@nekit/core/testing';
import t from 'tap';
import { z } from 'zod';
import { newUpstream, UpstreamPool } from '../dist/inbound/upstream-pool.js';
import plugin from '../dist/plugin.js';

const broken = (what: string) => (): never => {
  throw new Error(`${what} threw`);
};

/** Gives nothing. Its abort ends a read, and throws. */
function silent(calls: Partial<Stream>): Stream {
  let fail: (reason: Error) => void = () => {};
  return {
    read: () => new Promise((_resolve, reject) => (fail = reject)),
    write: () => Promise.resolve(),
    closeWrite: () => Promise.resolve(),
    abort(reason) {
      fail(reason);
      throw new Error('abort threw');
    },
    ...calls,
  };
}

t.test('a forwarded request is answered, and its session ends', async (t) => {
  const streams: Stream[] = [silent({ write: broken('write') }), silent({ read: broken('read') })];
  const other = definePlugin({
    name: 'other',
    api: 1,
    setup: (context) =>
      context.adapter({
        type: 'other',
        config: z.object({}),
        create: (_options, { tag }): Adapter => ({ tag, type: 'other', stream: { dialStream: () => Promise.resolve(streams.shift() ?? silent({})) } }),
      }),
  });
  const kernel = createKernel(
    { listeners: [{ name: 'in', type: 'http', listen: '127.0.0.1', port: 0 }], proxies: [{ name: 'o', type: 'other' }], rules: ['MATCH,o'] },
    { plugins: [plugin, other], timeouts: { firstByte: 300 } }, // what was answered before a write failed is still read
  );
  await kernel.start();
  t.teardown(() => kernel.stop());
  const port = kernel.listeners()[0]?.endpoint?.port;
  while (streams.length > 0) {
    const status = await within(
      new Promise((resolve, reject) => {
        const request = http.get({ host: '127.0.0.1', port, path: 'http://a.test/', agent: false }, (response) => resolve(response.resume().statusCode));
        request.once('error', reject);
      }),
    );
    t.equal(status, 502);
    t.strictSame(kernel.sessions(), []);
  }
});

t.test('one that waits for its next request is dropped all the same', async (t) => {
  for (const drop of ['close', 'byte', 'idle', 'silence'] as const) {
    const clock = new FakeClock();
    const timers = new TimerWheel(clock);
    const pool = new UpstreamPool(timers, 1_000);
    let come: (chunks: readonly Uint8Array[]) => void = () => {};
    const read = (): Promise<readonly Uint8Array[]> => new Promise((resolve) => (come = resolve));
    pool.put(newUpstream(silent(drop === 'idle' ? { read, closeWrite: broken('closeWrite') } : { read }), 'key'));
    if (drop === 'close') pool.close();
    else if (drop === 'byte') come([Uint8Array.of(1)]);
    else await clock.advance(drop === 'idle' ? 1_200 : 5_000);
    await settle();
    t.equal(pool.size, 0, drop);
    if (drop === 'idle') await clock.advance(5_000);
  }
});

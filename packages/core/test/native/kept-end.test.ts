// Who has dialled a connection and given it away: hears of its end, and can still end it. In both bindings.
import assert from 'node:assert/strict';
import { never } from '../../dist/net/cancel.js';
import { systemClock } from '../../dist/net/clock.js';
import { NetError } from '../../dist/net/errors.js';
import { relay } from '../../dist/net/relay.js';
import type { Stream } from '../../dist/net/stream.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import { dialOptions, testContext } from '../../dist/testing/context.js';
import { collect, eventually, within } from '../../dist/testing/wait.js';
import { type Accepted, connectPair, Door, LOOPBACK, turns } from '../support/pairs.js';
import { testBinding } from './binding.js';

const enough = (): NetError => new NetError('aborted', 'enough', { code: 'ENOUGH' });

for (const binding of ['ts', 'native'] as const) {
  testBinding(binding, async (t, sockets) => {
    const timers = new TimerWheel(systemClock, 5);
    const options = () => ({ signal: never, idleMs: 20_000, halfCloseMs: 20_000, counters: new Float64Array(2), slot: 0 });
    const dialled = async (door: Door): Promise<{ near: Stream; far: Accepted; closes(): number }> => {
      let count = 0;
      const { context } = testContext({ sockets });
      const endpoint = { host: LOOPBACK, port: door.port };
      const dialling = context.base.stream?.dialStream(endpoint, dialOptions(endpoint, { closed: () => void count++ })) ?? assert.fail('direct has streams');
      return { near: await within(dialling), far: await door.next(), closes: () => count };
    };

    await t.test('who has dialled is told once that the socket is closed', async () => {
      const door = await Door.open(sockets);
      const ends: { name: string; run(near: Stream, far: Stream): Promise<void> }[] = [
        { name: 'our abort', run: async (near) => near.abort(enough()) },
        {
          name: 'a reset by the peer',
          run: async (near, far) => {
            const reading = near.read();
            far.abort(enough());
            await assert.rejects(reading);
          },
        },
        {
          name: 'FIN from both',
          run: async (near, far) => {
            await far.closeWrite();
            assert.equal(await near.read(), null);
            await near.closeWrite();
            assert.equal(await far.read(), null);
          },
        },
        {
          name: 'the end of a relay that it was given to',
          run: async (near, far) => {
            const client = await connectPair(sockets, sockets);
            const done = relay(client.stream, near, options(), timers);
            await client.near.closeWrite();
            assert.equal((await collect(far)).length, 0);
            await far.closeWrite();
            assert.equal((await collect(client.near)).length, 0);
            assert.equal((await done).error, null);
          },
        },
      ];
      for (const { name, run } of ends) {
        const { near, far, closes } = await dialled(door);
        await turns(2);
        assert.equal(closes(), 0, `${name}: not before`);
        await within(run(near, far.stream), 5_000, name);
        await eventually(() => closes() === 1, 3_000, `${name}: it is told`);
        near.abort(enough());
        far.stream.abort(enough());
        await turns(5);
        assert.equal(closes(), 1, `${name}: once`);
      }
      door.close();
    });

    await t.test('abort of a stream whose bytes somebody else moves tells him', async (t) => {
      const door = await Door.open(sockets);
      const { near, far } = await dialled(door);
      if (near.native !== undefined) {
        const conn = await near.native.detach([]);
        const told: (NetError | null)[] = [];
        conn.listener = { readable: () => {}, writable: () => {}, closed: (error) => void told.push(error) };
        near.abort(enough());
        t.match(told, [{ code: 'ENOUGH' }]);
        conn.abort(enough());
        t.equal(told.length, 1, 'once');
        await assert.rejects(within(far.stream.read()), { code: 'ECONNRESET' });
      }
      near.abort(enough());
      far.stream.abort(enough());
      door.close();
    });

    for (const [size, bytes] of [
      ['on the loop', 1],
      ['in bulk', 4 * 1024 * 1024],
    ] as const) {
      await t.test(`abort of a stream that a relay has ends the relay with the reason: ${size}`, async () => {
        const door = await Door.open(sockets);
        const { near, far, closes } = await dialled(door);
        const client = await connectPair(sockets, sockets);
        const done = relay(client.stream, near, options(), timers);
        const sending = client.near.write([Buffer.alloc(bytes)]);
        for (let got = 0; got < bytes; ) for (const chunk of (await within(far.stream.read())) ?? assert.fail('ended')) got += chunk.length;
        await sending;
        near.abort(enough());
        const { up, error } = await within(done);
        assert.equal(error?.code, 'ENOUGH');
        assert.equal(up, bytes);
        await assert.rejects(within(collect(client.near)));
        await assert.rejects(within(collect(far.stream)));
        await eventually(() => closes() === 1);
        near.abort(new NetError('aborted', 'again', { code: 'AGAIN' }));
        door.close();
      });
    }
  });
}

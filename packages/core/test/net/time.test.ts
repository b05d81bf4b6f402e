import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { CancelSource, never } from '../../dist/net/cancel.js';
import { EndpointTable } from '../../dist/net/endpoint-table.js';
import { FAILURES, isNetError, NekitError, NetError, repliesTo, toNetError } from '../../dist/net/errors.js';
import { Events } from '../../dist/net/events.js';
import { OwnEndpoints } from '../../dist/net/own-endpoints.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import { FakeClock } from '../../dist/testing.js';

void t.test('TimerWheel', async (t) => {
  await t.test('fires once, up to one tick late, never early', async () => {
    const clock = new FakeClock();
    const wheel = new TimerWheel(clock, 100);
    const fired: number[] = [];
    wheel.after(250, () => fired.push(clock.now() - 1_000));
    await clock.advance(249);
    assert.deepEqual(fired, []);
    await clock.advance(151);
    assert.equal(fired.length, 1);
    assert.ok((fired[0] ?? 0) >= 250 && (fired[0] ?? 0) <= 350, `fired after ${fired[0]}`);
  });

  await t.test('random deadlines, moved and cancelled, fire when they should', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ ms: fc.integer({ min: 0, max: 200_000 }), moveTo: fc.option(fc.integer({ min: 0, max: 200_000 })), cancel: fc.boolean() }), {
          maxLength: 30,
        }),
        async (plan) => {
          const clock = new FakeClock(0);
          const wheel = new TimerWheel(clock, 100);
          const fired = new Map<number, number>();
          const expected = plan.map(({ ms, moveTo, cancel }, index) => {
            const deadline = wheel.after(ms, () => fired.set(index, clock.now()));
            if (moveTo !== null) deadline.move(moveTo);
            if (cancel) deadline.cancel();
            return cancel ? null : (moveTo ?? ms);
          });
          await clock.advance(0);
          while (wheel.size > 0 && clock.now() < 300_000) await clock.advance(10_000);
          assert.equal(wheel.size, 0);
          for (const [index, at] of expected.entries()) {
            const when = fired.get(index);
            if (at === null) assert.equal(when, undefined);
            else assert.ok(when !== undefined && when >= at && when <= at + 200, `due ${at}, fired ${when}`);
          }
          assert.equal(clock.pending, 0);
        },
      ),
      { numRuns: 20 },
    );
  });

  await t.test('a later time written into `at` postpones', async () => {
    const clock = new FakeClock();
    const wheel = new TimerWheel(clock, 100);
    let fired = 0;
    const deadline = wheel.after(1_000, () => fired++);
    for (let i = 0; i < 100; i++) {
      deadline.at = clock.now() + 1_000;
      await clock.advance(900);
    }
    assert.equal(fired, 0);
    await clock.advance(300);
    assert.equal(fired, 1);
  });

  await t.test('keeps no timer when it has no deadline', async () => {
    const clock = new FakeClock();
    const wheel = new TimerWheel(clock, 100);
    wheel.after(60_000, () => {}).cancel();
    assert.equal(clock.pending, 0);
    assert.equal(wheel.size, 0);
  });

  await t.test('after a long pause everything due fires, once, and the rest keeps its time', async () => {
    let now = 0;
    let tick: () => void = () => {};
    const after = (_ms: number, run: () => void): (() => void) => {
      tick = run;
      return () => {
        tick = () => {};
      };
    };
    const wheel = new TimerWheel({ now: () => now, after }, 100);
    const fired: string[] = [];
    wheel.after(1_000, () => fired.push('short'));
    wheel.after(3_600_000, () => fired.push('an hour'));
    wheel.after(7_200_000, () => fired.push('two hours'));
    now = 3_600_100; // suspended for an hour
    tick();
    assert.deepEqual(fired.sort(), ['an hour', 'short']);
    for (; now < 7_200_300; now += 100) tick();
    assert.deepEqual(fired.sort(), ['an hour', 'short', 'two hours']);
  });

  await t.test('one that fires may cancel another that is due', async () => {
    const clock = new FakeClock();
    const wheel = new TimerWheel(clock, 100);
    let fired = 0;
    const deadlines = [1, 2].map(() =>
      wheel.after(500, () => {
        fired++;
        for (const deadline of deadlines) deadline.cancel();
      }),
    );
    await clock.advance(1_000);
    assert.equal(fired, 1);
    assert.equal(wheel.size, 0);
  });
});

void t.test('CancelSource', async (t) => {
  const reason = new NetError('aborted', 'enough');
  await t.test('tells listeners once, and late ones at once', async () => {
    const source = new CancelSource();
    const told: Error[] = [];
    source.onCancel((why) => told.push(why));
    source.onCancel((why) => told.push(why))();
    source.cancel(reason);
    source.cancel(new Error('again'));
    source.onCancel((why) => told.push(why));
    assert.deepEqual(told, [reason, reason]);
    assert.equal(source.reason, reason);
  });
  await t.test('a listener that throws keeps neither the others nor who fires', async () => {
    const parent = new CancelSource();
    const source = new CancelSource(parent);
    const told: Error[] = [];
    for (let i = 0; i < 3; i++) {
      source.onCancel(() => {
        throw new Error('a plugin');
      });
      source.onCancel((why) => told.push(why));
    }
    parent.cancel(reason);
    assert.deepEqual(told, [reason, reason, reason]);
  });
  await t.test('follows its parent until released', async () => {
    const parent = new CancelSource();
    const follows = new CancelSource(parent);
    const released = new CancelSource(parent);
    released.release();
    parent.cancel(reason);
    assert.equal(follows.reason, reason);
    assert.equal(released.reason, null);
    assert.equal(new CancelSource(parent).reason, reason);
  });
  await t.test('as an AbortSignal, before and after', async () => {
    const source = new CancelSource();
    const before = source.toAbortSignal();
    assert.equal(before.aborted, false);
    source.cancel(reason);
    assert.equal(before.reason, reason);
    assert.equal(source.toAbortSignal(), before);
    const late = new CancelSource();
    late.cancel(reason);
    assert.equal(late.toAbortSignal().reason, reason);
    assert.equal(never.toAbortSignal().aborted, false);
  });
});

void t.test('errors', async (t) => {
  await t.test('Node errors become NetErrors with the failure that fits and the code they had', async () => {
    const cases: [string, string][] = [
      ['ECONNREFUSED', 'refused'],
      ['EHOSTUNREACH', 'unreachable'],
      ['ENETUNREACH', 'unreachable'],
      ['ETIMEDOUT', 'timeout'],
      ['ENOTFOUND', 'name'],
      ['EAI_AGAIN', 'name'],
      ['ECONNRESET', 'aborted'],
      ['EPIPE', 'aborted'],
      ['DEPTH_ZERO_SELF_SIGNED_CERT', 'protocol'],
      ['ERR_TLS_CERT_ALTNAME_INVALID', 'protocol'],
    ];
    for (const [code, failure] of cases) {
      const error = toNetError(Object.assign(new Error('x'), { code }));
      assert.equal(error.failure, failure, code);
      assert.equal(error.code, code);
    }
    assert.equal(toNetError('a string').failure, 'aborted');
    assert.equal(toNetError(new Error('plain')).code, 'NET_ABORTED');
  });
  await t.test("another copy's NetError is one", async () => {
    const foreign = Object.assign(new Error('x'), { failure: 'refused', code: 'NET_REFUSED' });
    assert.ok(isNetError(foreign));
    assert.equal(toNetError(foreign), foreign);
    assert.equal(isNetError(Object.assign(new Error('x'), { failure: 'toString' })), false);
    assert.equal(isNetError(new NekitError('X', 'x')), false);
  });
  await t.test('every failure has its replies', async () => {
    assert.deepEqual(
      Object.entries(FAILURES).map(([failure, { socks5, http }]) => [failure, socks5, http]),
      [
        ['refused', 5, 502],
        ['unreachable', 3, 502],
        ['timeout', 4, 504],
        ['name', 4, 502],
        ['auth', 1, 502],
        ['denied', 2, 403],
        ['protocol', 1, 502],
        ['aborted', 1, 502],
      ],
    );
    const answers = (code: string): unknown => Object.values(repliesTo(toNetError(Object.assign(new Error('x'), { code }))));
    assert.deepEqual(answers('ENETUNREACH'), [3, 502, 'network-unreachable']);
    for (const code of ['EHOSTUNREACH', 'EHOSTDOWN']) assert.deepEqual(answers(code), [4, 502, 'host-unreachable'], 'the host, not its network');
    assert.deepEqual(answers('ECONNREFUSED'), [5, 502, 'reset']);
  });
});

void t.test('Events', async (t) => {
  await t.test('only what is wanted; handlers are taken back one by one', async () => {
    const events = new Events();
    assert.equal(events.wants('kernel.started'), false);
    let count = 0;
    const handler = (): void => {
      count++;
    };
    const first = events.on('kernel.started', handler);
    const second = events.on('kernel.started', handler);
    events.emit('kernel.started', {});
    assert.equal(count, 2);
    first();
    first();
    events.emit('kernel.started', {});
    assert.equal(count, 3);
    second();
    assert.equal(events.wants('kernel.started'), false);
  });
  await t.test('a handler that throws is reported and stops nobody', async () => {
    const events = new Events();
    const warnings: string[] = [];
    let reached = false;
    events.on('kernel.warning', (event) => warnings.push(event.code));
    events.on('kernel.warning', () => {
      throw new Error('even this one');
    });
    events.on('kernel.started', () => {
      throw new Error('bug in the embedder');
    });
    events.on('kernel.started', () => (reached = true));
    events.emit('kernel.started', {});
    assert.ok(reached);
    assert.deepEqual(warnings, ['EVENT_HANDLER_THREW']);
  });
  await t.test('events carry the wall clock', async () => {
    const events = new Events();
    let at = 0;
    events.on('kernel.stopped', (event) => (at = event.at));
    events.emit('kernel.stopped', {});
    assert.ok(Math.abs(at - Date.now()) < 60_000);
  });
});

void t.test('OwnEndpoints', async () => {
  const own = new OwnEndpoints(new FakeClock());
  const release = own.add('tcp', 7890);
  const again = own.add('tcp', 7890);
  for (const address of ['127.0.0.1', '127.9.9.9', '0.0.0.0', '::', '::1']) assert.ok(own.includes('tcp', address, 7890), address);
  assert.equal(own.includes('tcp', '192.0.2.1', 7890), false);
  assert.equal(own.includes('tcp', '127.0.0.1', 7891), false);
  assert.equal(own.includes('udp', '127.0.0.1', 7890), false);
  release();
  release();
  assert.ok(own.includes('tcp', '127.0.0.1', 7890));
  again();
  assert.equal(own.includes('tcp', '127.0.0.1', 7890), false);
});

void t.test('EndpointTable gives one frozen object per endpoint and stays bounded', async () => {
  const table = new EndpointTable(2);
  const first = table.get('192.0.2.1', 53);
  assert.equal(table.get('192.0.2.1', 53), first);
  assert.ok(Object.isFrozen(first));
  table.get('192.0.2.2', 53);
  table.get('192.0.2.3', 53);
  assert.notEqual(table.get('192.0.2.1', 53), first);
});

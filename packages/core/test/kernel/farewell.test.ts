// What does not stop or close as it should keeps the kernel from nothing.
import assert from 'node:assert/strict';
import t from 'tap';
import { z } from 'zod';
import type { KernelInput, ListenerInput } from '../../dist/config/define-config.js';
import type { Kernel } from '../../dist/kernel/api.js';
import { createKernel } from '../../dist/kernel.js';
import type { TimerWheel } from '../../dist/net/timer-wheel.js';
import { TIMERS } from '../../dist/net/tokens.js';
import { definePlugin } from '../../dist/plugin/plugin.js';
import { FakeClock } from '../../dist/testing/fake-clock.js';
import { within } from '../../dist/testing.js';

const LIMIT = 2_000;

type Way = 'well' | 'throws' | 'rejects' | 'hangs';

/** A `stop` or `close` that ends in that way. */
function end(way: Way): Promise<void> {
  if (way === 'throws') throw new Error('it threw');
  if (way === 'rejects') return Promise.reject(new Error('it rejected'));
  return way === 'hangs' ? new Promise(() => undefined) : Promise.resolve();
}

/** How the start of a listener ends. */
type Started = (name: string, timers: TimerWheel) => Promise<void>;

const plugin = (log: string[], started: Started) =>
  definePlugin({
    name: 'parts',
    api: 1,
    setup(context) {
      const config = z.object({ end: z.enum(['well', 'throws', 'rejects', 'hangs']).default('well'), version: z.number().default(1) });
      context.inbound({
        type: 'part',
        config,
        create: (options, { name, get }) => ({
          start() {
            log.push(`${name} ${options.version} starts`);
            return started(`${name} ${options.version}`, get(TIMERS));
          },
          stop() {
            log.push(`${name} ${options.version} stops`);
            return end(options.end);
          },
        }),
      });
      context.adapter({
        type: 'part',
        config,
        create(options, { tag }) {
          const adapter = { tag, type: 'part', start: () => void log.push(`${tag} ${options.version} starts`) };
          const close = (): Promise<void> => {
            log.push(`${tag} ${options.version} closes`);
            return end(options.end);
          };
          return Object.assign(adapter, { close }); // the type says void, and many an author writes async
        },
      });
      context.section<z.infer<typeof config>>({
        key: 'part',
        config,
        enabled: () => true,
        create: (options) => ({ close: () => end(options.end) }),
      });
    },
  });

function stage(config: KernelInput, started: Started = () => Promise.resolve()) {
  const log: string[] = [];
  const warnings: string[] = [];
  const clock = new FakeClock();
  const kernel = createKernel(config, { plugins: [plugin(log, started)], native: false, cacheFolder: null, clock, timeouts: { plugin: LIMIT } });
  kernel.on('kernel.warning', ({ code, message }) => warnings.push(`${code} ${message}`));
  kernel.on('kernel.stopped', () => log.push('the kernel has stopped'));
  return { kernel, log, warnings, clock };
}

const part = (name: string, way: Way = 'well', version = 1): ListenerInput => ({ name, type: 'part', port: 1, end: way, version });
const behind = (way: Way, version: number): object => ({ proxies: [{ name: 'p', type: 'part', end: way, version }], part: { end: way }, rules: ['MATCH,p'] });
const names = (kernel: Kernel): string[] => kernel.listeners().map(({ name }) => name);

void t.test('stop goes on behind listeners whose stop fails or hangs', async () => {
  const { kernel, log, warnings, clock } = stage({ listeners: [part('a'), part('b', 'hangs'), part('c', 'throws'), part('d', 'rejects')] });
  await kernel.start();
  log.length = 0;
  const stopping = kernel.stop();
  await clock.advance(LIMIT - 1);
  assert.deepEqual(log, ['d 1 stops', 'c 1 stops', 'b 1 stops']);
  assert.deepEqual(names(kernel), ['a'], 'what is being stopped is none of those that run');
  await clock.advance(200);
  await within(stopping);
  assert.deepEqual(log.slice(3), ['a 1 stops', 'the kernel has stopped']);
  assert.deepEqual(warnings, [
    'STOP_FAILED stop of the listener "d" failed: it rejected',
    'STOP_FAILED stop of the listener "c" failed: it threw',
    `STOP_TIMEOUT stop of the listener "b" took longer than ${LIMIT} ms`,
  ]);
  assert.equal(clock.pending, 0);
});

void t.test('a reload replaces listeners whatever becomes of the stop of one', async () => {
  for (const way of ['throws', 'rejects', 'hangs'] as const) {
    const { kernel, log, warnings, clock } = stage({ listeners: [part('a'), part('b', way), part('kept')] });
    await kernel.start();
    log.length = 0;
    const reloading = kernel.reload({ listeners: [part('a', 'well', 2), part('b', 'well', 2), part('kept')] });
    await clock.advance(LIMIT + 200);
    await within(reloading);
    assert.deepEqual(log, ['a 1 stops', 'b 1 stops', 'a 2 starts', 'b 2 starts'], way);
    assert.deepEqual(names(kernel), ['kept', 'a', 'b'], way);
    assert.equal(warnings.length, 1, way);
    await within(kernel.stop());
  }
});

void t.test('a reload is in force, and says so, whatever becomes of the close of what was before', async () => {
  for (const way of ['throws', 'rejects', 'hangs'] as const) {
    const { kernel, log, warnings } = stage(behind(way, 1));
    await kernel.start();
    await within(kernel.reload(behind('well', 2)));
    assert.deepEqual(log, ['p 1 starts', 'p 1 closes', 'p 2 starts'], way);
    await within(kernel.stop());
    const reason = way === 'throws' ? 'it threw' : 'it rejected';
    const told = [`STOP_FAILED close of the section "part" failed: ${reason}`, `STOP_FAILED close of "p" failed: ${reason}`];
    assert.deepEqual([...warnings].sort(), way === 'hangs' ? [] : told.sort(), way);
  }
});

/** A stop that is over before what hangs goes on. */
async function stopBefore({ kernel, clock }: Pick<ReturnType<typeof stage>, 'kernel' | 'clock'>, hanging: Promise<void>, go: () => void): Promise<void> {
  await clock.advance(1);
  const stopping = kernel.stop();
  await clock.advance(LIMIT + 200);
  await within(stopping);
  go();
  await within(hanging);
}

void t.test('stop waits for a listener that hangs in its start no longer than for a stop', async () => {
  let go = (): void => undefined;
  const staged = stage({ listeners: [part('slow')] }, () => new Promise((resolve) => (go = resolve)));
  const { kernel, log } = staged;
  const starting = assert.rejects(kernel.start(), { code: 'STOPPED' });
  await stopBefore(staged, starting, () => go());
  assert.deepEqual(log, ['slow 1 starts', 'the kernel has stopped', 'slow 1 stops'], 'it is not left open');
  assert.deepEqual(names(kernel), []);
});

void t.test('a reload that outlasts the stop does not put its config in force', async () => {
  const { kernel, log, clock } = stage({ ...behind('well', 1), listeners: [part('a'), part('b', 'hangs'), part('c', 'hangs')] });
  await kernel.start();
  log.length = 0;
  const reloading = assert.rejects(kernel.reload({ ...behind('well', 2), listeners: [] }), { code: 'STOPPED' });
  await clock.advance(1);
  const stopping = kernel.stop();
  await clock.advance(2 * LIMIT + 200);
  await within(Promise.all([reloading, stopping]));
  assert.deepEqual(log, ['a 1 stops', 'b 1 stops', 'c 1 stops', 'p 1 closes', 'the kernel has stopped', 'p 2 closes']);
  assert.equal(clock.pending, 0);
});

void t.test('a reload that ends when the stop waits for it no more does not, either', async () => {
  // Both on the same tick of the wheel: the stop goes on between the start of the listener and the end of the reload.
  const { kernel, log, clock } = stage(behind('well', 1), (_, timers) => new Promise((resolve) => timers.after(LIMIT, resolve)));
  await kernel.start();
  log.length = 0;
  const reloading = assert.rejects(kernel.reload({ ...behind('well', 2), listeners: [part('a')] }), { code: 'STOPPED' });
  while (log.length === 0) await Promise.resolve();
  const stopping = kernel.stop();
  await clock.advance(LIMIT + 200);
  await within(Promise.all([reloading, stopping]));
  assert.deepEqual([...log].sort(), ['a 1 starts', 'a 1 stops', 'p 1 closes', 'p 2 closes', 'the kernel has stopped']);
  assert.deepEqual(names(kernel), []);
});

void t.test('a listener that a reload was to stop, and the stop stops, is stopped once', async () => {
  const { kernel, log, clock } = stage({ listeners: [part('a', 'hangs'), part('b', 'hangs'), part('c'), part('d', 'hangs')] });
  await kernel.start();
  log.length = 0;
  const reloading = assert.rejects(kernel.reload({ listeners: [] }), { code: 'STOPPED' });
  await clock.advance(1);
  const stopping = kernel.stop();
  await clock.advance(4 * LIMIT);
  await within(Promise.all([reloading, stopping]));
  assert.deepEqual(log.filter((line) => line.endsWith('stops')).sort(), ['a 1 stops', 'b 1 stops', 'c 1 stops', 'd 1 stops']);
});

void t.test('a reload that fails after a stop starts nothing of before again', async () => {
  let go = (): void => undefined;
  const started: Started = (name) => (name === 'slow 1' ? new Promise((resolve) => (go = resolve)) : Promise.resolve());
  const staged = stage({ listeners: [part('a')] }, started);
  const { kernel, log } = staged;
  await kernel.start();
  log.length = 0;
  const reloading = assert.rejects(kernel.reload({ listeners: [part('slow'), part('b')] }), { name: 'NekitError', code: 'STOPPED' });
  await stopBefore(staged, reloading, () => go());
  assert.deepEqual(log, ['a 1 stops', 'slow 1 starts', 'the kernel has stopped', 'slow 1 stops']);
});

void t.test('a stop while what was before is started again leaves the rest of it alone', async () => {
  let go = (): void => undefined;
  let starts = 0;
  const started: Started = (name) => {
    if (name === 'broken 1') return Promise.reject(new Error('it is broken'));
    return ++starts <= 2 ? Promise.resolve() : new Promise((resolve) => (go = resolve));
  };
  const staged = stage({ listeners: [part('a'), part('b')] }, started);
  const { kernel, log } = staged;
  await kernel.start();
  log.length = 0;
  const reloading = assert.rejects(kernel.reload({ listeners: [part('broken')] }), { name: 'NekitError', code: 'STOPPED' });
  await stopBefore(staged, reloading, () => go());
  assert.deepEqual(log, ['a 1 stops', 'b 1 stops', 'broken 1 starts', 'a 1 starts', 'the kernel has stopped', 'a 1 stops']);
});

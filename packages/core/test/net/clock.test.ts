import t from 'tap';
import { systemClock } from '../../dist/net/clock.js';

t.test('the process clock: what the event loop rounds down does not make a timer come too early', (t) => {
  const waits: number[] = [];
  const usual = globalThis.setTimeout;
  t.teardown(() => {
    globalThis.setTimeout = usual;
  });
  globalThis.setTimeout = ((run: () => void, ms: number) => {
    waits.push(ms);
    return usual(run, ms);
  }) as typeof setTimeout;
  for (const ms of [0, 9, 9.01, 9.99]) systemClock.after(ms, () => {})();
  // A turn that began at 0.999 counts from 0.
  t.strictSame(waits, [1, 10, 11, 11]);
  t.end();
});

t.test('the process clock: a timer that is cancelled does not run', async (t) => {
  let runs = 0;
  const cancel = systemClock.after(1, () => void runs++);
  cancel();
  cancel();
  await new Promise<void>((resolve) => void systemClock.after(5, resolve));
  t.equal(runs, 0);
});

// Plugins start and stop.
import t from 'tap';
import type { Cancel } from '../../dist/net/cancel.js';
import { settle } from '../../dist/testing/fake-clock.js';
import { LIMIT, logging, only, pluginError, rejection, setUp } from '../support/plugins.js';

t.test('start', async (t) => {
  t.test('one that fails stops what was started, in reverse', async (t) => {
    const log: string[] = [];
    const cause = new Error('port taken');
    const failing = logging(log, 'c', [], {
      start: async () => {
        throw cause;
      },
    });
    const { host, timers } = setUp([logging(log, 'a'), logging(log, 'b'), failing, logging(log, 'd')]);
    const error = await rejection(host.start());
    pluginError(t, error, 'PLUGIN_START_FAILED', 'c', 'start', /"c" failed in start: port taken/);
    t.equal((error as Error).cause, cause);
    t.strictSame(log.slice(4), ['start a', 'start b', 'stop b', 'stop a']);
    t.strictSame(await host.stop(), [], 'nothing is left to stop');
    t.equal(log.length, 8);
    t.equal(timers.size, 0);
    t.match(await rejection(host.start()), { code: 'ALREADY_STARTED' });
  });
  t.test('one that throws before it returns a promise', async (t) => {
    const { host } = setUp([
      logging([], 'a', [], {
        start: () => {
          throw new Error('sync');
        },
      }),
    ]);
    pluginError(t, await rejection(host.start()), 'PLUGIN_START_FAILED', 'a', 'start', /sync/);
  });
  t.test('one that hangs is timed out by name, and its signal fires', async (t) => {
    const log: string[] = [];
    let signal: Cancel | undefined;
    const hanging = logging(log, 'slow', [], {
      start: (given) => {
        signal = given;
        return new Promise(() => {});
      },
    });
    const { host, clock, timers } = setUp([logging(log, 'a'), hanging]);
    const outcome = rejection(host.start());
    await clock.advance(LIMIT - 10);
    t.equal(signal?.reason, null);
    await clock.advance(30);
    const error = await outcome;
    pluginError(t, error, 'PLUGIN_TIMEOUT', 'slow', 'start', /"slow": start took longer than 1000 ms/);
    t.equal(signal?.reason, error);
    t.equal(log.at(-1), 'stop a');
    t.equal(timers.size, 0);
  });
  t.test('one that succeeds too late is stopped', async (t) => {
    const log: string[] = [];
    let finish = (): void => {};
    const late = logging(log, 'late', [], {
      start: () =>
        new Promise((resolve) => {
          finish = resolve;
        }),
    });
    const { host, clock } = setUp([late]);
    const outcome = rejection(host.start());
    await clock.advance(LIMIT + 10);
    t.match(await outcome, { code: 'PLUGIN_TIMEOUT' });
    t.strictSame(log, ['setup late']);
    finish();
    await settle();
    t.strictSame(log, ['setup late', 'stop late']);
  });
  t.test('one that fails too late is reported', async (t) => {
    let fail = (_error: Error): void => {};
    const late = logging([], 'late', [], {
      start: () =>
        new Promise((_resolve, reject) => {
          fail = reject;
        }),
    });
    const { host, clock, warnings } = setUp([late]);
    const outcome = rejection(host.start());
    await clock.advance(LIMIT + 10);
    await outcome;
    fail(new Error('and broke'));
    await settle();
    t.match(warnings, [/PLUGIN_START_FAILED .*"late".*and broke/]);
  });
  t.test('stop during a start cuts it short', async (t) => {
    const log: string[] = [];
    const obedient = logging(log, 'b', [], { start: (signal) => new Promise((_resolve, reject) => void signal.onCancel(reject)) });
    const { host, timers } = setUp([logging(log, 'a'), obedient, logging(log, 'c')]);
    const outcome = rejection(host.start());
    await settle();
    await host.stop();
    pluginError(t, await outcome, 'PLUGIN_START_ABORTED', 'b', 'start', /the kernel stops/);
    t.strictSame(log.slice(3), ['start a', 'stop a']);
    t.equal(timers.size, 0);
  });
});

t.test('stop', async (t) => {
  t.test('every plugin gets its chance, and errors are collected', async (t) => {
    const log: string[] = [];
    const plugins = [
      logging(log, 'a'),
      logging(log, 'b', [], {
        stop: async () => {
          throw new Error('stuck');
        },
      }),
      logging(log, 'c', [], {
        stop: () => {
          log.push('stop c');
          return new Promise(() => {});
        },
      }),
      only(() => {}, 'silent'),
      logging(log, 'd', [], {
        stop: () => {
          throw new Error('sync');
        },
      }),
    ];
    const { host, clock, warnings, timers } = setUp(plugins);
    await host.start();
    const stopping = host.stop();
    t.equal(host.stop(), stopping, 'a second call waits for the first');
    await clock.advance(LIMIT + 10);
    const errors = await stopping;
    t.strictSame(
      errors.map(({ code, plugin, hook }) => `${code} ${plugin} ${hook}`),
      ['PLUGIN_STOP_FAILED d stop', 'PLUGIN_TIMEOUT c stop', 'PLUGIN_STOP_FAILED b stop'],
    );
    t.match(warnings, [/"d" failed in stop: sync/, /"c": stop took longer than 1000 ms/, /"b" failed in stop: stuck/]);
    t.strictSame(log.slice(-2), ['stop c', 'stop a']);
    t.equal(timers.size, 0);
  });
  t.test('before any start there is nothing to stop', async (t) => {
    const log: string[] = [];
    const { host } = setUp([logging(log, 'a')]);
    t.strictSame(await host.stop(), []);
    t.strictSame(log, ['setup a']);
    t.match(await rejection(host.start()), { code: 'ALREADY_STARTED' });
  });
});

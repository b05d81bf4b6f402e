// What a plugin's `create` gives, or does not.
import t from 'tap';
import { z } from 'zod';
import type { Adapter } from '../../dist/adapter/adapter.js';
import type { KernelInput } from '../../dist/config/define-config.js';
import type { Kernel } from '../../dist/kernel/api.js';
import { createKernel } from '../../dist/kernel.js';
import { definePlugin } from '../../dist/plugin/plugin.js';
import type { Rule } from '../../dist/rule/rule.js';

const NONE: readonly unknown[] = [undefined, null, 5, {}, { tag: 5 }, Promise.resolve({ tag: 'p' })];

function kernelOf(config: KernelInput, log: string[] = [], none?: unknown): Kernel {
  const plugin = definePlugin({
    name: 'parts',
    api: 1,
    setup(context) {
      context.adapter({
        type: 'logged',
        config: z.object({}),
        create(_options, { tag }) {
          log.push(`open ${tag}`);
          return { tag, type: 'logged', close: () => void log.push(`close ${tag}`) };
        },
      });
      context.adapter({ type: 'none', config: z.object({}), create: () => none as Adapter });
      context.rule({ kind: 'NONE', description: 'gives none', payload: true, create: () => none as Rule });
    },
  });
  return createKernel(config, { plugins: [plugin], native: false, cacheFolder: null });
}

t.test('adapters that a config has made before it failed are closed', async (t) => {
  const log: string[] = [];
  const kernel = kernelOf({ proxies: [{ name: 'kept', type: 'logged' }] }, log);
  await kernel.start();
  const proxies = ['a', 'b'].map((name) => ({ name, type: 'logged' }));
  await t.rejects(kernel.reload({ proxies: [...proxies, { name: 'c', type: 'none' }] }), { code: 'CONFIG' });
  t.strictSame(log, ['open kept', 'open a', 'open b', 'close a', 'close b']);
  await kernel.stop();
  t.equal(log.at(-1), 'close kept');
});

t.test('an adapter that is none is an error of its entry and its plugin', async (t) => {
  for (const none of NONE)
    t.throws(() => kernelOf({ proxies: [{ name: 'n', type: 'none' }] }, [], none), {
      code: 'CONFIG',
      message: /proxy "n" cannot be made: create of type "none" of plugin "parts" gave no adapter, an object with a "tag"/,
    });
});

t.test('and so is a rule', async (t) => {
  for (const none of [...NONE, { match: true }])
    t.throws(() => kernelOf({ rules: ['NONE,a,DIRECT'] }, [], none), {
      code: 'CONFIG',
      message: /create of rule kind NONE of plugin "parts" gave no rule, an object with a function "match"/,
    });
});

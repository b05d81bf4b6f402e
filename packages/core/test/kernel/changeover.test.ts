// What a reload does to listeners when it fails.
import assert from 'node:assert/strict';
import t from 'tap';
import { z } from 'zod';
import type { ListenerInput } from '../../dist/config/define-config.js';
import type { Kernel } from '../../dist/kernel/api.js';
import { createKernel } from '../../dist/kernel.js';
import type { MarkedSockets } from '../../dist/net/marked-sockets.js';
import { SOCKETS } from '../../dist/net/tokens.js';
import { definePlugin, type Plugin } from '../../dist/plugin/plugin.js';
import { within } from '../../dist/testing.js';

/** Brings listeners that write down with which mark they are started, and fail as they are told. */
function listeners(log: string[], broken: ReadonlySet<string> = new Set()): Plugin {
  return definePlugin({
    name: 'listeners',
    api: 1,
    setup(context) {
      context.stack({ type: 'tcp', config: z.object({}), create: () => assert.fail('no TUN is opened') });
      context.inbound({
        type: 'noted',
        config: z.object({ version: z.number().default(1) }),
        create: ({ version }, { name, get }) => ({
          start() {
            const { mark } = get(SOCKETS) as MarkedSockets;
            log.push(`${name} ${version} starts ${mark === undefined ? 'unmarked' : 'marked'}`);
            return broken.has(`${name} ${version}`) ? Promise.reject(new Error(`${name} is broken`)) : Promise.resolve();
          },
          stop() {
            log.push(`${name} ${version} stops`);
            return Promise.resolve();
          },
        }),
      });
    },
  });
}

const noted = (name: string, version = 1): ListenerInput => ({ name, type: 'noted', port: 1, version });
const names = (kernel: Kernel): string[] => kernel.listeners().map(({ name }) => name);

void t.test('what was there before is started again as it was: without the mark of the config that is refused', async () => {
  const log: string[] = [];
  const kernel = createKernel({ listeners: [noted('a'), noted('b')] }, { plugins: [listeners(log, new Set(['c 1']))], native: false });
  await kernel.start();
  log.length = 0;
  const tun = { name: 't', type: 'tun', 'auto-route': true };
  await assert.rejects(kernel.reload({ listeners: [noted('b', 2), noted('c'), tun] }), /c is broken/);
  assert.deepEqual(log, ['a 1 stops', 'b 1 stops', 'b 2 starts marked', 'c 1 starts marked', 'b 2 stops', 'a 1 starts unmarked', 'b 1 starts unmarked']);
  assert.deepEqual(names(kernel), ['a', 'b']);
  await within(kernel.stop());
});

void t.test('one that cannot be started again does not keep the others from it', async () => {
  const log: string[] = [];
  const broken = new Set(['new 1']);
  const kernel = createKernel({ listeners: [noted('a'), noted('b'), noted('c')] }, { plugins: [listeners(log, broken)], native: false });
  await kernel.start();
  broken.add('a 1').add('b 1');
  await assert.rejects(kernel.reload({ listeners: [noted('new')] }), (error) => {
    assert.ok(error instanceof AggregateError);
    assert.equal(error.message, 'new is broken; and what was there before does not run any more: a is broken; b is broken');
    assert.equal(error.errors.length, 3);
    return true;
  });
  assert.deepEqual(names(kernel), ['c']);
  await within(kernel.stop());
});

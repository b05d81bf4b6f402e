// What of the name server lives through a reload, and what waits for what.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createKernel, type Kernel, type KernelInput } from '@nekit/core';
import { FAKE_IPS, type FakeIpTable } from '@nekit/core/ip';
import { FakeClock, within } from '@nekit/core/testing';
import t, { type Test } from 'tap';
import { DnsSchema } from '../dist/config.js';
import { createDnsPlugin } from '../dist/dns-plugin.js';
import type { FakeIpStore } from '../dist/fake-ip/store.js';
import { KernelDns } from '../dist/kernel-dns.js';

const folder = mkdtempSync(join(tmpdir(), 'nekit-dns-reload-'));
t.teardown(() => rmSync(folder, { recursive: true }));

const turns = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};

interface Started {
  readonly kernel: Kernel;
  readonly fakes: FakeIpTable;
  readonly warnings: string[];
}

async function start(t: Test, config: KernelInput): Promise<Started> {
  const tables: FakeIpTable[] = [];
  const warnings: string[] = [];
  const looker = {
    name: 'looker',
    api: 1,
    after: ['stack-dns'],
    setup: (context: Parameters<ReturnType<typeof createDnsPlugin>['setup']>[0]) =>
      context.nameHook({
        name: 'looker',
        create: ({ get }) => {
          tables.push(get(FAKE_IPS));
          return {};
        },
      }),
  } as const;
  const kernel = createKernel(config, { plugins: [createDnsPlugin(), looker], cacheFolder: null });
  t.teardown(() => kernel.stop());
  kernel.on('kernel.warning', ({ message }) => warnings.push(message));
  await kernel.start();
  const [fakes] = tables;
  if (fakes === undefined) throw new Error('the section makes name hooks');
  return { kernel, fakes, warnings };
}

const fakesIn = (file: string): KernelInput => ({
  dns: { enable: true, 'use-system-hosts': false, 'enhanced-mode': 'fake-ip', 'fake-ip-range': '198.18.0.1/26', 'fake-ip-store': join(folder, file) },
});

// So many for the range that most have not the address of their hash: only what was kept brings them back.
const names = Array.from({ length: 40 }, (_, i) => `${i}.example`);

void t.test('two kernels of a process, one file: the second goes without, and takes nothing from the first', async (t) => {
  const first = await start(t, fakesIn('two.journal'));
  const second = await start(t, fakesIn('two.journal'));
  t.match(second.warnings, [/in use by another kernel/]);
  const before = names.map((name) => first.fakes.assign(name, 4));
  for (const name of names.toReversed()) second.fakes.assign(name, 4);
  await first.kernel.stop();
  await second.kernel.stop();
  const third = await start(t, fakesIn('two.journal'));
  t.same(
    before.map((address) => third.fakes.domainOf(address)),
    names,
  );
  await third.kernel.stop();
  t.same([...first.warnings, ...third.warnings], []);
});

void t.test('off and on again at once: the file is let go of before it is opened', async (t) => {
  const { kernel, fakes, warnings } = await start(t, fakesIn('again.journal'));
  const before = names.map((name) => fakes.assign(name, 4));
  const found = (): (string | null)[] => before.map((address) => fakes.domainOf(address));
  for (let i = 0; i < 5; i++) {
    await Promise.all([kernel.reload({}), kernel.reload(fakesIn('again.journal'))]);
    t.same(found(), names);
    t.same(warnings, []);
    t.ok(readdirSync(folder).includes('again.journal.lock'), 'what is in force has it');
  }
  await kernel.stop();
  t.notOk(readdirSync(folder).includes('again.journal.lock'));
});

/** Tells what was done with it, in order; it closes when `close` says so. */
function told(log: string[], close: () => Promise<void>): () => FakeIpStore {
  let stores = 0;
  return () => {
    const number = ++stores;
    return {
      open: () => {
        log.push(`${number} opens`);
        return Promise.resolve();
      },
      put: () => {},
      close: async () => {
        log.push(`${number} closes`);
        await close();
        log.push(`${number} closed`);
      },
    };
  };
}

const config = new DnsSchema().parse({ enable: true, 'enhanced-mode': 'fake-ip' });
const place = { folder, cacheFolder: null, warn: () => {} };

void t.test('a store is opened when the one before is closed', async (t) => {
  const log: string[] = [];
  let finish = (): void => {};
  const dns = new KernelDns(
    new FakeClock(),
    told(log, () => new Promise((resolve) => (finish = resolve))),
  );
  dns.poolFor(config, place);
  await dns.opened();
  const closing = dns.close();
  dns.poolFor(config, place);
  await turns();
  t.same(log, ['1 opens', '1 closes']);
  finish();
  await within(Promise.all([closing, dns.opened()]), 5_000, 'both');
  t.same(log, ['1 opens', '1 closes', '1 closed', '2 opens']);
});

void t.test('a store that does not close is not waited for for ever', async (t) => {
  const log: string[] = [];
  const clock = new FakeClock();
  const dns = new KernelDns(
    clock,
    told(log, () => new Promise(() => {})),
  );
  dns.poolFor(config, place);
  await dns.opened();
  void dns.close();
  dns.poolFor(config, place);
  await turns();
  await clock.advance(4_999);
  t.same(log, ['1 opens', '1 closes']);
  await clock.advance(1);
  await within(dns.opened(), 5_000, 'the second one');
  t.same(log, ['1 opens', '1 closes', '2 opens']);
});

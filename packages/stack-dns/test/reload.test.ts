// What of the name server lives through a reload, and what waits for what.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Cancel,
  CancelSource,
  createKernel,
  definePlugin,
  type Inbound,
  type InboundContext,
  type Kernel,
  type KernelInput,
  NetError,
  never,
  type Stream,
  TimerWheel,
} from '@nekit/core';
import { FAKE_IPS, type FakeIpTable } from '@nekit/core/ip';
import { eventually, FakeClock, testSession, within } from '@nekit/core/testing';
import t, { type Test } from 'tap';
import { z } from 'zod';
import { DnsSchema } from '../dist/config.js';
import { createDnsPlugin } from '../dist/dns-plugin.js';
import type { FakeIpStore } from '../dist/fake-ip/store.js';
import { KernelDns } from '../dist/kernel-dns.js';
import { OtherUpstream } from '../dist/upstream/other-upstream.js';
import { TcpUpstream } from '../dist/upstream/tcp-upstream.js';
import { TYPE } from '../dist/wire/message.js';
import { type Question, questionFor } from '../dist/wire/question.js';
import { makeCertificate } from './certificate.js';
import { decoded, replyTo } from './messages.js';
import { type FakeServer, type Handler, httpsServer, tcpServer } from './upstream/fake-servers.js';

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

/** Answers when it may. */
function holding(): { readonly handler: Handler; go(): void } {
  let go = (): void => {};
  const gate = new Promise<void>((resolve) => (go = resolve));
  const handler: Handler = async (query) => {
    await gate;
    return [replyTo(query, { answers: [{ type: 'A', name: decoded(query).questions?.[0]?.name ?? '', ttl: 60, data: '192.0.2.1' }] })];
  };
  return { handler, go: () => go() };
}

/** By rule, for the name's address. */
const lookUp = async (kernel: Kernel): Promise<readonly unknown[]> =>
  (await kernel.explain({ network: 'tcp', destination: { host: 'www.example', port: 80 } })).lookups.map(({ addresses }) => addresses);

const askedAt = (nameserver: string | string[], ...rules: string[]): KernelInput => ({
  dns: { enable: true, ipv6: false, 'use-system-hosts': false, nameserver },
  rules: [...rules, 'IP-CIDR,192.0.2.0/24,DIRECT', 'MATCH,REJECT'],
});

const certificate = makeCertificate('IP:127.0.0.1');
const noCertificate = certificate === null ? 'there is no openssl' : false;
const servers: readonly [string, string | false, (handler: Handler) => Promise<FakeServer>][] = [
  ['tcp', false, (handler) => tcpServer(handler)],
  ['tls', noCertificate, (handler) => tcpServer(handler, certificate === null ? {} : { certificate })],
  ['https', noCertificate, (handler) => httpsServer(handler, certificate ?? { key: '', cert: '' })],
];

const addressOf = (scheme: string, { port }: FakeServer): string =>
  `${scheme}://127.0.0.1:${port}${scheme === 'https' ? '/dns-query' : ''}${scheme === 'tcp' ? '' : '#skip-cert-verify=true'}`;

for (const [scheme, skip, serve] of servers)
  for (const after of ['another config', 'no section']) {
    void t.test(`a reload leaves questions that are under way their answers: ${scheme}, then ${after}`, { skip }, async (t) => {
      const { handler, go } = holding();
      const server = await serve(handler);
      t.teardown(() => server.close());
      const text = addressOf(scheme, server);
      const kernel = createKernel(askedAt(text), { plugins: [createDnsPlugin()], cacheFolder: null });
      t.teardown(() => kernel.stop());
      await kernel.start();
      const asking = lookUp(kernel);
      await eventually(() => server.queries.length === 1);
      await kernel.reload(after === 'no section' ? {} : askedAt(text, 'DOMAIN,unrelated.example,REJECT'));
      go();
      t.same(await within(asking, 5_000, 'an answer'), [['192.0.2.1']]);
      await eventually(() => server.open() === 0); // nobody asks by it any more
    });
  }

void t.test('a reload, and then the next server is asked because the first says nothing', async (t) => {
  const dead = await tcpServer(() => []);
  const { handler, go } = holding();
  const other = await tcpServer(handler);
  t.teardown(() => Promise.all([dead.close(), other.close()]));
  const both = [`tcp://127.0.0.1:${dead.port}`, `tcp://127.0.0.1:${other.port}`];
  const kernel = createKernel(askedAt(both), { plugins: [createDnsPlugin()], cacheFolder: null });
  t.teardown(() => kernel.stop());
  await kernel.start();
  const asking = lookUp(kernel);
  await eventually(() => dead.queries.length === 1);
  await kernel.reload(askedAt(both, 'DOMAIN,unrelated.example,REJECT'));
  t.equal(other.queries.length, 0);
  go();
  t.same(await within(asking, 5_000, 'an answer'), [['192.0.2.1']]);
  await eventually(() => dead.open() === 0 && other.open() === 0);
});

for (const [scheme, skip, serve] of servers)
  void t.test(`when the kernel stops no question is waited for, and none keeps a socket: ${scheme}`, { skip }, async (t) => {
    const server = await serve(holding().handler);
    t.teardown(() => server.close());
    const text = addressOf(scheme, server);
    // The addon's sockets would be closed with the kernel's.
    const kernel = createKernel(askedAt(text), { plugins: [createDnsPlugin()], cacheFolder: null, native: false, timeouts: { resolve: 60_000 } });
    t.teardown(() => kernel.stop());
    await kernel.start();
    const before = lookUp(kernel);
    await eventually(() => server.queries.length === 1);
    await kernel.reload(askedAt(text, 'DOMAIN,unrelated.example,REJECT'));
    const asking = lookUp(kernel);
    await eventually(() => server.queries.length === 2);
    await within(kernel.stop(), 5_000, 'the stop');
    await within(Promise.allSettled([before, asking]), 5_000, 'both questions, also that of the config before');
    await eventually(() => server.open() === 0);
  });

void t.test('when the kernel stops the question for a name server’s own address ends too, and nobody dials for it anew', async (t) => {
  const server = await tcpServer(holding().handler);
  t.teardown(() => server.close());
  const dns = { enable: true, 'use-system-hosts': false, nameserver: 'tcp://ns.example', 'default-nameserver': addressOf('tcp', server) };
  const config = { dns, rules: ['IP-CIDR,192.0.2.0/24,DIRECT'] };
  const kernel = createKernel(config, { plugins: [createDnsPlugin()], cacheFolder: null, native: false, timeouts: { resolve: 60_000 } });
  t.teardown(() => kernel.stop());
  await kernel.start();
  const asking = lookUp(kernel);
  await eventually(() => server.queries.length === 2); // A and AAAA
  await within(kernel.stop(), 5_000, 'the stop');
  await within(Promise.allSettled([asking]), 5_000, 'the question');
  await eventually(() => server.open() === 0);
  t.equal(server.connections(), 1);
});

for (const [scheme, skip, serve] of servers)
  void t.test(`when the kernel stops with a config that has no section, questions of the one before end as well: ${scheme}`, { skip }, async (t) => {
    const server = await serve(holding().handler);
    t.teardown(() => server.close());
    const options = { plugins: [createDnsPlugin()], cacheFolder: null, native: false, timeouts: { resolve: 60_000 } };
    const kernel = createKernel(askedAt(addressOf(scheme, server)), options);
    t.teardown(() => kernel.stop());
    await kernel.start();
    const asking = lookUp(kernel);
    await eventually(() => server.queries.length === 1);
    await kernel.reload({});
    await within(kernel.stop(), 5_000, 'the stop');
    await within(Promise.allSettled([asking]), 5_000, 'the question');
    await eventually(() => server.open() === 0);
    t.equal(server.connections(), 1);
  });

function asked(name: string): Question {
  const question = questionFor(name, TYPE.A);
  if (question === null) throw new Error('it is a name');
  return question;
}

const gone = new NetError('aborted', 'who asked has gone', { code: 'LOST_RACE' });

void t.test('a session that the stop waits for still gets its name by the config before', async (t) => {
  const { handler, go } = holding();
  const server = await tcpServer(handler);
  t.teardown(() => server.close());
  const contexts: InboundContext[] = [];
  const keep = (_config: object, context: InboundContext): Inbound => {
    contexts.push(context);
    return { start: async () => {}, stop: async () => {} };
  };
  const client = definePlugin({ name: 'client', api: 1, setup: (context) => context.inbound({ type: 'client', config: z.object({}), create: keep }) });
  const listeners = [{ name: 'client', type: 'client', port: 1 }];
  const config = { ...askedAt(addressOf('tcp', server), 'IP-CIDR,192.0.2.1/32,REJECT'), listeners };
  const kernel = createKernel(config, { plugins: [createDnsPlugin(), client], cacheFolder: null, native: false, timeouts: { drain: 60_000 } });
  t.teardown(() => kernel.stop());
  const ended: (string | null)[] = [];
  kernel.on('session.closed', ({ rule }) => ended.push(rule));
  await kernel.start();
  const session = testSession({ destination: { host: 'www.example', port: 80 } });
  void contexts[0]?.handleStream({ session, accept: () => Promise.reject(gone), reject: () => {} });
  await eventually(() => server.queries.length === 1);
  await kernel.reload({ listeners });
  const stopping = kernel.stop();
  await turns();
  t.same(ended, []);
  go();
  await within(stopping, 5_000, 'the stop');
  t.same(ended, ['IP-CIDR,192.0.2.1/32,REJECT']);
});

void t.test('closed while it dials: the dial goes with the last who waits, and who comes then dials again', async (t) => {
  const dials: Cancel[] = [];
  const aborts: Error[] = [];
  const arrivals: ((stream: Stream) => void)[] = [];
  const stream: Stream = {
    read: () => new Promise(() => {}),
    write: async () => {},
    closeWrite: async () => {},
    abort: (reason) => {
      aborts.push(reason);
    },
  };
  const open = (signal: Cancel): Promise<Stream> => {
    dials.push(signal);
    return new Promise((resolve) => arrivals.push(resolve));
  };
  const upstream = new TcpUpstream('tcp://test', open, { timers: new TimerWheel(new FakeClock()), random: (length) => new Uint8Array(length) });
  const signals = Array.from({ length: 3 }, () => new CancelSource());
  const ask = (name: string, which: number): Promise<Uint8Array> => upstream.ask(asked(name), signals[which] ?? never);
  const [one, two] = [ask('a.example', 0), ask('a.example', 1)];
  upstream.close();
  signals[0]?.cancel(gone);
  await t.rejects(within(one), gone);
  t.equal(dials[0]?.reason, null, 'somebody waits');
  signals[1]?.cancel(gone);
  await t.rejects(within(two), gone);
  t.match(dials[0]?.reason, { code: 'DNS_CLOSED' });
  const third = ask('b.example', 2);
  await turns();
  t.equal(dials.length, 2);
  arrivals[0]?.(stream);
  await turns();
  t.match(aborts, [{ code: 'DNS_CLOSED' }], 'one that is there too late is given up');
  arrivals[1]?.(stream);
  await turns();
  t.equal(aborts.length, 1, 'the other is asked by');
  signals[2]?.cancel(gone);
  await t.rejects(within(third), gone);
  t.equal(aborts.length, 2, 'and not kept');
});

void t.test('a server of a plugin is closed when the last question is answered; what its close throws is no answer', async (t) => {
  let answer = (): void => {};
  let closed = 0;
  const server = {
    ask: (query: Uint8Array) => new Promise<Uint8Array>((resolve) => (answer = () => resolve(replyTo(query, { answers: [] })))),
    close: () => {
      closed++;
      throw new Error('no');
    },
  };
  const upstream = new OtherUpstream('mine://test', server, { random: (length) => new Uint8Array(length) });
  const asking = upstream.ask(asked('a.example'), new CancelSource());
  upstream.close();
  t.equal(closed, 0);
  answer();
  t.ok(await asking);
  t.equal(closed, 1);
  upstream.close();
  t.equal(closed, 1);
});

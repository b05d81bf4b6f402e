// A kernel with the DNS plugin, asked by real sockets.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createKernel, definePlugin, type Kernel, type KernelInput, never, type PluginContext } from '@nekit/core';
import { buildPacket, FAKE_IPS, type FakeIpTable, parsePacket, pipeDevice } from '@nekit/core/ip';
import { eventually, startEcho, within } from '@nekit/core/testing';
import t, { type Test } from 'tap';
import { createDnsPlugin } from '../dist/dns-plugin.js';
import { MemoryStore } from '../dist/fake-ip/store.js';
import { decoded, queryBytes, replyTo, said } from './messages.js';
import { type FakeServer, udpServer } from './upstream/fake-servers.js';

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), 'nekit-dns-kernel-'));
t.teardown(() => rmSync(folder, { recursive: true }));

const cacheFolder = join(folder, 'cache');

interface Running {
  readonly kernel: Kernel;
  readonly port: number;
  /** By UDP. */
  ask(query: Uint8Array): Promise<Uint8Array>;
}

async function start(t: Test, dns: Record<string, unknown>, more: KernelInput = {}, native = true): Promise<Running> {
  const kernel = createKernel(
    { dns: { enable: true, listen: '127.0.0.1:0', 'use-system-hosts': false, ...dns }, ...more },
    { plugins: [createDnsPlugin()], cacheFolder, native },
  );
  t.teardown(() => kernel.stop());
  await kernel.start();
  const port = kernel.listeners().find(({ type }) => type === 'dns')?.endpoint?.port ?? 0;
  return { kernel, port, ask: (query) => askUdp(port, query) };
}

function askUdp(port: number, query: Uint8Array): Promise<Uint8Array> {
  const socket = createSocket('udp4');
  const answer = new Promise<Uint8Array>((resolve, reject) => {
    socket.once('message', (bytes) => resolve(Uint8Array.from(bytes)));
    socket.once('error', reject);
  });
  socket.send(query, port, '127.0.0.1');
  return within(answer, 5_000, 'an answer').finally(() => socket.close());
}

for (const listen of [':0', '*:0', '[::]:0', '*'])
  for (const native of [true, false])
    void t.test(`listen ${listen} is all addresses, also of IPv4 over UDP (${native ? 'the addon, where it is' : 'Node'})`, async (t) => {
      const dns = listen === '*' ? { listen: '' } : { listen };
      const listeners = listen === '*' ? [{ name: 'names', type: 'dns', listen, port: 0 }] : [];
      const { ask } = await start(t, { ...dns, 'enhanced-mode': 'fake-ip', 'fake-ip-store': false }, { listeners }, native);
      for (let i = 0; i < 3; i++) t.match(said(await ask(queryBytes(`${i}.example`, 'A'))), [/^A 198\.18\./]);
    });

async function upstream(t: Test): Promise<FakeServer> {
  const server = await udpServer((query) => {
    const { questions } = decoded(query);
    const [question] = questions ?? [];
    return [replyTo(query, { answers: question?.type === 'A' ? [{ type: 'A', name: question.name, ttl: 60, data: '127.0.0.1' }] : [] })];
  });
  t.teardown(() => server.close());
  return server;
}

for (const native of [true, false])
  void t.test(`fake addresses over UDP and TCP (${native ? 'the addon, where it is' : 'Node'})`, async (t) => {
    const server = await upstream(t);
    const { ask, port, kernel } = await start(
      t,
      { nameserver: `127.0.0.1:${server.port}`, 'enhanced-mode': 'fake-ip', 'fake-ip-filter': ['+.real.example'] },
      {},
      native,
    );
    const [fake] = said(await ask(queryBytes('www.example', 'A')));
    t.match(fake, /^A 198\.18\./);
    t.same(said(await ask(queryBytes('a.real.example', 'A'))), ['A 127.0.0.1']);
    t.equal(server.queries.length, 1);
    const socket = net.connect(port, '127.0.0.1');
    t.teardown(() => socket.destroy());
    const messages = [queryBytes('www.example', 'A', { id: 1 }), queryBytes('b.real.example', 'A', { id: 2 })];
    for (const message of messages) socket.write(Buffer.concat([Uint8Array.of(0, message.length), message]));
    let bytes = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
    });
    await eventually(() => bytes.length > 80);
    t.same(said(Uint8Array.from(bytes.subarray(2, 2 + bytes.readUInt16BE(0)))), [fake]);
    socket.end();
    await within(new Promise((resolve) => socket.once('close', resolve)), 5_000, 'FIN after FIN');
    await eventually(() => kernel.connections === 0);
  });

void t.test('dig is content', async (t) => {
  const server = await upstream(t);
  const { port } = await start(t, { nameserver: `127.0.0.1:${server.port}`, 'enhanced-mode': 'fake-ip', ipv6: true, 'fake-ip-range6': 'fd00::1/64' });
  const dig = async (...words: string[]): Promise<string> => (await run('dig', ['@127.0.0.1', '-p', String(port), '+tries=1', '+time=4', ...words])).stdout;
  try {
    t.match(await dig('+short', 'www.example'), /^198\.18\.\d+\.\d+\n$/);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      t.comment('skipped: there is no dig');
      return;
    }
    throw error;
  }
  t.match(await dig('+short', 'AAAA', 'www.example'), /^fd00::/);
  t.match(await dig('+tcp', '+short', 'www.example'), /^198\.18\./);
  t.match(await dig('HTTPS', 'www.example'), /status: NOERROR.*ANSWER: 0/s);
  t.match(await dig('ANY', 'www.example'), /RFC8482/);
  t.match(await dig('+edns=1', '+noednsneg', 'www.example'), /status: BADVERS/);
  t.match(await dig('+short', '-x', (await dig('+short', 'www.example')).trim()), /^www\.example\.\n$/);
  t.match(await dig('+bufsize=1232', '+dnssec', 'www.example'), /EDNS: version: 0, flags: do; udp: 1232/);
  const noisy = await dig('wWw.eXample');
  t.match(noisy, /wWw\.eXample/);
  t.notMatch(noisy, /WARNING|Warning|malformed|extra bytes/i);
});

void t.test('the kernel looks names up by it: rules, DIRECT and whoever asks', async (t) => {
  const server = await upstream(t);
  const echo = await startEcho();
  t.teardown(() => echo.close());
  const { kernel } = await start(
    t,
    { nameserver: `127.0.0.1:${server.port}`, 'enhanced-mode': 'fake-ip' },
    { rules: ['IP-CIDR,127.0.0.0/8,DIRECT', 'MATCH,REJECT'], hosts: { '*.lab': '127.0.0.9' } },
  );
  const explanation = await kernel.explain({ network: 'tcp', destination: { host: 'somewhere.example', port: echo.port } });
  t.match(explanation, { adapter: 'DIRECT', lookups: [{ name: 'somewhere.example', addresses: ['127.0.0.1'] }] });
  const direct = kernel.adapters().find(({ tag }) => tag === 'DIRECT');
  assert.ok(direct?.stream !== undefined);
  const endpoint = { host: 'echo.example', port: echo.port };
  const session = {
    id: 1,
    network: 'tcp',
    inbound: '',
    inboundType: '',
    inboundPort: 0,
    source: endpoint,
    requested: endpoint,
    destination: endpoint,
    signal: never,
  } as const;
  const stream = await direct.stream.dialStream(endpoint, { session, signal: never });
  await stream.write([Buffer.from('hello')]);
  t.equal(Buffer.concat((await stream.read()) ?? []).toString(), 'hello');
  await stream.closeWrite();
  stream.abort(new Error('done'));
  t.match(await kernel.explain({ network: 'tcp', destination: { host: 'x.lab', port: 80 } }), { adapter: 'DIRECT' });
  t.same(new Set(server.queries.map((query) => decoded(query).questions?.[0]?.name.toLowerCase())), new Set(['somewhere.example', 'echo.example']));
});

void t.test('a restart and a reload keep the addresses; another range does not', async (t) => {
  const server = await upstream(t);
  const dns = { nameserver: `127.0.0.1:${server.port}`, 'enhanced-mode': 'fake-ip', 'fake-ip-store': join(folder, 'restart.journal') };
  const first = await start(t, dns);
  const names = Array.from({ length: 50 }, (_, i) => `${i}.restart.example`);
  const before: string[] = [];
  for (const name of names) before.push(...said(await first.ask(queryBytes(name, 'A'))));
  await first.kernel.reload({ dns: { enable: true, listen: '127.0.0.1:0', 'use-system-hosts': false, ...dns, 'fake-ip-ttl': 7 } });
  t.match(decoded(await first.ask(queryBytes('0.restart.example', 'A'))).answers, [{ ttl: 7, data: before[0]?.slice(2) }], 'the same listener, the new config');
  await first.kernel.stop();
  const second = await start(t, dns);
  // In another order, so that only what was kept can help.
  for (const [i, name] of [...names.entries()].reverse()) t.same(said(await second.ask(queryBytes(name, 'A'))), [before[i]]);
  await second.kernel.reload({ dns: { enable: true, listen: '127.0.0.1:0', 'use-system-hosts': false, ...dns, 'fake-ip-range': '10.9.0.1/16' } });
  t.match(said(await second.ask(queryBytes('0.restart.example', 'A'))), [/^A 10\.9\./]);
  await second.kernel.stop();
});

void t.test('a reload that fails leaves everything as it was; one that turns it off ends it', async (t) => {
  const server = await upstream(t);
  const taken = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => taken.once('listening', resolve));
  t.teardown(() => taken.close());
  const address = taken.address();
  assert.ok(address !== null && typeof address === 'object');
  const dns = {
    enable: true,
    listen: '127.0.0.1:0',
    'use-system-hosts': false,
    nameserver: `127.0.0.1:${server.port}`,
    'enhanced-mode': 'fake-ip',
    'fake-ip-store': false,
  };
  const { kernel, ask } = await start(t, dns);
  const [before] = said(await ask(queryBytes('a.example', 'A')));
  await t.rejects(kernel.reload({ dns: { ...dns, 'fake-ip-ttl': 9 }, listeners: [{ name: 'other', type: 'dns', port: address.port }] }), {
    code: 'LISTEN_FAILED',
  });
  t.match(decoded(await ask(queryBytes('a.example', 'A'))).answers, [{ ttl: 1, data: before?.slice(2) }]);
  await kernel.reload({});
  t.same(kernel.listeners(), []);
});

for (const ownStore of [false, true])
  void t.test(
    `a reload that fails and would change the range takes nothing from the one in force (${ownStore ? 'a store of its own' : 'a file'})`,
    async (t) => {
      const taken = net.createServer().listen(0, '127.0.0.1');
      await new Promise((resolve) => taken.once('listening', resolve));
      t.teardown(() => taken.close());
      const address = taken.address();
      assert.ok(address !== null && typeof address === 'object');
      const memory = new MemoryStore();
      const plugin = ownStore ? createDnsPlugin({ newStore: () => memory.share() }) : createDnsPlugin();
      const dns = {
        enable: true,
        listen: '127.0.0.1:0',
        'use-system-hosts': false,
        'enhanced-mode': 'fake-ip',
        'fake-ip-store': join(folder, 'failed.journal'),
        'fake-ip-range': '198.18.0.1/26',
      };
      const other = { ...dns, 'fake-ip-range': '10.9.0.1/16' };
      const tables: FakeIpTable[] = [];
      const look = ({ get }: Pick<PluginContext, 'get'>): object => {
        tables.push(get(FAKE_IPS));
        return {};
      };
      const looker = definePlugin({ name: 'looker', api: 1, setup: (context) => context.nameHook({ name: 'looker', create: look }) });
      const run = async (): Promise<Running> => {
        const kernel = createKernel({ dns }, { plugins: [plugin, looker], cacheFolder });
        t.teardown(() => kernel.stop());
        await kernel.start();
        const port = kernel.listeners()[0]?.endpoint?.port ?? 0;
        return { kernel, port, ask: (query) => askUdp(port, query) };
      };
      // So many for the range that most have not the address of their hash: asked in another order, only what was kept brings them back.
      const names = Array.from({ length: 40 }, (_, i) => `${i}.failed.example`);
      const askAll = async ({ ask }: Running, order: readonly string[]): Promise<Map<string, string>> => {
        const told = new Map<string, string>();
        for (const name of order) told.set(name, said(await ask(queryBytes(name, 'A'))).join());
        return new Map([...told].sort());
      };
      const first = await run();
      const before = await askAll(first, names);
      await t.rejects(first.kernel.reload({ dns: other, listeners: [{ name: 'other', type: 'dns', port: address.port }] }), { code: 'LISTEN_FAILED' });
      const [late] = said(await first.ask(queryBytes('late.failed.example', 'A')));
      await first.kernel.reload({ dns: { ...dns, 'fake-ip-ttl': 7 } });
      t.same(await askAll(first, names.toReversed()), before, 'the same pool');
      t.notOk(tables[0]?.contains('10.9.0.3'), 'the range that never was is nobody’s');
      await first.kernel.stop();

      const second = await run();
      t.same(said(await second.ask(queryBytes('late.failed.example', 'A'))), [late]);
      t.same(await askAll(second, names.toReversed()), before);
      // And one that succeeds: what is assigned meanwhile is kept too.
      await second.kernel.reload({ dns: other });
      const [new4] = said(await second.ask(queryBytes('0.failed.example', 'A')));
      t.match(new4, /^A 10\.9\./);
      t.ok(tables[0] !== tables.at(-1) && tables.at(-1)?.contains('198.18.0.3'), 'who remembers an address of before reaches nobody');
      await second.kernel.reload({ dns: { ...other, 'fake-ip-ttl': 7 } });
      t.same(said(await second.ask(queryBytes('0.failed.example', 'A'))), [new4]);
      await second.kernel.stop();
    },
  );

void t.test('two kernels, one store', async (t) => {
  const store = new MemoryStore();
  const kernels = await Promise.all(
    [1, 2].map(async () => {
      const plugin = createDnsPlugin({ newStore: () => store.share() });
      const kernel = createKernel({ dns: { enable: true, listen: '127.0.0.1:0', 'enhanced-mode': 'fake-ip' } }, { plugins: [plugin] });
      t.teardown(() => kernel.stop());
      await kernel.start();
      return kernel.listeners()[0]?.endpoint?.port ?? 0;
    }),
  );
  const answers = await Promise.all(kernels.map(async (port) => said(await askUdp(port, queryBytes('shared.example', 'A')))));
  t.same(answers[0], answers[1]);
});

void t.test('an adapter of type dns is the name server, whatever it is asked to reach', async (t) => {
  const { kernel } = await start(t, { 'enhanced-mode': 'fake-ip', 'fake-ip-store': false }, { proxies: [{ name: 'names', type: 'dns' }] });
  const adapter = kernel.adapters().find(({ tag }) => tag === 'names');
  assert.ok(adapter?.packet !== undefined && adapter.stream !== undefined);
  const peer = { host: '8.8.8.8', port: 53 };
  const session = {
    id: 1,
    network: 'udp',
    inbound: '',
    inboundType: '',
    inboundPort: 0,
    source: peer,
    requested: peer,
    destination: peer,
    signal: never,
  } as const;
  const conn = await adapter.packet.dialPacket({ session, signal: never });
  conn.send([{ bytes: queryBytes('a.example', 'A'), peer }]);
  t.match(said((await conn.receive())?.[0]?.bytes ?? null), [/^A 198\.18\./]);
  conn.close();
  const stream = await adapter.stream.dialStream(peer, { session, signal: never });
  const query = queryBytes('a.example', 'A');
  await stream.write([Buffer.concat([Uint8Array.of(0, query.length), query])]);
  t.match(said(Buffer.concat((await stream.read()) ?? []).subarray(2)), [/^A 198\.18\./]);
  await stream.closeWrite();
  t.equal(await stream.read(), null);
});

void t.test('a name server that would ask itself is refused by the socket', async (t) => {
  const { kernel, port } = await start(t, { nameserver: 'rcode://server_failure' });
  await kernel.reload({ dns: { enable: true, listen: '127.0.0.1:0', 'use-system-hosts': false, nameserver: `127.0.0.1:${port}` } });
  const started = performance.now();
  t.equal(decoded(await askUdp(port, queryBytes('loop.example', 'A'))).rcode, 2);
  t.ok(performance.now() - started < 2_000, 'at once');
});

void t.test('a plugin brings a kind of server', async (t) => {
  const reached: string[] = [];
  const plugin = definePlugin({
    name: 'mine',
    api: 1,
    setup: (context) =>
      context.resolver({
        scheme: 'mine',
        create: (address, given) => ({
          ask: async (query) => {
            reached.push(`${address} by ${given.adapter().tag}`);
            return replyTo(query, { answers: [{ type: 'A', name: decoded(query).questions?.[0]?.name ?? '', ttl: 60, data: '192.0.2.5' }] });
          },
        }),
      }),
  });
  const dns = { enable: true, listen: '127.0.0.1:0', nameserver: 'mine://somewhere#REJECT' };
  const kernel = createKernel({ dns }, { plugins: [createDnsPlugin(), plugin], cacheFolder: null });
  t.teardown(() => kernel.stop());
  await kernel.start();
  t.same(said(await askUdp(kernel.listeners()[0]?.endpoint?.port ?? 0, queryBytes('a.example', 'A'))), ['A 192.0.2.5']);
  t.same(reached, ['somewhere by REJECT']);
  t.throws(() => createKernel({ dns }, { plugins: [createDnsPlugin()] }), /unknown scheme mine:/);
});

void t.test('direct-real-ip: a rule on the name asks nobody, one that needs the address has the question wait, DNSFAIL sees that there is none', async (t) => {
  const server = await udpServer((query) => {
    const [question] = decoded(query).questions ?? [];
    const name = question?.name.toLowerCase() ?? '';
    if (name.startsWith('fails')) return [replyTo(query, { rcode: 3 })];
    const data = name.startsWith('near') ? '192.168.1.9' : '203.0.113.9';
    return [replyTo(query, { answers: question?.type === 'A' ? [{ type: 'A', name: question.name, ttl: 60, data }] : [] })];
  });
  t.teardown(() => server.close());
  const asked = (): string[] => [...new Set(server.queries.splice(0).map((query) => decoded(query).questions?.[0]?.name.toLowerCase() ?? ''))];
  const rules = [
    'DOMAIN-SUFFIX,direct.example,DIRECT',
    'DOMAIN-SUFFIX,proxied.example,REJECT',
    'IP-CIDR,192.168.0.0/16,DIRECT',
    'DNSFAIL,REJECT',
    'MATCH,DIRECT',
  ];
  const dns = { nameserver: `127.0.0.1:${server.port}`, 'enhanced-mode': 'fake-ip', 'fake-ip-store': false, 'direct-real-ip': true };
  const { ask, kernel } = await start(t, dns, { rules: [...rules.slice(0, 4), 'MATCH,REJECT'] });
  const of = async (name: string): Promise<string[]> => said(await ask(queryBytes(name, 'A')));
  t.match(await of('a.proxied.example'), [/^A 198\.18\./], 'rejected: the connection is to be told');
  t.same(asked(), []);
  t.same(await of('a.direct.example'), ['A 203.0.113.9']);
  t.same(asked(), ['a.direct.example']);
  t.same(await of('near.example'), ['A 192.168.1.9']);
  t.same(asked(), ['near.example']);
  t.match(await of('far.example'), [/^A 198\.18\./]);
  t.match(await of('fails.example'), [/^A 198\.18\./], 'DNSFAIL leads to a proxy, which may know it');
  t.same(asked(), ['far.example', 'fails.example']);
  t.ok(
    kernel.rules().every(({ hits }) => hits === 0),
    'questions are no connections',
  );
  const { ask: plain } = await start(t, { ...dns, 'direct-real-ip': false }, { rules });
  for (const name of ['b.direct.example', 'near.example', 'far.example']) t.match(said(await plain(queryBytes(name, 'A'))), [/^A 198\.18\./]);
  t.same(asked(), [], 'off, as it is by default: nobody is asked before there is a connection');
});

void t.test('respect-rules: servers are reached as the rules say, those for proxies and those with an adapter are not', async (t) => {
  const server = await upstream(t);
  const text = `127.0.0.1:${server.port}`;
  const dns = { nameserver: text, 'respect-rules': true, 'proxy-server-nameserver': text };
  const rcode = async (more: Record<string, unknown>, rules: string[]): Promise<number> => {
    const { ask } = await start(t, { ...dns, ...more }, { rules });
    return decoded(await ask(queryBytes('a.example', 'A'))).rcode;
  };
  t.equal(await rcode({}, [`DST-PORT,${server.port},DIRECT`, 'MATCH,REJECT']), 0);
  t.equal(await rcode({}, ['MATCH,REJECT']), 2);
  t.equal(await rcode({ 'respect-rules': false }, ['MATCH,REJECT']), 0);
  t.equal(await rcode({ nameserver: `${text}#DIRECT` }, ['MATCH,REJECT']), 0);
  t.equal(await rcode({ nameserver: 'tcp://localhost:1', 'nameserver-policy': { '+.example': text } }, ['MATCH,REJECT']), 2);
  // A rule that needs the address of a server gets it from default-nameserver, not from the server itself.
  const named = { nameserver: `udp://dns.example:${server.port}`, 'default-nameserver': text };
  t.equal(await rcode(named, ['IP-CIDR,127.0.0.0/8,DIRECT', 'MATCH,REJECT']), 0);
  t.equal(await rcode(named, ['DOMAIN,dns.example,DIRECT', 'MATCH,REJECT']), 0);
  t.equal(await rcode(named, ['IP-CIDR,127.0.0.0/8,REJECT', 'MATCH,DIRECT']), 2);
});

void t.test('a plugin changes questions and answers', async (t) => {
  const plugin = definePlugin({
    name: 'hooked',
    api: 1,
    setup: (context) => context.nameHook({ name: 'no-ads', create: () => ({ question: ({ name }) => (name.startsWith('ads.') ? { rcode: 3 } : null) }) }),
  });
  const dns = { enable: true, listen: '127.0.0.1:0', 'enhanced-mode': 'fake-ip', 'fake-ip-store': false };
  const kernel = createKernel({ dns }, { plugins: [createDnsPlugin(), plugin], cacheFolder: null });
  t.teardown(() => kernel.stop());
  await kernel.start();
  const port = kernel.listeners()[0]?.endpoint?.port ?? 0;
  t.equal(decoded(await askUdp(port, queryBytes('ads.example', 'A'))).rcode, 3);
  t.match(said(await askUdp(port, queryBytes('www.example', 'A'))), [/^A 198\.18\./]);
});

void t.test('a TUN: dns-hijack in its section, what is claimed, what is refused', async (t) => {
  const [near, far] = pipeDevice({ arenaBytes: 0 });
  const packets: Uint8Array[] = [];
  far.start({
    packets: (batch) => {
      for (let i = 0; i < batch.length; i++) packets.push(batch.bytes.slice(batch.start[i], batch.end[i]));
    },
    failed: () => undefined,
  });
  const config = (hijack: unknown, enable = true): KernelInput => ({
    tun: { enable: true, stack: ['dns'], ...(hijack === undefined ? {} : { 'dns-hijack': hijack }) },
    dns: { enable, 'enhanced-mode': 'fake-ip', 'fake-ip-store': false },
    mode: 'global',
  });
  const options = { plugins: [createDnsPlugin()], cacheFolder: null, openTun: () => near };
  t.throws(() => createKernel(config(['https://dns.example/dns-query']), options), /dns-hijack.*no address and port: write any:53/s);
  const kernel = createKernel(config(undefined), options);
  t.teardown(() => kernel.stop());
  t.notOk(kernel.warnings.some(({ message }) => message.includes('dns-hijack')));
  await kernel.start();
  const way = async (host: string, port: number, inbound = 'tun'): Promise<string | null> =>
    (await kernel.explain({ network: 'tcp', inbound, destination: { host, port } })).rule;
  t.equal(await way('8.8.8.8', 53), 'DNS-HIJACK,any:53', 'before the rules, and in every mode');
  t.equal(await way('8.8.8.8', 53, 'other'), null);
  t.equal(await way('8.8.8.8', 80), null);
  const udp = (destination: string, destinationPort: number, payload: Uint8Array): Uint8Array =>
    buildPacket({ kind: 'udp', source: '198.18.0.1', sourcePort: 4000, destination, destinationPort, payload });
  far.inject(udp('8.8.8.8', 53, queryBytes('a.example', 'A')));
  await eventually(() => packets.length === 1);
  const answer = parsePacket(packets[0] ?? new Uint8Array(0));
  assert.ok(answer?.kind === 'udp');
  t.match(said(answer.payload), [/^A 198\.18\./]);
  const fake = said(answer.payload)[0]?.slice(2) ?? '';
  t.equal((await kernel.explain({ network: 'tcp', destination: { host: fake, port: 443 } })).destination, 'a.example:443', 'explained as what it stands for');
  await kernel.reload(config([]));
  t.equal(await way('8.8.8.8', 53), null, 'off');
  t.equal(await way('198.18.0.2', 53), 'DNS-HIJACK', 'the networks of the device are ours all the same');
  await kernel.reload(config(undefined, false));
  t.equal(await way('8.8.8.8', 53), null, 'no section dns');
});

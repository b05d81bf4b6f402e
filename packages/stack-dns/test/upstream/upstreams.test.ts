import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type Adapter, CancelSource, NetError, never, type Stream, systemClock, TimerWheel } from '@nekit/core';
import { closedPort, eventually, FakeClock, testContext, within } from '@nekit/core/testing';
import type { Answer as DnsRecord } from 'dns-packet';
import t, { type Test } from 'tap';
import { DnsSchema } from '../../dist/config.js';
import { SystemServers } from '../../dist/upstream/system-servers.js';
import { TcpUpstream } from '../../dist/upstream/tcp-upstream.js';
import { Upstreams, type UpstreamsOptions } from '../../dist/upstream/upstreams.js';
import { addressesOf } from '../../dist/wire/answer.js';
import { TYPE } from '../../dist/wire/message.js';
import { type Question, questionFor } from '../../dist/wire/question.js';
import { makeCertificate } from '../certificate.js';
import { decoded, replyTo } from '../messages.js';
import { bothServers, type FakeServer, type Handler, httpsServer, tcpServer, udpServer } from './fake-servers.js';

const certificate = makeCertificate('IP:127.0.0.1,DNS:dns.example');
const skip = certificate === null ? 'there is no openssl' : false;

const address = (query: Uint8Array, data = '192.0.2.1'): DnsRecord => ({ type: 'A', name: decoded(query).questions?.[0]?.name ?? '', ttl: 60, data });
const answering =
  (data = '192.0.2.1'): Handler =>
  (query) => [replyTo(query, { answers: [address(query, data)], edns: true })];

function asked(name = 'www.example', type: number = TYPE.A): Question {
  const question = questionFor(name, type);
  assert.ok(question !== null);
  return question;
}

interface Made {
  readonly upstreams: Upstreams;
  ask(name?: string, type?: number): Promise<string[]>;
}

function make(t: Test, keys: Record<string, unknown>, options: Partial<UpstreamsOptions> = {}, adapters: readonly Adapter[] = []): Made {
  const { context, timers } = testContext({ adapters });
  const upstreams = new Upstreams(new DnsSchema().parse({ enable: true, ...keys }), {
    clock: systemClock,
    timers,
    timeoutMs: 5_000,
    life: never,
    hosts: () => new Map(),
    ipv6: true,
    system: new SystemServers(systemClock, '/nonexistent'),
    proxyNames: new Set(),
    adapter: (tag) => context.adapter(tag),
    random: (length) => randomBytes(length),
    rule: (kind) => {
      throw new Error(`there is no rule ${kind}`);
    },
    nameServer: (scheme) => {
      throw new Error(`there is no ${scheme}`);
    },
    wayOf: null,
    ...options,
  });
  t.teardown(() => upstreams.close());
  return { upstreams, ask: async (name, type) => addressesOf(await within(upstreams.ask(asked(name, type), 'look-up', never))) };
}

async function serving(t: Test, starting: Promise<FakeServer>): Promise<FakeServer> {
  const server = await starting;
  t.teardown(() => server.close());
  return server;
}

void t.test('UDP: another port, id and spelling each time; what does not fit is not believed', async (t) => {
  const server = await serving(
    t,
    udpServer((query) => {
      const good = replyTo(query, { answers: [address(query)], edns: true });
      const forged = replyTo(query, { answers: [address(query, '203.0.113.66')] });
      const wrongId = Uint8Array.from(forged, (byte, i) => (i === 0 ? byte ^ 1 : byte));
      const wrongName = Uint8Array.from(forged, (byte, i) => (i === 13 ? byte + 1 : byte));
      const question = Uint8Array.from(forged, (byte, i) => (i === 2 ? byte & 0x7f : byte));
      return [Uint8Array.of(1, 2, 3), wrongId, wrongName, question, good];
    }),
  );
  const { ask } = make(t, { nameserver: `127.0.0.1:${server.port}` });
  for (let i = 0; i < 20; i++) t.same(await ask(), ['192.0.2.1']);
  t.ok(new Set(server.ports).size > 15, 'ports');
  t.ok(new Set(server.queries.map((query) => `${query[0]} ${query[1]}`)).size > 15, 'ids');
  t.ok(new Set(server.queries.map((query) => Buffer.from(query.subarray(12, 24)).toString())).size > 10, 'spellings');
  t.match(decoded(server.queries[0] ?? null), { flag_rd: true, additionals: [{ type: 'OPT', udpPayloadSize: 1232 }] });
});

void t.test('UDP: TC, and a spelling that is not ours, lead to TCP', async (t) => {
  const both = async (...handlers: Parameters<typeof bothServers>): Promise<Awaited<ReturnType<typeof bothServers>>> => {
    const servers = await bothServers(...handlers);
    t.teardown(() => Promise.all([servers.udp.close(), servers.tcp.close()]));
    return servers;
  };
  const truncated = await both((query) => [replyTo(query, { truncated: true })], answering('192.0.2.2'));
  t.same(await make(t, { nameserver: `127.0.0.1:${truncated.udp.port}` }).ask(), ['192.0.2.2']);
  t.equal(truncated.tcp.queries.length, 1);
  const lower = await both((query) => {
    const reply = replyTo(query, { answers: [address(query)] });
    return [Uint8Array.from(reply, (byte, i) => (i >= 12 && i < 25 && byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte))];
  }, answering('192.0.2.3'));
  t.same(await make(t, { nameserver: `127.0.0.1:${lower.udp.port}` }).ask(), ['192.0.2.3']);
});

void t.test('UDP: lost datagrams are sent again, servers without EDNS are understood', async (t) => {
  let count = 0;
  const lossy = await serving(
    t,
    udpServer((query) => (++count === 1 ? [] : [replyTo(query, { answers: [address(query)] })])),
  );
  t.same(await make(t, { nameserver: `127.0.0.1:${lossy.port}` }).ask(), ['192.0.2.1']);
  t.equal(count, 2);
  const old = await serving(
    t,
    udpServer((query) => [replyTo(query, query[11] === 1 ? { rcode: 1 } : { answers: [address(query)] })]),
  );
  t.same(await make(t, { nameserver: `127.0.0.1:${old.port}` }).ask(), ['192.0.2.1']);
});

void t.test('UDP: a server with several addresses is asked at the next one when there is no answer', async (t) => {
  const server = await serving(t, udpServer(answering()));
  const bootstrap = await serving(
    t,
    udpServer((query) => [
      replyTo(query, { answers: decoded(query).questions?.[0]?.type === 'A' ? [address(query, '127.0.0.9'), address(query, '127.0.0.1')] : [] }),
    ]),
  );
  const { ask } = make(t, { 'default-nameserver': `127.0.0.1:${bootstrap.port}`, nameserver: `dns.example:${server.port}` }, { timeoutMs: 3_000 });
  t.same(await ask(), ['192.0.2.1']);
});

void t.test('UDP: what cannot be sent to any address fails at once', async (t) => {
  const turns: (number | undefined)[] = [];
  let ended = (): void => {};
  const adapter: Adapter = {
    tag: 'DIRECT',
    type: 'direct',
    packet: {
      dialPacket: async () => ({
        error: null,
        dropped: 0,
        receive: () =>
          new Promise((resolve) => {
            ended = () => resolve(null);
          }),
        send: ([datagram]) => {
          turns.push(datagram?.turn);
          return 0;
        },
        close: () => ended(),
      }),
    },
  };
  const { upstreams } = make(
    t,
    { 'default-nameserver': '127.0.0.1', nameserver: 'dns.example' },
    {
      timeoutMs: 300,
      hosts: () => new Map([['dns.example', ['2001:db8::1', '192.0.2.1']]]),
      adapter: () => adapter,
    },
  );
  await t.rejects(upstreams.ask(asked(), 'look-up', never), { code: 'DNS_NOT_SENT' });
  t.same(turns, [0]);
});

void t.test('TCP: one connection for many questions, answers in any order; a connection that ended is replaced', async (t) => {
  const held: (() => void)[] = [];
  const server = await serving(
    t,
    tcpServer(async (query) => {
      const { questions } = decoded(query);
      if (questions?.[0]?.name === 'first.example') await new Promise<void>((resolve) => held.push(resolve));
      return [replyTo(query, { answers: [address(query)] })];
    }),
  );
  const { ask } = make(t, { nameserver: `tcp://127.0.0.1:${server.port}` });
  const first = ask('first.example');
  t.same(
    await Promise.all(Array.from({ length: 50 }, (_, i) => ask(`${i}.example`))),
    Array.from({ length: 50 }, () => ['192.0.2.1']),
  );
  held[0]?.();
  t.same(await first, ['192.0.2.1']);
  t.equal(server.connections(), 1);
  const closing = await serving(t, tcpServer(answering(), { closeAfter: 1 }));
  const again = make(t, { nameserver: `tcp://127.0.0.1:${closing.port}` });
  for (let i = 0; i < 3; i++) t.same(await again.ask(`${i}.example`), ['192.0.2.1']);
});

void t.test('TCP: a connection that says nothing any more is given up when a question has no more time', async (t) => {
  const server = await serving(
    t,
    // As when a NAT has forgotten the first connection.
    tcpServer((query) => (server.connections() === 1 && server.queries.length > 1 ? [] : answering()(query))),
  );
  const { ask } = make(t, { nameserver: `tcp://127.0.0.1:${server.port}` }, { timeoutMs: 300 });
  t.same(await ask('0.example'), ['192.0.2.1']);
  const late = ask('1.example');
  await new Promise((resolve) => setTimeout(resolve, 150));
  const other = ask('2.example');
  await t.rejects(late, { code: 'NET_TIMEOUT' });
  t.same(await other, ['192.0.2.1'], 'who still has time is not lost with it');
  t.same(await ask('3.example'), ['192.0.2.1']);
  t.equal(server.connections(), 2);
});

void t.test('TCP: questions that keep coming do not keep a connection that says nothing', async (t) => {
  const clock = new FakeClock();
  const timers = new TimerWheel(clock);
  let aborted: Error | null = null;
  const stream: Stream = {
    read: () => new Promise<never>(() => {}),
    write: async () => {},
    closeWrite: async () => {},
    abort: (error) => {
      aborted = error;
    },
  };
  const upstream = new TcpUpstream('tcp://test', async () => stream, { timers, random: (length) => randomBytes(length) });
  t.teardown(() => upstream.close());
  for (let i = 0; i < 6; i++) {
    const signal = new CancelSource();
    const asking = upstream.ask(asked(`${i}.example`), signal);
    await new Promise((resolve) => setImmediate(resolve));
    signal.cancel(new NetError('aborted', 'another server has answered', { code: 'LOST_RACE' }));
    await t.rejects(asking);
    await clock.advance(3_000);
  }
  t.match(aborted, { failure: 'timeout' });
});

void t.test('TLS: the certificate is looked at', { skip }, async (t) => {
  assert.ok(certificate !== null);
  const server = await serving(t, tcpServer(answering(), { certificate }));
  t.same(await make(t, { nameserver: `tls://127.0.0.1:${server.port}#skip-cert-verify=true` }).ask(), ['192.0.2.1']);
  t.same(await make(t, { nameserver: `tls://127.0.0.1:${server.port}#ca=${encodeURIComponent(certificate.cert)}` }).ask(), ['192.0.2.1']);
  await t.rejects(make(t, { nameserver: `tls://127.0.0.1:${server.port}` }).ask(), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
});

void t.test('HTTPS: one session for many questions', { skip }, async (t) => {
  assert.ok(certificate !== null);
  const server = await serving(t, httpsServer(answering(), certificate));
  const { ask } = make(t, { nameserver: `https://127.0.0.1:${server.port}/dns-query#skip-cert-verify=true` });
  t.same(
    await Promise.all(Array.from({ length: 30 }, (_, i) => ask(`${i}.example`))),
    Array.from({ length: 30 }, () => ['192.0.2.1']),
  );
  t.equal(server.connections(), 1);
  t.equal(server.queries[0]?.[0], 0, 'id 0 (RFC 8484 section 4.1)');
  await t.rejects(make(t, { nameserver: `https://127.0.0.1:${server.port}/elsewhere#skip-cert-verify=true` }).ask(), /HTTP status 404/);
  await t.rejects(make(t, { nameserver: `https://127.0.0.1:${server.port}/dns-query` }).ask(), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
});

void t.test('HTTPS: a session that says nothing any more is given up when a question has no more time', { skip }, async (t) => {
  assert.ok(certificate !== null);
  const server = await serving(
    t,
    httpsServer((query) => (server.connections() === 1 && server.queries.length > 1 ? new Promise<never>(() => {}) : answering()(query)), certificate),
  );
  const { ask } = make(t, { nameserver: `https://127.0.0.1:${server.port}/dns-query#skip-cert-verify=true` }, { timeoutMs: 500 });
  t.same(await ask('0.example'), ['192.0.2.1']);
  await t.rejects(ask('1.example'), { code: 'NET_TIMEOUT' });
  t.same(await ask('2.example'), ['192.0.2.1']);
  t.equal(server.connections(), 2);
});

void t.test('the address of a server with a name is asked for while the kernel lives; then the reason is told', async (t) => {
  const bootstrap = await serving(
    t,
    udpServer(() => []),
  );
  const life = new CancelSource();
  const { ask, upstreams } = make(t, { 'default-nameserver': `127.0.0.1:${bootstrap.port}`, nameserver: 'tcp://dns.example' }, { life, timeoutMs: 60_000 });
  const over = new NetError('aborted', 'the kernel has stopped', { code: 'STOPPED' });
  const asking = ask();
  await eventually(() => bootstrap.queries.length >= 2); // A and AAAA
  life.cancel(over);
  await t.rejects(asking, over);
  const before = bootstrap.queries.length;
  await t.rejects(within(upstreams.ask(asked('other.example'), 'look-up', life)), over, 'also who comes later');
  t.equal(bootstrap.queries.length, before);
});

void t.test('a server with a name: its address comes from default-nameserver, and nothing else is asked there', async (t) => {
  const bootstrap = await serving(
    t,
    udpServer((query) => [replyTo(query, { answers: decoded(query).questions?.[0]?.type === 'A' ? [address(query, '127.0.0.1')] : [] })]),
  );
  const server = await serving(t, tcpServer(answering()));
  const { ask } = make(t, { 'default-nameserver': `127.0.0.1:${bootstrap.port}`, nameserver: `tcp://dns.example:${server.port}` });
  t.same(await ask(), ['192.0.2.1']);
  t.same(new Set(bootstrap.queries.map((query) => decoded(query).questions?.[0]?.name.toLowerCase())), new Set(['dns.example']));
});

void t.test('several servers: a dead one is passed over, a late one gets a rival, an error is not the last word', async (t) => {
  const dead = await closedPort();
  const good = await serving(t, udpServer(answering()));
  const silent = await serving(
    t,
    udpServer(() => []),
  );
  const broken = await serving(
    t,
    udpServer((query) => [replyTo(query, { rcode: 2 })]),
  );
  t.same(await make(t, { nameserver: [`tcp://127.0.0.1:${dead}`, `127.0.0.1:${good.port}`] }).ask(), ['192.0.2.1']);
  const start = performance.now();
  const { ask } = make(t, { nameserver: [`127.0.0.1:${silent.port}`, `127.0.0.1:${good.port}`] });
  t.same(await ask(), ['192.0.2.1']);
  t.ok(performance.now() - start < 1_000);
  await ask('again.example');
  t.ok(silent.queries.length <= 2);
  t.same(await make(t, { nameserver: [`127.0.0.1:${broken.port}`, `127.0.0.1:${good.port}`] }).ask(), ['192.0.2.1']);
  const { upstreams } = make(t, { nameserver: [`127.0.0.1:${broken.port}`, `tcp://127.0.0.1:${dead}`] });
  t.match(await upstreams.ask(asked(), 'look-up', never), { rcode: 2 });
  await t.rejects(make(t, { nameserver: `127.0.0.1:${silent.port}` }, { timeoutMs: 150 }).ask(), { code: 'NET_TIMEOUT' });
  await t.rejects(make(t, { nameserver: `tcp://127.0.0.1:${dead}` }).ask(), { code: 'ECONNREFUSED' });
});

void t.test('cancelled: it rejects at once', async (t) => {
  const silent = await serving(
    t,
    udpServer(() => []),
  );
  const { upstreams } = make(t, { nameserver: [`127.0.0.1:${silent.port}`] });
  const signal = new CancelSource();
  const asking = upstreams.ask(asked(), 'look-up', signal);
  signal.cancel(new NetError('aborted', 'enough', { code: 'ENOUGH' }));
  await t.rejects(asking, { code: 'ENOUGH' });
});

void t.test('who is asked for what', async (t) => {
  const [main, cn, proxy, direct] = await Promise.all(
    ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4'].map((data) => serving(t, udpServer(answering(data)))),
  );
  assert.ok(main !== undefined && cn !== undefined && proxy !== undefined && direct !== undefined);
  const { upstreams, ask } = make(
    t,
    {
      nameserver: `127.0.0.1:${main.port}`,
      'nameserver-policy': { '+.cn,only.example': `127.0.0.1:${cn.port}`, '+.blocked.example': 'rcode://refused' },
      'proxy-server-nameserver': `127.0.0.1:${proxy.port}`,
      'direct-nameserver': `127.0.0.1:${direct.port}`,
    },
    { proxyNames: new Set(['server.example']) },
  );
  t.same(await ask('www.example'), ['192.0.2.1']);
  t.same(await ask('a.b.cn'), ['192.0.2.2']);
  t.same(await ask('only.example'), ['192.0.2.2']);
  t.same(await ask('server.example'), ['192.0.2.3']);
  t.match(await upstreams.ask(asked('x.blocked.example'), 'look-up', never), { rcode: 5 });
  t.same(addressesOf(await upstreams.ask(asked('a.b.cn'), 'dial', never)), ['192.0.2.4'], 'direct-nameserver goes first');
});

void t.test('fallback: for names that it is for, and for answers that are not to be trusted', async (t) => {
  const lies = await serving(
    t,
    udpServer((query) => [
      replyTo(query, { answers: [address(query, decoded(query).questions?.[0]?.name.toLowerCase() === 'lie.example' ? '240.0.0.1' : '192.0.2.1')] }),
    ]),
  );
  const truth = await serving(t, udpServer(answering('192.0.2.77')));
  const { ask } = make(t, {
    nameserver: `127.0.0.1:${lies.port}`,
    fallback: [`127.0.0.1:${truth.port}`],
    'fallback-filter': { geoip: false, ipcidr: ['240.0.0.0/4'], domain: ['+.far.example'] },
  });
  t.same(await ask('honest.example'), ['192.0.2.1']);
  t.same(await ask('lie.example'), ['192.0.2.77']);
  const before = lies.queries.length;
  t.same(await ask('www.far.example'), ['192.0.2.77']);
  t.equal(lies.queries.length, before, 'nameserver was not asked');
  const countries = make(
    t,
    { nameserver: `127.0.0.1:${lies.port}`, fallback: [`127.0.0.1:${truth.port}`] },
    { rule: (kind, payload) => ({ match: async ({ destination }) => kind === 'GEOIP' && payload === 'CN' && destination.host === '192.0.2.1' }) },
  );
  t.same(await countries.ask('honest.example'), ['192.0.2.1']);
  t.same(await countries.ask('lie.example'), ['192.0.2.77']);
});

void t.test('fallback: a nameserver that says nothing is not waited for, and asked again', async (t) => {
  let isDead = true;
  const main = await serving(
    t,
    udpServer((query) => (isDead ? [] : answering('192.0.2.1')(query))),
  );
  const second = await serving(t, udpServer(answering('192.0.2.77')));
  const { ask } = make(t, {
    nameserver: `127.0.0.1:${main.port}`,
    fallback: [`127.0.0.1:${second.port}`],
    'fallback-filter': { geoip: false },
  });
  const start = performance.now();
  t.same(await ask('0.example'), ['192.0.2.77']);
  const known = performance.now();
  t.ok(known - start < 2_000, 'long before its time is up');
  for (let i = 1; i <= 4; i++) t.same(await ask(`${i}.example`), ['192.0.2.77']);
  t.ok(performance.now() - known < 1_000, 'one that has just failed is waited for still less');
  isDead = false;
  t.same(await ask('5.example'), ['192.0.2.1']);
});

void t.test('through an adapter: it is given the name of the server, or speaks TCP where it has no UDP', async (t) => {
  const server = await serving(t, tcpServer(answering()));
  const seen: string[] = [];
  const { context } = testContext();
  const adapter: Adapter = {
    tag: 'home',
    type: 'test',
    stream: {
      dialStream: (destination, options) => {
        seen.push(`${destination.host}:${destination.port}`);
        assert.ok(context.base.stream !== undefined);
        return context.base.stream.dialStream({ host: '127.0.0.1', port: server.port }, options);
      },
    },
  };
  const { ask } = make(t, { nameserver: '8.8.8.8#home' }, {}, [adapter]);
  t.same(await ask(), ['192.0.2.1']);
  t.same(await make(t, { nameserver: 'tcp://dns.example#home' }, {}, [adapter]).ask(), ['192.0.2.1']);
  t.same(seen, ['8.8.8.8:53', 'dns.example:53']);
});

void t.test('a kind of server that a plugin has brought', async (t) => {
  const made: string[] = [];
  const nameServer: UpstreamsOptions['nameServer'] = (scheme, address, adapter) => {
    made.push(`${scheme} ${address} ${adapter}`);
    return {
      ask: async (query) => {
        const { questions } = decoded(query);
        if (questions?.[0]?.name === 'throws.example') throw new Error('no');
        return replyTo(questions?.[0]?.name === 'wrong.example' ? Uint8Array.from(query, (byte, i) => (i === 0 ? byte ^ 1 : byte)) : query, {
          answers: [address4(query)],
        });
      },
    };
  };
  const address4 = (query: Uint8Array): DnsRecord => address(query, '192.0.2.44');
  const { ask } = make(t, { nameserver: 'mine://some/where?x#home' }, { nameServer });
  t.same(await ask(), ['192.0.2.44']);
  t.same(made, ['mine some/where?x home']);
  await t.rejects(ask('wrong.example'), { code: 'DNS_BAD_MESSAGE' });
  await t.rejects(ask('throws.example'), /mine:.*no/);
});

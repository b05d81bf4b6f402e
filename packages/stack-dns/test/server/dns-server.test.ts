import assert from 'node:assert/strict';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type NameHook, TimerWheel } from '@nekit/core';
import { FakeClock } from '@nekit/core/testing';
import type { Answer as DnsRecord } from 'dns-packet';
import fc from 'fast-check';
import t from 'tap';
import { AddressRange } from '../../dist/fake-ip/address-range.js';
import { FakeIpPool } from '../../dist/fake-ip/fake-ip-pool.js';
import { DnsPacketConn } from '../../dist/server/dns-packet-conn.js';
import { DnsServer, type DnsServerOptions } from '../../dist/server/dns-server.js';
import { DnsStream } from '../../dist/server/dns-stream.js';
import { Hooks } from '../../dist/server/hooks.js';
import { DnsClient } from '../../dist/upstream/dns-client.js';
import { readAnswer } from '../../dist/wire/answer.js';
import { TYPE } from '../../dist/wire/message.js';
import { type Question, queryMessage } from '../../dist/wire/question.js';
import { decoded, queryBytes, replyTo, said, withType } from '../messages.js';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** In bytes, without garbage. */
function heapInUse(): number {
  collect();
  return process.memoryUsage().heapUsed;
}

const clock = new FakeClock();

interface Upstream {
  readonly asked: string[];
  readonly client: DnsClient;
}

/** Servers that know what the test says. */
function upstream(answer: (question: Question) => DnsRecord[] | number): Upstream {
  const asked: string[] = [];
  const client = new DnsClient({
    clock,
    maxEntries: 100,
    maxBytes: 1 << 20,
    maxPending: 100,
    ask: async (question) => {
      asked.push(`${question.name} ${question.type}`);
      const found = answer(question);
      const query = queryMessage(question, { id: 0, spelling: null, edns: false });
      const message = typeof found === 'number' ? replyTo(query, { rcode: found }) : replyTo(query, { answers: found });
      const read = readAnswer(message, question.wire.length + 4);
      assert.ok(read !== null);
      return read;
    },
  });
  return { asked, client };
}

function fakePool(withSix = true): FakeIpPool {
  return new FakeIpPool({ range4: new AddressRange('198.18.0.1/16', 4), range6: withSix ? new AddressRange('fd00::1/64', 6) : null, seed: 5 });
}

function serverWith(options: Partial<DnsServerOptions>, known = upstream(() => 3)): DnsServer {
  return new DnsServer({ client: known.client, hosts: () => new Map(), ipv6: true, fakes: null, isReal: () => false, fakeTtl: 1, ...options });
}

void t.test('fake answers', async (t) => {
  const fakes = fakePool();
  const known = upstream((question) => [{ type: 'TXT', name: question.name, ttl: 60, data: 'text' }]);
  const server = serverWith({ fakes, isReal: (name) => name.endsWith('.lan') }, known);
  const query = queryBytes('Www.EXAMPLE', 'A', { id: 0x1f2e, edns: 1232 });
  const reply = decoded(await server.answer(query, 'udp'));
  t.equal(reply.id, 0x1f2e);
  t.equal(reply.questions?.[0]?.name, 'Www.EXAMPLE', 'the spelling of the client');
  t.match(reply.answers, [{ type: 'A', name: 'Www.EXAMPLE', ttl: 1 }]);
  const address = fakes.assign('www.example', 4);
  t.same(said(await server.answer(query)), [`A ${address}`]);
  t.match(reply.additionals, [{ type: 'OPT' }]);
  t.same(said(await server.answer(queryBytes('www.example', 'AAAA'))), [`AAAA ${fakes.assign('www.example', 6)}`]);
  const https = decoded(await server.answer(withType(queryBytes('www.example', 'A'), TYPE.HTTPS, 11)));
  t.same([https.rcode, https.answers, https.questions?.length], [0, [], 1], 'HTTPS: NODATA, or its hints would go past us; NXDOMAIN would end the name');
  t.equal(decoded(await serverWith({ fakes: fakePool(false) }).answer(queryBytes('www.example', 'AAAA'))).rcode, 0, 'no range of IPv6: NODATA');
  t.same(said(await serverWith({ fakes, ipv6: false }).answer(queryBytes('www.example', 'AAAA'))), []);
  t.same(known.asked, [], 'nobody was asked');
  t.same(said(await server.answer(queryBytes('www.example', 'TXT'))).length, 1, 'what is no address comes from the servers');
  await server.answer(queryBytes('printer.lan', 'A'));
  t.same(known.asked, ['www.example 16', 'printer.lan 1']);
  const reverse = address.split('.').reverse().join('.');
  t.same(said(await server.answer(queryBytes(`${reverse}.in-addr.arpa`, 'PTR'))), ['PTR www.example'], 'the name of a fake address');
  t.equal(decoded(await server.answer(queryBytes('250.250.18.198.in-addr.arpa', 'PTR'))).rcode, 3, 'of one that stands for nothing');
  for (const name of ['1.2.3.4', '0x7f000001', 'a.0X7F', '2130706433', 'example.017'])
    t.equal(decoded(await server.answer(queryBytes(name, 'A'))).rcode, 3, `${name}: an address is no name`);
  t.equal(fakes.size, 1);
  for (const name of ['a.0x7g', 'x0x7f', '1.example', '0xyz', 'a.7up']) t.match(said(await server.answer(queryBytes(name, 'A'))), [/^A 198/], name);
});

void t.test('where the rules lead a name: directly with its real address, else with a fake one; also when they have to wait', async (t) => {
  const fakes = fakePool();
  const known = upstream((question) => [{ type: 'A', name: question.name, ttl: 60, data: '192.0.2.7' }]);
  const waiting = new Map<string, (isDirect: boolean) => void>();
  const learned: string[] = [];
  const isDirect = (name: string): boolean | Promise<boolean> =>
    name.startsWith('direct') || (name.startsWith('slow') && new Promise<boolean>((resolve) => waiting.set(name, resolve)));
  const server = serverWith({ fakes, isDirect, learn: (name, addresses) => learned.push(`${name} ${addresses.join()}`) }, known);
  t.same(said(await server.answer(queryBytes('direct.example', 'A'))), ['A 192.0.2.7']);
  t.same(said(await server.answer(queryBytes('direct.example', 'A'))), ['A 192.0.2.7']);
  t.match(said(await server.answer(queryBytes('proxied.example', 'A'))), [/^A 198\.18/]);
  const [one, two] = [server.answer(queryBytes('slow-1.example', 'A')), server.answer(queryBytes('slow-2.example', 'AAAA', { edns: 1232 }))];
  t.match(said(await server.answer(queryBytes('other.example', 'A'))), [/^A 198\.18/], 'others do not wait for it');
  t.same(known.asked, ['direct.example 1']);
  waiting.get('slow-2.example')?.(false);
  const reply = decoded(await two);
  t.match(reply, { answers: [{ type: 'AAAA', name: 'slow-2.example', data: fakes.assign('slow-2.example', 6) }], additionals: [{ type: 'OPT' }] });
  waiting.get('slow-1.example')?.(true);
  t.same(said(await one), ['A 192.0.2.7']);
  t.same(known.asked, ['direct.example 1', 'slow-1.example 1']);
  t.same(said(await server.answer(queryBytes('direct.example', 'A'))), ['A 192.0.2.7']);
  const [direct, slow] = ['direct.example 192.0.2.7', 'slow-1.example 192.0.2.7'];
  t.same(learned, [direct, direct, slow, direct], 'also from the cache: the name that was told last counts');
});

void t.test('hooks: what is asked, and what is answered', async (t) => {
  const fakes = fakePool();
  const known = upstream((question) => [{ type: 'A', name: question.name, ttl: 60, data: '192.0.2.7' }]);
  const warnings: string[] = [];
  const seen: string[] = [];
  const first: NameHook = {
    question({ name, type }) {
      seen.push(`${name} ${type}`);
      if (name === 'blocked.example') return { rcode: 3 };
      if (name === 'fixed.example') return { addresses: ['192.0.2.1', '2001:db8::1'] };
      if (name === 'alias.example') return { name: 'loop.real' };
      if (name === 'loop.real') return { name: 'alias.example' };
      if (name === 'broken.example') throw new Error('oops');
      return null;
    },
  };
  const second: NameHook = {
    question: ({ name }) => (name === 'blocked.example' ? { rcode: 5 } : null),
    answer({ name }, message) {
      if (name === 'short.example') return Uint8Array.of(1);
      if (name === 'long.example') return new Uint8Array(4_000);
      if (name !== 'changed.real') return null;
      const other = Uint8Array.from(message);
      other[0] = 0xff; // whatever it says here, the id is the client's
      other[other.length - 1] = 99;
      return other;
    },
  };
  const hooks = new Hooks([first, second], (message) => warnings.push(message));
  const server = serverWith({ fakes, isReal: (name) => name.endsWith('.real'), hooks }, known);
  const ask = async (name: string, type: 'A' | 'AAAA' | 'TXT' = 'A') => decoded(await server.answer(queryBytes(name, type), 'udp'));
  t.match(await ask('blocked.example'), { rcode: 3, answers: [] });
  t.match(await ask('fixed.example'), { rcode: 0, answers: [{ type: 'A', data: '192.0.2.1' }] });
  t.match(await ask('fixed.example', 'AAAA'), { answers: [{ type: 'AAAA', data: '2001:db8::1' }] });
  t.match(await ask('fixed.example', 'TXT'), { rcode: 0, answers: [] });
  t.match(await ask('Alias.example'), {
    answers: [
      { type: 'CNAME', data: 'loop.real' },
      { type: 'A', name: 'loop.real', data: '192.0.2.7' },
    ],
  });
  t.match(await ask('changed.real'), { id: 0x1234, answers: [{ type: 'A', data: '192.0.2.99' }] });
  t.match(await ask('changed.real'), { id: 0x1234, answers: [{ type: 'A', data: '192.0.2.99' }] }, 'from the cache, which has what the servers said');
  for (const name of ['broken.example', 'short.example', 'long.example']) t.match(await ask(name), { answers: [{ data: fakes.assign(name, 4) }] }, name);
  await ask('broken.example');
  t.same(warnings, ['a name hook of a plugin failed: oops']);
  t.ok(seen.includes('alias.example 1'), 'in lower case');
});

void t.test('ANY, localhost, errors, silence', async (t) => {
  const known = upstream(() => 3);
  const server = serverWith({ fakes: fakePool() }, known);
  const any = decoded(await server.answer(withType(queryBytes('a.example', 'A'), TYPE.ANY, 9)));
  t.match(any.answers, [{ type: 'HINFO', data: { cpu: 'RFC8482' } }]);
  t.same(said(await server.answer(queryBytes('localhost', 'A'))), ['A 127.0.0.1']);
  t.same(said(await server.answer(queryBytes('a.localhost', 'AAAA'))), ['AAAA ::1']);
  for (const type of [0, 99, 257, 4_000, 65_280, 65_535])
    t.equal(decoded(await server.answer(withType(queryBytes('a.example', 'A'), type, 9))).rcode, 3, `type ${type}: whatever the servers say`);
  t.equal(known.asked.splice(0).length, 6);
  // Options of EDNS that nobody knows, a cookie among them.
  const plain = queryBytes('a.example', 'A', { edns: 1232 });
  const options = Uint8Array.of(0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0xff, 0, 0, 0);
  const withOptions = Uint8Array.of(...plain.subarray(0, plain.length - 1), options.length, ...options);
  t.match(decoded(await server.answer(withOptions, 'udp')), { rcode: 0, additionals: [{ type: 'OPT', options: [] }] });
  const two = Uint8Array.from(queryBytes('a.example', 'A'));
  two[5] = 2;
  t.equal(decoded(await server.answer(two)).rcode, 1);
  const reply = Uint8Array.from(queryBytes('a.example', 'A'));
  reply[2] = 0x80;
  t.equal(await server.answer(reply), null);
  t.same(known.asked, []);
});

void t.test('hosts: addresses, other names, NODATA for the rest', async (t) => {
  const hosts = new Map([
    ['router.home', ['192.168.1.1', 'fe80::1']],
    ['alias.example', ['real.example']],
    ['short.example', ['router.home']],
  ]);
  const known = upstream((question) => (question.type === TYPE.A ? [{ type: 'A', name: question.name, ttl: 9, data: '192.0.2.9' }] : []));
  const server = serverWith({ hosts: () => hosts }, known);
  t.same(said(await server.answer(queryBytes('router.home', 'A'))), ['A 192.168.1.1']);
  t.same(said(await server.answer(queryBytes('ROUTER.home', 'AAAA'))), ['AAAA fe80::1']);
  t.same(said(await server.answer(queryBytes('router.home', 'TXT'))), []);
  t.same(said(await server.answer(queryBytes('short.example', 'A'))), ['A 192.168.1.1']);
  t.same(known.asked, []);
  t.same(said(await server.answer(queryBytes('alias.example', 'A'))), ['CNAME real.example', 'A 192.0.2.9']);
  t.same(known.asked, ['real.example 1']);
});

void t.test('from servers: cached, aged, cut for UDP', async (t) => {
  const records = Array.from({ length: 60 }, (_, i): DnsRecord => ({ type: 'A', name: 'big.example', ttl: 100, data: `192.0.2.${i}` }));
  const known = upstream((question) => (question.name === 'big.example' ? records : question.name === 'fails.example' ? 2 : 3));
  const server = serverWith({}, known);
  t.equal(said(await server.answer(queryBytes('big.example', 'A'), 'tcp')).length, 60);
  const out = new Uint8Array(65_535);
  const query = queryBytes('BIG.example', 'A', { edns: 4096 });
  const length = server.respond(query, 0, query.length, 'udp', out);
  assert.ok(typeof length === 'number', 'what is in the cache is answered at once');
  t.ok(length <= 1232);
  t.match(decoded(await server.answer(queryBytes('big.example', 'A'), 'udp')), { flag_tc: true, answers: [] }, '512 bytes for who says nothing else');
  await clock.advance(40_000);
  const small = decoded(await server.answer(queryBytes('big.example', 'A'), 'tcp'));
  t.match(small.answers?.[0], { ttl: 60 });
  t.equal(known.asked.length, 1);
  t.equal(decoded(await server.answer(queryBytes('fails.example', 'A'))).rcode, 2, 'SERVFAIL when nobody knows');
  t.equal(decoded(await server.answer(queryBytes('nowhere.example', 'A'))).rcode, 3);
});

void t.test('as a stream: pipelined, in pieces, 64 KiB, ends in order', async (t) => {
  const text = Array.from({ length: 250 }, () => 'x'.repeat(250));
  const known = upstream((question) => (question.type === TYPE.A ? 3 : [{ type: 'TXT', name: question.name, ttl: 60, data: text }]));
  const server = serverWith({ fakes: fakePool() }, known);
  const stream = new DnsStream(server);
  const framed = (message: Uint8Array): Uint8Array => Buffer.concat([Uint8Array.of(message.length >> 8, message.length), message]);
  const all = Buffer.concat([
    framed(queryBytes('slow.example', 'TXT', { id: 1 })),
    ...Array.from({ length: 100 }, (_, i) => framed(queryBytes(`${i}.example`, 'A', { id: 100 + i }))),
  ]);
  const reading = (async () => {
    let bytes = Buffer.alloc(0);
    for (let chunks = await stream.read(); chunks !== null; chunks = await stream.read()) bytes = Buffer.concat([bytes, ...chunks]);
    return bytes;
  })();
  for (let at = 0; at < all.length; at += 7) await stream.write([Uint8Array.from(all.subarray(at, at + 7))]);
  await stream.closeWrite();
  const bytes = await reading;
  const ids: number[] = [];
  let longest = 0;
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt16BE(at);
    longest = Math.max(longest, length);
    ids.push(bytes.readUInt16BE(at + 2));
    at += 2 + length;
  }
  t.same(new Set(ids), new Set([1, ...Array.from({ length: 100 }, (_, i) => 100 + i)]));
  t.equal(ids.length, 101);
  t.ok(longest > 60_000);
  await t.rejects(stream.write([Uint8Array.of(0)]), { code: 'WRITE_AFTER_END' });
});

void t.test('a reader that does not read is not asked further', async (t) => {
  const stream = new DnsStream(serverWith({ fakes: fakePool() }));
  const message = queryBytes('a.example', 'A');
  const framed = Buffer.concat([Uint8Array.of(0, message.length), message]);
  const many = Buffer.concat(Array.from({ length: 20_000 }, () => framed));
  let settled = false;
  const writing = stream.write([many]).then(() => {
    settled = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  t.notOk(settled);
  let count = 0;
  while (!settled) {
    const chunks = await stream.read();
    count += chunks?.length ?? 0;
    await new Promise((resolve) => setImmediate(resolve));
  }
  await writing;
  await stream.closeWrite();
  for (let chunks = await stream.read(); chunks !== null; chunks = await stream.read()) count += chunks.length;
  t.equal(count, 20_000);
  const gone = new DnsStream(serverWith({}));
  const read = gone.read();
  gone.abort(new Error('gone'));
  await t.rejects(read, { code: 'NET_ABORTED' });
});

void t.test('as a stream that nobody asks: it ends; whoever has asked is waited for anew', async (t) => {
  const clock = new FakeClock();
  const timers = new TimerWheel(clock);
  const stream = new DnsStream(serverWith({ fakes: fakePool() }), timers);
  const message = queryBytes('a.example', 'A');
  const framed = Buffer.concat([Uint8Array.of(0, message.length), message]);
  await clock.advance(20_000);
  await stream.write([framed]);
  t.equal((await stream.read())?.length, 1);
  await clock.advance(20_000);
  await stream.write([framed.subarray(0, 5)]); // a part is no question
  const read = stream.read();
  await clock.advance(12_000);
  t.equal(await read, null);
  await t.rejects(stream.write([framed]), { code: 'WRITE_AFTER_END' });
  const aborted = new DnsStream(serverWith({ fakes: fakePool() }), timers);
  aborted.abort(new Error('gone'));
  await clock.advance(120_000);
  await t.rejects(aborted.read(), { code: 'NET_ABORTED' });
});

void t.test('as a packet conn: the answer comes from who was asked', async (t) => {
  const conn = new DnsPacketConn(serverWith({ fakes: fakePool() }));
  const peer = { host: '8.8.8.8', port: 53 };
  t.equal(
    conn.send([
      { bytes: queryBytes('a.example', 'A'), peer },
      { bytes: queryBytes('b.example', 'TXT'), peer },
    ]),
    2,
  );
  const first = await conn.receive();
  t.same(
    first?.map((datagram) => datagram.peer),
    [peer],
  );
  t.match(said(first?.[0]?.bytes ?? null), [/^A 198\.18\./]);
  t.equal(decoded((await conn.receive())?.[0]?.bytes ?? null).rcode, 3);
  conn.close();
  t.equal(await conn.receive(), null);
  t.equal(conn.send([{ bytes: queryBytes('a.example', 'A'), peer }]), 0);
});

void t.test('bytes of any kind: an answer that can be read, or none; nothing throws, nothing grows', async (t) => {
  const fakes = new FakeIpPool({ range4: new AddressRange('198.18.0.1/24', 4), range6: new AddressRange('fd00::1/64', 6), seed: 5 });
  const known = upstream(() => 3);
  const server = serverWith({ fakes, hosts: () => new Map([['host.example', ['192.0.2.1']]]) }, known);
  const seeds = [
    queryBytes('www.example', 'A'),
    queryBytes('www.example', 'AAAA', { edns: 1232, dnssecOk: true }),
    queryBytes('host.example', 'A', { edns: 512 }),
    queryBytes('4.0.18.198.in-addr.arpa', 'PTR'),
    withType(queryBytes('a.example', 'A'), TYPE.ANY, 9),
    replyTo(queryBytes('a.example', 'A'), { answers: [{ type: 'A', name: 'a.example', data: '192.0.2.1', ttl: 1 }], edns: true }),
  ];
  const runs = process.env.NEKIT_FULL === '1' ? 1_000_000 : 30_000;
  const out = new Uint8Array(65_535);
  let seed = 12345;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  let answered = 0;
  let before = 0;
  for (let run = 0; run < runs; run++) {
    if (run === 5_000) before = heapInUse(); // the pool is full by then
    const base = seeds[random(seeds.length)] ?? out;
    const bytes = Uint8Array.from(random(10) === 0 ? base.subarray(0, random(base.length)) : base);
    for (let i = random(6); i > 0 && bytes.length > 0; i--) bytes[random(bytes.length)] = random(256);
    const length = server.respond(bytes, 0, bytes.length, 'udp', out);
    if (typeof length !== 'number') {
      await length;
      known.asked.length = 0;
      continue;
    }
    if (length === 0) continue;
    answered++;
    assert.ok(length <= 1232 && (out[2] ?? 0) >= 0x80);
    assert.deepEqual([out[0], out[1]], [bytes[0], bytes[1]]);
    if (length > 12 && run % 16 === 0) assert.doesNotThrow(() => decoded(out.slice(0, length)), Buffer.from(bytes).toString('hex'));
  }
  t.ok(answered > runs / 10);
  t.ok(fakes.size <= fakes.capacity);
  const growth = heapInUse() - before;
  t.ok(growth < 4 * 1024 * 1024, `${growth} bytes`);
  t.comment(`grown by ${growth} bytes`);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      server.respond(bytes, 0, bytes.length, 'udp', out);
    }),
  );
});

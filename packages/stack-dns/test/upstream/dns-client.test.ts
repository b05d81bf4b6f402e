import assert from 'node:assert/strict';
import { NetError, never } from '@nekit/core';
import { FakeClock, settle } from '@nekit/core/testing';
import type { Answer as DnsRecord } from 'dns-packet';
import t from 'tap';
import { AnswerCache } from '../../dist/upstream/answer-cache.js';
import { DnsClient, type DnsClientOptions } from '../../dist/upstream/dns-client.js';
import { DnsResolver } from '../../dist/upstream/dns-resolver.js';
import { nameservers } from '../../dist/upstream/system-servers.js';
import { type Answer, addressesOf, readAnswer } from '../../dist/wire/answer.js';
import { TYPE } from '../../dist/wire/message.js';
import { type Question, queryMessage, questionFor } from '../../dist/wire/question.js';
import { replyTo } from '../messages.js';

function asked(name = 'a.example', type: number = TYPE.A): Question {
  const question = questionFor(name, type);
  assert.ok(question !== null);
  return question;
}

function answerTo(question: Question, data: string | null, ttl = 100, rcode = 0): Answer {
  const type = question.type === TYPE.AAAA ? 'AAAA' : 'A';
  const answers: DnsRecord[] = data === null ? [] : [{ type, name: question.name, ttl, data }];
  const answer = readAnswer(replyTo(queryMessage(question, { id: 0, spelling: null, edns: false }), { answers, rcode }), question.wire.length + 4);
  assert.ok(answer !== null);
  return answer;
}

interface Made {
  readonly clock: FakeClock;
  readonly client: DnsClient;
  readonly asked: Question[];
  /** What comes next. */
  next: (question: Question) => Promise<Answer>;
}

function make(options: Partial<DnsClientOptions> = {}): Made {
  const clock = new FakeClock();
  const made: Made = {
    clock,
    asked: [],
    next: async (question) => answerTo(question, '192.0.2.1'),
    client: new DnsClient({
      clock,
      maxEntries: 100,
      maxBytes: 1 << 20,
      maxPending: 10,
      ask: (question) => {
        made.asked.push(question);
        return made.next(question);
      },
      ...options,
    }),
  };
  return made;
}

void t.test('what is known is not asked again, until it does not hold any more', async (t) => {
  const { client, asked: questions, clock } = make();
  t.match(await client.ask(asked()), { age: 0, stale: false });
  await clock.advance(60_000);
  t.match(await client.ask(asked()), { age: 60, stale: false });
  t.equal(questions.length, 1);
  await client.ask(asked('a.example', TYPE.AAAA));
  t.equal(questions.length, 2, 'another type is another question');
  await clock.advance(41_000);
  t.match(await client.ask(asked()), { age: 0 });
  t.equal(questions.length, 3);
});

void t.test('the same question at the same time is asked once', async (t) => {
  const made = make();
  let release: (answer: Answer) => void = () => {};
  made.next = () => new Promise((resolve) => (release = resolve));
  const all = Array.from({ length: 20 }, () => made.client.ask(asked()));
  t.equal(made.asked.length, 1);
  release(answerTo(asked(), '192.0.2.5'));
  for (const { answer } of await Promise.all(all)) t.same(addressesOf(answer), ['192.0.2.5']);
  t.equal(made.client.pending, 0);
});

void t.test('only so many at a time', async (t) => {
  const made = make();
  made.next = () => new Promise(() => {});
  for (let i = 0; i < 10; i++) void made.client.ask(asked(`${i}.example`));
  await t.rejects(made.client.ask(asked('more.example')), { code: 'RESOLVER_BUSY' });
});

void t.test('hot names are asked for before they run out', async (t) => {
  const { client, asked: questions, clock } = make();
  await client.ask(asked());
  for (let i = 0; i < 5; i++) await client.ask(asked());
  await clock.advance(95_000);
  t.match(await client.ask(asked()), { age: 95 });
  await settle();
  t.equal(questions.length, 2);
  await clock.advance(10_000);
  t.match(await client.ask(asked()), { stale: false, age: 10 });
  t.equal(questions.length, 2, 'nobody had to wait');
});

void t.test('when all fail: what was known, and failures are not tried over and over', async (t) => {
  const made = make();
  const { client, clock } = made;
  await client.ask(asked());
  await clock.advance(200_000);
  made.next = () => Promise.reject(new NetError('timeout', 'nobody answers'));
  t.match(await client.ask(asked()), { stale: true });
  const count = made.asked.length;
  for (let i = 0; i < 5; i++) await client.ask(asked());
  t.equal(made.asked.length, count, 'remembered for a second');
  await clock.advance(1_100);
  await client.ask(asked());
  t.equal(made.asked.length, count + 1);
  await t.rejects(client.ask(asked('unknown.example')), { code: 'NET_TIMEOUT' });
  await t.rejects(client.ask(asked('unknown.example')), { code: 'NET_TIMEOUT' });
  t.equal(made.asked.length, count + 2);
  await clock.advance(1_100);
  made.next = async (question) => answerTo(question, null, 0, 2);
  t.match(await client.ask(asked()), { stale: true }, 'SERVFAIL');
  await clock.advance(90_000_000);
  await t.rejects(client.ask(asked()), { code: 'DNS_SERVFAIL' }, 'after a day it is forgotten');
});

void t.test('a stale answer is given when the fresh one takes long', async (t) => {
  const made = make();
  const { client, clock } = made;
  await client.ask(asked());
  await clock.advance(200_000);
  let release: (answer: Answer) => void = () => {};
  made.next = () => new Promise((resolve) => (release = resolve));
  const asking = client.ask(asked());
  await clock.advance(1_800);
  t.match(await asking, { stale: true });
  release(answerTo(asked(), '192.0.2.9'));
  await settle();
  t.same(addressesOf((await client.ask(asked())).answer), ['192.0.2.9'], 'and it is kept when it comes');
});

void t.test('the cache is bounded, by entries and by bytes', async (t) => {
  const cache = new AnswerCache(3, 10_000);
  const answer = answerTo(asked(), '192.0.2.1');
  for (const key of ['a', 'b', 'c']) cache.put(key, answer, 0);
  cache.get('a', 1);
  cache.put('d', answer, 2);
  t.equal(cache.size, 3);
  t.equal(cache.get('b', 3), null, 'the least recently used makes room');
  t.ok(cache.get('a', 3) !== null);
  const small = new AnswerCache(1_000, 2_000);
  for (let i = 0; i < 100; i++) small.put(`${i}`, answer, 0);
  t.ok(small.size < 7 && small.size > 2, `${small.size}`);
  const none = new AnswerCache(0, 1_000);
  none.put('a', answer, 0);
  t.equal(none.size, 0);
});

void t.test('as a resolver', async (t) => {
  const made = make();
  const { client, clock } = made;
  const known: Record<string, [string | null, string | null]> = {
    both: ['192.0.2.1', '2001:db8::1'],
    four: ['192.0.2.4', null],
    six: [null, '2001:db8::6'],
    none: [null, null],
  };
  made.next = async (question) => {
    const [four = null, six = null] = known[question.name.split('.')[0] ?? ''] ?? [];
    if (question.name.startsWith('nowhere')) return answerTo(question, null, 0, 3);
    return answerTo(question, question.type === TYPE.A ? four : six);
  };
  const hosts = new Map([
    ['host.example', ['192.0.2.9', '2001:db8::9']],
    ['alias.example', ['four.example']],
  ]);
  const resolver = new DnsResolver({ client, clock, hosts: () => hosts, ipv6: true, ipv6Wait: 100 });
  t.same(await resolver.resolve('Both.Example', 0, never), ['2001:db8::1', '192.0.2.1']);
  t.same(await resolver.resolve('both.example', 4, never), ['192.0.2.1']);
  t.same(await resolver.resolve('both.example', 6, never), ['2001:db8::1']);
  t.same(await resolver.resolve('four.example', 0, never), ['192.0.2.4']);
  t.same(await resolver.resolve('six.example', 0, never), ['2001:db8::6']);
  t.same(await resolver.resolve('host.example', 0, never), ['192.0.2.9', '2001:db8::9']);
  t.same(await resolver.resolve('host.example', 6, never), ['2001:db8::9']);
  t.same(await resolver.resolve('alias.example', 0, never), ['192.0.2.4']);
  t.same(await resolver.resolve('192.0.2.200', 0, never), ['192.0.2.200']);
  await t.rejects(resolver.resolve('none.example', 0, never), { code: 'NO_ADDRESS' });
  await t.rejects(resolver.resolve('nowhere.example', 0, never), { code: 'ENOTFOUND' });
  await t.rejects(resolver.resolve('no name', 0, never), { code: 'BAD_NAME' });
  const without = new DnsResolver({ client, clock, hosts: () => hosts, ipv6: false, ipv6Wait: 100 });
  t.same(await without.resolve('both.example', 0, never), ['192.0.2.1']);
  await t.rejects(without.resolve('six.example', 0, never), { code: 'NO_ADDRESS' });
});

void t.test('IPv6 does not hold up IPv4 for long', async (t) => {
  const made = make();
  made.next = (question) => (question.type === TYPE.A ? Promise.resolve(answerTo(question, '192.0.2.1')) : new Promise(() => {}));
  const resolver = new DnsResolver({ client: made.client, clock: made.clock, hosts: () => new Map(), ipv6: true, ipv6Wait: 100 });
  const resolving = resolver.resolve('a.example', 0, never);
  await made.clock.advance(100);
  t.same(await resolving, ['192.0.2.1']);
});

void t.test('resolv.conf', async (t) => {
  t.same(
    nameservers(
      '# x\nnameserver 192.0.2.1\nsearch a.example\nnameserver\tfe80::1%eth0\n nameserver 1.1.1.1\nnameserver x\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n',
    ),
    [
      { host: '192.0.2.1', port: 53 },
      { host: 'fe80::1%eth0', port: 53 },
      { host: '192.0.2.3', port: 53 },
    ],
  );
});

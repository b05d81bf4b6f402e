import assert from 'node:assert/strict';
import t from 'tap';
import { CancelSource, never } from '../../dist/net/cancel.js';
import { isNetError, NetError } from '../../dist/net/errors.js';
import { lookUpHosts } from '../../dist/net/hosts.js';
import { type SystemLookup, SystemResolver, type SystemResolverOptions } from '../../dist/net/system-resolver.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import { FakeClock } from '../../dist/testing.js';

/** A system that answers when it is told. */
class FakeSystem {
  readonly asked: { name: string; family: number; answer(...addresses: string[]): void; fail(code: string): void }[] = [];
  readonly lookup: SystemLookup = (name, family) =>
    new Promise((resolve, reject) => {
      this.asked.push({
        name,
        family,
        answer: (...addresses) => resolve(addresses.map((address) => ({ address }))),
        fail: (code) => reject(Object.assign(new Error(`getaddrinfo ${code} ${name}`), { code })),
      });
    });
  get names(): string[] {
    return this.asked.map(({ name }) => name);
  }
}

function setUp(over: Partial<SystemResolverOptions> = {}) {
  const clock = new FakeClock();
  const timers = new TimerWheel(clock);
  const system = new FakeSystem();
  const resolver = new SystemResolver({ clock, timers, timeoutMs: 5_000, lookup: system.lookup, ...over });
  return { clock, timers, system, resolver };
}

const fails = (failure: string, code: string, message?: RegExp) => (error: unknown) => {
  assert.ok(isNetError(error));
  assert.equal(error.failure, failure);
  assert.equal(error.code, code);
  if (message !== undefined) assert.match(error.message, message);
  return true;
};

void t.test('answers in canonical form, in the order of the system, without doubles', async () => {
  const { system, resolver, timers } = setUp();
  const answer = resolver.resolve('Example.COM.', 0, never);
  assert.deepEqual(system.names, ['example.com']);
  system.asked[0]?.answer('2001:DB8:0::1', '::ffff:192.0.2.1', '192.0.2.1', 'fe80::1%eth0', 'nonsense');
  assert.deepEqual(await answer, ['2001:db8::1', '192.0.2.1', 'fe80::1%eth0']);
  assert.equal(timers.size, 0);
});

void t.test('addresses are answered at once, and odd ones as what they are', async () => {
  const { system, resolver } = setUp();
  assert.deepEqual(await resolver.resolve('0x7f.1', 0, never), ['127.0.0.1']);
  assert.deepEqual(await resolver.resolve('::1', 6, never), ['::1']);
  await assert.rejects(resolver.resolve('::1', 4, never), fails('name', 'NO_ADDRESS', /no IPv4 address/));
  await assert.rejects(resolver.resolve('a b', 0, never), fails('name', 'BAD_NAME'));
  await assert.rejects(resolver.resolve('', 0, never), fails('name', 'BAD_NAME'));
  assert.deepEqual(system.names, []);
});

void t.test('hosts come first', async () => {
  const hosts = new Map([
    ['nas.home', ['192.168.1.2', 'fd00::2']],
    ['alias.home', ['other.home']],
    ['other.home', ['nas.home']],
    ['out.home', ['example.com']],
    ['a.loop', ['b.loop']],
    ['b.loop', ['a.loop']],
    ['self.loop', ['self.loop']],
    ...Array.from({ length: 12 }, (_, i): [string, string[]] => [`n${i}.long`, [`n${i + 1}.long`]]),
  ]);
  const { system, resolver } = setUp({ hosts });
  assert.deepEqual(await resolver.resolve('NAS.home', 0, never), ['192.168.1.2', 'fd00::2']);
  assert.deepEqual(await resolver.resolve('nas.home', 6, never), ['fd00::2']);
  assert.deepEqual(await resolver.resolve('alias.home', 4, never), ['192.168.1.2']);
  for (const name of ['a.loop', 'self.loop']) await assert.rejects(resolver.resolve(name, 0, never), fails('name', 'HOSTS_LOOP', /is a loop/));
  await assert.rejects(resolver.resolve('n0.long', 0, never), fails('name', 'HOSTS_LOOP', /too long/));
  assert.deepEqual(system.names, []);
  const answer = resolver.resolve('out.home', 0, never);
  assert.deepEqual(system.names, ['example.com']);
  system.asked[0]?.answer('192.0.2.1');
  assert.deepEqual(await answer, ['192.0.2.1']);
  assert.deepEqual(lookUpHosts(hosts, 'n5.long'), { alias: 'n12.long' }, 'a chain of 7 may be followed');
  assert.equal(lookUpHosts(hosts, 'unknown'), null);
});

void t.test('ipv6: false asks for A only and drops the rest', async () => {
  const { system, resolver } = setUp({ ipv6: false, hosts: new Map([['both.home', ['::1', '127.0.0.1']]]) });
  const answer = resolver.resolve('example.com', 0, never);
  assert.equal(system.asked[0]?.family, 4);
  system.asked[0]?.answer('2001:db8::1', '192.0.2.1');
  assert.deepEqual(await answer, ['192.0.2.1']);
  assert.deepEqual(await resolver.resolve('both.home', 0, never), ['127.0.0.1']);
  await assert.rejects(resolver.resolve('::1', 0, never), fails('name', 'NO_ADDRESS'));
});

void t.test('the cache: a minute for addresses, 5 s for failures', async () => {
  const { clock, system, resolver } = setUp();
  const first = resolver.resolve('example.com', 0, never);
  system.asked[0]?.answer('192.0.2.1', '2001:db8::1');
  await first;
  await clock.advance(59_000);
  assert.deepEqual(await resolver.resolve('example.com', 6, never), ['2001:db8::1'], 'one answer for all families');
  assert.equal(system.asked.length, 1);
  await clock.advance(1_000);
  const second = resolver.resolve('example.com', 0, never);
  assert.equal(system.asked.length, 2);
  system.asked[1]?.fail('ENOTFOUND');
  await assert.rejects(second, fails('name', 'NET_NAME', /example\.com does not resolve \(ENOTFOUND\)/));
  await clock.advance(4_000);
  await assert.rejects(resolver.resolve('example.com', 0, never), fails('name', 'NET_NAME'));
  assert.equal(system.asked.length, 2);
  await clock.advance(1_000);
  const third = resolver.resolve('example.com', 0, never);
  assert.equal(system.asked.length, 3);
  system.asked[2]?.answer();
  await assert.rejects(third, fails('name', 'NO_ADDRESS'));
});

void t.test('the cache is bounded, and the least recently used goes first', async () => {
  const asked: string[] = [];
  const { resolver } = setUp({
    lookup: (name) => {
      asked.push(name);
      return Promise.resolve([{ address: '192.0.2.1' }]);
    },
  });
  for (let i = 0; i < 4096; i++) await resolver.resolve(`n${i}.example`, 0, never);
  await resolver.resolve('n0.example', 0, never); // used again: n1 is the oldest now
  await resolver.resolve('new.example', 0, never);
  asked.length = 0;
  await resolver.resolve('n0.example', 0, never);
  assert.deepEqual(asked, []);
  await resolver.resolve('n1.example', 0, never);
  assert.deepEqual(asked, ['n1.example']);
});

void t.test('one question for many, each with its own cancel and timeout', async () => {
  const { clock, system, resolver, timers } = setUp();
  const leaver = new CancelSource();
  const early = resolver.resolve('example.com', 0, never);
  await clock.advance(3_000);
  const cancelled = resolver.resolve('example.com', 0, leaver);
  const late = resolver.resolve('example.com', 4, never);
  assert.deepEqual(system.names, ['example.com']);
  const reason = new Error('the client left');
  leaver.cancel(reason);
  await assert.rejects(cancelled, (error) => error === reason);
  await Promise.all([assert.rejects(early, fails('timeout', 'NET_TIMEOUT', /looking up example\.com took longer than 5000 ms/)), clock.advance(2_100)]);
  system.asked[0]?.answer('192.0.2.1');
  assert.deepEqual(await late, ['192.0.2.1']);
  assert.equal(timers.size, 0, 'no timer is left');
  await assert.rejects(resolver.resolve('example.com', 0, leaver), (error) => error === reason, 'cancelled before it began');
});

void t.test('what comes after the timeout is kept for the next', async () => {
  const { clock, system, resolver } = setUp();
  const first = resolver.resolve('slow.example', 0, never);
  await Promise.all([assert.rejects(first, fails('timeout', 'NET_TIMEOUT')), clock.advance(5_200)]);
  const second = resolver.resolve('slow.example', 0, never);
  system.asked[0]?.answer('192.0.2.9');
  assert.deepEqual(await second, ['192.0.2.9']);
  assert.deepEqual(await resolver.resolve('slow.example', 0, never), ['192.0.2.9']);
  assert.equal(system.asked.length, 1);
});

void t.test('only so many questions at once; those that nobody waits for are not asked', async () => {
  const { clock, system, resolver } = setUp({ concurrency: 2 });
  const leaver = new CancelSource();
  const [a, b, gone, d] = ['a', 'b', 'c', 'd'].map((name) => resolver.resolve(`${name}.example`, 0, name === 'c' ? leaver : never));
  assert.deepEqual(system.names, ['a.example', 'b.example']);
  leaver.cancel(new Error('left'));
  await assert.rejects(gone ?? Promise.resolve(), /left/);
  system.asked[1]?.fail('EAI_AGAIN');
  await assert.rejects(b ?? Promise.resolve(), fails('name', 'NET_NAME', /EAI_AGAIN/));
  await clock.advance(0);
  assert.deepEqual(system.names, ['a.example', 'b.example', 'd.example']);
  system.asked[2]?.answer('192.0.2.4');
  assert.deepEqual(await d, ['192.0.2.4']);
  system.asked[0]?.answer('192.0.2.1');
  assert.deepEqual(await a, ['192.0.2.1']);
});

void t.test('a full queue refuses', async () => {
  const { clock, system, resolver } = setUp({ concurrency: 1 });
  const all = Array.from({ length: 1025 }, (_, i) => resolver.resolve(`n${i}.example`, 0, never).catch((error: unknown) => error));
  assert.equal(system.asked.length, 1);
  await assert.rejects(resolver.resolve('one-more.example', 0, never), fails('name', 'RESOLVER_BUSY'));
  await clock.advance(5_200);
  const ends = await Promise.all(all);
  assert.ok(ends.every((end) => end instanceof NetError && end.failure === 'timeout'));
  assert.equal(system.asked.length, 1, 'the queue is empty again, unasked');
});

void t.test('the real getaddrinfo knows localhost', async () => {
  const { clock, timers } = setUp();
  const resolver = new SystemResolver({ clock, timers, timeoutMs: 5_000 });
  const addresses = await resolver.resolve('localhost', 0, never);
  assert.ok(addresses.some((address) => address === '127.0.0.1' || address === '::1'));
});

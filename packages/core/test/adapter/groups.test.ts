// Groups that choose by health: which member. All on a fake clock.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { Adapter } from '../../dist/adapter/adapter.js';
import { firstAlive } from '../../dist/adapter/fallback.js';
import { StickySessions, siteOf } from '../../dist/adapter/load-balance.js';
import { fastest } from '../../dist/adapter/url-test.js';
import { CancelSource } from '../../dist/net/cancel.js';
import { NetError } from '../../dist/net/errors.js';
import { carries } from '../../dist/routing/leaf.js';
import { dialOptions, testSession } from '../../dist/testing.js';
import { balance, fallback, refused, urlTest } from '../support/group-adapters.js';
import { CHECK_URL, dial, healthOptions, nextRound, scene } from '../support/groups.js';

void t.test('url-test', async (t) => {
  await t.test('uses its first member until it knows more, then the fastest', async () => {
    const stage = scene('a', 'b', 'c');
    stage.members.a.health = 300;
    stage.members.b.health = 90;
    stage.members.c.health = 200;
    const group = urlTest(stage);
    assert.equal(group.now().tag, 'a');
    assert.equal(await dial(group), 'a');
    group.start();
    await stage.clock.advance(2_000);
    assert.equal(group.now().tag, 'b');
    assert.equal(await dial(group), 'b');
    assert.deepEqual(stage.changes, [{ group: 'fast', from: 'a', to: 'b', reason: 'faster' }]);
    assert.deepEqual(
      stage.results.map(({ adapter, url, ms, error }) => [adapter, url, ms, error]),
      [
        ['b', CHECK_URL, 90, null],
        ['c', CHECK_URL, 200, null],
        ['a', CHECK_URL, 300, null],
      ],
    );
    group.close();
    assert.equal(stage.timers.size, 0);
  });

  await t.test('tolerance keeps the present member, but not for one that is faster by more', async () => {
    const stage = scene('a', 'b');
    stage.members.a.health = 100;
    stage.members.b.health = 200;
    const group = urlTest(stage, { tolerance: 50 });
    group.start();
    await nextRound(stage);
    assert.equal(group.now().tag, 'a');
    stage.members.a.health = 250; // 50 slower: not more than the tolerance
    await nextRound(stage);
    assert.equal(group.now().tag, 'a');
    stage.members.a.health = 251;
    await nextRound(stage);
    assert.equal(group.now().tag, 'b');
    stage.members.a.health = 150; // and back: 50 faster is not enough
    await nextRound(stage);
    assert.equal(group.now().tag, 'b');
    stage.members.a.health = 149;
    await nextRound(stage);
    assert.equal(group.now().tag, 'a');
    assert.deepEqual(
      stage.changes.map(({ to, reason }) => [to, reason]),
      [
        ['b', 'faster'],
        ['a', 'faster'],
      ],
    );
    group.close();
  });

  await t.test('delays are compared when a round is over: a slow answer is not held against an old one', async () => {
    const stage = scene('a', 'b');
    stage.members.a.health = 100;
    stage.members.b.health = 150;
    const group = urlTest(stage);
    group.start();
    await nextRound(stage);
    stage.members.a.health = 80;
    stage.members.b.health = 70; // faster than a was, and slower answers come later
    await nextRound(stage);
    assert.equal(group.now().tag, 'b');
    stage.members.b.health = 60;
    stage.members.a.health = 65;
    await nextRound(stage);
    assert.deepEqual(stage.changes, [{ group: 'fast', from: 'a', to: 'b', reason: 'faster' }], 'one change, none in the middle of a round');
    group.close();
  });

  await t.test('a dead member is left at once, before the round is over, and is used again once it is alive and faster', async () => {
    const stage = scene('a', 'b', 'c');
    stage.members.a.health = 50;
    stage.members.b.health = 80;
    const group = urlTest(stage, { health: healthOptions({ intervalMs: 20_000 }) });
    stage.members.c.health = 'silent';
    group.start();
    await nextRound(stage);
    assert.equal(group.now().tag, 'a');
    stage.members.a.health = 'dead';
    const before = stage.checked.length;
    while (stage.checked.length === before) await stage.clock.advance(10);
    await stage.clock.advance(100); // c has not timed out yet
    assert.equal(stage.running.now, 1);
    assert.deepEqual(stage.changes.at(-1), { group: 'fast', from: 'a', to: 'b', reason: 'dead' });
    stage.members.a.health = 50;
    await nextRound(stage);
    assert.equal(group.now().tag, 'a');
    assert.equal(stage.book.get('c', CHECK_URL)?.last.error, 'no answer within 5000 ms');
    group.close();
  });

  await t.test('where none is alive it stays where it is', async () => {
    const stage = scene('a', 'b');
    stage.members.a.health = 100;
    const group = urlTest(stage);
    group.start();
    await nextRound(stage);
    stage.members.a.health = 'dead';
    stage.members.b.health = 'dead';
    await nextRound(stage);
    assert.equal(group.now().tag, 'b');
    for (let i = 0; i < 3; i++) await nextRound(stage);
    assert.equal(group.now().tag, 'b');
    group.close();
  });

  await t.test('the choice, for any knowledge', async () => {
    const known = fc.record({ delay: fc.option(fc.nat(20), { nil: null }), isAlive: fc.boolean() });
    fc.assert(
      fc.property(fc.array(known, { minLength: 1, maxLength: 6 }), fc.nat(5), fc.nat(10), fc.boolean(), (all, at, tolerance, over) => {
        // A delay belongs to a living member; one that is alive without is unknown.
        const state = all.map(({ delay, isAlive }, index) => ({ tag: `${index}`, type: 'test', delay: isAlive ? delay : null, isAlive }));
        const [first, ...others] = state;
        const present = state[at % state.length];
        if (first === undefined || present === undefined) return;
        const of = (adapter: Adapter) => state.find(({ tag }) => tag === adapter.tag) ?? first;
        const health = { isAlive: (adapter: Adapter) => of(adapter).isAlive, delayOf: (adapter: Adapter) => of(adapter).delay };
        const chosen = of(fastest(tolerance)([first, ...others], present, health, over)?.member ?? present);
        const best = Math.min(...state.map(({ delay }) => delay ?? Number.POSITIVE_INFINITY));
        if (state.some(({ isAlive }) => isAlive)) assert.ok(chosen.isAlive, 'a living one where there is one');
        if (best < Number.POSITIVE_INFINITY) assert.notEqual(chosen.delay, null, 'a known one where there is one');
        if (chosen !== present && present.delay !== null) assert.ok(over && present.delay - best > tolerance, 'left for a reason');
        if (chosen !== present && chosen.delay !== null) assert.equal(chosen.delay, best);
        if (chosen === present && over && present.delay !== null) assert.ok(present.delay - best <= tolerance);
        const safe = of(firstAlive([first, ...others], present, health, over)?.member ?? present);
        assert.equal(safe, state.find(({ isAlive }) => isAlive) ?? first);
      }),
    );
  });
});

void t.test('fallback', async (t) => {
  await t.test('the first that is alive, and back to an earlier one when it recovers', async () => {
    const stage = scene('a', 'b', 'c');
    stage.members.a.health = 900;
    stage.members.b.health = 5;
    const group = fallback(stage);
    group.start();
    await nextRound(stage);
    assert.equal(group.now().tag, 'a', 'slow is alive');
    stage.members.a.health = 'dead';
    stage.members.b.health = 'dead';
    await nextRound(stage);
    assert.equal(group.now().tag, 'c');
    stage.members.b.health = 10;
    await nextRound(stage);
    assert.equal(group.now().tag, 'b');
    stage.members.a.health = 10;
    await nextRound(stage);
    assert.equal(group.now().tag, 'a');
    const reasons = stage.changes.map(({ from, to, reason }) => `${from}>${to} ${reason}`);
    assert.equal(reasons.at(-2), 'c>b recovered');
    assert.equal(reasons.at(-1), 'b>a recovered');
    for (const member of Object.values(stage.members)) member.health = 'dead';
    await nextRound(stage);
    assert.equal(group.now().tag, 'a', 'none is alive: the first one');
    group.close();
  });

  await t.test('failed dials in a row start a check at once; the dial itself is not tried again', async () => {
    const stage = scene('a', 'b');
    const group = fallback(stage, { health: healthOptions({ maxFailed: 3 }) });
    group.start();
    await nextRound(stage);
    stage.members.a.health = 'dead';
    stage.members.a.failure = refused;
    const before = stage.checked.length;
    for (let i = 0; i < 2; i++) assert.equal(await dial(group), 'a');
    await stage.clock.advance(1_000);
    assert.equal(stage.checked.length, before, 'two are not three');
    assert.equal(stage.members.b.dials, 0);
    assert.equal(await dial(group), 'a');
    await stage.clock.advance(100);
    assert.deepEqual(stage.checked.slice(before), ['a', 'b']);
    assert.equal(group.now().tag, 'b');
    assert.equal(await dial(group), 'b');
    stage.members.a.health = 10;
    stage.members.a.failure = null;
    await nextRound(stage);
    assert.equal(await dial(group), 'a');
    group.close();
  });

  await t.test('what is no failure of the member does not count', async () => {
    const stage = scene('a', 'b');
    const group = fallback(stage, { health: healthOptions({ maxFailed: 2 }) });
    group.start();
    await stage.clock.advance(2_000);
    const before = stage.checked.length;
    stage.members.a.failure = new NetError('denied', 'a rule of the proxy');
    for (let i = 0; i < 5; i++) await dial(group);
    stage.members.a.failure = refused;
    await dial(group);
    stage.members.a.failure = null;
    await dial(group); // a success in between
    stage.members.a.failure = refused;
    await dial(group);
    await stage.clock.advance(5_100); // longer ago than the timeout
    await dial(group);
    const signal = new CancelSource();
    signal.cancel(new NetError('aborted', 'left'));
    for (let i = 0; i < 5; i++) await assert.rejects(group.stream.dialStream({ host: 'x', port: 1 }, dialOptions(undefined, { signal })));
    await stage.clock.advance(1_000);
    assert.equal(stage.checked.length, before);
    await dial(group);
    await stage.clock.advance(100);
    assert.equal(stage.checked.length, before + 2);
    group.close();
  });

  await t.test('while everything fails, checks are started no more than once in a timeout', async () => {
    const stage = scene('a', 'b');
    for (const member of Object.values(stage.members)) {
      member.health = 'dead';
      member.failure = refused;
    }
    const group = fallback(stage, { health: healthOptions({ maxFailed: 1, intervalMs: 3_600_000 }) });
    group.start();
    await stage.clock.advance(2_000);
    const before = stage.checked.length;
    for (let i = 0; i < 100; i++) {
      await dial(group);
      await stage.clock.advance(100);
    }
    assert.equal((stage.checked.length - before) / 2, 2, '10 s of failures, 5 s apart');
    group.close();
  });
});

const refusedByMember = (error: unknown): boolean => error instanceof NetError && error.failure === 'refused';

void t.test('load-balance', async (t) => {
  const sites = Array.from({ length: 600 }, (_, index) => `www.site${index}.example`);

  await t.test('consistent-hashing: a site keeps its member, whatever its host name, and shares are fair', async () => {
    const stage = scene('a', 'b', 'c', 'd');
    const group = balance(stage, 'consistent-hashing');
    const shares = new Map<string, number>();
    for (const site of sites) {
      const member = await dial(group, site);
      assert.equal(await dial(group, site.replace('www', 'cdn.static')), member);
      shares.set(member, (shares.get(member) ?? 0) + 1);
    }
    for (const [member, count] of shares) assert.ok(count > 100 && count < 200, `${member} has ${count} of 600`);
    assert.equal(group.members.length, shares.size);
    assert.equal(Object.hasOwn(group, 'now'), false, 'there is no one choice');
  });

  await t.test('consistent-hashing: whoever dies, only the sites of the dead move, and come back', async () => {
    const tags = ['m0', 'm1', 'm2', 'm3', 'm4', 'm5', 'm6'] as const;
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.constantFrom(...tags), { maxLength: 6 }),
        fc.uniqueArray(fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6()), { minLength: 1, maxLength: 40 }),
        async (dying, hosts) => {
          const stage = scene(...tags);
          const group = balance(stage, 'consistent-hashing');
          group.start();
          const map = () => Promise.all(hosts.map((host) => dial(group, host.toLowerCase())));
          const before = await map();
          for (const tag of dying) stage.members[tag].health = 'dead';
          await stage.clock.advance(1_200);
          const after = await map();
          before.forEach((member, index) => {
            if (dying.some((tag) => tag === member)) assert.ok(!dying.some((tag) => tag === after[index]), 'moved to one that is alive');
            else assert.equal(after[index], member, 'not moved');
          });
          for (const tag of dying) stage.members[tag].health = 10;
          for (const tag of tags) void stage.book.check(stage.members[tag], healthOptions(), new CancelSource());
          await stage.clock.advance(50);
          assert.deepEqual(await map(), before);
          group.close();
        },
      ),
      { numRuns: 15 },
    );
  });

  await t.test('the site of a host', async () => {
    for (const [host, site] of [
      ['www.example.com', 'example.com'],
      ['example.com', 'example.com'],
      ['a.b.c.example.com', 'example.com'],
      ['www.example.co.uk', 'example.co.uk'],
      ['example.co.uk', 'example.co.uk'],
      ['a.b.com.cn', 'b.com.cn'],
      ['co.uk', 'co.uk'],
      ['www.nekit.de', 'nekit.de'],
      ['localhost', 'localhost'],
      ['', ''],
      ['192.0.2.1', '192.0.2.1'],
      ['2001:db8::1', '2001:db8::1'],
    ] as const)
      assert.equal(siteOf(host), site, host);
  });

  await t.test('round-robin: one after the other, over those that are alive', async () => {
    const stage = scene('a', 'b', 'c');
    const group = balance(stage, 'round-robin');
    group.start();
    const turns = async (count: number): Promise<Record<string, number>> => {
      const counts: Record<string, number> = {};
      for (let i = 0; i < count; i++) {
        const member = await dial(group);
        counts[member] = (counts[member] ?? 0) + 1;
      }
      return counts;
    };
    assert.deepEqual(await turns(300), { a: 100, b: 100, c: 100 });
    stage.members.b.health = 'dead';
    await nextRound(stage);
    assert.deepEqual(await turns(300), { a: 150, c: 150 }, 'the share of the dead is shared');
    carries(group, 'udp'); // asking is no turn
    assert.deepEqual(await turns(2), { a: 1, c: 1 });
    stage.members.a.health = 'dead';
    stage.members.c.health = 'dead';
    await nextRound(stage);
    assert.deepEqual(await turns(300), { a: 100, b: 100, c: 100 }, 'none is alive: all are tried');
    group.close();
  });

  await t.test('one dead member among others starts a check by its own failures', async () => {
    const stage = scene('a', 'b', 'c');
    const group = balance(stage, 'round-robin', { health: healthOptions({ intervalMs: 3_600_000 }) });
    group.start();
    await stage.clock.advance(2_000);
    stage.members.b.health = 'dead';
    stage.members.b.failure = refused;
    for (let i = 0; i < 15; i++) await dial(group);
    await stage.clock.advance(100);
    const { dials } = stage.members.b;
    for (let i = 0; i < 15; i++) await dial(group);
    assert.equal(stage.members.b.dials, dials);
    group.close();
  });

  await t.test('sticky-sessions: a client keeps its member for a site for ten minutes, or until it dies', async () => {
    const stage = scene('a', 'b', 'c');
    const group = balance(stage, 'sticky-sessions', { health: healthOptions({ intervalMs: 60_000 }) });
    group.start();
    await nextRound(stage);
    const first = await dial(group, 'www.one.example', '192.0.2.1');
    const second = await dial(group, 'www.one.example', '192.0.2.2');
    assert.notEqual(first, second, 'new ones take turns');
    for (let i = 0; i < 20; i++) {
      assert.equal(await dial(group, 'api.one.example', '192.0.2.1'), first);
      assert.equal(await dial(group, 'www.one.example', '192.0.2.2'), second);
      await dial(group, `www.other${i}.example`, '192.0.2.1');
      await stage.clock.advance(60_000);
    }
    stage.members[first as 'a' | 'b' | 'c'].health = 'dead';
    await nextRound(stage);
    const next = await dial(group, 'www.one.example', '192.0.2.1');
    assert.notEqual(next, first);
    stage.members[first as 'a' | 'b' | 'c'].health = 10;
    await nextRound(stage);
    assert.equal(await dial(group, 'www.one.example', '192.0.2.1'), next, 'it stays where it went');
    group.close();
  });

  await t.test('sticky-sessions: what is remembered is bounded in number and time', async () => {
    const stage = scene('a', 'b');
    const candidates = [stage.members.a, stage.members.b] as const;
    let now = 0;
    const sticky = new StickySessions(() => now);
    const pick = (source: number): Adapter | undefined => {
      const session = testSession({ source: { host: `${source}`, port: 1 } });
      return sticky.pick([...candidates], { network: 'tcp', destination: { host: 'x.example', port: 1 }, session }, false);
    };
    const kept = pick(0);
    for (let i = 1; i < 10_000; i++) {
      pick(i);
      assert.equal(pick(0), kept, 'what is used is not forgotten');
    }
    assert.equal(sticky.size, 4096);
    now = 599_999;
    pick(0);
    now = 600_000;
    pick(1);
    assert.equal(sticky.size, 2, 'the rest is too old');
  });

  await t.test('UDP goes to a member that carries it', async () => {
    const stage = scene('a', 'b', 'c');
    stage.members.a.udp = false;
    stage.members.b.udp = false;
    const group = balance(stage, 'consistent-hashing');
    for (const host of sites.slice(0, 20)) {
      await assert.rejects(group.packet?.dialPacket(dialOptions({ host, port: 53 })) ?? assert.fail('no UDP'), refusedByMember);
    }
    assert.equal(stage.members.c.packetDials, 20);
    stage.members.c.udp = false;
    assert.equal(group.packet, undefined);
  });
});

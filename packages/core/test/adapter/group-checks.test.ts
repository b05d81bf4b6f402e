// When groups check their members, and when they do not; groups in groups. All on a fake clock.
import assert from 'node:assert/strict';
import t from 'tap';
import type { Adapter } from '../../dist/adapter/adapter.js';
import { FallbackAdapter } from '../../dist/adapter/fallback.js';
import { parseExpectedStatus } from '../../dist/adapter/health-check.js';
import { HealthWatch } from '../../dist/adapter/health-watch.js';
import { LoadBalanceAdapter } from '../../dist/adapter/load-balance.js';
import { RaceAdapter } from '../../dist/adapter/race.js';
import { SelectAdapter } from '../../dist/adapter/select.js';
import { UrlTestAdapter } from '../../dist/adapter/url-test.js';
import { CancelSource } from '../../dist/net/cancel.js';
import { NekitError, NetError } from '../../dist/net/errors.js';
import { carries, leafOf } from '../../dist/routing/leaf.js';
import { dialOptions, settle, testSession } from '../../dist/testing.js';
import { balance, fallback, ROUND, udpOf, urlTest } from '../support/group-adapters.js';
import { CHECK_URL, dial, healthOptions, nextRound, scene } from '../support/groups.js';

void t.test('when a group checks', async (t) => {
  await t.test('lazy: not before it is used, at once when it is, not again without use, and again when it wakes', async () => {
    const stage = scene('a', 'b');
    stage.members.a.health = 50;
    const group = urlTest(stage, { health: healthOptions({ lazy: true }) });
    group.start();
    await stage.clock.advance(5 * ROUND);
    assert.deepEqual(stage.checked, []);
    assert.equal(stage.timers.size, 0, 'it sleeps');
    assert.equal(await dial(group), 'a', 'a dial does not wait for the check');
    await stage.clock.advance(1_000);
    assert.equal(stage.checked.length, 2);
    assert.equal(group.now().tag, 'b');
    await stage.clock.advance(ROUND);
    assert.equal(stage.checked.length, 2, 'nobody used it since');
    assert.equal(stage.timers.size, 0);
    await dial(group);
    await stage.clock.advance(1_000);
    assert.equal(stage.checked.length, 4, 'what it knew was old');
    await dial(group);
    await stage.clock.advance(ROUND);
    assert.equal(stage.checked.length, 6, 'used since the last check');
    group.close();
    await dial(group);
    await stage.clock.advance(ROUND);
    assert.equal(stage.checked.length, 6, 'a closed group checks nothing');
    assert.equal(stage.timers.size, 0);
  });

  await t.test('asking who it uses is no use', async () => {
    const stage = scene('a', 'b');
    const group = urlTest(stage, { health: healthOptions({ lazy: true }) });
    group.start();
    leafOf(group, testSession());
    carries(group, 'udp');
    await stage.clock.advance(ROUND);
    assert.deepEqual(stage.checked, []);
    group.close();
  });

  await t.test('a dial before the start counts', async () => {
    const stage = scene('a', 'b');
    const group = urlTest(stage, { health: healthOptions({ lazy: true }) });
    await dial(group);
    await stage.clock.advance(100);
    assert.deepEqual(stage.checked, []);
    group.start();
    await stage.clock.advance(100);
    assert.deepEqual(stage.checked, ['a', 'b']);
    group.close();
  });

  await t.test('ten checks at a time, and each member once in a round', async () => {
    const tags = Array.from({ length: 35 }, (_, index) => `m${index}`);
    const stage = scene(...tags);
    const group = urlTest(stage, { proxies: [...tags, 'm0'] });
    group.start();
    await stage.clock.advance(2_000);
    assert.equal(stage.running.most, 10);
    assert.deepEqual([...stage.checked].sort(), [...tags].sort());
    group.close();
  });

  await t.test('two groups that ask the same share one check, and another expectation is another check', async () => {
    const stage = scene('a');
    stage.members.a.health = { ms: 100, status: 503 };
    const [one, two] = [urlTest(stage, {}, 'one'), fallback(stage, {}, 'two')];
    const strict = fallback(stage, { health: healthOptions({ expected: parseExpectedStatus('200-299') }) }, 'strict');
    const target = healthOptions();
    const signal = new CancelSource();
    const checks = [stage.book.check(stage.members.a, target, signal), stage.book.check(stage.members.a, target, new CancelSource())];
    signal.cancel(new NetError('aborted', 'left'));
    const other = stage.book.check(stage.members.a, { ...target, expected: parseExpectedStatus('200-299') }, new CancelSource());
    await stage.clock.advance(200);
    assert.deepEqual(stage.checked, ['a', 'a']);
    assert.equal(await checks[0], null, 'who has left is told nothing');
    assert.equal((await checks[1])?.ms, 100);
    assert.equal((await other)?.error, 'answered 503, expected 200-299');
    assert.equal(stage.book.get('a', CHECK_URL)?.alive, true);
    assert.equal(stage.book.get('a', CHECK_URL, '200-299')?.alive, false);
    assert.equal(stage.book.all('a').length, 2);
    for (const group of [one, two, strict]) group.close();
  });

  await t.test('a check that nobody waits for any more is cut off, and not noted', async () => {
    const stage = scene('a');
    stage.members.a.health = 'silent';
    const group = urlTest(stage);
    group.start();
    await stage.clock.advance(1_500);
    assert.equal(stage.running.now, 1);
    group.close();
    await settle();
    assert.equal(stage.running.now, 0);
    assert.deepEqual(stage.results, []);
    assert.equal(stage.timers.size, 0);
  });

  await t.test('rounds are spread by chance', async () => {
    const stage = scene('a');
    const starts = async (random: number): Promise<number[]> => {
      const begin = stage.clock.now();
      const at: number[] = [];
      const forget = stage.book.listen(() => at.push(stage.clock.now() - begin));
      const { a } = stage.members;
      const watch = new HealthWatch({
        ...healthOptions({ url: `${CHECK_URL}${random}` }),
        members: [a],
        book: stage.book,
        timers: stage.timers,
        learnt: () => undefined,
        random: () => random,
      });
      watch.start();
      await stage.clock.advance(70_000);
      watch.close();
      forget();
      return at.map((ms) => Math.round(ms / 100) / 10);
    };
    assert.deepEqual(await starts(0), [0, 54]);
    assert.deepEqual(await starts(0.5), [0.5, 60.5]);
    assert.deepEqual(await starts(1), [1, 67]);
  });

  await t.test('a group made anew (a reload) goes on with what is known, and with its choice', async () => {
    const stage = scene('a', 'b', 'c');
    stage.members.a.health = 100;
    stage.members.b.health = 60;
    stage.members.c.health = 55;
    const first = urlTest(stage, { tolerance: 20 });
    first.start();
    await nextRound(stage);
    assert.equal(first.now().tag, 'c');
    stage.members.c.health = 75;
    await nextRound(stage);
    assert.equal(first.now().tag, 'c', 'within the tolerance');
    const second = urlTest(stage, { tolerance: 20 });
    assert.equal(second.now().tag, 'c', 'b is faster, but not by enough');
    const checks = stage.checked.length;
    first.close();
    second.start();
    await stage.clock.advance(20_000);
    assert.equal(stage.checked.length, checks, 'what is known is young enough');
    await nextRound(stage);
    assert.equal(stage.book.get('a', CHECK_URL)?.history.length, 3);
    second.close();
  });

  await t.test('the last ten results are kept', async () => {
    const stage = scene('a');
    for (let ms = 1; ms <= 12; ms++) {
      stage.members.a.health = ms;
      const checking = stage.book.check(stage.members.a, healthOptions(), new CancelSource());
      await stage.clock.advance(50);
      await checking;
    }
    const info = stage.book.get('a', CHECK_URL);
    assert.deepEqual(
      info?.history.map(({ ms }) => ms),
      [3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    );
    assert.equal(info.last.ms, 12);
    assert.equal(stage.book.get('a', 'http://other.example/'), null);
  });
});

void t.test('groups in groups, and UDP', async (t) => {
  await t.test('a group is a member like any other; the chain is told', async () => {
    const stage = scene('a', 'b', 'c');
    stage.members.a.health = 'dead';
    stage.members.b.health = 90;
    stage.members.c.health = 40;
    const inner = fallback(stage, { proxies: ['a', 'b'] }, 'inner');
    const outer = new UrlTestAdapter({ proxies: ['inner', 'c'], udp: true, tolerance: 0, health: healthOptions() }, stage.context('outer', [inner]));
    inner.start();
    await stage.clock.advance(2_000);
    assert.deepEqual(leafOf(outer, testSession()), { leaf: stage.members.b, chain: ['outer', 'inner'] });
    outer.start();
    await stage.clock.advance(2_000);
    assert.equal(leafOf(outer, testSession()).leaf.tag, 'c');
    stage.members.c.health = 'dead';
    await stage.clock.advance(2 * ROUND);
    assert.equal(leafOf(outer, testSession()).leaf.tag, 'b');
    const chosen: string[] = [];
    await outer.stream.dialStream({ host: 'x.example', port: 80 }, { ...dialOptions(), chosen: (group, member) => chosen.push(`${group}>${member}`) });
    assert.deepEqual(chosen, ['outer>inner', 'inner>b']);
    inner.close();
    outer.close();
  });

  await t.test('an association that opens is no sign of life: connections in a row that fail have the members checked all the same', async () => {
    const stage = scene('a', 'b');
    stage.members.a.opens = true;
    const group = fallback(stage, { proxies: ['a', 'b'] });
    group.start();
    await stage.clock.advance(2_000);
    stage.members.a.health = 'dead';
    stage.members.a.failure = new NetError('refused', 'the server is gone', { code: 'ECONNREFUSED' });
    stage.checked.length = 0;
    for (let i = 0; i < 5; i++) {
      (await udpOf(group)?.dialPacket(dialOptions()))?.close();
      assert.equal(await dial(group), 'a');
    }
    await stage.clock.advance(2_000);
    assert.ok(stage.checked.includes('a'));
    assert.equal(await dial(group), 'b');
    group.close();
  });

  await t.test('UDP follows the present member, through all groups; disable-udp takes it away', async () => {
    const stage = scene('a', 'b');
    stage.members.a.udp = false;
    stage.members.a.health = 10;
    stage.members.b.health = 50;
    const select = new SelectAdapter({ proxies: ['a', 'b'] }, stage.context('pick'));
    const test = new UrlTestAdapter({ proxies: ['pick'], udp: true, tolerance: 0, health: healthOptions() }, stage.context('test', [select]));
    assert.equal(udpOf(select), undefined);
    assert.equal(udpOf(test), undefined);
    assert.equal(carries(test, 'udp'), false);
    select.select('b');
    assert.ok(carries(test, 'udp'));
    const chosen: string[] = [];
    const options = { ...dialOptions(), chosen: (group: string, member: string) => chosen.push(`${group}>${member}`) };
    await assert.rejects(udpOf(test)?.dialPacket(options) ?? assert.fail('no UDP'), refusedByMember);
    assert.deepEqual(chosen, ['test>pick', 'pick>b']);
    assert.equal(stage.members.b.packetDials, 1);
    const packet = udpOf(test);
    select.select('a');
    await assert.rejects(packet?.dialPacket(options) ?? assert.fail('no UDP'), (error) => error instanceof NetError && error.code === 'NOT_SUPPORTED');
    const none = { proxies: ['b'], udp: false, health: healthOptions() };
    assert.equal(new FallbackAdapter(none, stage.context('f')).packet, undefined);
    assert.equal(new UrlTestAdapter({ ...none, tolerance: 0 }, stage.context('u')).packet, undefined);
    assert.equal(new LoadBalanceAdapter({ ...none, strategy: 'round-robin' }, stage.context('l')).packet, undefined);
    assert.equal(new SelectAdapter({ proxies: ['b'], udp: false }, stage.context('s')).packet, undefined);
    assert.equal(new RaceAdapter({ proxies: ['b'], delays: [], udp: false }, stage.context('r')).packet, undefined);
    const race = new RaceAdapter({ proxies: ['pick', 'a'], delays: [] }, stage.context('r', [select]));
    assert.equal(udpOf(race), undefined);
    select.select('b');
    assert.notEqual(udpOf(race), undefined, 'members of a race may change as well');
  });

  await t.test('a member that carries no TCP is not alive, and says so', async () => {
    const stage = scene('a');
    const pass: Adapter = { tag: 'PASS', type: 'pass' };
    const group = new FallbackAdapter({ proxies: ['PASS', 'a'], udp: true, health: healthOptions() }, stage.context('f', [pass]));
    await assert.rejects(
      group.stream.dialStream({ host: 'x', port: 1 }, dialOptions()),
      (error) => error instanceof NetError && error.code === 'NOT_SUPPORTED',
    );
    group.start();
    await stage.clock.advance(2_000);
    assert.equal(group.now().tag, 'a');
    group.close();
  });

  await t.test('select tells who was chosen while it runs, and checks only with an interval', async () => {
    const stage = scene('a', 'b');
    const quiet = new SelectAdapter({ proxies: ['a', 'b'] }, stage.context('quiet'));
    quiet.select('b');
    quiet.start();
    quiet.select('a');
    quiet.select('a');
    assert.deepEqual(stage.changes, [{ group: 'quiet', from: 'b', to: 'a', reason: 'selected' }]);
    await dial(quiet);
    await stage.clock.advance(ROUND);
    assert.deepEqual(stage.checked, []);
    stage.members.a.health = 'dead';
    const watched = new SelectAdapter({ proxies: ['a', 'b'], health: healthOptions({ lazy: true }) }, stage.context('watched'));
    watched.start();
    await dial(watched);
    await stage.clock.advance(ROUND);
    assert.deepEqual(stage.checked, ['a', 'b']);
    assert.equal(watched.now().tag, 'a', 'the choice is the user’s');
    watched.close();
    quiet.close();
    assert.equal(stage.timers.size, 0);
  });

  await t.test('no members is an error', async () => {
    const stage = scene('a');
    const isEmpty = (error: unknown): boolean => error instanceof NekitError && error.code === 'EMPTY_GROUP';
    assert.throws(() => urlTest(stage, { proxies: [] }), isEmpty);
    assert.throws(() => balance(stage, 'round-robin', { proxies: [] }), isEmpty);
    assert.throws(() => new SelectAdapter({ proxies: [] }, stage.context('s')), isEmpty);
  });
});

const refusedByMember = (error: unknown): boolean => error instanceof NetError && error.failure === 'refused';

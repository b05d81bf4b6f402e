import assert from 'node:assert/strict';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import t from 'tap';
import type { Adapter } from '../../dist/adapter/adapter.js';
import { addressFamily } from '../../dist/net/address.js';
import { CancelSource } from '../../dist/net/cancel.js';
import { NetError } from '../../dist/net/errors.js';
import { type EventName, Events, type KernelEvents } from '../../dist/net/events.js';
import type { Resolver } from '../../dist/net/resolver.js';
import type { Session } from '../../dist/net/session.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import { explain } from '../../dist/routing/explain.js';
import { carries, leafOf } from '../../dist/routing/leaf.js';
import { Router, type RouterOptions } from '../../dist/routing/router.js';
import type { Decision, Route } from '../../dist/routing/rule-list.js';
import { CidrSet, parseCidr } from '../../dist/rule/cidr-set.js';
import { buildRule, parseRuleText } from '../../dist/rule/parse.js';
import type { Facts, Rule } from '../../dist/rule/rule.js';
import { FakeClock, testSession } from '../../dist/testing.js';
import { knownRules } from '../support/known-rules.js';

const known = knownRules();

function route(text: string): Route {
  const { kind, payload, target, parameters } = parseRuleText(text);
  return { rule: buildRule(kind, payload, parameters, {}, known), kind, payload, target, text };
}

/** A rule of the test's own making. */
function own(target: string, match: Rule['match'], text = `OWN,${target}`): Route {
  return { rule: { match }, kind: 'OWN', payload: '', target, text };
}

const unused = (): never => assert.fail('not dialled in these tests');
const stream = { dialStream: unused };
const packet = { dialPacket: unused };
const adapters = new Map<string, Adapter>(
  [
    { tag: 'DIRECT', type: 'direct', stream, packet },
    { tag: 'REJECT', type: 'reject', stream, packet },
    { tag: 'GLOBAL', type: 'select', stream, packet, now: () => adapterOf('proxy') },
    { tag: 'proxy', type: 'socks5', stream, packet },
    { tag: 'tcp-only', type: 'http', stream },
    { tag: 'group', type: 'select', stream, packet, now: () => adapterOf('proxy') },
    { tag: 'tcp-group', type: 'select', stream, packet, now: () => adapterOf('tcp-only') },
    { tag: 'outer', type: 'select', stream, packet, now: () => adapterOf('group') },
    { tag: 'outer-tcp', type: 'select', stream, packet, now: () => adapterOf('tcp-group') },
    { tag: 'PASS', type: 'pass' },
    { tag: 'loop', type: 'select', stream, packet, now: () => adapterOf('loop') },
  ].map((adapter) => [adapter.tag, adapter]),
);

function adapterOf(tag: string): Adapter {
  return adapters.get(tag) ?? assert.fail(`no adapter ${tag}`);
}

/** Answers from a table; counts what it is asked. */
class FakeResolver implements Resolver {
  readonly asked: string[] = [];
  readonly #table: ReadonlyMap<string, readonly string[]>;
  constructor(table: Readonly<Record<string, readonly string[]>> = {}) {
    this.#table = new Map(Object.entries(table));
  }
  resolve(name: string): Promise<readonly string[]> {
    this.asked.push(name);
    const found = this.#table.get(name);
    return found === undefined ? Promise.reject(new NetError('name', `${name} does not resolve`)) : Promise.resolve(found);
  }
}

interface SetUp extends Partial<Omit<RouterOptions, 'routes'>> {
  readonly names?: Readonly<Record<string, readonly string[]>>;
}

function setUp(rules: readonly (string | Route)[], { names, ...over }: SetUp = {}) {
  const clock = new FakeClock();
  const timers = new TimerWheel(clock);
  const events = new Events();
  const resolver = new FakeResolver(names);
  const seen: string[] = [];
  const watch = <N extends EventName>(name: N, line: (event: KernelEvents[N]) => string) => events.on(name, (event) => seen.push(line(event)));
  const routes = rules.map((rule) => (typeof rule === 'string' ? route(rule) : rule));
  const router = new Router({ routes, adapters: (tag) => adapters.get(tag), mode: 'rule', resolver, timers, timeouts: { resolve: 5_000 }, events, ...over });
  return { clock, timers, events, resolver, seen, watch, router };
}

const to = (host: string, partial: Partial<Session> = {}): Session => testSession({ destination: { host, port: 443 }, ...partial });

function now(decision: Decision | Promise<Decision>): Decision {
  assert.ok(!(decision instanceof Promise), 'nothing has to be looked up');
  return decision;
}

const summary = ({ adapter, rule, index, addresses }: Decision) => [adapter.tag, rule?.text ?? null, index, addresses];

void t.test('the first match wins; nothing is looked up that no rule asks for', async () => {
  const { router, resolver, timers } = setUp([
    'DOMAIN,a.test,proxy',
    'DOMAIN-SUFFIX,test,group',
    'NETWORK,TCP,REJECT',
    'IP-CIDR,10.0.0.0/8,proxy',
    'MATCH,proxy',
  ]);
  assert.deepEqual(summary(now(router.route(to('a.test')))), ['proxy', 'DOMAIN,a.test,proxy', 0, null]);
  assert.deepEqual(summary(now(router.route(to('b.test')))), ['group', 'DOMAIN-SUFFIX,test,group', 1, null]);
  assert.deepEqual(summary(now(router.route(to('example.com')))), ['REJECT', 'NETWORK,TCP,REJECT', 2, null]);
  assert.deepEqual(summary(now(router.route(to('10.0.0.1', { network: 'udp' })))), ['proxy', 'IP-CIDR,10.0.0.0/8,proxy', 3, null]);
  assert.deepEqual(resolver.asked, []);
  assert.equal(timers.size, 0);
  assert.equal(router.route(to('a.test')), router.route(to('a.test')), 'not even the decision is made anew');
});

void t.test('no match is DIRECT', async () => {
  assert.deepEqual(summary(now(setUp([]).router.route(to('a.test')))), ['DIRECT', null, -1, null]);
  assert.deepEqual(summary(now(setUp(['DOMAIN,b.test,REJECT']).router.route(to('a.test')))), ['DIRECT', null, -1, null]);
});

void t.test('modes', async () => {
  for (const [mode, tag] of [
    ['global', 'GLOBAL'],
    ['direct', 'DIRECT'],
    ['rule', 'REJECT'],
  ] as const) {
    let evaluated = 0;
    const { router } = setUp([own('REJECT', () => ++evaluated > 0)], { mode });
    assert.equal(now(router.route(to('a.test'))).adapter.tag, tag);
    assert.equal(evaluated, mode === 'rule' ? 1 : 0);
  }
  const hosts = new Map([['nas.home', ['192.168.1.2']]]);
  assert.deepEqual(now(setUp([], { mode: 'direct', hosts }).router.route(to('nas.home'))).addresses, ['192.168.1.2']);
});

void t.test('a missing adapter is an error before anything runs', async () => {
  assert.throws(() => setUp(['DOMAIN,a.test,nowhere']), {
    code: 'UNKNOWN_ADAPTER',
    message: 'the rule DOMAIN,a.test,nowhere needs the adapter "nowhere", which does not exist',
  });
  assert.throws(() => setUp([], { adapters: () => undefined }), { code: 'UNKNOWN_ADAPTER', message: /^mode rule needs the adapter "DIRECT"/ });
  assert.throws(() => setUp([], { mode: 'global', adapters: (tag) => (tag === 'GLOBAL' ? undefined : adapters.get(tag)) }), {
    message: /needs the adapter "GLOBAL"/,
  });
});

void t.test('UDP passes over targets that carry none', async () => {
  const rules = ['DOMAIN,a.test,tcp-only', 'DOMAIN-SUFFIX,test,outer-tcp', 'DOMAIN-KEYWORD,t,outer', 'MATCH,tcp-only'];
  const { router } = setUp(rules);
  assert.equal(now(router.route(to('a.test'))).adapter.tag, 'tcp-only');
  assert.equal(now(router.route(to('b.test'))).adapter.tag, 'outer-tcp');
  assert.deepEqual(summary(now(router.route(to('a.test', { network: 'udp' })))), ['outer', rules[2], 2, null]);
  assert.deepEqual(summary(now(router.route(to('example.com', { network: 'udp' })))), ['DIRECT', null, -1, null]);
  const pass = setUp(['MATCH,PASS', 'MATCH,proxy']).router;
  for (const network of ['tcp', 'udp'] as const) assert.equal(now(pass.route(to('a.test', { network }))).index, 1, 'PASS carries nothing');
  assert.equal(carries(adapterOf('loop'), 'udp'), true, 'a group that chooses itself fails when it is dialled; to go on to the next rule would be another way');
  assert.deepEqual(leafOf(adapterOf('outer-tcp'), testSession()), { leaf: adapterOf('tcp-only'), chain: ['outer-tcp', 'tcp-group'] });
  assert.equal(leafOf(adapterOf('loop'), testSession()).chain.length, 32);
});

void t.test('a name is looked up once, when the first IP rule is reached', async () => {
  const { router, resolver, timers } = setUp(
    ['DOMAIN,first.test,proxy', 'IP-CIDR,10.0.0.0/8,REJECT', 'IP-CIDR6,2001:db8::/32,proxy', 'IP-CIDR,192.0.2.0/24,group'],
    {
      names: { 'six.test': ['2001:db8::1'], 'four.test': ['192.0.2.1'], 'other.test': ['198.51.100.1', '203.0.113.1'] },
    },
  );
  assert.equal(now(router.route(to('first.test'))).adapter.tag, 'proxy');
  assert.deepEqual(resolver.asked, []);
  assert.deepEqual(summary(await router.route(to('six.test'))), ['proxy', 'IP-CIDR6,2001:db8::/32,proxy', 2, ['2001:db8::1']]);
  assert.deepEqual(summary(await router.route(to('four.test'))), ['group', 'IP-CIDR,192.0.2.0/24,group', 3, ['192.0.2.1']]);
  assert.deepEqual(summary(await router.route(to('other.test'))), ['DIRECT', null, -1, ['198.51.100.1', '203.0.113.1']]);
  assert.deepEqual(resolver.asked, ['six.test', 'four.test', 'other.test']);
  assert.equal(timers.size, 0);
});

void t.test('the address that was judged is the one that is dialled', async () => {
  const rebinding = { 'evil.test': ['203.0.113.1', '10.0.0.1'], 'lan.test': ['10.0.0.1', '10.0.0.2'] };
  const decide = async (host: string, ...rules: string[]) => summary(await setUp(rules, { names: rebinding }).router.route(to(host)));
  assert.deepEqual((await decide('evil.test', 'IP-CIDR,10.0.0.0/8,REJECT', 'MATCH,DIRECT'))[0], 'REJECT', 'one private address is enough');
  assert.deepEqual(await decide('evil.test', 'IP-CIDR,10.0.0.0/8,DIRECT', 'MATCH,proxy'), ['DIRECT', 'IP-CIDR,10.0.0.0/8,DIRECT', 0, ['10.0.0.1']]);
  assert.deepEqual((await decide('evil.test', 'NOT,((IP-CIDR,203.0.113.0/24)),REJECT', 'MATCH,DIRECT'))[0], 'REJECT', 'an allow-list holds as well');
  assert.deepEqual((await decide('evil.test', 'NOT,((IP-CIDR,10.0.0.0/8)),DIRECT', 'MATCH,REJECT'))[3], ['203.0.113.1'], 'only what was allowed');
  assert.deepEqual(await decide('lan.test', 'IP-CIDR,203.0.113.0/24,REJECT', 'MATCH,DIRECT'), ['DIRECT', 'MATCH,DIRECT', 1, ['10.0.0.1', '10.0.0.2']]);
  assert.deepEqual(await decide('evil.test', 'IP-CIDR,203.0.113.0/24,tcp-only', 'IP-CIDR,10.0.0.0/8,REJECT'), [
    'tcp-only',
    'IP-CIDR,203.0.113.0/24,tcp-only',
    0,
    ['203.0.113.1'],
  ]);
  assert.deepEqual(
    await decide('nowhere.test', 'IP-CIDR,10.0.0.0/8,REJECT', 'MATCH,DIRECT'),
    ['DIRECT', 'MATCH,DIRECT', 1, []],
    'a name that did not resolve while it was judged is not asked again',
  );
});

void t.test('no-resolve', async () => {
  const names = { 'a.test': ['10.0.0.1'] };
  const { router, resolver } = setUp(['IP-CIDR,10.0.0.0/8,REJECT,no-resolve', 'DOMAIN,x.test,proxy', 'MATCH,proxy'], { names });
  assert.deepEqual(summary(now(router.route(to('a.test')))), ['proxy', 'MATCH,proxy', 2, null]);
  assert.equal(now(router.route(to('10.0.0.1'))).adapter.tag, 'REJECT');
  assert.deepEqual(resolver.asked, []);
  const after = setUp(['IP-CIDR,192.0.2.0/24,proxy', 'IP-CIDR,10.0.0.0/8,REJECT,no-resolve'], { names });
  assert.deepEqual(summary(await after.router.route(to('a.test')))[0], 'REJECT', 'another rule had it looked up');
});

void t.test('hosts: domain rules see the name, IP rules and the dialler the address', async () => {
  const hosts = new Map([
    ['nas.home', ['192.168.1.2', 'fd00::2']],
    ['www.home', ['nas.home']],
    ['cdn.home', ['cdn.example']],
    ['a.loop', ['b.loop']],
    ['b.loop', ['a.loop']],
  ]);
  const rules = ['DOMAIN,www.home,proxy', 'IP-CIDR,192.168.0.0/16,group,no-resolve', 'IP-CIDR,192.0.2.0/24,REJECT'];
  const { router, resolver } = setUp(rules, { hosts, names: { 'cdn.example': ['192.0.2.7'] } });
  assert.deepEqual(summary(now(router.route(to('www.home')))), ['proxy', rules[0], 0, ['192.168.1.2', 'fd00::2']]);
  assert.deepEqual(summary(now(router.route(to('nas.home')))), ['group', rules[1], 1, ['192.168.1.2']]);
  assert.deepEqual(resolver.asked, []);
  assert.deepEqual(summary(await router.route(to('cdn.home'))), ['REJECT', rules[2], 2, ['192.0.2.7']]);
  assert.deepEqual(resolver.asked, ['cdn.example']);
  assert.deepEqual(summary(now(router.route(to('a.loop')))), ['DIRECT', null, -1, []]);
  assert.deepEqual((await explain({ destination: { host: 'a.loop', port: 1 } }, router)).lookups, [
    { name: 'a.loop', from: 'hosts', addresses: [], error: { code: 'HOSTS_LOOP', message: 'hosts: a.loop -> b.loop -> a.loop is a loop' }, ms: 0 },
  ]);
});

void t.test('a look-up that takes too long, or whose client leaves', async () => {
  const signals: string[] = [];
  const slow: Resolver = {
    resolve: (_name, _family, signal) =>
      new Promise((_resolve, reject) => {
        signal.onCancel((reason) => {
          signals.push(reason.message);
          reject(reason);
        });
      }),
  };
  const { router, clock, timers, seen, watch } = setUp(['IP-CIDR,10.0.0.0/8,REJECT', 'DOMAIN,a.test,proxy'], { resolver: slow });
  watch('kernel.warning', ({ code }) => code);
  const timed = router.route(to('a.test'));
  await clock.advance(5_200);
  assert.deepEqual(summary(await timed), ['proxy', 'DOMAIN,a.test,proxy', 1, []]);
  assert.deepEqual(signals, ['looking up a.test took longer than 5000 ms']);

  const signal = new CancelSource();
  const left = router.route(to('b.test', { signal }));
  const reason = new Error('the client left');
  signal.cancel(reason);
  await assert.rejects(Promise.resolve(left), (error) => error === reason);
  assert.equal(signals[1], 'the client left');
  await assert.rejects(Promise.resolve(router.route(to('c.test', { signal }))), (error) => error === reason, 'it had left before');
  assert.equal(timers.size, 0, 'no timer is left');
  assert.deepEqual(seen, [], 'and no rule is blamed');

  const deaf = setUp(['IP-CIDR,10.0.0.0/8,REJECT'], { resolver: { resolve: () => new Promise(() => {}) } });
  const waiting = deaf.router.route(to('a.test'));
  await deaf.clock.advance(5_200);
  assert.deepEqual(summary(await waiting), ['DIRECT', null, -1, []], 'a resolver that ignores its signal');
  const throwing = setUp(['IP-CIDR,10.0.0.0/8,REJECT'], {
    resolver: {
      resolve: () => {
        throw new Error('broken');
      },
    },
  });
  assert.deepEqual(summary(await throwing.router.route(to('a.test'))), ['DIRECT', null, -1, []]);
});

void t.test('a rule that fails counts as no match and is reported once', async () => {
  const broken = (): boolean => {
    throw new Error('boom');
  };
  const { router, seen, watch } = setUp([
    own('REJECT', broken, 'SYNC,x'),
    own('REJECT', () => Promise.reject(new Error('later')), 'ASYNC,x'),
    own('REJECT', () => Promise.resolve([]), 'EMPTY,x'),
    own('proxy', () => Promise.resolve(true), 'GOOD,x'),
  ]);
  watch('kernel.warning', ({ code, message }) => `${code} ${message}`);
  for (let i = 0; i < 3; i++) assert.equal((await router.route(to('a.test'))).adapter.tag, 'proxy');
  assert.deepEqual(seen, [
    'RULE_FAILED the rule SYNC,x failed and counts as no match: boom',
    'RULE_FAILED the rule ASYNC,x failed and counts as no match: later',
  ]);
  const explained = await explain({ destination: { host: 'a.test', port: 1 } }, router);
  assert.deepEqual(
    explained.tried.map(({ verdict }) => verdict),
    ['error', 'error', 'miss', 'match'],
  );
});

void t.test('a rule that never answers is left behind', async () => {
  const { router, clock, timers, seen, watch } = setUp([own('REJECT', () => new Promise(() => {}), 'STUCK,x'), 'MATCH,proxy']);
  watch('kernel.warning', ({ message }) => message);
  const decision = router.route(to('a.test'));
  await clock.advance(10_200);
  assert.equal((await decision).adapter.tag, 'proxy');
  assert.deepEqual(seen, ['the rule STUCK,x failed and counts as no match: it took longer than 10000 ms']);
  assert.equal(timers.size, 0);
});

void t.test('promises of another realm are waited for', async () => {
  const foreign: unknown = runInNewContext('Promise.resolve(true)');
  assert.ok(!(foreign instanceof Promise));
  const { router } = setUp([own('proxy', () => foreign as Promise<boolean>)]);
  assert.equal((await router.route(to('a.test'))).adapter.tag, 'proxy');
});

void t.test('no rule is evaluated twice, and facts are shared', async () => {
  const evaluated = [0, 0, 0, 0];
  let seen: unknown[] = [];
  const count = (i: number, match: (facts: Facts) => ReturnType<Rule['match']>): Route =>
    own('proxy', (_session, facts) => {
      evaluated[i] = (evaluated[i] ?? 0) + 1;
      return match(facts);
    });
  const { router, resolver } = setUp(
    [
      count(0, () => false),
      count(1, async (facts) => {
        const [a, b] = await Promise.all([facts.addresses(), facts.addresses()]);
        seen = [a === b, facts.knownAddresses() === a, await facts.process()];
        return false;
      }),
      count(2, (facts) => facts.addresses() instanceof Promise),
      count(3, () => true),
    ],
    { names: { 'a.test': ['192.0.2.1'] } },
  );
  assert.deepEqual(summary(await router.route(to('a.test'))), ['proxy', 'OWN,proxy', 3, ['192.0.2.1']]);
  assert.deepEqual(evaluated, [1, 1, 1, 1]);
  assert.deepEqual(seen, [true, true, null]);
  assert.deepEqual(resolver.asked, ['a.test']);
});

void t.test('events, if somebody listens', async () => {
  const { router, seen, watch } = setUp(['DOMAIN,b.test,proxy', 'MATCH,tcp-only'], {});
  await router.route(to('a.test'));
  watch('rule.missed', ({ session, rule, index }) => `missed ${session} ${rule} ${index}`);
  watch('rule.matched', ({ session, rule, index, adapter }) => `matched ${session} ${rule} ${index} ${adapter}`);
  await router.route(to('a.test', { id: 7 }));
  await router.route(to('a.test', { id: 8, network: 'udp' }));
  await explain({ destination: { host: 'a.test', port: 1 } }, router);
  assert.deepEqual(seen, [
    ...['missed 7 DOMAIN,b.test,proxy 0', 'matched 7 MATCH,tcp-only 1 tcp-only'],
    ...['missed 8 DOMAIN,b.test,proxy 0', 'missed 8 MATCH,tcp-only 1', 'matched 8 null -1 DIRECT'],
  ]);
});

void t.test('explain', async () => {
  const { router } = setUp(['DOMAIN,b.test,proxy', 'IP-CIDR,10.0.0.0/8,REJECT', 'DST-PORT,443,tcp-group', 'IP-CIDR,192.0.2.0/24,outer'], {
    names: { 'a.test': ['192.0.2.1', '198.51.100.1'] },
  });
  assert.deepEqual(await explain({ destination: { host: 'a.test', port: 443 }, network: 'udp' }, router), {
    destination: 'a.test:443',
    sniffed: null,
    sniffer: [],
    adapter: 'proxy',
    chain: ['outer', 'group'],
    rule: 'IP-CIDR,192.0.2.0/24,outer',
    tried: [
      { rule: 'DOMAIN,b.test,proxy', index: 0, verdict: 'miss', ms: 0 },
      { rule: 'IP-CIDR,10.0.0.0/8,REJECT', index: 1, verdict: 'miss', ms: 0 },
      { rule: 'DST-PORT,443,tcp-group', index: 2, verdict: 'not-carried', ms: 0 },
      { rule: 'IP-CIDR,192.0.2.0/24,outer', index: 3, verdict: 'match', ms: 0 },
    ],
    lookups: [{ name: 'a.test', from: 'resolver', addresses: ['192.0.2.1', '198.51.100.1'], error: null, ms: 0 }],
    addresses: ['192.0.2.1'],
    ms: 0,
  });
  const unknown = await explain({ destination: { host: 'x.test', port: 80 } }, router);
  assert.deepEqual([unknown.adapter, unknown.chain, unknown.rule, unknown.addresses], ['DIRECT', [], null, []]);
  assert.deepEqual(unknown.lookups, [
    { name: 'x.test', from: 'resolver', addresses: [], error: { code: 'NET_NAME', message: 'x.test does not resolve' }, ms: 0 },
  ]);
  const address = await explain({ destination: { host: '::1', port: 443 } }, router);
  assert.deepEqual(
    [address.destination, address.adapter, address.chain, address.lookups, address.addresses],
    ['[::1]:443', 'tcp-only', ['tcp-group'], [], null],
  );
});

/** What a rule says of one address, by the definition: the model. */
type Term = { net: string } | { port: number } | { not: Term } | { and: Term[] } | { or: Term[] };
const nets = ['10.0.0.0/8', '10.1.0.0/16', '192.0.2.0/24', '2001:db8::/32', '0.0.0.0/0', '203.0.113.7'];
const pool = ['10.0.0.1', '10.1.0.1', '192.0.2.1', '203.0.113.7', '2001:db8::1', '2001:db9::1'];
const { term } = fc.letrec<{ term: Term }>((tie) => ({
  term: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.record({ net: fc.constantFrom(...nets) }, { noNullPrototype: true }),
    fc.record({ port: fc.constantFrom(80, 443) }, { noNullPrototype: true }),
    fc.record({ not: tie('term') }, { noNullPrototype: true }),
    fc.record({ and: fc.array(tie('term'), { minLength: 1, maxLength: 3 }) }, { noNullPrototype: true }),
    fc.record({ or: fc.array(tie('term'), { minLength: 1, maxLength: 3 }) }, { noNullPrototype: true }),
  ),
}));

function textOf(term: Term): string {
  if ('net' in term) return `IP-CIDR,${term.net}`;
  if ('port' in term) return `DST-PORT,${term.port}`;
  if ('not' in term) return `NOT,((${textOf(term.not)}))`;
  const [kind, terms] = 'and' in term ? ['AND', term.and] : ['OR', term.or];
  return `${kind},(${terms.map((part) => `(${textOf(part)})`).join(',')})`;
}

function holds(term: Term, address: string): boolean {
  if ('net' in term) return new CidrSet([parseCidr(term.net)]).has(address);
  if ('port' in term) return term.port === 443;
  if ('not' in term) return !holds(term.not, address);
  return 'and' in term ? term.and.every((part) => holds(part, address)) : term.or.some((part) => holds(part, address));
}

void t.test('the router is the naive model: each address judged on its own, the earliest rule wins', async () => {
  const targets = fc.constantFrom('proxy', 'tcp-only', 'REJECT', 'tcp-group', 'DIRECT');
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(term, targets), { maxLength: 5 }),
      fc.subarray(pool, { minLength: 1 }),
      fc.constantFrom('tcp', 'udp'),
      fc.boolean(),
      async (rules, addresses, network, literal) => {
        const host = literal ? (addresses[0] ?? '') : 'name.test';
        const judged = literal ? [host] : addresses;
        const { router, resolver } = setUp(
          rules.map(([part, target]) => `${textOf(part)},${target}`),
          { names: { 'name.test': addresses } },
        );
        const usable = rules.map(([part, target], index) => ({ part, target, index })).filter(({ target }) => network === 'tcp' || !target.startsWith('tcp'));
        const winner = usable.find(({ part }) => judged.some((address) => holds(part, address)));
        const decision = await router.route(to(host, { network }));
        assert.equal(decision.adapter.tag, winner?.target ?? 'DIRECT');
        assert.equal(decision.index, winner?.index ?? -1);
        assert.ok(resolver.asked.length <= (literal ? 0 : 1));
        if (decision.addresses === null) assert.ok(literal || resolver.asked.length === 0);
        else {
          const matching = winner === undefined ? judged : judged.filter((address) => holds(winner.part, address));
          assert.deepEqual([...decision.addresses].sort(), [...matching].sort());
          // Whoever had asked for one of these addresses itself would have gone the same way.
          for (const address of decision.addresses) {
            assert.ok(addressFamily(address) !== 0);
            assert.equal((await router.route(to(address, { network }))).index, decision.index);
          }
        }
      },
    ),
    { numRuns: 500 },
  );
});

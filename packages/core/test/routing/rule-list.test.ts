// The index against a naive loop: what runs of rules are compiled into must decide as the rules would one by one.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { Adapter } from '../../dist/adapter/adapter.js';
import { Events } from '../../dist/net/events.js';
import type { Session } from '../../dist/net/session.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import { carries } from '../../dist/routing/leaf.js';
import { Router } from '../../dist/routing/router.js';
import type { Route } from '../../dist/routing/rule-list.js';
import { AddressRun } from '../../dist/rule/address-run.js';
import { both, judgementOf } from '../../dist/rule/addresses.js';
import { parseCidr } from '../../dist/rule/cidr-set.js';
import { DomainRun } from '../../dist/rule/domain-run.js';
import { buildRule, parseRuleText } from '../../dist/rule/parse.js';
import type { Judgement } from '../../dist/rule/rule.js';
import { FakeClock, FakeFacts, testSession } from '../../dist/testing.js';
import { knownRules } from '../support/known-rules.js';

const known = knownRules();
const runs = process.env.NEKIT_FULL === undefined ? 500 : 5000;

function route(text: string): Route {
  const { kind, payload, target, parameters } = parseRuleText(text);
  const sub = kind === 'SUB-RULE';
  return { rule: buildRule(kind, payload, parameters, {}, known), kind, payload, target, text, ...(sub ? { sub } : {}) };
}

const unused = (): never => assert.fail('not dialled in these tests');
const stream = { dialStream: unused };
const packet = { dialPacket: unused };
const adapters = new Map<string, Adapter>(
  [
    { tag: 'DIRECT', type: 'direct', stream, packet },
    { tag: 'proxy', type: 'socks5', stream, packet },
    { tag: 'tcp-only', type: 'http', stream },
    { tag: 'PASS', type: 'pass' },
  ].map((adapter) => [adapter.tag, adapter]),
);

interface Case {
  readonly rules: readonly string[];
  readonly subRules: ReadonlyMap<string, readonly string[]>;
  readonly names: Readonly<Record<string, readonly string[]>>;
}

function routerOf({ rules, subRules, names }: Case): Router {
  const clock = new FakeClock();
  return new Router({
    routes: rules.map(route),
    subRules: new Map([...subRules].map(([name, texts]) => [name, texts.map(route)])),
    adapters: (tag) => adapters.get(tag),
    mode: 'rule',
    events: new Events(),
    timers: new TimerWheel(clock),
    timeouts: { resolve: 1000 },
    resolver: { resolve: async (name) => names[name] ?? [] },
  });
}

/** First match, one rule after the other: the text of the rule that decides and its addresses, or null. */
async function naive(
  { rules, subRules }: Pick<Case, 'rules' | 'subRules'>,
  session: Session,
  facts: FakeFacts,
  within: Judgement = true,
): Promise<{ text: string; addresses: readonly string[] | null } | null> {
  for (const text of rules) {
    const { rule, target, sub } = route(text);
    const judgement = both(within, judgementOf(await rule.match(session, facts)));
    if (judgement === false) continue;
    if (sub === true) {
      const inner = await naive({ rules: subRules.get(target) ?? [], subRules }, session, facts, judgement);
      if (inner !== null) return inner;
    } else if (carries(adapters.get(target) ?? assert.fail(target), session.network)) {
      return { text, addresses: typeof judgement === 'boolean' ? null : judgement };
    }
  }
  return null;
}

const label = fc.constantFrom('a', 'b', 'ab', 'x1');
const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => `${labels.join('.')}.test`);
const byte = fc.constantFrom(0, 1, 127, 128, 255);
const v4 = fc.tuple(byte, byte, byte).map(([b, c, d]) => `10.${b}.${c}.${d}`);
const v6 = fc.tuple(byte, byte).map(([b, c]) => `2001:db8:${b.toString(16)}::${(c + 1).toString(16)}`);
const network = fc.oneof(
  fc.tuple(v4, fc.integer({ min: 0, max: 32 })).map(([address, prefix]) => `IP-CIDR,${address}/${prefix}`),
  fc.tuple(v6, fc.constantFrom(0, 16, 32, 47, 48, 49, 64, 127, 128)).map(([address, prefix]) => `IP-CIDR6,${address}/${prefix}`),
  v4.map((address) => `IP-CIDR,::ffff:${address}/120`),
  // Has no place in the index: runs of networks break off at it.
  fc.tuple(fc.oneof(v4, v6), fc.constantFrom(0, 1, 8, 9, 16, 32)).map(([address, bits]) => `IP-SUFFIX,${address}/${bits}`),
);
const named = fc.oneof(
  name.map((text) => `DOMAIN,${text}`),
  fc.tuple(fc.constantFrom('', '+.', '.', '*.'), name).map(([mark, text]) => `DOMAIN-SUFFIX,${mark}${text}`),
);
const target = fc.constantFrom('proxy', 'tcp-only', 'DIRECT', 'PASS');
const plainRule = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(named, target).map(([rule, to]) => `${rule},${to}`) },
  { weight: 8, arbitrary: fc.tuple(network, target, fc.constantFrom('', '', ',no-resolve')).map(([rule, to, word]) => `${rule},${to}${word}`) },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.constantFrom('DST-PORT,443', 'DST-PORT,80', 'NETWORK,UDP', 'DOMAIN-KEYWORD,ab'), target).map((parts) => parts.join(',')),
  },
);
/** Runs of one family are the point, so each list is some of them. */
const rules = fc
  .array(
    fc.oneof(
      fc.array(plainRule, { maxLength: 6 }),
      fc.array(
        fc.tuple(named, target).map((parts) => parts.join(',')),
        { maxLength: 12 },
      ),
    ),
    { maxLength: 3 },
  )
  .map((parts) => parts.flat());
const condition = fc.oneof(network, named, fc.constant('NETWORK,TCP'));
const subbed = fc
  .tuple(rules, fc.array(fc.tuple(condition, fc.constantFrom('one', 'two')), { maxLength: 2 }), rules)
  .map(([before, subs, after]) => [...before, ...subs.map(([inner, list]) => `SUB-RULE,(${inner}),${list}`), ...after]);

void t.test('the index decides as the rules would one by one', async () => {
  await fc.assert(
    fc.asyncProperty(
      subbed,
      rules,
      rules,
      fc.oneof(name, v4, v6),
      fc.array(fc.oneof(v4, v6), { maxLength: 3 }),
      fc.constantFrom('tcp', 'udp'),
      fc.option(name),
      async (main, one, two, host, addresses, wanted, sniffed) => {
        const given: Case = {
          rules: main,
          subRules: new Map([
            ['one', one],
            ['two', two],
          ]),
          names: { [host]: addresses },
        };
        const session = testSession({
          destination: { host, port: 443 },
          network: wanted === 'udp' ? 'udp' : 'tcp',
          ...(sniffed === null ? {} : { sniffed }),
        });
        const literal = !host.endsWith('.test');
        const model = await naive(given, session, new FakeFacts(literal ? [host] : null, addresses));
        const router = routerOf(given);
        const decision = await router.route(session);
        assert.equal(decision.rule?.text ?? null, model?.text ?? null);
        if (model !== null && model.addresses !== null && !literal) assert.deepEqual(decision.addresses, model.addresses);
        // What `explain` finds, which asks each rule by itself, is the same.
        const traced = await router.evaluate(session, { tried: [], lookups: [] });
        assert.equal(traced.rule, decision.rule);
        assert.deepEqual(traced.addresses, decision.addresses);
        assert.equal(
          router.rules().reduce((sum, { hits }) => sum + hits, 0),
          model === null ? 0 : 1,
        );
        assert.equal(router.rules().find(({ hits }) => hits > 0)?.rule, model?.text);
      },
    ),
    { numRuns: runs },
  );
});

void t.test('runs of names and of networks give the first that holds', async () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(name, fc.boolean(), fc.boolean()), { maxLength: 20 }), name, fc.nat(20), (keys, host, from) => {
      const run = new DomainRun(keys.map(([text, self, below]) => ({ family: 'domain', name: text, self, below })));
      const expected = keys.findIndex(([text, self, below], at) => at >= from && ((self && host === text) || (below && host.endsWith(`.${text}`))));
      assert.equal(run.first(host, from), expected);
    }),
    { numRuns: runs },
  );
  const cidr = fc.oneof(
    fc.tuple(v4, fc.integer({ min: 0, max: 32 })).map(([address, prefix]) => `${address}/${prefix}`),
    fc.tuple(v6, fc.integer({ min: 0, max: 128 })).map(([address, prefix]) => `${address}/${prefix}`),
  );
  const inside = (text: string, address: string): boolean => {
    const net = parseCidr(text);
    const one = parseCidr(address);
    if (net.address.length !== one.address.length) return false;
    const bits = (bytes: Uint8Array): string => [...bytes].map((value) => value.toString(2).padStart(8, '0')).join('');
    return bits(net.address).slice(0, net.prefix) === bits(one.address).slice(0, net.prefix);
  };
  fc.assert(
    fc.property(fc.array(cidr, { maxLength: 20 }), fc.oneof(v4, v6), (texts, address) => {
      const run = new AddressRun(texts.map((text) => ({ family: 'address', cidr: parseCidr(text), noResolve: false })));
      const expected = texts.findIndex((text) => inside(text, address));
      assert.equal(run.first(address), expected);
      if (!address.includes(':')) assert.equal(run.first(`::ffff:${address}`), expected);
    }),
    { numRuns: runs },
  );
});

void t.test('sub-rules', async () => {
  const given = (main: readonly string[], lists: Readonly<Record<string, readonly string[]>>): Case => ({
    rules: main,
    subRules: new Map(Object.entries(lists)),
    names: {},
  });
  assert.throws(() => routerOf(given(['SUB-RULE,(NETWORK,TCP),none'], {})), { code: 'UNKNOWN_SUB_RULE' });
  assert.throws(() => routerOf(given(['SUB-RULE,(NETWORK,TCP),a'], { a: ['SUB-RULE,(DST-PORT,1),b'], b: ['SUB-RULE,(DST-PORT,2),a'] })), {
    code: 'RULE_CYCLE',
    message: /a -> b -> a$/,
  });
  const doubling = Object.fromEntries(
    Array.from({ length: 15 }, (_, level) => [`l${level}`, Array.from({ length: 4 }, () => `SUB-RULE,(NETWORK,TCP),l${level + 1}`)]),
  );
  const many = routerOf(given(['SUB-RULE,(NETWORK,TCP),l0', 'MATCH,proxy'], { ...doubling, l15: ['DST-PORT,1,DIRECT'] }));
  assert.equal((await many.route(testSession())).rule?.text, 'MATCH,proxy', 'a thousand million ways are not all walked');
  const router = routerOf(given(['SUB-RULE,(NETWORK,TCP),a', 'MATCH,proxy'], { a: ['DOMAIN,x.test,DIRECT', 'DST-PORT,80,tcp-only'] }));
  const trace = { tried: [], lookups: [] };
  const decision = await router.evaluate(testSession({ destination: { host: 'x.test', port: 80 } }), trace);
  assert.equal(decision.rule?.text, 'DOMAIN,x.test,DIRECT');
  assert.deepEqual(
    (trace.tried as { rule: string; list?: string; verdict: string }[]).map(({ rule, list, verdict }) => [rule, list, verdict]),
    [
      ['SUB-RULE,(NETWORK,TCP),a', undefined, 'entered'],
      ['DOMAIN,x.test,DIRECT', 'a', 'match'],
    ],
  );
  assert.equal((await router.route(testSession({ destination: { host: 'y.test', port: 22 } }))).rule?.text, 'MATCH,proxy', 'nothing inside: the next rule');
});

void t.test('an address with a zone that looks like a name is no name', async () => {
  const rules = ['a.test', 'b.test', 'c.test', 'd.test'].map((suffix) => `DOMAIN-SUFFIX,${suffix},proxy`);
  const router = routerOf({ rules, subRules: new Map(), names: {} });
  for (const each of [null, { tried: [], lookups: [] }])
    assert.equal((await router.evaluate(testSession({ destination: { host: 'fe80::1%x.a.test', port: 443 } }), each)).rule, null);
});

void t.test('more rules than a call takes arguments', async () => {
  const rules = Array.from({ length: 200_000 }, (_, index) => route(`DOMAIN,n${index}.test,proxy`));
  const router = new Router({
    routes: rules,
    adapters: (tag) => adapters.get(tag),
    mode: 'rule',
    events: new Events(),
    timeouts: { resolve: 1000 },
    resolver: { resolve: async () => [] },
  });
  assert.equal((await router.route(testSession({ destination: { host: 'n199999.test', port: 443 } }))).index, 199_999);
  assert.equal(router.rules().length, 200_000);
});

void t.test('a rule may name its target itself', async () => {
  const events = new Events();
  const warnings: string[] = [];
  events.on('kernel.warning', ({ message }) => warnings.push(message));
  let to = 'tcp-only';
  const router = new Router({
    routes: [{ rule: { match: () => ({ to }) }, kind: 'OWN', payload: '', target: 'proxy', text: 'OWN,proxy' }, route('MATCH,DIRECT')],
    adapters: (tag) => adapters.get(tag),
    mode: 'rule',
    events,
    timeouts: { resolve: 1000 },
    resolver: { resolve: async () => [] },
  });
  const adapter = async (wanted: 'tcp' | 'udp'): Promise<string> => (await router.route(testSession({ network: wanted }))).adapter.tag;
  assert.equal(await adapter('tcp'), 'tcp-only');
  assert.equal(await adapter('udp'), 'DIRECT', 'it carries no UDP');
  to = 'nobody';
  assert.equal(await adapter('tcp'), 'DIRECT');
  assert.equal(await adapter('tcp'), 'DIRECT');
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? '', /OWN,proxy failed.*"nobody"/);
});

// DNSFAIL: names that do not resolve here.
import assert from 'node:assert/strict';
import t from 'tap';
import { checkConfig } from '../../dist/config/check.js';
import { parseConfig } from '../../dist/config/load.js';
import { formatProblem } from '../../dist/config/report.js';
import { NetError } from '../../dist/net/errors.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import { SessionFacts } from '../../dist/routing/facts.js';
import { buildRule, parseRuleText } from '../../dist/rule/parse.js';
import type { Verdict } from '../../dist/rule/rule.js';
import { FakeClock, FakeFacts, testSession } from '../../dist/testing.js';
import { knownTypes } from '../config/known-types.js';
import { knownRules } from '../support/known-rules.js';

const known = knownRules();

function judge(host: string, facts: FakeFacts, ...parameters: readonly string[]): Verdict | Promise<Verdict> {
  return buildRule('DNSFAIL', '', parameters, {}, known).match(testSession({ destination: { host, port: 443 } }), facts);
}

void t.test('it holds for a name whose look-up fails or finds nothing', async () => {
  assert.equal(await judge('gone.test', new FakeFacts(null, [])), true);
  assert.equal(await judge('there.test', new FakeFacts(null, ['192.0.2.1'])), false);
  assert.equal(judge('gone.test', new FakeFacts([])), true, 'known already');
  assert.equal(judge('there.test', new FakeFacts(['192.0.2.1'])), false);
});

void t.test('an address needs no look-up and cannot fail', async () => {
  for (const host of ['192.0.2.1', '2001:db8::1', 'fe80::1%eth0']) {
    const facts = new FakeFacts(null, []);
    assert.equal(judge(host, facts), false, host);
    assert.equal(facts.lookups, 0);
  }
});

void t.test('with no-resolve only what is known already counts', async () => {
  const facts = new FakeFacts(null, []);
  assert.equal(judge('gone.test', facts, 'no-resolve'), false);
  assert.equal(facts.lookups, 0);
  assert.equal(judge('gone.test', new FakeFacts([]), 'no-resolve'), true);
});

void t.test('how it is written', async () => {
  assert.deepEqual(
    parseRuleText('DNSFAIL,proxy,no-resolve', (kind) => known.definitions(kind)?.payload === false),
    {
      kind: 'DNSFAIL',
      payload: '',
      target: 'proxy',
      parameters: ['no-resolve'],
    },
  );
  const problems = (text: string): string[] => checkConfig(parseConfig(text, 'c.yaml'), knownTypes()).problems.map(formatProblem);
  assert.deepEqual(problems('rules: ["DNSFAIL,REJECT", { type: DNSFAIL, to: REJECT }, { type: DNSFAIL, to: DIRECT, no-resolve: true }]\n'), []);
  assert.deepEqual(problems('rules:\n  - DNSFAIL\n'), ['c.yaml:2:5 error: "DNSFAIL" has no target: write DNSFAIL,target\n    DNSFAIL']);
  assert.deepEqual(problems('rules:\n  - { type: DNSFAIL, value: a.test, to: DIRECT }\n'), [
    'c.yaml:2:5 error: DNSFAIL has no payload, and "a.test" stands there: write DNSFAIL,target',
  ]);
});

void t.test('what a session finds out', async () => {
  const resolver = {
    resolve: async (host: string): Promise<readonly string[]> => {
      if (host === 'there.test') return ['192.0.2.1'];
      if (host === 'empty.test') return [];
      throw new NetError('name', `${host} does not resolve`);
    },
  };
  const hosts = new Map([['own.test', ['192.0.2.2']]]);
  const timers = new TimerWheel(new FakeClock());
  const rule = buildRule('DNSFAIL', '', [], {}, known);
  const verdict = async (host: string): Promise<Verdict> => {
    const session = testSession({ destination: { host, port: 443 } });
    return rule.match(session, new SessionFacts(session, { resolver, hosts, timers, timeouts: { resolve: 5_000 } }, null));
  };
  assert.deepEqual(await Promise.all(['there.test', 'own.test', '192.0.2.1', 'empty.test', 'gone.test'].map(verdict)), [false, false, false, true, true]);
});

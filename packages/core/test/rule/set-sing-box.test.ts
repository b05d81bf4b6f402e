// Rule-sets of sing-box: what a rule means, against a model; and that nothing makes one hold for more than it says.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { CancelSource } from '../../dist/net/cancel.js';
import type { Session } from '../../dist/net/session.js';
import type { RuleDefinition } from '../../dist/rule/definition.js';
import { buildBareRule } from '../../dist/rule/parse.js';
import { type CompiledList, compileList } from '../../dist/rule/set/compile-list.js';
import { FakeFacts } from '../../dist/testing.js';
import { knownRules } from '../support/known-rules.js';

const FULL = process.env.NEKIT_FULL === '1';

/** Process kinds as a config would know them, reduced to what a rule-set needs of them. */
const processName: RuleDefinition = {
  kind: 'PROCESS-NAME',
  description: '',
  payload: true,
  create: (payload) => ({ match: async (_session, facts) => (await facts.process())?.name === payload }),
};
const KNOWN = knownRules([processName]);

function compile(text: string): Promise<CompiledList> {
  return compileList(Buffer.from(text), { format: 'sing-box', behavior: 'classical', buildRule: (rule) => buildBareRule(rule, KNOWN) });
}

function rules(...list: unknown[]): Promise<CompiledList> {
  return rulesOf(list);
}

function rulesOf(list: readonly unknown[]): Promise<CompiledList> {
  return compile(JSON.stringify({ version: 3, rules: list }));
}

interface Asked {
  readonly host: string;
  readonly port: number;
  readonly network: 'tcp' | 'udp';
  readonly source: string;
  readonly sourcePort: number;
}

const ASKED: Asked = { host: 'a.com', port: 443, network: 'tcp', source: '192.168.0.9', sourcePort: 5000 };

function session({ host, port, network, source, sourcePort }: Asked): Session {
  const destination = { host, port };
  const from = { host: source, port: sourcePort };
  return {
    id: 1,
    network,
    inbound: 'mixed',
    inboundType: 'SOCKS5',
    inboundPort: 7890,
    source: from,
    requested: destination,
    destination,
    signal: new CancelSource(),
  };
}

async function has(list: CompiledList, asked: Partial<Asked>, facts?: FakeFacts): Promise<boolean> {
  const whole = { ...ASKED, ...asked };
  const verdict = await list.set.match(session(whole), facts ?? new FakeFacts(/^[\d.]+$|:/.test(whole.host) ? [whole.host] : []), {
    noResolve: false,
    source: false,
  });
  return verdict !== false;
}

t.test('every field', async (t) => {
  const cases: [rule: object, yes: Partial<Asked>[], no: Partial<Asked>[]][] = [
    [{ domain: 'a.com' }, [{ host: 'a.com' }], [{ host: 'x.a.com' }]],
    [{ domain: ['a.com', 'Bücher.de'] }, [{ host: 'xn--bcher-kva.de' }], [{ host: 'b.com' }]],
    [{ domain_suffix: ['b.com', '.c.com'] }, [{ host: 'b.com' }, { host: 'x.b.com' }, { host: 'x.c.com' }], [{ host: 'c.com' }, { host: 'xb.com' }]],
    [{ domain_keyword: 'track' }, [{ host: 'mytracker.com' }], [{ host: 'tra.ck' }]],
    [{ domain_regex: '^ads[0-9]{1,2}\\.' }, [{ host: 'ads1.com' }], [{ host: 'xads1.com' }]],
    [
      { ip_cidr: ['10.0.0.0/8', '2001:db8::1'] },
      [{ host: '10.1.1.1' }, { host: '2001:db8::1' }],
      [{ host: '11.1.1.1' }, { host: '2001:db8::2' }, { host: 'a.com' }],
    ],
    [{ source_ip_cidr: '192.168.0.0/24' }, [{}], [{ source: '192.168.1.1' }]],
    [{ port: 443 }, [{}], [{ port: 444 }]],
    [
      { port: [80, 443], port_range: ['1000:2000', ':10', '60000:'] },
      [{}, { port: 80 }, { port: 1500 }, { port: 0 }, { port: 10 }, { port: 65535 }],
      [{ port: 11 }, { port: 59999 }],
    ],
    [{ source_port: 5000 }, [{}], [{ sourcePort: 5001 }]],
    [{ source_port_range: '4000:5000' }, [{}], [{ sourcePort: 5001 }]],
    [{ network: ['udp'] }, [{ network: 'udp' }], [{}]],
    [{ domain: 'a.com', port: 443 }, [{}], [{ port: 80 }, { host: 'b.com' }]],
    [
      { domain: 'a.com', domain_suffix: 'b.com', ip_cidr: '1.0.0.0/8', port: 443 },
      [{}, { host: 'x.b.com' }, { host: '1.1.1.1' }],
      [{ host: '1.1.1.1', port: 80 }],
    ],
    [{ domain: 'a.com', invert: true }, [{ host: 'b.com' }], [{}]],
    [{ type: 'default', domain: 'a.com', invert: false }, [{}], [{ host: 'b.com' }]],
    [{ type: 'logical', mode: 'and', rules: [{ domain: 'a.com' }, { port: 443 }] }, [{}], [{ port: 80 }]],
    [{ type: 'logical', mode: 'or', rules: [{ domain: 'a.com' }, { port: 443 }] }, [{}, { host: 'b.com' }, { port: 80 }], [{ host: 'b.com', port: 80 }]],
    [{ type: 'logical', mode: 'or', invert: true, rules: [{ domain: 'a.com' }, { port: 443 }] }, [{ host: 'b.com', port: 80 }], [{}, { host: 'b.com' }]],
    [
      {
        type: 'logical',
        mode: 'and',
        rules: [
          { type: 'logical', mode: 'or', rules: [{ port: 80 }, { port: 443 }] },
          { domain: 'a.com', invert: true },
        ],
      },
      [{ host: 'b.com' }],
      [{}],
    ],
    [{ domain: null, port: [443, null] }, [{}], [{ port: 1 }]],
  ];
  for (const [rule, yes, no] of cases) {
    const list = await rules(rule);
    t.same(list.problems, [], JSON.stringify(rule));
    for (const asked of yes) t.equal(await has(list, asked), true, `${JSON.stringify(rule)} ${JSON.stringify(asked)}`);
    for (const asked of no) t.equal(await has(list, asked), false, `${JSON.stringify(rule)} not ${JSON.stringify(asked)}`);
  }
});

t.test('processes', async (t) => {
  const list = await rules({ process_name: ['curl', 'wget'], port: 443 });
  const of = (name: string): FakeFacts => new FakeFacts([], [], { name, path: `/usr/bin/${name}`, uid: 0 });
  t.equal(await has(list, {}, of('curl')), true);
  t.equal(await has(list, {}, of('wget')), true);
  t.equal(await has(list, { port: 80 }, of('curl')), false);
  t.equal(await has(list, {}, of('firefox')), false);
});

t.test('a name is looked up only if nothing else can tell', async (t) => {
  const list = await rules({ ip_cidr: '10.0.0.0/8' }, { domain: 'a.com' }, { domain_keyword: 'key' }, { ip_cidr: '11.0.0.0/8', port: 443 }, { source_port: 7 });
  for (const asked of [{ host: 'a.com' }, { host: 'keys.com' }, { host: 'z.com', sourcePort: 7 }]) {
    const facts = new FakeFacts(null, ['10.0.0.1']);
    t.equal(await has(list, asked, facts), true);
    t.equal(facts.lookups, 0, JSON.stringify(asked));
  }
  const facts = new FakeFacts(null, ['10.0.0.1', '11.0.0.1', '12.0.0.1']);
  t.same(await list.set.match(session({ ...ASKED, host: 'z.com' }), facts, { noResolve: false, source: false }), ['10.0.0.1', '11.0.0.1']);
  t.equal(facts.lookups, 1);
  t.equal(list.set.match(session({ ...ASKED, host: 'z.com' }), new FakeFacts(null, ['10.0.0.1']), { noResolve: true, source: false }), false);
  t.equal(list.set.match(session({ ...ASKED, host: 'z.com', source: '10.1.1.1' }), new FakeFacts(null), { noResolve: false, source: true }), true);
});

t.test('what is not understood never makes a rule hold for more', async (t) => {
  const dropped: [rule: unknown, message: RegExp][] = [
    [{ domain: 'a.com', wifi_ssid: 'home' }, /left out: "wifi_ssid" is not known/],
    [{}, /no condition, and would hold for everything/],
    [{ domain: [] }, /no condition/],
    [{ domain: null }, /no condition/],
    [{ invert: true }, /no condition/],
    [{ domain: ['..'], port: 443 }, /no entry of its "domain" could be understood/],
    [{ domain: 'a.com', port: ['x'] }, /no entry of its "port" could/],
    [{ domain: 'a.com', port: 70_000 }, /no entry of its "port" could/],
    [{ domain: 'a.com', network: 'icmp' }, /no entry of its "network" could/],
    [{ domain: ['..', 'b.com'], invert: true }, /inverted rule would hold for more/],
    [{ type: 'logical', mode: 'and', rules: [{ domain: 'a.com' }, { domain: ['b.com', '..'], invert: true }] }, /inverted rule would hold for more/],
    [{ type: 'logical', mode: 'or', rules: [{ domain: 'a.com' }, { frob: 1 }] }, /of a rule in it: "frob" is not known/],
    [{ type: 'logical', mode: 'xor', rules: [{ domain: 'a.com' }] }, /has the mode "and" or "or"/],
    [{ type: 'logical', mode: 'or' }, /has "rules", at least one/],
    [{ type: 'logical', mode: 'or', rules: [] }, /at least one/],
    [{ type: 'logical', mode: 'or', rules: [{ domain: 'a.com' }], port: 443 }, /has no "port" of its own/],
    [{ rules: [{ domain: 'a.com' }] }, /are for rules with "type": "logical"/],
    [{ type: 'other', domain: 'a.com' }, /no type "other"/],
    [{ domain: 'a.com', invert: 'yes' }, /"invert" is not known/],
    [{ process_path: '/usr/bin/a,b' }, /no entry of its "process_path"/],
    [{ domain_keyword: 'a,no-resolve' }, /no entry of its "domain_keyword"/],
  ];
  for (const [rule, message] of dropped) {
    const list = await rules(rule);
    t.match(list.problems.at(-1), { text: 'rules[0]', message }, JSON.stringify(rule));
    t.equal(list.entries, 0, JSON.stringify(rule));
    t.equal(await has(list, {}), false, JSON.stringify(rule));
  }
  const list = await compile('{"version": 1,\n"rules": [\n{"domain": ["a.com", "..",\n5, {"x": [1]}]},\n{"frob": {"y": [1, {"z": null}]}}\n]\n}');
  t.same(
    list.problems.map(({ line, text }) => [line, text]),
    [
      [3, '..'],
      [4, 'domain'],
      [4, 'domain'],
      [5, 'rules[1]'],
    ],
  );
  t.equal(await has(list, {}), true, 'the others still work');
  t.equal(list.entries, 1);
});

t.test('what is no rule-set is refused with its line', async (t) => {
  for (const [text, message] of [
    ['{"rules":[]}', /no version: versions 1 to 4 are known/],
    ['{"version":5,"rules":[]}', /version 5: versions 1 to 4/],
    ['{"version":"1","rules":[]}', /no version/],
    ['[]', /line 1: a "{" should stand here/],
    ['', /line 1: a "{" should stand here/],
    ['{"version":1,\n"rules":[{"domain":["a.com" "b.com"]}]}', /line 2: a "," should stand here/],
    ['{"version":1,\n"rules":[{"domain":["a.com]}]}', /line 2: this is no JSON/],
    ['{"version":1,"rules":[{"domain":["a.com"', /should stand here/],
    ['{"version":1,"rules":[{"port":[tru]}]}', /this is no JSON: tru/],
    ['{"version":1,"rules":[]} x', /something stands behind the end/],
    [`{"version":1,"rules":[${'{"type":"logical","mode":"or","rules":['.repeat(40)}`, /nested more than 16 deep/],
    [`{"version":1,"x":${'['.repeat(5_000)}`, /nested more than 16 deep/],
  ] as const)
    await t.rejects(compile(text), { message }, text.slice(0, 60));
  const list = await compile('\ufeff// a remark\n{"$schema":"x","version":4,# more\n"rules":[{"domain":"\\u0061.com"}]}\n');
  t.equal(await has(list, {}), true);
  t.match(list.problems, [{ line: 2, text: '$schema' }]);
});

const field = {
  domain: fc.subarray(['a.com', 'b.com', 'x.a.com'], { minLength: 1 }),
  domain_suffix: fc.subarray(['a.com', '.b.com', 'com'], { minLength: 1 }),
  domain_keyword: fc.subarray(['x', 'b'], { minLength: 1 }),
  ip_cidr: fc.subarray(['1.0.0.0/8', '2.0.0.0/7'], { minLength: 1 }),
  source_ip_cidr: fc.subarray(['10.0.0.0/8', '11.0.0.1'], { minLength: 1 }),
  port: fc.subarray([80, 443], { minLength: 1 }),
  port_range: fc.subarray(['400:500', ':81'], { minLength: 1 }),
  source_port: fc.subarray([5000, 5001], { minLength: 1 }),
  network: fc.subarray(['tcp', 'udp'], { minLength: 1 }),
};
type Plain = { readonly [K in keyof typeof field]?: readonly (string | number)[] } & { readonly invert?: boolean };
type Logical = { readonly type: 'logical'; readonly mode: 'and' | 'or'; readonly invert?: boolean; readonly rules: readonly Model[] };
type Model = Plain | Logical;

const plain: fc.Arbitrary<Model> = fc
  .record({ ...field, invert: fc.boolean() }, { requiredKeys: [] })
  .filter((rule) => Object.keys(rule).some((key) => key !== 'invert'))
  .map((rule) => rule as Plain);
const { rule: anyRule } = fc.letrec<{ rule: Model }>((tie) => ({
  rule: fc.oneof(
    { maxDepth: 2, withCrossShrink: true },
    plain,
    fc.record({
      type: fc.constant('logical' as const),
      mode: fc.constantFrom('and' as const, 'or' as const),
      invert: fc.boolean(),
      rules: fc.array(tie('rule'), { minLength: 1, maxLength: 3 }),
    }),
  ),
}));

function expected(rule: Model, asked: Asked): boolean {
  if ('type' in rule) {
    const found = rule.rules.map((inner) => expected(inner, asked));
    return (rule.mode === 'and' ? !found.includes(false) : found.includes(true)) !== (rule.invert ?? false);
  }
  const name = /^[\d.]+$/.test(asked.host) ? '' : asked.host;
  const some = (key: keyof typeof field, test: (value: string) => boolean): boolean => (rule[key] ?? []).some((value) => test(String(value)));
  const inRange = (text: string): boolean => {
    const [low = '', high = ''] = text.split(':');
    return asked.port >= Number(low) && asked.port <= Number(high);
  };
  const groups: [keys: (keyof typeof field)[], holds: boolean][] = [
    [
      ['domain', 'domain_suffix', 'domain_keyword', 'ip_cidr'],
      some('domain', (text) => text === name) ||
        some('domain_suffix', (text) => name === text || name.endsWith(text.startsWith('.') ? text : `.${text}`)) ||
        some('domain_keyword', (text) => name.includes(text)) ||
        some('ip_cidr', (text) => name === '' && (text === '1.0.0.0/8' ? /^1\./ : /^[23]\./).test(asked.host)),
    ],
    [['port', 'port_range'], some('port', (text) => Number(text) === asked.port) || some('port_range', inRange)],
    [['source_ip_cidr'], some('source_ip_cidr', (text) => (text === '10.0.0.0/8' ? asked.source.startsWith('10.') : asked.source === text))],
    [['source_port'], some('source_port', (text) => Number(text) === asked.sourcePort)],
    [['network'], some('network', (text) => text === asked.network)],
  ];
  return groups.every(([keys, holds]) => holds || keys.every((key) => rule[key] === undefined)) !== (rule.invert ?? false);
}

t.test('any rule means what the documents say', async () => {
  const asked = fc.record({
    host: fc.constantFrom('a.com', 'x.a.com', 'b.com', 'y.b.com', 'c.org', '1.2.3.4', '3.1.1.1', '4.4.4.4'),
    port: fc.constantFrom(80, 81, 443, 450, 9000),
    network: fc.constantFrom('tcp' as const, 'udp' as const),
    source: fc.constantFrom('10.1.1.1', '11.0.0.1', '12.0.0.1'),
    sourcePort: fc.constantFrom(5000, 5001, 5002),
  });
  const count = { yes: 0, no: 0 };
  await fc.assert(
    fc.asyncProperty(fc.array(anyRule, { minLength: 1, maxLength: 4 }), fc.array(asked, { minLength: 5, maxLength: 10 }), async (list, questions) => {
      const compiled = await rules(...list);
      assert.deepEqual(compiled.problems, []);
      for (const question of questions) {
        const found = list.some((rule) => expected(rule, question));
        count[found ? 'yes' : 'no']++;
        assert.equal(await has(compiled, question), found, JSON.stringify(question));
      }
    }),
    { numRuns: FULL ? 10_000 : 800 },
  );
  assert.ok(count.yes > 500 && count.no > 500, JSON.stringify(count));
});

t.test('many rules, and rules with many entries', async (t) => {
  const count = FULL ? 300_000 : 20_000;
  const many = await rulesOf(Array.from({ length: count }, (_, i) => ({ domain_suffix: [`n${i}.com`], ...(i % 1_000 === 0 ? { port: 80 } : {}) })));
  t.equal(many.entries, count + count / 1_000);
  t.equal(await has(many, { host: 'x.n5.com' }), true);
  t.same([await has(many, { host: 'n1000.com' }), await has(many, { host: 'n1000.com', port: 80 })], [false, true]);
  const one = await rules({
    domain: Array.from({ length: count }, (_, i) => `n${i}.com`),
    ip_cidr: Array.from({ length: count }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`.replace(/\.(\d{3,})\./, (_, part: string) => `.${Number(part) & 255}.`)),
  });
  t.equal(one.entries, count * 2);
  t.equal((await rules({ domain_keyword: Array.from({ length: 100_000 }, (_, i) => `k${i}`) })).entries, 100_000);
  t.equal(await has(one, { host: `n${count - 1}.com` }), true);
});

t.test('too much that goes into no set refuses the rule-set', async (t) => {
  const many = <T>(value: T, count: number): T[] => Array<T>(count).fill(value);
  const nearly = { port: many(1, 99_980) };
  const names = { domain: many('a.com', 40), domain_suffix: many('b.com', 40), ip_cidr: many('10.0.0.0/8', 40), source_ip_cidr: many('10.0.0.0/8', 40) };
  t.equal((await rules(nearly, names, { domain_keyword: many('a', 18) })).entries, 99_980 + 160 + 18);
  const tooMany = /more than 100000 entries that are neither names nor networks/;
  for (const more of [
    [{ port: many(1, 20) }],
    [{ port_range: many(':1', 10), source_port: many(1, 10) }],
    [{ domain_keyword: many('a', 20) }],
    [{ type: 'logical', mode: 'or', rules: many({ domain: 'a.com' }, 20) }],
    many({ domain: 'a.com', invert: true }, 20),
  ])
    await t.rejects(rulesOf([nearly, ...more]), tooMany);
  await t.rejects(rules({ domain_keyword: many('a'.repeat(4000), 1050) }), /more than 4 Mi characters/);
});

t.test('any bytes: a list, or an error that says something', async () => {
  const text = fc.oneof(
    fc
      .string({ unit: fc.constantFrom('{', '}', '[', ']', '"', ':', ',', ' ', '\n', '\\', 'a', '1', '/', '#', '-'), maxLength: 40 })
      .map((rest) => `{"version":1,"rules":[{"domain":${rest}`),
    fc.json().map((json) => `{"version":1,"rules":${json}}`),
    fc.json(),
  );
  await fc.assert(
    fc.asyncProperty(text, async (given) => {
      try {
        await compile(given);
      } catch (error) {
        assert.ok(error instanceof Error && /^(?:line \d+: |the rule-set has )/.test(error.message), String(error));
      }
    }),
    { numRuns: FULL ? 50_000 : 3_000 },
  );
});

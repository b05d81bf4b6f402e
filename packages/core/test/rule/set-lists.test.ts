// Lists of rules from the bytes of a file: formats, behaviours, what is wrong in them, and a million lines.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { CancelSource } from '../../dist/net/cancel.js';
import { NetError } from '../../dist/net/errors.js';
import type { Session } from '../../dist/net/session.js';
import { ListRules } from '../../dist/provider/list-rules.js';
import { buildBareRule } from '../../dist/rule/parse.js';
import { PatternBudget } from '../../dist/rule/pattern-budget.js';
import type { HowToMatch } from '../../dist/rule/rule-set.js';
import { AddressList } from '../../dist/rule/set/address-list.js';
import { ClassicalList } from '../../dist/rule/set/classical-list.js';
import { type CompiledList, compileList } from '../../dist/rule/set/compile-list.js';
import { DomainList } from '../../dist/rule/set/domain-list.js';
import { inspectList, type ListKind } from '../../dist/rule/set/inspect-list.js';
import { ListNotes } from '../../dist/rule/set/list-notes.js';
import { NekitList } from '../../dist/rule/set/nekit-list.js';
import { FakeFacts } from '../../dist/testing.js';
import { knownRules } from '../support/known-rules.js';

const FULL = process.env.NEKIT_FULL === '1';
const KNOWN = knownRules();
const PLAIN: HowToMatch = { noResolve: false, source: false };
const NO_RESOLVE: HowToMatch = { noResolve: true, source: false };
const SOURCE: HowToMatch = { noResolve: false, source: true };

function compile(text: string | Uint8Array, kind: ListKind): Promise<CompiledList> {
  return compileList(typeof text === 'string' ? Buffer.from(text) : text, { ...kind, buildRule: (rule) => buildBareRule(rule, KNOWN) });
}

interface Asked {
  readonly source?: string;
  readonly sourcePort?: number;
  readonly port?: number;
  readonly network?: 'tcp' | 'udp';
}

function session(host: string, { source = '192.168.0.9', sourcePort = 50_000, port = 443, network = 'tcp' }: Asked = {}): Session {
  const destination = { host, port };
  return {
    id: 1,
    network,
    inbound: 'mixed',
    inboundType: 'SOCKS5',
    inboundPort: 7890,
    source: { host: source, port: sourcePort },
    requested: destination,
    destination,
    signal: new CancelSource(),
  };
}

/** Of a name that has no address. */
async function has(list: CompiledList, host: string, asked: Asked = {}): Promise<boolean> {
  const facts = new FakeFacts(/^[\d.]+$|:/.test(host) ? [host] : []);
  const verdict = await list.set.match(session(host, asked), facts, PLAIN);
  return verdict !== false;
}

async function which(list: CompiledList, hosts: readonly string[], asked: Asked = {}): Promise<string[]> {
  const found: string[] = [];
  for (const host of hosts) if (await has(list, host, asked)) found.push(host);
  return found;
}

const NAMES =
  '# names\r\nexample.com\r\n\r\n  +.suffix.com  # all of it\r\n// below\r\n.below.com\r\n*.one.com\r\nBÜCHER.example\r\n\t\r\nbad name\r\n1.2.3.4\r\nlast.com';

t.test('names as text: comments, CRLF, BOM, no newline at the end; what is bad is named with its line', async (t) => {
  for (const text of [NAMES, `\ufeff${NAMES}`, NAMES.replaceAll('\r', ''), `${NAMES}\n\n`]) {
    const list = await compile(text, { format: 'text', behavior: 'domain' });
    const hosts = [
      'example.com',
      'a.example.com',
      'suffix.com',
      'a.suffix.com',
      'below.com',
      'a.below.com',
      'a.one.com',
      'a.b.one.com',
      'xn--bcher-kva.example',
      'last.com',
    ];
    t.same(await which(list, hosts), ['example.com', 'suffix.com', 'a.suffix.com', 'a.below.com', 'a.one.com', 'xn--bcher-kva.example', 'last.com']);
    t.equal(list.entries, 6);
    t.equal(list.set.size, 6);
    t.same(
      [...list.kinds],
      [
        ['exact', 3],
        ['suffix (+.)', 1],
        ['below (.)', 1],
        ['wildcard (*)', 1],
      ],
    );
    t.equal(list.problemCount, 2);
    t.match(list.problems, [
      { line: 10, text: 'bad name', message: /one name stands on each line/ },
      { line: 11, text: '1.2.3.4', message: /is an address, and names stand here/ },
    ]);
  }
  const empty = await compile('\n# nothing\n', { format: 'text', behavior: 'domain' });
  t.same([empty.entries, empty.problemCount, await has(empty, 'a.com')], [0, 0, false]);
});

t.test('addresses never are names', async (t) => {
  const list = await compile('*.*.*.*\n+.*\n', { format: 'text', behavior: 'domain' });
  t.same(await which(list, ['1.2.3.4', '2001:db8::1', 'a.b.c.d']), ['a.b.c.d']);
});

t.test('networks, and how they are asked', async (t) => {
  const list = await compile('10.0.0.0/8\n192.0.2.1 # one\n2001:db8::/32\n\n10.0.0.0/33\nexample.com\nIP-CIDR,1.0.0.0/8\n', {
    format: 'text',
    behavior: 'ipcidr',
  });
  t.same(
    [...list.kinds],
    [
      ['IPv4', 2],
      ['IPv6', 1],
    ],
  );
  t.match(list.problems, [
    { line: 5, message: /prefix of 33 bits/ },
    { line: 6, message: /is no network/ },
    { line: 7, message: /behavior classical/ },
  ]);
  const facts = new FakeFacts(null, ['10.1.1.1', '9.9.9.9']);
  t.equal(list.set.match(session('a.com'), facts, NO_RESOLVE), false);
  t.equal(facts.lookups, 0);
  t.equal(list.set.match(session('a.com', { source: '10.0.0.7' }), facts, SOURCE), true);
  t.equal(list.set.match(session('10.0.0.7', { source: '11.0.0.7' }), facts, SOURCE), false);
  t.equal(facts.lookups, 0);
  t.same(await list.set.match(session('a.com'), facts, PLAIN), ['10.1.1.1'], 'for one of its addresses');
  t.equal(facts.lookups, 1);
  t.same(list.set.match(session('a.com'), facts, NO_RESOLVE), ['10.1.1.1'], 'it is known now');
});

const RULES = `DOMAIN,a.com
domain-suffix, b.com
DOMAIN-SUFFIX,.c.com   // below only
DOMAIN-KEYWORD,track
DOMAIN-REGEX,^ads[0-9]{1,3}\\.
IP-CIDR,10.0.0.0/8,no-resolve
IP-CIDR,172.16.0.0/12
IP-CIDR6,2001:db8::/32,no-resolve
SRC-IP-CIDR,192.168.1.0/24
DST-PORT,22/2000-2010
AND,((DOMAIN-SUFFIX,d.com),(NETWORK,UDP))
MATCH
FROB,1
DOMAIN-SUFIX,x.com
DOMAIN,x.com,DIRECT
DOMAIN,*.x.com`;

t.test('rules of all kinds: names first, so that nothing is looked up where one holds', async (t) => {
  for (const [text, format] of [
    [RULES, 'text'],
    [
      `payload:\n${RULES.split('\n')
        .map((line) => `  - "${line.replaceAll('\\', '\\\\')}"\n`)
        .join('')}`,
      'yaml',
    ],
    [
      `payload:\n${RULES.split('\n')
        .map((line) => `- '${line}'\r\n`)
        .join('')}`,
      'yaml',
    ],
  ] as const) {
    const list = await compile(text, { format, behavior: 'classical' });
    t.equal(list.entries, 11);
    t.equal(list.kinds.get('DOMAIN-SUFFIX'), 2);
    const first = format === 'yaml' ? 13 : 12;
    t.match(list.problems, [
      { line: first, message: /MATCH cannot stand in another rule/ },
      { line: first + 1, message: /unknown rule kind "FROB"/ },
      { line: first + 2, message: /did you mean DOMAIN-SUFFIX/ },
      { line: first + 3, message: /unknown parameter "DIRECT"/ },
      { line: first + 4, message: /use DOMAIN-WILDCARD/ },
    ]);
    t.equal(list.problemCount, 5);
    const hosts = [
      'a.com',
      'x.a.com',
      'b.com',
      'x.b.com',
      'c.com',
      'x.c.com',
      'mytracker.org',
      'ads12.org',
      'ads1234.org',
      '10.1.1.1',
      '172.16.0.1',
      '2001:db8::1',
      'd.com',
      'x.com',
    ];
    t.same(await which(list, hosts), ['a.com', 'b.com', 'x.b.com', 'x.c.com', 'mytracker.org', 'ads12.org', '10.1.1.1', '172.16.0.1', '2001:db8::1']);
    t.ok(await has(list, 'd.com', { network: 'udp' }));
    t.ok(await has(list, 'z.com', { source: '192.168.1.3' }));
    t.ok(await has(list, 'z.com', { port: 2005 }));
    for (const host of ['a.com', 'mytracker.org']) {
      const facts = new FakeFacts(null, ['172.16.0.1']);
      t.equal(list.set.match(session(host), facts, PLAIN), true);
      t.equal(facts.lookups, 0, 'nothing was looked up');
    }
    const facts = new FakeFacts(null, ['10.0.0.1', '172.16.0.1', '1.1.1.1']);
    t.equal(list.set.match(session('z.com'), facts, NO_RESOLVE), false);
    t.same(await list.set.match(session('z.com'), facts, PLAIN), ['172.16.0.1'], 'no-resolve stays: when it was asked nothing was known');
    t.equal(facts.lookups, 1);
    t.same(list.set.match(session('z.com'), facts, PLAIN), ['10.0.0.1', '172.16.0.1'], 'of either');
    t.equal(list.set.match(session('z.com', { source: '10.3.3.3' }), facts, SOURCE), true);
    t.equal(list.set.match(session('10.0.0.1', { source: '1.1.1.1' }), facts, SOURCE), false);
  }
});

t.test('the lines that are read without building a rule mean what their rules mean', async () => {
  const line = fc
    .tuple(
      fc.constantFrom('DOMAIN', 'DOMAIN-SUFFIX', 'IP-CIDR', 'SRC-IP-CIDR', 'domain'),
      fc.constantFrom(',', ', ', ' ,'),
      fc.constantFrom(
        'a.com',
        'A.com.',
        '.a.com',
        '+.a.com',
        '*.a.com',
        'x.a.com',
        'com',
        '..',
        '10.0.0.0/8',
        '10.1.1.1',
        '10.0.0.0/33',
        '010.0.0.1',
        '::/0',
        '',
      ),
      fc.constantFrom('', '', ',no-resolve', ', no-resolve', ',no-resolve,src', ',frob', ',', ' # x'),
    )
    .map((parts) => parts.join(''));
  await fc.assert(
    fc.asyncProperty(line, async (text) => {
      const list = await compile(text, { format: 'text', behavior: 'classical' });
      const rule = (() => {
        try {
          return buildBareRule(text.replace(/ # x$/, ''), KNOWN);
        } catch (error) {
          return error instanceof Error ? null : assert.fail();
        }
      })();
      assert.equal(list.entries, rule === null ? 0 : 1, text);
      for (const host of ['a.com', 'x.a.com', 'com', 'xa.com', '10.1.1.1', '11.1.1.1', '2001:db8::1']) {
        for (const source of ['10.1.1.1', '9.9.9.9']) {
          const known = /^[\d.]+$|:/.test(host) ? [host] : null;
          const [ours, theirs] = [new FakeFacts(known, ['10.1.1.1', '1.1.1.1']), new FakeFacts(known, ['10.1.1.1', '1.1.1.1'])];
          const asked = session(host, { source });
          assert.deepEqual(await list.set.match(asked, ours, PLAIN), (await rule?.match(asked, theirs)) ?? false, `${text} ${host}`);
          assert.equal(ours.lookups, theirs.lookups, `${text} ${host}`);
        }
      }
    }),
    { numRuns: 1_000 },
  );
});

t.test('a rule in a list that looks names up does so only if it may', async (t) => {
  const list = await compile('OR,((IP-CIDR,10.0.0.0/8),(IP-CIDR,11.0.0.0/8))\nNOT,((IP-CIDR,0.0.0.0/1))', { format: 'text', behavior: 'classical' });
  const facts = new FakeFacts(null, ['10.0.0.1', '1.1.1.1']);
  await list.set.match(session('z.com'), facts, NO_RESOLVE);
  t.equal(facts.lookups, 0);
  t.same(await list.set.match(session('z.com'), facts, PLAIN), ['10.0.0.1']);
  t.equal(await list.set.match(session('z.com', { source: '11.0.0.1' }), facts, SOURCE), true);
  t.equal(await list.set.match(session('z.com', { source: '200.0.0.1' }), facts, SOURCE), true);
  t.equal(await list.set.match(session('z.com', { source: '100.0.0.1' }), facts, SOURCE), false);
});

t.test('YAML in all its forms', async (t) => {
  const hosts = ['a.com', 'x.a.com', 'b.com', 'c.com', "d'.com", 'x.star.com'];
  const cases: [text: string, found: string[], problems: number][] = [
    ['payload:\n  - a.com\n  - "b.com"\n  - \'c.com\'\n', ['a.com', 'b.com', 'c.com'], 0],
    ['# head\n---\npayload: # here\n- +.a.com # all\n\n# more\n- "b.com" # x\n', ['a.com', 'x.a.com', 'b.com'], 0],
    ['payload:\n  - *.star.com\n', ['x.star.com'], 0],
    ['payload:\n  - *.star.com\nother: 1\n', ['x.star.com'], 0],
    ['payload: [a.com, "b.com"]\n', ['a.com', 'b.com'], 0],
    ['payload: []\n', [], 0],
    ['payload:\n', [], 0],
    ['other: 1\npayload:\n  - a.com\n  - &x b.com\n  - *x\n', ['a.com', 'b.com'], 0],
    ['payload:\n  - a.com\n  - {x: y}\n  - [b.com]\n  -\n  - c.com\n', ['a.com', 'c.com'], 3],
    ["payload:\n  - \"a\\u002ecom\"\n  - 'it''s'\n", ['a.com'], 1],
    ['payload:\n  - >-\n    a.com\n  - c.com\n', ['a.com', 'c.com'], 0],
    ['{"payload": ["a.com"]}', ['a.com'], 0],
    ['payload:\n  - a.com\n  - b.com: 1\n', ['a.com'], 1],
    ['payload:\n  - a.com\n  - --- b.com\n  - - c.com\n  - ? c.com\n', ['a.com'], 3],
    ['payload:\n  - a.com\n  -\n    b.com\n  - !!str\n    c.com\n', ['a.com', 'b.com', 'c.com'], 0],
    ['payload:\n  - &x a.com\n  - *x\n  - &x b.com\n  - *x\n  - *.star.com\n', ['a.com', 'b.com', 'x.star.com'], 0],
    ['payload:\n  - &x [a.com]\n  - *x\n', [], 2],
  ];
  for (const [text, found, problems] of cases) {
    for (const variant of [text, text.replaceAll('\n', '\r\n'), `\ufeff${text}`]) {
      const list = await compile(variant, { format: 'yaml', behavior: 'domain' });
      t.same(await which(list, hosts), found, JSON.stringify(variant));
      t.equal(list.problemCount, problems, JSON.stringify(variant));
    }
  }
  const list = await compile('payload:\n  - a.com\n  - bad name\n  - [x]\n', { format: 'yaml', behavior: 'domain' });
  t.same(
    list.problems.map(({ line }) => line),
    [3, 4],
  );
  for (const [text, message] of [
    ['rules:\n  - a.com\n', /under "payload:", and there is no such key/],
    ['- a.com\n', /there is no such key/],
    ['', /there is no such key/],
    ['payload: a.com\n', /"payload" is no list/],
    ['payload:\n  - "a.com\n', /^line \d+: /],
    [`payload:\n${'  - a.com\n'.repeat(15_000)}  - {x: y\n`, /^line 15002: a YAML list of more than 16 KiB/],
    [`payload:\n  - a.com\n  -  ${'&a '.repeat(5000)}b\n`, /^line 3: A node can have at most one anchor$/],
  ] as const)
    await t.rejects(compile(text, { format: 'yaml', behavior: 'domain' }), { message }, text.slice(0, 40));
});

t.test('a long YAML list may have odd items', async (t) => {
  const stars = Array.from({ length: 20_000 }, (_, i) => `  - *.x${i}.com\n`).join('');
  const list = await compile(`payload:\n  - !!str a.com\n  - {x: y}\n  - "b\\u002ecom"\n  -\n${stars}`, { format: 'yaml', behavior: 'domain' });
  t.same(await which(list, ['a.com', 'b.com', 'y.x0.com', 'y.x19999.com']), ['a.com', 'b.com', 'y.x0.com', 'y.x19999.com']);
  t.match(list.problems, [
    { line: 3, text: '{x: y}', message: 'the entry is no text: put it in quotes' },
    { line: 5, text: '' },
  ]);
  t.equal(list.problemCount, 2);
});

t.test('the aliases of a YAML list do not each go through all of it', async (t) => {
  const read = async (items: string): Promise<number> => {
    const begin = process.cpuUsage().user;
    const list = await compile(`payload:\n  - &a x.com\n${items}`, { format: 'yaml', behavior: 'domain' });
    t.equal(list.entries, 2001);
    return process.cpuUsage().user - begin;
  };
  await read('  - a.b\n'.repeat(2000)); // warms the library up
  const texts = await read('  - a.b\n'.repeat(2000));
  t.ok((await read('  - *a\n'.repeat(2000))) < texts * 4, 'they take about as long as texts');
});

t.test("NEKit's lists", async (t) => {
  const names = await compile('GOOGLE\n^www\\.example\\.com$\n(^|\\.)suffix\\.com$\n\\.below\\.com$\n\n(\n(a+)+b(?=c)\n', {
    format: 'nekit',
    behavior: 'domain',
  });
  const hosts = ['mygoogle.com', 'www.example.com', 'a.www.example.com', 'suffix.com', 'a.suffix.com', 'xsuffix.com', 'below.com', 'a.below.com'];
  t.same(await which(names, hosts), ['mygoogle.com', 'www.example.com', 'suffix.com', 'a.suffix.com', 'a.below.com']);
  t.same([...names.kinds], [['DOMAIN-REGEX', 4]]);
  t.match(names.problems, [
    { line: 6, message: /is not accepted/ },
    { line: 7, message: /is not accepted/ },
  ]);
  const networks = await compile('10.0.0.0/8\n192.0.2.10+2\n1.1.1.1\n2001:db8::5+1\n255.255.255.255+1\n', { format: 'nekit', behavior: 'ipcidr' });
  const addresses = ['10.1.1.1', '192.0.2.9', '192.0.2.10', '192.0.2.12', '192.0.2.13', '1.1.1.1', '2001:db8::6', '2001:db8::7'];
  t.same(await which(networks, addresses), ['10.1.1.1', '192.0.2.10', '192.0.2.12', '1.1.1.1', '2001:db8::6']);
  t.match(networks.problems, [{ line: 5, message: /beyond the last IPv4 address/ }]);
  await t.rejects(compile('a', { format: 'nekit', behavior: 'classical' }), /hold names .* or networks/);
});

t.test('regular expressions of NEKit that go into a set mean there what they mean as expressions', async () => {
  const piece = fc.constantFrom('^', '(^|\\.)', '(?:\\.|^)', '\\.', '', 'www');
  const name = fc.array(fc.constantFrom('a', 'b-1', 'com', 'X', '2'), { minLength: 1, maxLength: 3 }).map((labels) => labels.join('\\.'));
  const host = fc
    .array(fc.constantFrom('a', 'b-1', 'com', 'x', '2', 'aa', 'wwwa'), { minLength: 1, maxLength: 4 })
    .map((labels) => labels.join('.'))
    .filter((text) => !/(?:^|\.)2$/.test(text));
  await fc.assert(
    fc.asyncProperty(piece, name, fc.constantFrom('$', ''), fc.array(host, { maxLength: 10 }), async (head, middle, end, hosts) => {
      const source = head + middle + end;
      const list = await compile(source, { format: 'nekit', behavior: 'domain' });
      for (const text of hosts) assert.equal(await has(list, text), new RegExp(source, 'i').test(text), `${source} ${text}`);
    }),
    { numRuns: 300 },
  );
});

t.test('too many entries that go into no set refuse the list, and so do too long ones', async (t) => {
  const classical: ListKind = { format: 'text', behavior: 'classical' };
  const names = 'DOMAIN-SUFFIX,example.com\nIP-CIDR6,2001:db8::/32\nDOMAIN,xn--4ca.example\n'.repeat(40_000);
  t.equal((await compile(`${names}${'DST-PORT,1\n'.repeat(100_000)}`, classical)).entries, 220_000);
  await t.rejects(compile('DST-PORT,1\n'.repeat(100_001), classical), /more than 100000 entries that are neither names nor networks/);
  const long = `OR,(${Array(300).fill('(DST-PORT,1)').join()})\n`;
  await t.rejects(compile(long.repeat(1_200), classical), /neither names nor networks have more than 4 Mi characters/);
  await t.rejects(compile('a[0-9]\n'.repeat(100_001), { format: 'nekit', behavior: 'domain' }), /more than 100000 entries/);
});

t.test('regular expressions that would take too long together are left out', async (t) => {
  const lines = (count: number, line: (i: number) => string): string => Array.from({ length: count }, (_, i) => `${line(i)}\n`).join('');
  const served = (text: string, kind: ListKind): Promise<CompiledList> => {
    const known = new ListRules(KNOWN, PatternBudget.ofList());
    return compileList(Buffer.from(text), { ...kind, buildRule: (rule) => buildBareRule(rule, known) });
  };
  const classical: ListKind = { format: 'text', behavior: 'classical' };
  const large = await served(`${lines(50, (i) => `DOMAIN-REGEX,(?:[a-z0-9]?){130}${i}_$`)}DOMAIN-REGEX,^a\nDOMAIN,b.example\n`, classical);
  t.same(
    [...large.kinds],
    [
      ['DOMAIN-REGEX', 5],
      ['DOMAIN', 1],
    ],
  );
  t.match(large.problems[0], { line: 6, message: /would take too long together/ });
  t.equal(await has(large, 'a.example'), false, 'closed for good');
  const ordinary = await served(
    lines(150, (i) => `DOMAIN-REGEX,^(.+[_.-])?adse?rv(er?|ice)?s?${i}[0-9]*[_.-]\nDOMAIN-REGEX,[a-z0-9-]+x${i}\\.com$\nDOMAIN-REGEX,(^|\\.)ads?[0-9]*\\.${i}`),
    classical,
  );
  t.same([ordinary.entries, ordinary.problemCount], [450, 0]);
  const plain = await served(
    lines(20_000, (i) => `(^|\\.)host${i}\\.example\\.com$`),
    { format: 'nekit', behavior: 'domain' },
  );
  t.same([plain.entries, plain.problemCount], [20_000, 0], 'what goes into a set is not compiled');
});

t.test('the entry that is one too many is no problem of its line', (t) => {
  for (const [line, listOf] of [
    ['DOMAIN-SUFFIX,ä.example', (notes: ListNotes) => new ClassicalList(notes, (text) => buildBareRule(text, KNOWN))],
    ['a[0-9]', (notes: ListNotes) => new NekitList(notes, (text) => buildBareRule(text, KNOWN))],
    ['+.ä.example', (notes: ListNotes) => new DomainList(notes)],
    ['2001:db8::/32', (notes: ListNotes) => new AddressList(notes, false)],
  ] as const) {
    const notes = new ListNotes();
    const list = listOf(notes);
    const bytes = Buffer.from(line);
    list.entry(bytes, 0, bytes.length, 1);
    notes.count('others', 20_000_000 - 1);
    t.throws(() => list.entry(bytes, 0, bytes.length, 2), /more than 20 million entries/, line);
    t.equal(notes.problemCount, 0, line);
  }
  t.end();
});

t.test('what is no list is refused by name', async (t) => {
  for (const [bytes, message] of [
    [Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 1, 2]), /mihomo \(\.mrs\)/],
    [Buffer.from('MRS\x01'), /mihomo \(\.mrs\)/],
    [Buffer.from('SRS\x01'), /sing-box \(\.srs\)/],
    [Buffer.from('\ufeffa.com', 'utf16le'), /UTF-16/],
    [Buffer.from([0x1f, 0x8b, 8]), /gzip/],
  ] as const) {
    await t.rejects(compile(bytes, { format: 'text', behavior: 'domain' }), { message });
    t.throws(() => inspectList(bytes), { message });
  }
  const long = await compile(`${'a'.repeat(5_000)}\nb.com\n`, { format: 'text', behavior: 'domain' });
  t.match(long.problems, [{ line: 1, message: /5000 bytes, and 4096 are allowed/ }]);
  t.ok(await has(long, 'b.com'));
  const many = await compile('!\n'.repeat(1_000), { format: 'text', behavior: 'domain' });
  t.same([many.problems.length, many.problemCount], [100, 1_000], 'the first ones are kept');
});

t.test('the format and behaviour of an unknown file', async (t) => {
  for (const [text, format, behavior] of [
    ['payload:\n  - DOMAIN,a.com\n', 'yaml', 'classical'],
    ["payload:\n  - '+.a.com'\n  - 'b.com'\n", 'yaml', 'domain'],
    ['# x\n\npayload:\n  - 10.0.0.0/8\n', 'yaml', 'ipcidr'],
    ['DOMAIN-SUFFIX,a.com\nIP-CIDR,1.0.0.0/8,no-resolve\n', 'text', 'classical'],
    ['a.com\n+.b.com\n*.c.com\n', 'text', 'domain'],
    ['1.0.0.0/8\n::1\n2001:db8::/32 # x\n', 'text', 'ipcidr'],
    ['1.0.0.0+8\n10.0.0.0/8\n', 'nekit', 'ipcidr'],
    ['google\n^ads\\.\n', 'nekit', 'domain'],
    ['\ufeff{"version":1,"rules":[]}', 'sing-box', 'classical'],
    ['', 'text', 'domain'],
  ] as const)
    t.same(inspectList(Buffer.from(text)), { format, behavior }, text);
  t.same(inspectList(Buffer.from('1.0.0.0+8'), { format: 'text' }), { format: 'text', behavior: 'ipcidr' });
  t.same(inspectList(Buffer.from('a.com'), { behavior: 'classical' }), { format: 'text', behavior: 'classical' });
});

t.test('a bad line never takes another one with it', async () => {
  const line = fc.oneof(
    fc.constantFrom('a.com', '+.b.com', '.c.com', '*.d.com', 'e.*.com', '', '#', '  ', '1.2.3.4', '..', 'a b', '+.'),
    fc.string({ unit: 'binary', maxLength: 20 }).map((text) => text.replace(/[\r\n]/g, '')),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 12 }), fc.constantFrom('\n', '\r\n'), async (lines, newline) => {
      const whole = await compile(lines.join(newline), { format: 'text', behavior: 'domain' });
      const single = await Promise.all(lines.map((text) => compile(text, { format: 'text', behavior: 'domain' })));
      // A byte order mark counts at the beginning of a file only.
      if (lines.some((text) => text.startsWith('\ufeff'))) return;
      assert.equal(
        whole.entries,
        single.reduce((sum, list) => sum + list.entries, 0),
      );
      assert.equal(
        whole.problemCount,
        single.reduce((sum, list) => sum + list.problemCount, 0),
      );
      for (const host of ['a.com', 'x.b.com', 'x.c.com', 'x.d.com', 'e.x.com', 'z.com']) {
        const any = (await Promise.all(single.map((list) => has(list, host)))).includes(true);
        assert.equal(await has(whole, host), any, host);
      }
    }),
    { numRuns: FULL ? 5_000 : 500 },
  );
});

t.test('a long list lets others work, and stops when it is told to', { timeout: 120_000 }, async (t) => {
  const count = FULL ? 1_000_000 : 200_000;
  const lines = Array.from({ length: count }, (_, i) => `+.host${i}.example${i % 977}.com`);
  const bytes = Buffer.from(lines.join('\r\n'));
  let turns = 0;
  const ticker = setInterval(() => turns++, 1);
  const list = await compile(bytes, { format: 'text', behavior: 'domain' });
  clearInterval(ticker);
  t.equal(list.entries, count);
  t.ok(turns > 2, `the event loop came round ${turns} times`);
  t.ok(await has(list, `x.host${count - 1}.example${(count - 1) % 977}.com`));
  const yaml = await compile(Buffer.from(`payload:\n${lines.map((text) => `  - '${text}'\n`).join('')}`), { format: 'yaml', behavior: 'domain' });
  t.equal(yaml.entries, count);
  const rules = Buffer.from(
    lines
      .map((text, i) => (i % 2 === 0 ? `DOMAIN-SUFFIX,${text.slice(2)}\n` : `IP-CIDR,10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}/32,no-resolve\n`))
      .join(''),
  );
  t.equal((await compile(rules, { format: 'text', behavior: 'classical' })).entries, count);
  const keywords = Buffer.from(Array.from({ length: 100_000 }, (_, i) => `DOMAIN-KEYWORD,k${i}\n`).join(''));
  t.equal((await compile(keywords, { format: 'text', behavior: 'classical' })).entries, 100_000);
  const signal = new CancelSource();
  const stopped = compileList(bytes, { format: 'text', behavior: 'domain', signal, buildRule: (text) => buildBareRule(text, KNOWN) });
  signal.cancel(new NetError('aborted', 'enough'));
  await t.rejects(stopped, { message: 'enough' });
});

t.test('reading a list again and again leaves the memory where it was', { timeout: 120_000 }, async (t) => {
  const child = fileURLToPath(new URL('../support/reload-list.js', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', child, FULL ? '300000' : '50000'], { timeout: 110_000 });
  const { early, late, size } = JSON.parse(stdout) as { early: number; late: number; size: number };
  t.ok(late - early < size / 2, `${early} bytes after the first rounds, ${late} after the last; one set has ${size}`);
});

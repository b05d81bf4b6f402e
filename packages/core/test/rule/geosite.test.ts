// v2ray's geosite.dat: what its entries mean, what a config is told, and files that are damaged or made to harm.
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { checkConfig } from '../../dist/config/check.js';
import { parseConfig } from '../../dist/config/load.js';
import { formatProblem } from '../../dist/config/report.js';
import { createKernel } from '../../dist/kernel.js';
import { geosite } from '../../dist/rule/geosite.js';
import { GeositeFile } from '../../dist/rule/geosite-file.js';
import { GeositeSet } from '../../dist/rule/geosite-set.js';
import { WireReader } from '../../dist/rule/geosite-wire.js';
import { buildRule } from '../../dist/rule/parse.js';
import type { Rule, Verdict } from '../../dist/rule/rule.js';
import { ConfigRuleTools } from '../../dist/rule/tools.js';
import { FakeFacts, ruleContext, testSession } from '../../dist/testing.js';
import { knownTypes } from '../config/known-types.js';
import { field, varint, type WrittenEntry, writeGeosite } from '../support/geosite-writer.js';
import { knownRules } from '../support/known-rules.js';

const folder = t.testdir();
const FILE = join(folder, 'geosite.dat');
const [KEYWORD, REGEX, DOMAIN, FULL] = [0, 1, 2, 3];

const LISTS = {
  GOOGLE: [
    { type: DOMAIN, value: 'google.com' },
    { type: FULL, value: 'www.only.example' },
    { type: KEYWORD, value: 'googleapis' },
    { type: REGEX, value: '^ads[0-9]+\\.google\\.example$' },
    { type: DOMAIN, value: 'adservice.example', attributes: ['ads'] },
    { type: FULL, value: 'cdn.google.cn', attributes: ['cn', 'ads'] },
  ],
  'GEOLOCATION-!CN': [{ type: DOMAIN, value: 'abroad.example', attributes: ['!cn'] }],
  CN: [
    { type: DOMAIN, value: 'cn' },
    { type: DOMAIN, value: 'Bücher.example' },
  ],
  EMPTY: [],
} satisfies Record<string, readonly WrittenEntry[]>;
writeFileSync(FILE, writeGeosite(LISTS));

const definition = geosite();

function rule(payload: string, tools = new ConfigRuleTools({ checking: false, folder })): Rule {
  return definition.create(payload, ruleContext({ tools }));
}

function judge(built: Rule, host: string): Verdict | Promise<Verdict> {
  return built.match(testSession({ destination: { host, port: 443 } }), new FakeFacts());
}

function hosts(payload: string, yes: readonly string[], no: readonly string[]): void {
  const built = rule(payload);
  for (const host of yes) assert.equal(judge(built, host), true, `GEOSITE,${payload} holds for ${host}`);
  for (const host of no) assert.equal(judge(built, host), false, `GEOSITE,${payload} does not hold for ${host}`);
}

void t.test('the types of entries', async () => {
  for (const payload of ['google', 'GOOGLE', 'Google'])
    hosts(
      payload,
      ['google.com', 'www.google.com', 'www.only.example', 'x.googleapis.net', 'ads12.google.example', 'a.adservice.example', 'cdn.google.cn'],
      ['notgoogle.com', 'only.example', 'a.www.only.example', 'ads.google.example', 'google.cn', 'a.cdn.google.cn', 'com', '8.8.8.8', '::1'],
    );
  hosts('cn', ['cn', 'a.cn', 'xn--bcher-kva.example', 'a.xn--bcher-kva.example'], ['example', 'xcn']);
  hosts('geolocation-!cn', ['abroad.example'], ['a.cn']);
  hosts('empty', [], ['google.com', 'a']);
});

void t.test('attributes: all that are named have to be there', async () => {
  hosts('google@ads', ['adservice.example', 'cdn.google.cn'], ['google.com']);
  hosts('google@ADS@cn', ['cdn.google.cn'], ['adservice.example']);
  hosts('geolocation-!cn@!cn', ['abroad.example'], ['google.com']);
});

void t.test('"!" in front: all names that are not in it; addresses never', async () => {
  hosts('!google', ['a.example', 'a.cn'], ['google.com', 'x.googleapis.net', '8.8.8.8', '::1']);
  hosts('!google@ads', ['google.com'], ['adservice.example']);
});

void t.test('the sniffed name counts', async () => {
  const session = testSession({ destination: { host: '192.0.2.1', port: 443 }, sniffed: 'www.google.com' });
  assert.equal(rule('google').match(session, new FakeFacts()), true);
});

void t.test('as text, as an object, and in other rules', async () => {
  const known = knownRules([], { folder });
  for (const built of [buildRule('GEOSITE', 'google@ads', [], {}, known), buildRule('AND', '((GEOSITE,google@ads),(NETWORK,TCP))', [], {}, known)])
    assert.equal(await built.match(testSession({ destination: { host: 'adservice.example', port: 1 } }), new FakeFacts()), true);
});

void t.test('mistakes are told with what was meant', async () => {
  const cases: readonly [payload: string, message: string][] = [
    ['gogle', `GEOSITE cannot use ${FILE}: there is no list "gogle" in it, did you mean "google"?`],
    ['entirely-different', `GEOSITE cannot use ${FILE}: there is no list "entirely-different" in it`],
    ['google@add', `GEOSITE cannot use ${FILE}: no entry of its list "google" has the attribute "add", did you mean "ads"?`],
    ['geolocation-!cn@cn', `GEOSITE cannot use ${FILE}: no entry of its list "geolocation-!cn" has the attribute "cn", did you mean "!cn"?`],
    ['empty@ads', `GEOSITE cannot use ${FILE}: no entry of its list "empty" has the attribute "ads"`],
    ...['', '!', '@ads', 'google@', 'google@@ads', 'goo gle'].map((payload): [string, string] => [
      payload,
      `"${payload}" is no list: write its code, as in GEOSITE,google, or with an attribute, as in GEOSITE,google@ads`,
    ]),
  ];
  for (const checking of [true, false])
    for (const [payload, message] of cases) assert.throws(() => rule(payload, new ConfigRuleTools({ checking, folder })), { message }, payload);
});

void t.test('where the file is looked for', async () => {
  const home = join(folder, 'home');
  mkdirSync(home);
  const built = (geodata?: string): Rule =>
    rule('google', new ConfigRuleTools({ checking: false, folder: home, ...(geodata === undefined ? {} : { geodata: { geosite: geodata } }) }));
  assert.throws(() => built(), {
    message: `GEOSITE needs v2ray's geosite.dat; there is none at ${home}/geosite.dat or ${home}/GeoSite.dat: put it there, or name it under geodata: { geosite: FILE }`,
  });
  assert.throws(() => built('other.dat'), { message: new RegExp(`^GEOSITE cannot use ${home}/other\\.dat: ENOENT`) });
  assert.throws(() => built('.'), { message: `GEOSITE cannot use ${home}: it is no file` });
  assert.equal(judge(built('../geosite.dat'), 'google.com'), true, 'relative to the config');
  writeFileSync(join(home, 'GeoSite.dat'), writeGeosite(LISTS));
  assert.equal(judge(built(), 'google.com'), true, "mihomo's spelling");
  writeFileSync(join(home, 'page.dat'), '<html>404</html>');
  assert.throws(() => built('page.dat'), { message: /page\.dat: at byte [0-9]+ stands/ });
  writeFileSync(join(home, 'nothing.dat'), '');
  assert.throws(() => built('nothing.dat'), { message: /nothing\.dat: there is no list in it$/ });
});

void t.test('one set for one list, whichever rules ask; another config reads anew', async () => {
  const home = join(folder, 'swap');
  mkdirSync(home);
  const path = join(home, 'geosite.dat');
  const written = (value: string): void => writeFileSync(path, writeGeosite({ A: [{ type: FULL, value }] }));
  written('one.example');
  const tools = new ConfigRuleTools({ checking: false, folder: home });
  const before = rule('a', tools);
  rmSync(path);
  assert.equal(judge(rule('A', tools), 'one.example'), true, 'from what was compiled');
  written('two.example');
  const after = rule('a', new ConfigRuleTools({ checking: false, folder: home }));
  assert.deepEqual([judge(before, 'one.example'), judge(before, 'two.example'), judge(after, 'two.example')], [true, false, true]);
});

void t.test('entries that cannot be used are left out, and that is told', async () => {
  const home = join(folder, 'odd');
  mkdirSync(home);
  writeFileSync(
    join(home, 'geosite.dat'),
    writeGeosite({
      ODD: [
        { type: REGEX, value: '(?=a)(a+)+$\u0007' },
        { type: 7, value: 'later.example' },
        { type: DOMAIN, value: '192.0.2.1' },
        { type: FULL, value: 'a b' },
        { type: KEYWORD, value: '' },
        { type: FULL, value: 'good.example' },
      ],
      FINE: [{ type: FULL, value: 'good.example' }],
    }),
  );
  const warnings: string[] = [];
  const tools = new ConfigRuleTools({ checking: false, folder: home, warn: (code, message) => warnings.push(`${code} ${message}`) });
  assert.equal(judge(rule('odd', tools), 'good.example'), true);
  rule('odd', tools);
  rule('fine', tools);
  assert.equal(warnings.length, 1, 'once');
  assert.match(
    warnings[0] ?? '',
    /^GEOSITE_ENTRIES .*geosite\.dat: entries of "odd" that cannot be used are left out: 5; the first is "\(\?=a\)\(a\+\)\+\$\\u0007": the reg/,
  );
  assert.doesNotMatch(warnings[0] ?? '', /\p{Cc}/u);
});

void t.test('regular expressions of a set that would take too long together are left out', async () => {
  const entries = Array.from({ length: 20 }, (_, i) => ({ type: 'regex' as const, value: `(?:[a-z0-9]?){130}${i}_$`, attributes: [] }));
  const set = new GeositeSet(entries);
  assert.equal(set.leftOut, 15);
  assert.match(set.example, /would take too long together/);
});

void t.test('a set says what its entries say, one by one', async () => {
  const label = fc.stringMatching(/^[a-c]{1,2}$/);
  const name = fc.array(label, { minLength: 1, maxLength: 3 }).map((labels) => labels.join('.'));
  const entry = fc.record({ type: fc.constantFrom<'keyword' | 'regex' | 'domain' | 'full'>('keyword', 'regex', 'domain', 'full'), value: name });
  const holds = ({ type, value }: { type: string; value: string }, host: string): boolean => {
    if (type === 'keyword') return host.includes(value);
    if (type === 'regex') return new RegExp(value).test(host);
    return host === value || (type === 'domain' && host.endsWith(`.${value}`));
  };
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 8 }), fc.array(name, { minLength: 1, maxLength: 8 }), (entries, names) => {
      const set = new GeositeSet(entries.map((each) => ({ ...each, attributes: [] })));
      assert.equal(set.leftOut, 0);
      for (const host of names)
        assert.equal(
          set.has(host),
          entries.some((each) => holds(each, host)),
          `${host} in ${JSON.stringify(entries)}`,
        );
    }),
    { numRuns: 500 },
  );
});

const entries = fc.array(
  fc.record({
    type: fc.nat(4),
    value: fc.string({ unit: 'binary', maxLength: 20 }),
    attributes: fc.array(fc.stringMatching(/^[a-z!]{1,5}$/), { maxLength: 3 }),
  }),
  { maxLength: 5 },
);
const lists = fc.dictionary(fc.stringMatching(/^[a-z][a-z0-9!-]{0,8}$/), entries, { minKeys: 1, maxKeys: 5 });

void t.test('what was written is read', async () => {
  const names = ['keyword', 'regex', 'domain', 'full'];
  fc.assert(
    fc.property(lists, (written) => {
      const file = new GeositeFile(writeGeosite(written));
      assert.deepEqual(file.codes, Object.keys(written));
      for (const [code, list] of Object.entries(written)) {
        const read = [...file.entries(code.toUpperCase())];
        const value = (text: string): string => Buffer.from(text).toString(); // what is no Unicode is replaced
        assert.deepEqual(
          read,
          list.map((each) => ({ type: names[each.type] ?? null, value: value(each.value), attributes: each.attributes })),
        );
      }
      assert.deepEqual([...file.entries('no such list')], []);
    }),
    { numRuns: 300 },
  );
});

void t.test('fields in another order, unknown fields and repeated codes', async () => {
  const entry = field(2, Buffer.concat([field(2, Buffer.from('late.example')), varint(8), varint(3), field(9, Buffer.from('new'))]));
  const unknown = Buffer.concat([
    varint(5 * 8 + 1),
    Buffer.alloc(8),
    varint(6 * 8 + 5),
    Buffer.alloc(4),
    varint(7 * 8),
    varint(2 ** 40),
    field(99, Buffer.from('x')),
  ]);
  const list = field(1, Buffer.concat([unknown, entry, field(1, Buffer.from('LATE'))]));
  const nameless = field(1, entry);
  const file = new GeositeFile(Buffer.concat([unknown, nameless, list, field(1, field(1, Buffer.from('late')))]));
  assert.deepEqual(file.codes, ['late']);
  assert.deepEqual([...file.entries('LATE')], [{ type: 'full', value: 'late.example', attributes: [] }], 'the first list of a code counts');
});

void t.test('lies about lengths', async () => {
  const bad: readonly [bytes: Buffer, message: RegExp][] = [
    [Buffer.from([0x0a, 0x05, 0x01]), /at byte 2 stands something longer than what is left/],
    [Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), /longer than what is left/],
    [Buffer.alloc(20, 0xff), /at byte 10 a number does not end/],
    [Buffer.from([0x0b]), /a kind of field that does not exist/],
    [Buffer.from([0x09, 0, 0]), /longer than what is left/],
    [Buffer.from([0x08]), /a number does not end/],
    [field(1, Buffer.concat([varint(10), varint(200), Buffer.alloc(10)])), /longer than what is left/], // beyond its own message
    [field(1, field(1, Buffer.alloc(300, 'x'))), /a word of more than 256 bytes/],
    [Buffer.concat(Array.from({ length: 65_537 }, (_, i) => field(1, field(1, Buffer.from(String(i)))))), /more than 65536 lists/],
  ];
  for (const [bytes, message] of bad) assert.throws(() => new GeositeFile(bytes), { message });
  const many = Buffer.alloc(2 * 4_000_001);
  for (let i = 0; i < many.length; i += 2) many[i] = 0x12;
  const file = new GeositeFile(field(1, Buffer.concat([field(1, Buffer.from('many')), many])));
  const count = (): number => {
    let all = 0;
    for (const _ of file.entries('many')) all++;
    return all;
  };
  assert.throws(count, { message: '"many" has more than 4000000 entries' });
  const reader = new WireReader(Buffer.alloc(0), 0, 0);
  assert.equal(reader.next(), false);
});

void t.test('damaged files: an error or an answer, nothing else', async () => {
  const use = (bytes: Buffer): void => {
    try {
      const file = new GeositeFile(bytes);
      for (const code of file.codes) {
        const set = new GeositeSet(file.entries(code));
        for (const host of ['google.com', 'a', 'x.cn', '']) set.has(host);
      }
    } catch (error) {
      assert.ok(error instanceof Error && error.constructor === Error, String(error));
      assert.match(error.message, /^(?:at byte|there is|it has|")/);
    }
  };
  const good = writeGeosite(LISTS);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 5 }), fc.nat(good.length), (edits, cut) => {
      const bytes = Buffer.from(good);
      for (const [at, byte] of edits) bytes[at] = byte;
      use(bytes);
      use(bytes.subarray(0, cut));
    }),
    { numRuns: 1_500 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => use(Buffer.from(bytes))),
    { numRuns: 1_500 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => use(field(1, Buffer.concat([field(1, Buffer.from('x')), field(2, Buffer.from(bytes))])))),
    {
      numRuns: 500,
    },
  );
});

void t.test('in a config', async () => {
  const problems = (text: string): string[] =>
    checkConfig(parseConfig(text, join(folder, 'config.yaml')), knownTypes()).problems.map((problem) => formatProblem(problem).replaceAll(`${folder}/`, ''));
  assert.deepEqual(problems('rules:\n  - GEOSITE,google@ads,REJECT\n  - { type: GEOSITE, value: CN, to: DIRECT }\n'), []);
  assert.deepEqual(problems('rules:\n  - GEOSITE,gogle,REJECT\n'), [
    'config.yaml:2:5 error: GEOSITE cannot use geosite.dat: there is no list "gogle" in it, did you mean "google"?\n    GEOSITE,gogle,REJECT',
  ]);
  assert.deepEqual(problems('geodata:\n  geosite: sites.dat\n'), ['config.yaml:2:12 error: there is no such file: sites.dat\n    geosite: sites.dat']);
  const kernel = createKernel(parseConfig('rules: ["GEOSITE,google,REJECT", "MATCH,DIRECT"]\n', join(folder, 'config.yaml')));
  const explained = await kernel.explain({ destination: { host: 'www.google.com', port: 443 } });
  assert.deepEqual([explained.rule, explained.adapter], ['GEOSITE,google,REJECT', 'REJECT']);
  assert.equal((await kernel.explain({ destination: { host: 'a.example', port: 443 } })).adapter, 'DIRECT');
  await kernel.stop();
});

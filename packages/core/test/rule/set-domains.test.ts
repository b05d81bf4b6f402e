// Sets of names against a model that compares label by label; a million of them, and what that costs.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { normaliseHost } from '../../dist/net/endpoint.js';
import { parseDomainEntry } from '../../dist/rule/set/domain-entry.js';
import { BELOW, type DomainSet, ONE_BELOW, SELF } from '../../dist/rule/set/domain-set.js';
import { DomainSetBuilder } from '../../dist/rule/set/domain-set-builder.js';

const FULL = process.env.NEKIT_FULL === '1';

function setOf(entries: readonly string[]): DomainSet {
  const builder = new DomainSetBuilder();
  for (const entry of entries) {
    const bytes = Buffer.from(`  ${entry} `);
    // Both ways in, as a list uses them.
    if (!builder.addBytes(bytes, 2, bytes.length - 1)) builder.add(entry);
  }
  return builder.build();
}

/** What Clash's documents say of an entry, said again without our tables. */
function holds(entry: string, host: string): boolean {
  const mark = entry.startsWith('+.') ? '+.' : entry.startsWith('.') ? '.' : '';
  const pattern = entry
    .slice(mark.length)
    .split('.')
    .map((label) => (label === '*' ? '*' : (normaliseHost(`${label}.x`)?.slice(0, -2) ?? '')));
  if (pattern.at(-1) === '') pattern.pop();
  const name = host.split('.');
  const extra = name.length - pattern.length;
  if (extra < 0 || (extra > 0 && mark === '') || (extra === 0 && mark === '.')) return false;
  return pattern.every((label, i) => label === '*' || label === name[i + extra]);
}

/** Few letters, so that entries and names meet; longer ones, so that more than one bucket is needed. */
const label = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('a', 'b', 'c', 'com') },
  { weight: 1, arbitrary: fc.constantFrom('a-b', '_x', '0', 'x9', 'bücher', 'пример', 'xn--bcher-kva', 'A', 'B', 'COM', 'ß', '例え') },
);
const last = fc.constantFrom('com', 'c', 'de', 'COM', 'рф', 'xn--p1ai', 'b');
const entry = fc
  .tuple(
    fc.constantFrom('', '', '+.', '.'),
    fc.array(fc.oneof({ weight: 4, arbitrary: label }, { weight: 1, arbitrary: fc.constant('*') }), { maxLength: 3 }),
    fc.oneof({ weight: 9, arbitrary: last }, { weight: 1, arbitrary: fc.constant('*') }),
    fc.constantFrom('', '', '.'),
  )
  .map(([mark, labels, end, dot]) => `${mark}${[...labels, end].join('.')}${dot}`);
const host = fc.tuple(fc.array(label, { maxLength: 4 }), last).map(([labels, end]) => normaliseHost([...labels, end].join('.')) ?? 'never');

t.test('a set of names holds what its entries say', async () => {
  let matches = 0;
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 30 }), fc.array(host, { minLength: 20, maxLength: 40 }), (entries, hosts) => {
      const set = setOf(entries);
      for (const name of hosts) {
        const expected = entries.some((text) => holds(text, name));
        if (expected) matches++;
        assert.equal(set.has(name), expected, `${name} in ${entries.join(' ')}`);
      }
    }),
    { numRuns: FULL ? 20_000 : 2_000 },
  );
  assert.ok(matches > 1_000, 'the two do meet');
});

t.test('every form, one by one', async (t) => {
  const cases: [entries: string[], yes: string[], no: string[]][] = [
    [['example.com'], ['example.com'], ['www.example.com', 'notexample.com', 'com', 'xexample.com', '']],
    [['+.example.com'], ['example.com', 'a.example.com', 'b.a.example.com'], ['notexample.com', 'com']],
    [['.example.com'], ['a.example.com', 'b.a.example.com'], ['example.com', 'notexample.com']],
    [['*.example.com'], ['a.example.com'], ['example.com', 'b.a.example.com']],
    [['*.*.example.com'], ['b.a.example.com'], ['a.example.com', 'c.b.a.example.com']],
    [['a.*.com'], ['a.b.com', 'a.com.com'], ['a.com', 'b.a.com', 'a.b.c.com', 'x.a.b.com']],
    [['+.a.*.com'], ['a.b.com', 'x.a.b.com', 'y.x.a.b.com'], ['a.com', 'b.com']],
    [['.a.*.com'], ['x.a.b.com', 'y.x.a.b.com'], ['a.b.com']],
    [['*.a.*.com'], ['x.a.b.com'], ['a.b.com', 'y.x.a.b.com']],
    [['+.*.com'], ['a.com', 'b.a.com'], ['com', 'a.net']],
    [['.*.com'], ['b.a.com', 'c.b.a.com'], ['com', 'a.com']],
    [['*'], ['localhost', 'com'], ['a.com']],
    [['+.*'], ['localhost', 'a.com', 'b.a.com'], ['']],
    [['example.*'], ['example.com', 'example.org'], ['www.example.com', 'example']],
    [['+.com'], ['com', 'a.com'], ['xcom', 'com.net']],
    [['EXAMPLE.Com.'], ['example.com'], ['example.com.', 'EXAMPLE.com']],
    [['+.Bücher.example'], ['xn--bcher-kva.example', 'a.xn--bcher-kva.example'], ['bücher.example']],
    [['bücher.*'], ['xn--bcher-kva.de'], ['bucher.de']],
    [['例え。*。jp'], ['xn--r8jz45g.a.jp'], ['xn--r8jz45g.jp']],
    [['a.com', '.a.com'], ['a.com', 'b.a.com'], ['com']],
    [['a.com', '*.a.com', 'a.com'], ['a.com', 'b.a.com'], ['c.b.a.com']],
    [[], [], ['a.com', '']],
  ];
  for (const [entries, yes, no] of cases) {
    const set = setOf(entries);
    for (const name of yes) t.equal(set.has(name), true, `${name} in ${entries.join(' ')}`);
    for (const name of no) t.equal(set.has(name), false, `${name} not in ${entries.join(' ')}`);
  }
  const deep = Array.from({ length: 60 }, (_, i) => `l${i}`).join('.');
  const long = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(61)}`;
  const set = setOf([`+.${deep}`, long]);
  t.same(
    [deep, `x.${deep}`, long, `x${deep}`, `x.${long}`].map((name) => set.has(name)),
    [true, true, true, false, false],
  );
  t.equal(set.size, 2);
  t.equal(setOf(['a.com', '+.a.com', 'A.COM', 'b.com', 'a.com.']).size, 2, 'the same name is there once');
});

t.test('forms are told apart when they are read', async (t) => {
  t.same(parseDomainEntry('*.x.com'), { name: 'x.com', flags: ONE_BELOW });
  t.same(parseDomainEntry('+.*.x.com'), { name: 'x.com', flags: BELOW });
  t.same(parseDomainEntry('.*.x.com'), { name: '*.x.com', flags: BELOW });
  t.same(parseDomainEntry('*'), { name: '*', flags: SELF });
});

t.test('what is no entry is said, and the quick way never takes what the careful one refuses', async (t) => {
  for (const [text, message] of [
    ['', /has no name in it/],
    ['+.', /has no name in it/],
    ['.', /has no name in it/],
    ['a..com', /is not a domain name$/],
    ['..com', /is not a domain name$/],
    ['1.2.3.4', /is an address/],
    ['0x7f.1', /is an address/],
    ['a.1', /is not a domain name/],
    ['2001:db8::1', /is an address/],
    ['a b.com', /one name stands on each line/],
    ['ad*.example.com', /stands for a whole label/],
    ['www.+.com', /a "\+" stands in front only/],
    ['10.0.0.0/8', /neither networks nor URLs/],
    ['https://example.com/', /is not a domain name/],
    ['DOMAIN,example.com', /it looks like a rule/],
    [`${'a'.repeat(64)}.com`, /is not a domain name/],
    ['%61.com', /is not a domain name/],
    [`${'*.'.repeat(30)}x.*.com`, /31 are allowed/],
  ] as const) {
    const builder = new DomainSetBuilder();
    t.throws(() => builder.add(text), { message }, text);
    const bytes = Buffer.from(text);
    t.equal(builder.addBytes(bytes, 0, bytes.length), false, text);
    t.equal(builder.entries, 0);
  }
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('a', 'B', '.', '1', '-', '_', '*', '+', 'x', '0', ' ', 'é'), maxLength: 10 }), (text) => {
      const [quick, careful] = [new DomainSetBuilder(), new DomainSetBuilder()];
      const bytes = Buffer.from(text);
      if (!quick.addBytes(bytes, 0, bytes.length)) return;
      careful.add(text);
      const [one, other] = [quick.build(), careful.build()];
      const own = text
        .toLowerCase()
        .replace(/^(?:\+|\*)?\./, '')
        .replace(/\.$/, '');
      for (const name of [own, `a.${own}`, `b.a.${own}`]) assert.equal(one.has(name), other.has(name), `${text} ${name}`);
    }),
    { numRuns: FULL ? 100_000 : 10_000 },
  );
  const builder = new DomainSetBuilder();
  assert.throws(() => {
    for (let stars = 1; stars < 200; stars++) builder.add(`b.${Array.from(stars.toString(2), (bit) => (bit === '1' ? '*' : 'a')).join('.')}.com`);
  }, /there may be 64 such forms in one list/);
});

t.test('builders are joined', async (t) => {
  const seed = { start: 1, factor: 0x01000193 };
  const [one, other] = [new DomainSetBuilder(seed), new DomainSetBuilder(seed)];
  for (let i = 0; i < 1_000; i++) (i % 3 === 0 ? one : other).add(`+.n${i}.com`);
  other.add('a.*.net');
  one.append(other);
  for (let i = 0; i < 50; i++) {
    const small = new DomainSetBuilder(seed);
    small.add(`s${i}.com`);
    one.append(small);
  }
  const set = one.build();
  t.equal(set.size, 1_051);
  for (const name of ['n0.com', 'x.n1.com', 'n999.com', 'a.b.net', 's49.com']) t.ok(set.has(name), name);
  t.throws(() => one.append(new DomainSetBuilder()), /different seeds/);
});

t.test('many names: all are there, no others are, and the room is bounded', async (t) => {
  const count = FULL ? 1_000_000 : 100_000;
  const builder = new DomainSetBuilder();
  const name = (i: number): string => `host${(i * 2_654_435_761) % 4_294_967_296}.example${i % 1000}.com`;
  let bytes = 0;
  for (let i = 0; i < count; i++) {
    const entry = Buffer.from(name(i));
    bytes += entry.length;
    builder.addBytes(entry, 0, entry.length);
  }
  const set = builder.build();
  t.equal(set.size, count);
  t.ok(set.byteLength < bytes + 5 * count, `${set.byteLength} bytes for ${bytes} of names`);
  for (let i = 0; i < count; i++) if (!set.has(name(i)) || set.has(`x${name(i)}`) || set.has(`x.${name(i)}`)) assert.fail(name(i));
});

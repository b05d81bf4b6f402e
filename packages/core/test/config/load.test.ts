// Text to plain data with places: merge keys, anchors, bounds, unreadable files.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { ConfigError } from '../../dist/config/config-error.js';
import { loadConfig, MAX_FILE_BYTES, parseConfig } from '../../dist/config/load.js';
import { MAX_REPEATED, MAX_VALUES } from '../../dist/config/plain.js';
import { configFromObject, isConfigSource } from '../../dist/config/source.js';
import { MAX_DEPTH } from '../../dist/config/yaml-tree.js';

function dataOf(text: string): unknown {
  const source = parseConfig(text, 'c.yaml');
  t.same(source.problems, [], 'no problems');
  return source.value;
}

function messages(text: string): string[] {
  return parseConfig(text, 'c.yaml').problems.map(({ line, column, message }) => `${line}:${column} ${message}`);
}

t.test('YAML 1.2 with anchors and merge keys', (t) => {
  t.same(dataOf('base: &b { port: 1, udp: true }\nproxies:\n  - { <<: *b, name: a }\n  - { name: b, port: 2, <<: *b }\n'), {
    base: { port: 1, udp: true },
    proxies: [
      { name: 'a', port: 1, udp: true },
      { name: 'b', port: 2, udp: true },
    ],
  });
  t.same(dataOf('a: &a { x: 1, y: 1 }\nb: &b { y: 2, z: 2 }\nc: { <<: [*a, *b, { z: 3, w: 3 }] }\nl: &l [*b]\nd: { <<: *l }\n'), {
    a: { x: 1, y: 1 },
    b: { y: 2, z: 2 },
    c: { x: 1, y: 1, z: 2, w: 3 },
    l: [{ y: 2, z: 2 }],
    d: { y: 2, z: 2 },
  });
  t.same(dataOf('a: { "<<": 1 }'), { a: { '<<': 1 } }, 'in quotes it is a key like others');
  t.same(dataOf('a: &x 1\nb: *x\nc: &x 2\nd: *x\n'), { a: 1, b: 1, c: 2, d: 2 }, 'an anchor given again holds from there');
  t.same(dataOf('a: yes\nb: 0123\nc: 0x1F\nd: null\ne: ~\nf: 1e3\ng: "0123"\nh: 2020-01-01\ni: |\n  x\n  y\n'), {
    a: 'yes',
    b: 123,
    c: 31,
    d: null,
    e: null,
    f: 1000,
    g: '0123',
    h: '2020-01-01',
    i: 'x\ny\n',
  });
  t.same(dataOf('080: 1\ntrue: 2\n~: 3\n'), { '080': 1, true: 2, '~': 3 }, 'keys are text');
  t.same(dataOf('constructor: 1\ntoString: { prototype: 2 }'), { constructor: 1, toString: { prototype: 2 } });
  t.same(dataOf('{ "a": [1, 2], "b": {} }'), { a: [1, 2], b: {} }, 'JSON');
  t.same(dataOf('\ufeffa: 1\r\nb: 2\r\n'), { a: 1, b: 2 });
  t.same(dataOf('%YAML 1.1\n---\na: yes\nb: 2020-01-01\n'), { a: 'yes', b: '2020-01-01' });
  t.end();
});

t.test('places', (t) => {
  const source = parseConfig(
    'base: &b\n  port: 0x10\n  password: hunter2\nproxies:\n  - &p\n    <<: *b\n    name: a\n  - *p\nurl: https://u:hunter2@a.example/x\ntext: |\n  one\n  two\n',
    'dir/c.yaml',
  );
  t.same(source.locate(['proxies', 0, 'name']), { file: 'dir/c.yaml', line: 7, column: 11, excerpt: 'name: a' });
  t.same(source.locate(['proxies', 0, 'name'], 'key'), { file: 'dir/c.yaml', line: 7, column: 5, excerpt: null });
  t.match(source.locate(['proxies', 0, 'port']), { line: 2, column: 9, excerpt: 'port: 0x10' }, 'through a merge key');
  t.match(source.locate(['proxies', 1, 'port']), { line: 2, column: 9 }, 'through an alias and a merge key');
  t.match(source.locate(['proxies', 1]), { line: 8, column: 5 });
  t.match(source.locate(['proxies', 0, 'nothing', 'here']), { line: 6, column: 5, excerpt: null }, 'the nearest parent');
  t.match(source.locate(['proxies', 7]), { line: 5, column: 3, excerpt: null });
  t.match(source.locate([]), { line: 1, column: 1, excerpt: null });
  t.match(source.locate(['proxies', 0, 'password']), { line: 3, column: 13, excerpt: null }, 'a secret is not shown');
  t.match(source.locate(['url']), { excerpt: 'url: https://…' });
  t.match(source.locate(['text']), { excerpt: 'text: |…' });
  t.equal(source.text(['proxies', 1, 'port']), '0x10');
  t.equal(source.text(['proxies']), null);
  t.equal(source.text(['none']), null);
  t.equal(source.value && configFromObject({}).locate([]), null);
  t.ok(isConfigSource(source));
  for (const other of [null, {}, { mode: 'rule' }, []]) t.notOk(isConfigSource(other));
  t.end();
});

t.test('one slip is one problem', (t) => {
  t.same(messages('- a\nb: 1\n'), ['2:1 this is not expected here; a dash, a colon or a bracket is missing or too much']);
  t.same(messages('a: 1\na: 2\nb: { c: 1, c: 2 }\n'), [
    '2:1 this key is there twice; the first one is in line 1',
    '3:12 this key is there twice; the first one is in line 3',
  ]);
  t.end();
});

t.test('nothing a file says makes it large or deep', (t) => {
  const started = performance.now();
  const tooLarge = new RegExp(`aliases make this too large \\(they may repeat ${MAX_REPEATED} values`);
  let laughs = 'a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n';
  for (let i = 1; i < 30; i++) laughs += `a${i}: &a${i} [${Array.from({ length: 10 }, () => `*a${i - 1}`).join(', ')}]\n`;
  t.match(messages(laughs), [tooLarge], 'a billion laughs');
  let merges = 'a0: &a0 { a: 1 }\n';
  for (let i = 1; i < 60; i++) merges += `a${i}: &a${i} { k: *a${i - 1}, <<: *a${i - 1} }\n`;
  t.match(messages(merges), [tooLarge], 'laughs by merge keys');
  const wide = `m: &m { ${Array.from({ length: 2000 }, (_, i) => `k${i}: 1`).join(', ')} }\nl:\n${'- { <<: *m }\n'.repeat(2000)}`;
  t.match(messages(wide), [tooLarge], 'a large section merged often');
  let chain = 'a0: &a0 x\n';
  for (let i = 1; i < 100; i++) chain += `a${i}: &a${i} [*a${i - 1}]\n`;
  t.match(messages(chain), [new RegExp(`aliases make this too large \\(at most ${MAX_VALUES} values and ${MAX_DEPTH} levels`)], 'a deep chain of aliases');
  for (const nest of ['[', '{ a: ', '- ', '? ', '[{'])
    t.match(messages(nest.repeat(20_000)), [new RegExp(`nested too deeply \\(at most ${MAX_DEPTH} levels\\)`)], nest);
  t.ok(performance.now() - started < 30_000);
  t.same(dataOf(`p: &p { a: 1 }\nl:\n${'- { <<: *p, b: 2 }\n'.repeat(2000)}`) instanceof Object, true, 'an honest file with 2000 aliases passes');
  t.end();
});

t.test('aliases may give a long list once, and repeat so much of it', (t) => {
  const list = (length: number): string => `x-list: &list [${'x, '.repeat(length - 1)}]\n`; // the list is a value, too
  t.same(messages(`${list(MAX_REPEATED + 1_000)}rules: *list\n`), [], 'one that is written apart from its place');
  const often = (count: number): string => `${list(1_000)}all:\n${'- *list\n'.repeat(count)}`;
  const times = MAX_REPEATED / 1_000 + 1; // the first is no repetition
  t.same(messages(often(times)), []);
  t.same(messages(often(times + 1)), [`${times + 3}:3 aliases make this too large (they may repeat ${MAX_REPEATED} values)`]);
  t.end();
});

t.test('any text is read without throwing', async (_t) => {
  const token = fc.constantFrom(
    'a',
    'b',
    ': ',
    '- ',
    '\n',
    '\n  ',
    ' ',
    '[',
    ']',
    '{',
    '}',
    ', ',
    '&x ',
    '*x',
    '<<: ',
    '"',
    "'",
    '|',
    '>',
    '!t ',
    '#',
    '? ',
    '---',
    '...',
    '%',
    '\t',
    '\u0000',
    '\ud800',
    '1',
  );
  await fc.assert(
    fc.asyncProperty(fc.array(token, { maxLength: 40 }), (tokens) => {
      const source = parseConfig(tokens.join(''), 'c.yaml');
      for (const { line, column } of source.problems)
        if (line === null || column === null || line < 1 || column < 1) throw new Error('a problem without a place');
      source.locate(['a', 0, 'b']);
      return Promise.resolve();
    }),
    { numRuns: 2000 },
  );
});

t.test('files that cannot be read', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'nekit-config-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const file = join(folder, 'c.yaml');
  const cases: [name: string, contents: Uint8Array | null, path: string, words: string][] = [
    ['none', null, join(folder, 'no.yaml'), 'the config file does not exist'],
    ['a folder', null, folder, 'the config file is a folder; name the file in it'],
    ['latin 1', Buffer.from([0x61, 0x3a, 0x20, 0xe4]), file, 'the config file is not UTF-8 text; save it as UTF-8'],
    ['UTF-16', Buffer.from('\ufeffa: 1', 'utf16le'), file, 'the config file is not UTF-8 text; save it as UTF-8'],
    ['too long', Buffer.alloc(MAX_FILE_BYTES + 1, '#'), file, 'the config file is longer than 16 MiB'],
    ['without end', null, '/dev/zero', 'the config file is longer than 16 MiB'],
  ];
  for (const [name, contents, path, words] of cases) {
    if (contents !== null) await writeFile(path, contents);
    await t.rejects(
      loadConfig(path),
      new ConfigError([{ severity: 'error', code: 'UNREADABLE', message: words, path: [], file: path, line: null, column: null, excerpt: null }]),
      name,
    );
  }
  await writeFile(file, 'port: 1\n');
  const source = await loadConfig(file);
  t.same([source.file, source.value], [file, { port: 1 }]);
});

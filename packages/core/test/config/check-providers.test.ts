// rule-providers: wrong ones to exact places and words, good ones to what the kernel gets.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { checkConfig } from '../../dist/config/check.js';
import { parseConfig } from '../../dist/config/load.js';
import { formatProblem } from '../../dist/config/report.js';
import { DEFAULT_SIZE_LIMIT } from '../../dist/config/schema.js';
import { configFromObject } from '../../dist/config/source.js';
import type { ProviderConfig } from '../../dist/provider/provider-config.js';
import { knownTypes } from './known-types.js';

const registry = knownTypes();
const folder = t.testdir({ 'there.yaml': 'payload: []\n', sub: {} });
const cache = join(folder, 'cache');
process.env.XDG_CACHE_HOME = cache; // this process is the test's own

function problemsOf(lines: string, file = join(folder, 'c.yaml')): string[] {
  const { problems } = checkConfig(parseConfig(`rule-providers:\n${lines}`, file), registry);
  return problems.map((problem) => formatProblem(problem).replaceAll(folder, '~'));
}

function good(lines: string): ReadonlyMap<string, ProviderConfig> {
  const { config, problems } = checkConfig(parseConfig(`rule-providers:\n${lines}`, join(folder, 'c.yaml')), registry);
  t.same(problems.map(formatProblem), []);
  if (config === null) throw new Error('no config');
  return config.ruleProviders;
}

const HTTP = '  a: { type: http, behavior: domain, url: "https://a.example/l.yaml"';
const EXACT: readonly [lines: string, ...problems: string[]][] = [
  ['  a: 5\n', '~/c.yaml:2:6 error: a rule-provider is a set of keys, as { type: file, behavior: domain, path: ads.yaml }\n    a: 5'],
  ['  a: { behavior: domain }\n', '~/c.yaml:2:6 error: "type" is missing'],
  ['  a: { type: ftp, behavior: domain }\n', '~/c.yaml:2:14 error: "type" must be one of "http", "file", "inline"\n    type: ftp'],
  ['  a: { type: inline, behavior: ip, payload: [] }\n', '~/c.yaml:2:32 error: "behavior" must be one of "domain", "ipcidr", "classical"\n    behavior: ip'],
  ['  a: { type: inline, behavior: domain }\n', '~/c.yaml:2:6 error: "payload" is missing'],
  ['  a: { type: file, behavior: domain, format: text }\n', '~/c.yaml:2:6 error: "path" is missing'],
  ['  a: { type: file, behavior: domain, path: gone.yaml }\n', '~/c.yaml:2:44 error: there is no such file: ~/gone.yaml\n    path: gone.yaml'],
  ['  a: { type: file, behavior: domain, path: sub }\n', '~/c.yaml:2:44 error: this is no file: ~/sub\n    path: sub'],
  ['  a: { type: http, behavior: domain, interval: 5 }\n', '~/c.yaml:2:6 error: "url" is missing'],
  ['  a: { type: http, behavior: domain, url: a.example }\n', '~/c.yaml:2:43 error: this is no URL: write https://…\n    url: a.example'],
  [
    '  a: { type: http, behavior: domain, url: "ftp://a.example/l" }\n',
    '~/c.yaml:2:43 error: lists are fetched by http and https, not by "ftp"\n    url: "ftp://…"',
  ],
  [`${HTTP}, proxy: DIREKT }\n`, '~/c.yaml:2:78 error: there is no proxy or group "DIREKT". Did you mean "DIRECT"?\n    proxy: DIREKT'],
  [`${HTTP}, intervall: 5 }\n`, '~/c.yaml:2:71 warning: "intervall" is no key of a rule-provider. Did you mean "interval"?'],
  [`${HTTP}, interval: -1 }\n`, '~/c.yaml:2:81 error: "interval" must be at least 0\n    interval: -1'],
  [`${HTTP}, payload: [] }\n`, '~/c.yaml:2:71 warning: "payload" has no meaning for a rule-provider of type http and has no effect'],
  [`${HTTP}, header: { "a b": c } }\n`, '~/c.yaml:2:81 error: this cannot be a header of a request'],
  [
    `${HTTP}, format: mrs }\n`,
    '~/c.yaml:2:79 error: mrs is a binary format of mihomo alone, which is not read here: take the list as yaml or text, from which it was made\n    format: mrs',
  ],
  [
    '  a: { type: file, behavior: classical, format: nekit, path: there.yaml }\n',
    '~/c.yaml:2:49 error: lists of the format nekit hold names (behavior domain) or networks (behavior ipcidr)\n    format: nekit',
  ],
  [
    `${HTTP}, path: ../l.yaml }\n`,
    '~/c.yaml:2:77 error: a downloaded list is kept in the folder of the config or in the cache folder (~, ~/cache/nekit-kernel), and nowhere else: leave "path" out, or name a file there\n    path: ../l.yaml',
  ],
  [
    `${HTTP}, path: .git/hooks/l.txt }\n`,
    '~/c.yaml:2:77 error: a downloaded list is not kept in hidden folders or in node_modules, where programs look for their own files\n    path: .git/hooks/l.txt',
  ],
  [
    `${HTTP}, path: plugin.js }\n`,
    '~/c.yaml:2:77 error: a downloaded list replaces the file that it is kept in, so its name must be one of a list: it ends in .yaml, .yml, .txt, .list, .json\n    path: plugin.js',
  ],
  [`${HTTP}, path: ./c.yaml }\n`, '~/c.yaml:2:77 error: this is the config itself, and a downloaded list would replace it\n    path: ./c.yaml'],
  [
    `${HTTP}, path: one.yaml }\n  b: { type: http, behavior: domain, url: "https://a.example/", path: sub/../one.yaml }\n`,
    '~/c.yaml:3:71 error: another rule-provider uses this file already (~/c.yaml:2:77)\n    path: sub/../one.yaml',
  ],
  [
    `${HTTP}, path: there.yaml }\n  b: { type: file, behavior: domain, path: there.yaml }\n`,
    '~/c.yaml:3:44 error: another rule-provider keeps its list in this file (~/c.yaml:2:77)\n    path: there.yaml',
  ],
  [
    '  a:\n    type: inline\n    behavior: domain\n    payload:\n      - +.a.example\n      - DOMAIN,b.example\n      - c.example\n      - a b\n',
    '~/c.yaml:7:9 warning: "DOMAIN,b.example" is not a domain name: it looks like a rule, which is for lists with behavior classical. It matches nothing and is left out\n    DOMAIN,b.example',
    '~/c.yaml:9:9 warning: "a b" is not a domain name: one name stands on each line. It matches nothing and is left out\n    a b',
  ],
  [
    '  a: { type: inline, behavior: ipcidr, payload: [10.0.0.0/8, a.example] }\n',
    '~/c.yaml:2:62 error: "a.example" is no network: write an address and the length of its prefix, as in 10.0.0.0/8 or 2001:db8::/32\n    a.example',
  ],
  [
    '  a: { type: inline, behavior: classical, payload: ["DOMIAN,a.example", "RULE-SET,a", "AND,((RULE-SET,a),(NETWORK,TCP))", MATCH] }\n',
    '~/c.yaml:2:53 error: unknown rule kind "DOMIAN", did you mean DOMAIN?\n    "DOMIAN,a.example"',
    '~/c.yaml:2:73 error: RULE-SET cannot stand in a list of rule-providers\n    "RULE-SET,a"',
    '~/c.yaml:2:87 error: RULE-SET cannot stand in a list of rule-providers\n    "AND,((RULE-SET,a),(NETWORK,TCP))"',
    '~/c.yaml:2:123 error: MATCH cannot stand in another rule: leave it out\n    MATCH',
  ],
  [
    '  a: { type: inline, behavior: classical, payload: ["NOT,((MODULE,./run.mjs))"] }\n',
    '~/c.yaml:2:53 error: MODULE cannot stand in a list of rule-providers\n    "NOT,((MODULE,./run.mjs))"',
  ],
  [
    '  ads: { type: inline, behavior: domain, payload: [] }\nrules: ["RULE-SET,adds,DIRECT"]\n',
    '~/c.yaml:3:9 error: there is no rule-provider "adds", did you mean "ads"?\n    "RULE-SET,adds,DIRECT"',
  ],
  ['  ads: { type: inline }\nrules: ["RULE-SET,ads,DIRECT"]\n', '~/c.yaml:2:8 error: "behavior" is missing'],
  [
    'rules: ["RULE-SET,,DIRECT"]\n',
    '~/c.yaml:2:9 error: RULE-SET needs the name of a list under rule-providers, as in RULE-SET,ads,REJECT\n    "RULE-SET,,DIRECT"',
  ],
];

t.test('what is wrong, and where', (t) => {
  for (const [lines, ...problems] of EXACT) t.same(problemsOf(lines), problems, lines);
  t.end();
});

t.test('an inline list of names does without what is no name', (t) => {
  const text = 'rule-providers:\n  a: { type: inline, behavior: domain, payload: [a.example, Mijia Cloud, "DOMAIN,b.example"] }\n';
  const { config, problems } = checkConfig(parseConfig(text, 'c.yaml'), registry);
  t.same(problems.map(formatProblem), [
    'c.yaml:2:61 warning: "Mijia Cloud" is not a domain name: one name stands on each line. It matches nothing and is left out\n    Mijia Cloud',
    'c.yaml:2:74 warning: "DOMAIN,b.example" is not a domain name: it looks like a rule, which is for lists with behavior classical. It matches nothing and is left out\n    "DOMAIN,b.example"',
  ]);
  t.match(config?.ruleProviders.get('a'), { source: { payload: ['a.example'] } });
  t.equal(checkConfig(parseConfig(text, 'c.yaml'), registry, { strict: true }).config, null);
  t.end();
});

t.test('what a kernel gets', (t) => {
  const providers = good(
    [
      '  a: { type: inline, behavior: DOMAIN, payload: [a.example, 5.example] }',
      '  b: { type: file, behavior: ipcidr, format: text, path: ./there.yaml, interval: "60", size-limit: 100 }',
      '  c: { type: http, behavior: classical, url: "https://u:p@a.example/l?token=x", proxy: out, interval: 3600, path: ./sub/c.yaml, header: { X-One: [a, b], Two: c }, size-limit: 0 }',
      `  d: { type: http, behavior: domain, format: sing-box, url: "http://a.example/", path: "${join(cache, 'nekit-kernel', 'd.json')}" }`,
      '  e: { type: http, behavior: domain, url: "http://a.example/", path: , payload: }',
      'proxies: [{ name: out, type: direct }]',
      'rules: ["RULE-SET,a,out", "RULE-SET,b,out,no-resolve", "RULE-SET,c,out,src", { type: RULE-SET, value: d, to: out, no-resolve: true }, "AND,((RULE-SET,e),(NETWORK,TCP)),out"]',
      '',
    ].join('\n'),
  );
  const common = { sizeLimit: DEFAULT_SIZE_LIMIT, interval: 0, format: 'yaml' };
  t.same(
    [...providers.values()],
    [
      { ...common, name: 'a', behavior: 'domain', source: { type: 'inline', payload: ['a.example', '5.example'] } },
      { name: 'b', behavior: 'ipcidr', format: 'text', sizeLimit: 100, interval: 60, source: { type: 'file', path: join(folder, 'there.yaml') } },
      {
        ...common,
        name: 'c',
        behavior: 'classical',
        interval: 3600,
        source: {
          type: 'http',
          url: 'https://u:p@a.example/l?token=x',
          path: join(folder, 'sub/c.yaml'),
          proxy: 'out',
          headers: { 'x-one': 'a, b', two: 'c' },
        },
      },
      {
        ...common,
        name: 'd',
        behavior: 'domain',
        format: 'sing-box',
        source: { type: 'http', url: 'http://a.example/', path: join(cache, 'nekit-kernel', 'd.json'), proxy: 'DIRECT', headers: {} },
      },
      { ...common, name: 'e', behavior: 'domain', source: { type: 'http', url: 'http://a.example/', path: null, proxy: 'DIRECT', headers: {} } },
    ],
  );
  t.end();
});

t.test('a cache folder that is a part of the config folder is still no place for programs', (t) => {
  mkdirSync(join(cache, 'nekit-kernel'), { recursive: true });
  writeFileSync(join(cache, 'nekit-kernel', 'package.json'), '{}');
  t.match(problemsOf(`${HTTP}, path: cache/nekit-kernel/package.json }\n`)[0], /must be one of a list/);
  t.end();
});

t.test('no secret is shown', (t) => {
  const shown = problemsOf(
    '  a: { type: http, behavior: x, url: "https://u:hunter22@a.example/?token=hunter22", header: { authorization: "hunter22\\n" }, hunter22: 1 }\n',
  );
  t.ok(shown.length > 1);
  for (const text of shown) if (!text.includes('is no key')) t.notMatch(text, /hunter22/);
  t.end();
});

t.test('whatever stands there, it is told and nothing is thrown', (t) => {
  const key = fc.constantFrom('type', 'behavior', 'format', 'url', 'path', 'interval', 'proxy', 'size-limit', 'header', 'payload', '__proto__');
  const word = fc.constantFrom('http', 'file', 'inline', 'domain', 'classical', 'mrs', 'DIRECT', 'https://a.example/', 'x.yaml', '..', '\0');
  const entry = fc.dictionary(key, fc.oneof(word, fc.anything({ maxDepth: 2 })));
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.oneof(entry, fc.anything({ maxDepth: 1 }))), (providers) => {
      const { config, problems } = checkConfig(configFromObject({ 'rule-providers': providers }), registry);
      return config !== null || problems.some(({ severity }) => severity === 'error');
    }),
    { numRuns: process.env.NEKIT_FULL === '1' ? 5_000 : 300 },
  );
  t.end();
});

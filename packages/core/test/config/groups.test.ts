// proxy-groups: every key of every type, what is wrong with it and where, and who is in a group in the end.
import t from 'tap';
import { fallbackType, loadBalanceType, urlTestType } from '../../dist/adapter/builtin.js';
import { checkConfig } from '../../dist/config/check.js';
import { MAX_CHAIN } from '../../dist/config/check-graph.js';
import { parseConfig } from '../../dist/config/load.js';
import { findNames } from '../../dist/config/name-filter.js';
import { formatProblem } from '../../dist/config/report.js';
import { knownTypes } from './known-types.js';

const registry = knownTypes();
for (const type of [urlTestType, fallbackType, loadBalanceType]) if (registry.groups.get(type.type) === undefined) registry.groups.add(type.type, 'core', type);
registry.groups.add('plain', 'other', {
  type: 'plain',
  group: true,
  config: {
    parse: (input: unknown) => input,
    toJSONSchema: () => ({ type: 'object', properties: { proxies: { type: 'array', items: { type: 'string' } } } }),
  },
  create() {
    throw new Error('a check makes no adapters');
  },
});

const problemsOf = (text: string): string[] => checkConfig(parseConfig(text, 'c.yaml'), registry).problems.map(formatProblem);

/** The options of one group, and that nothing is wrong. */
function optionsOf(text: string, name = 'g'): Record<string, unknown> {
  const { config, problems } = checkConfig(parseConfig(text, 'c.yaml'), registry);
  t.same(problems.map(formatProblem), [], text);
  const options = config?.groups.find((group) => group.name === name)?.options;
  if (typeof options !== 'object' || options === null) throw new Error(`no group ${name}`);
  return { ...options };
}
const membersOf = (text: string, name = 'g'): unknown => optionsOf(text, name).proxies;
const group = (keys: string, type = 'url-test'): string => `proxy-groups:\n  - { name: g, type: ${type}, ${keys} }\n`;

const PROXIES = `proxies:
  - { name: 🇭🇰 香港 01, type: direct }
  - { name: HK 02, type: socks5, server: a.example, port: 1 }
  - { name: 🇯🇵 日本 x2, type: socks5, server: a.example, port: 1 }
  - { name: jp-1.5, type: reject }
  - { name: 到期 2030, type: direct }
  - { name: 6, type: direct }
`;

t.test('every key, with its default', (t) => {
  const common = { proxies: ['DIRECT'], 'include-all': false, 'include-all-proxies': false, 'disable-udp': false };
  const health = {
    url: 'https://www.gstatic.com/generate_204',
    interval: 0,
    lazy: true,
    timeout: 5_000,
    'max-failed-times': 5,
    'expected-status': '*',
  };
  const own = { 'url-test': { tolerance: 0 }, fallback: {}, 'load-balance': { strategy: 'consistent-hashing' }, select: {} };
  for (const [type, more] of Object.entries(own)) t.same(optionsOf(group('proxies: [DIRECT]', type)), { ...common, ...health, ...more }, type);
  t.same(optionsOf(group('proxies: [DIRECT]', 'race')), { ...common, delays: [] });

  const keys =
    'proxies: [DIRECT], url: "http://a.example/x", interval: 60, lazy: no, timeout: "2000", max-failed-times: 3, expected-status: 204, disable-udp: true, ' +
    'hidden: true, icon: "https://a.example/i.png"';
  const given = { url: 'http://a.example/x', interval: 60, lazy: false, timeout: 2_000, 'max-failed-times': 3, 'expected-status': '204', 'disable-udp': true };
  for (const type of Object.keys(own)) t.match(optionsOf(group(keys, type)), given, type);
  t.match(optionsOf(group('proxies: [DIRECT], tolerance: 50')), { tolerance: 50 });
  for (const strategy of ['consistent-hashing', 'round-robin', 'sticky-sessions'])
    t.match(optionsOf(group(`proxies: [DIRECT], strategy: ${strategy}`, 'load-balance')), { strategy });
  for (const status of ['200/302/400-503', '"*"', '""', '200 / 204']) optionsOf(group(`proxies: [DIRECT], expected-status: ${status}`));
  t.same(problemsOf(group('proxies: [DIRECT], hidden: true, icon: x', 'plain')), [], 'a plugin’s group too');
  t.same(problemsOf(group('proxies: [DIRECT], hidden: true, icon: x, disable-udp: true', 'race')), []);
  t.end();
});

const WRONG: readonly [text: string, ...problems: string[]][] = [
  [
    group('proxies: [DIRECT], url: "ftp://a.example"'),
    'c.yaml:2:56 error: "url": this must be an address that begins with http:// or https://\n    url: "ftp://…"',
  ],
  [group('proxies: [DIRECT], interval: -1'), 'c.yaml:2:61 error: "interval" must be at least 0\n    interval: -1'],
  [group('proxies: [DIRECT], interval: 1.5'), 'c.yaml:2:61 error: "interval" must be a whole number\n    interval: 1.5'],
  [group('proxies: [DIRECT], lazy: perhaps'), 'c.yaml:2:57 error: "lazy" must be true or false\n    lazy: perhaps'],
  [group('proxies: [DIRECT], timeout: 5s'), 'c.yaml:2:60 error: "timeout" must be a number\n    timeout: 5s'],
  [group('proxies: [DIRECT], tolerance: 70000'), 'c.yaml:2:62 error: "tolerance" must be at most 65535\n    tolerance: 70000'],
  [group('proxies: [DIRECT], max-failed-times: no'), 'c.yaml:2:69 error: "max-failed-times" must be a number\n    max-failed-times: no'],
  [
    group('proxies: [DIRECT], expected-status: 200-'),
    'c.yaml:2:68 error: "expected-status": "200-" is no status: write them as 200/302/400-503, or * for any\n    expected-status: 200-',
  ],
  [
    group('proxies: [DIRECT], expected-status: 302/300-200'),
    'c.yaml:2:68 error: "expected-status": the range 300-200 is empty: write 200-300\n    expected-status: 302/300-200',
  ],
  [
    group('proxies: [DIRECT], strategy: random', 'load-balance'),
    'c.yaml:2:65 error: "strategy" must be one of "consistent-hashing", "round-robin", "sticky-sessions"\n    strategy: random',
  ],
  [group('proxies: [DIRECT], disable-udp: x', 'race'), 'c.yaml:2:60 error: "disable-udp" must be true or false\n    disable-udp: x'],
  [group('proxies: [DIRECT], tolerance: 5', 'select'), 'c.yaml:2:49 warning: "tolerance" is not supported in a select group and has no effect'],
  [group('proxies: [DIRECT], use: [p]'), 'c.yaml:2:51 warning: "use" is not supported in a url-test group and has no effect'],
  [group('proxies: [DIRECT], intervall: 5'), 'c.yaml:2:51 warning: "intervall" is no key of a url-test group. Did you mean "interval"?'],
  // Members
  [group('tolerance: 5'), 'c.yaml:2:5 error: "proxies" is missing: a group names its members there, or has include-all: true'],
  [group('proxies: []'), 'c.yaml:2:41 error: "proxies": a group needs at least one member'],
  [group('proxies: DIRECT'), 'c.yaml:2:41 error: "proxies" must be a list\n    proxies: DIRECT'],
  [group('proxies: [{}]'), 'c.yaml:2:42 error: "proxies[0]" must be a text'],
  [group('proxies: [DIRECT, DIREKT], include-all: true'), 'c.yaml:2:50 error: there is no proxy or group "DIREKT". Did you mean "DIRECT"?\n    DIREKT'],
  [group('include-all: true'), 'c.yaml:2:45 error: the group "g" has no members: proxies is empty\n    include-all: true'],
  [`${PROXIES}${group('include-all: true, filter: tw')}`, 'c.yaml:9:45 error: the group "g" has no members: nothing is left by filter\n    include-all: true'],
  [
    `${PROXIES}${group('include-all-proxies: true, filter: HK, exclude-type: socks5')}`,
    'c.yaml:9:53 error: the group "g" has no members: nothing is left by filter, exclude-type\n    include-all-proxies: true',
  ],
  [group('proxies: [DIRECT], exclude-filter: D'), 'c.yaml:2:41 error: the group "g" has no members: nothing is left by exclude-filter'],
  [`${PROXIES}${group('include-all: true, filter: "(a"')}`, 'c.yaml:9:59 error: "filter": "(a" is no regular expression: Unterminated group\n    filter: "(a"'],
  [
    `${PROXIES}${group('include-all: true, exclude-filter: "a`b(?i)c"')}`,
    'c.yaml:9:67 error: "exclude-filter": "b(?i)c" is no regular expression: Invalid group; flags as (?i) may stand at the beginning only\n    exclude-filter: "a`b(?i)c"',
  ],
  [group('proxies: [DIRECT], filter: D'), 'c.yaml:2:51 warning: "filter" chooses from what include-all brings, and has no effect without it'],
  [group('proxies: [DIRECT], include-all: maybe'), 'c.yaml:2:64 error: "include-all" must be true or false\n    include-all: maybe'],
  // Circles
  [
    'proxy-groups:\n  - { name: a, type: url-test, proxies: [b] }\n  - { name: b, type: fallback, proxies: [DIRECT, c] }\n  - { name: c, type: load-balance, proxies: [a] }\n',
    'c.yaml:4:46 error: these use each other in a circle: a -> b -> c -> a\n    a',
  ],
  [
    'proxies:\n  - { name: p, type: direct, dialer-proxy: all }\nproxy-groups:\n  - { name: all, type: url-test, include-all: true }\n',
    'c.yaml:4:47 error: these use each other in a circle: p -> all -> p\n    include-all: true',
  ],
  [
    'proxies:\n  - { name: p, type: direct, dialer-proxy: out }\nproxy-groups:\n  - { name: out, type: select, proxies: [in] }\n  - { name: in, type: race, include-all: true }\n',
    'c.yaml:5:42 error: these use each other in a circle: p -> out -> in -> p\n    include-all: true',
  ],
];

t.test('what is wrong is told with its place', (t) => {
  for (const [text, ...problems] of WRONG) t.same(problemsOf(text), problems, text);
  t.end();
});

t.test('a chain that is too long is told of once, at the group or the proxy that makes it so, in whatever order they stand', (t) => {
  const groups = (length: number): string[] =>
    Array.from({ length }, (_, i) => `  - { name: g${i + 1}, type: select, proxies: [DIRECT, ${i === 0 ? 'REJECT' : `g${i}`}] }`);
  const file = (lines: readonly string[]): string => ['proxy-groups:', ...lines, ''].join('\n');
  const told = `error: "g${MAX_CHAIN + 1}" begins a chain of more than ${MAX_CHAIN} proxies and groups\n    g${MAX_CHAIN}`;
  t.same(problemsOf(file(groups(MAX_CHAIN))), []);
  t.same(problemsOf(file(groups(MAX_CHAIN + 1))), [`c.yaml:66:50 ${told}`]);
  t.same(problemsOf(file(groups(5_000).reverse())), [`c.yaml:4937:50 ${told}`]);
  const hop = (i: number): string => `  - { name: p${i}, type: direct, dialer-proxy: ${i === 0 ? `g${MAX_CHAIN}` : `p${i - 1}`} }`;
  const dialled = `proxies:\n${[2, 1, 0].map(hop).join('\n')}\n${file(groups(MAX_CHAIN))}`;
  t.same(problemsOf(dialled), [`c.yaml:4:45 error: "p0" begins a chain of more than ${MAX_CHAIN} proxies and groups\n    dialer-proxy: g${MAX_CHAIN}`]);
  t.end();
});

t.test('include-all: all of proxies in order, behind those that are named', (t) => {
  const all = ['🇭🇰 香港 01', 'HK 02', '🇯🇵 日本 x2', 'jp-1.5', '到期 2030', '6'];
  const members = (keys: string, type?: string): unknown => membersOf(PROXIES + group(keys, type));
  for (const type of ['select', 'url-test', 'fallback', 'load-balance', 'race']) t.same(members('include-all: true', type), all, type);
  t.same(members('include-all-proxies: yes'), all);
  t.same(members('include-all: false, proxies: [DIRECT]'), ['DIRECT']);
  t.same(members('include-all: true, proxies: [jp-1.5, DIRECT]'), ['jp-1.5', 'DIRECT', ...all.filter((name) => name !== 'jp-1.5')], 'none twice');
  t.same(members('include-all: true, filter: HK'), ['HK 02'], 'case counts');
  t.same(members('include-all: true, filter: (?i)hk|Jp'), ['HK 02', 'jp-1.5']);
  t.same(members('include-all: true, filter: "日本`香港"'), ['🇭🇰 香港 01', '🇯🇵 日本 x2'], 'in the order of the file');
  t.same(members('include-all: true, filter: "^[🇭🇯]"'), ['🇭🇰 香港 01', '🇯🇵 日本 x2']);
  t.same(members('include-all: true, filter: "^.. 香"'), ['🇭🇰 香港 01'], 'by code points: a flag is two of them');
  t.same(members("include-all: true, filter: '^(?!.*(到期|剩余)).*$'"), ['🇭🇰 香港 01', 'HK 02', '🇯🇵 日本 x2', 'jp-1.5', '6']);
  t.same(members("include-all: true, filter: '(?=.*(日|jp))^((?!(x2|x3)).)*$'"), ['jp-1.5']);
  t.same(members("include-all: true, filter: 'jp\\-1'"), ['jp-1.5'], 'an escape that Unicode mode refuses');
  t.same(members('include-all: true, filter: DIRECT, proxies: [DIRECT]'), ['DIRECT'], 'a filter does not touch what is named');
  t.same(members('include-all: true, exclude-filter: "x[0-9]`到期|香港"'), ['HK 02', 'jp-1.5', '6']);
  t.same(members('proxies: [DIRECT, HK 02], exclude-filter: HK'), ['DIRECT'], 'exclusion does');
  t.same(members('include-all: true, exclude-type: Direct|REJECT'), ['HK 02', '🇯🇵 日本 x2']);
  t.same(members('include-all: true, proxies: [REJECT, REJECT-DROP], exclude-type: "socks5 | RejectDrop | reject"'), ['🇭🇰 香港 01', '到期 2030', '6']);
  t.same(members('include-all: true, filter: "^6$"'), ['6'], 'a name that looks like a number');
  const nested =
    'proxy-groups:\n  - { name: g, type: select, proxies: [u, f, DIRECT], exclude-type: URLTest }\n  - { name: u, type: url-test, proxies: [f] }\n';
  t.same(membersOf(`${nested}  - { name: f, type: fallback, proxies: [DIRECT] }\n`), ['f', 'DIRECT'], 'the types of groups, in the words of mihomo’s API');
  t.end();
});

t.test('a node of a type that we have not is a member as well', (t) => {
  const { config, problems } = checkConfig(parseConfig(`proxies: [{ name: v, type: vmess }]\n${group('include-all: true')}`, 'c.yaml'), registry);
  t.match(problems, [{ code: 'UNKNOWN_TYPE' }]);
  t.match(config?.groups[0]?.options, { proxies: ['v'] });
  t.end();
});

t.test('a filter that would take for ever is refused after half a second', (t) => {
  const begin = performance.now();
  t.throws(() => findNames('^(a+)+$', [`${'a'.repeat(60)}b`]), /takes longer than 500 ms for 1 names: write it without loops in loops/);
  t.ok(performance.now() - begin < 5_000);
  t.throws(() => findNames('a'.repeat(4_001), []), /4001 characters are too many/);
  const names = Array.from({ length: 2_000 }, (_, index) => `🇭🇰 香港 ${index} ${'x'.repeat(100)}`);
  t.equal(findNames('香港 1`(?i)Y', names).size, 1_111, 'honest ones are quick');
  t.end();
});

// Bad files to exact places and words; good files to a typed config.
import fc from 'fast-check';
import t from 'tap';
import { checkConfig } from '../../dist/config/check.js';
import { ConfigError, isConfigError } from '../../dist/config/config-error.js';
import { defineConfig } from '../../dist/config/define-config.js';
import { SHOWN_KEYS } from '../../dist/config/known-keys.js';
import { parseConfig } from '../../dist/config/load.js';
import { formatProblem } from '../../dist/config/report.js';
import { TIMEOUT_NAMES, TOP, timeoutKey } from '../../dist/config/schema.js';
import { configFromObject, withOverrides } from '../../dist/config/source.js';
import type { KernelConfig } from '../../dist/config/types.js';
import { DEFAULT_TIMEOUTS } from '../../dist/net/timeouts.js';
import { knownTypes } from './known-types.js';

const registry = knownTypes();

function problemsOf(text: string, strict = false): string[] {
  return checkConfig(parseConfig(text, 'c.yaml'), registry, { strict }).problems.map(formatProblem);
}

/** A file without errors. */
function good(text: string): KernelConfig {
  const { config, problems } = checkConfig(parseConfig(text, 'c.yaml'), registry);
  t.same(problems.map(formatProblem), [], `no problems in ${JSON.stringify(text).slice(0, 60)}`);
  if (config === null) throw new Error('no config');
  return config;
}

const EXACT: readonly [text: string, ...problems: string[]][] = [
  // Text that is no YAML
  ['a: 1\n\tmode: rule\n', 'c.yaml:2:1 error: a tab is used for indentation; YAML wants spaces\n    mode: …'],
  ['port: 1\nmode: rule\nport: 2\n', 'c.yaml:3:1 error: this key is there twice; the first one is in line 1\n    port: …'],
  ['rules: [MATCH,DIRECT\n', 'c.yaml:2:1 error: the indentation does not fit the lines above, or a bracket is not closed'],
  ['password: "abc\n', 'c.yaml:2:1 error: something is missing here: a closing quote, bracket or brace, a comma, a colon or the space behind it'],
  ['mode: *none\n', 'c.yaml:1:7 error: no anchor (&name) of that name stands above; put the value in quotes if it starts with "*"\n    mode: …'],
  ['mode: !!js/function "x"\n', 'c.yaml:1:7 error: tags (!…) are not supported; put the value in quotes if it starts with "!"\n    mode: …'],
  ['mode: &m [*m]\n', 'c.yaml:1:11 error: this alias stands inside of its own anchor\n    mode: …'],
  ['__proto__: { mode: global }\n', 'c.yaml:1:1 error: this key is not allowed'],
  ['mode: rule\n---\nmode: global\n', 'c.yaml:2:1 error: a second document starts here; put everything into one'],
  ['mode: @rule\n', 'c.yaml:1:7 error: a value that starts with this character must be put in quotes\n    mode: …'],
  ['hosts: { <<: 5 }\n', 'c.yaml:1:14 error: "<<" merges the keys of another section: give it an alias (*name), or a list of them\n    hosts: …'],
  // The top level
  ['- a\n', 'c.yaml:1:1 error: a config is a set of keys, one a line, as "mixed-port: 7890"'],
  ['just a text\n', 'c.yaml:1:1 error: a config is a set of keys, one a line, as "mixed-port: 7890"'],
  ['mixed-prot: 1\n', 'c.yaml:1:1 warning: "mixed-prot" is no key that we know, and has no effect. Did you mean "mixed-port"?'],
  ['quite-another: 1\n', 'c.yaml:1:1 warning: "quite-another" is no key that we know, and has no effect.'],
  ['dns:\n  enable: true\n', 'c.yaml:1:1 warning: "dns" has no effect: it comes with a plugin: npm install @nekit/stack-dns, and add "dns" to plugins'],
  [
    'sniffer: { enable: true, sniff: { TSL: {} } }\n',
    'c.yaml:1:40 error: "TSL" is no protocol that shows a name: there are TLS, HTTP, QUIC. Did you mean "TLS"?',
  ],
  ['sniffer: { enable: true }\n', 'c.yaml:1:1 warning: nothing is looked at: name it under sniff, as { TLS: { ports: [443] }, HTTP: { ports: [80] } }'],
  [
    'sniffer: { sniff: { TLS: { ports: [443, 90-80, ssl] } } }\n',
    'c.yaml:1:41 error: "90-80" is an empty range: write the lower port first, ports: 80-90\n    90-80',
    'c.yaml:1:48 error: "ssl" is neither a port (0 to 65535) nor a range of ports, as in ports: [443, 8443-8450]\n    ssl',
  ],
  [
    'sniffer:\n  force-domain: ["a b"]\n  skip-dst-address: [10.0.0.0/33, "rule-set:x"]\n  skip-src-adress: []\n',
    'c.yaml:2:18 error: "a b" is not a domain name: one name stands on each line\n    "a b"',
    'c.yaml:3:22 error: "10.0.0.0/33" has a prefix of 33 bits: an IPv4 network has 0 to 32, as in 10.0.0.0/32\n    10.0.0.0/33',
    'c.yaml:3:35 error: there is no rule-provider "x": name it under rule-providers\n    "rule-set:x"',
    'c.yaml:4:3 warning: "skip-src-adress" is no key of sniffer. Did you mean "skip-src-address"?',
  ],
  ['port: 70000\n', 'c.yaml:1:7 error: "port" must be at most 65535\n    port: 70000'],
  ['allow-lan: perhaps\n', 'c.yaml:1:12 error: "allow-lan" must be true or false\n    allow-lan: perhaps'],
  ['log-level: warn\n', 'c.yaml:1:12 error: "log-level" must be one of "silent", "error", "warning", "info", "debug"\n    log-level: warn'],
  ['mode: ruel\n', 'c.yaml:1:7 error: "mode" must be one of "rule", "global", "direct"\n    mode: ruel'],
  [
    'mode: global\n',
    'c.yaml:1:7 warning: mode global sends everything through GLOBAL, which is DIRECT until another adapter is chosen; a group named GLOBAL decides it here\n    mode: global',
  ],
  [
    'sub-rules: { first: ["MATCH,DIRECT"] }\nrules: ["SUB-RULE,(NETWORK,TCP),frist"]\n',
    'c.yaml:2:9 error: there is no list in sub-rules named "frist". Did you mean "first"?\n    "SUB-RULE,(NETWORK,TCP),frist"',
  ],
  [
    'rules: ["SUB-RULE,NETWORK,one"]\nsub-rules: { one: [] }\n',
    'c.yaml:1:9 error: SUB-RULE needs one rule in parentheses and the name of a list, as in SUB-RULE,(NETWORK,TCP),name\n    "SUB-RULE,NETWORK,one"',
  ],
  [
    'sub-rules:\n  a: ["SUB-RULE,(NETWORK,TCP),b"]\n  b:\n    - SUB-RULE,(NETWORK,UDP),a\n    - DOMAIN,x,DIREKT\n',
    'c.yaml:4:7 error: these sub-rules use each other in a circle: a -> b -> a\n    SUB-RULE,(NETWORK,UDP),a',
    'c.yaml:5:7 error: there is no proxy or group "DIREKT". Did you mean "DIRECT"?\n    DOMAIN,x,DIREKT',
  ],
  [
    `sub-rules:\n${Array.from({ length: 17 }, (_, i) => `  l${i}: ["SUB-RULE,(NETWORK,TCP),l${i + 1}"]\n`).join('')}  l17: []\n`,
    'c.yaml:17:9 error: sub-rules lead to each other more than 16 deep\n    "SUB-RULE,(NETWORK,TCP),l16"',
  ],
  ['rules: MATCH\n', 'c.yaml:1:8 error: "rules" must be a list\n    rules: MATCH'],
  [
    'timeouts: { connect: 0, halfClose: 5 }\n',
    'c.yaml:1:22 error: "connect" must be at least 1\n    connect: 0',
    'c.yaml:1:25 warning: "halfClose" is no key of timeouts. Did you mean "half-close"?',
  ],
  ['max-connections: 0\n', 'c.yaml:1:18 error: "max-connections" must be at least 1\n    max-connections: 0'],
  // Listeners
  [
    'bind-address: nowhere\n',
    'c.yaml:1:15 error: "nowhere" is no address to listen on; write an IP address of this machine, or "*" for all\n    bind-address: nowhere',
  ],
  ['authentication: [nobody]\n', 'c.yaml:1:18 error: write "user:password"'],
  ['lan-allowed-ips:\n  - 10.0.0.0/33\n', 'c.yaml:2:5 error: "10.0.0.0/33" is no network; write 192.168.0.0/16 or fd00::/8\n    10.0.0.0/33'],
  [
    'listeners: [{ name: a, type: soks, port: 1 }]\n',
    'c.yaml:1:30 error: there is no listener type "soks". Did you mean "socks"? Known types: mixed, http, socks, pipe\n    type: soks',
  ],
  [
    'listeners: [{ name: a, type: shadowsocks, port: 1 }]\n',
    'c.yaml:1:30 error: there is no listener type "shadowsocks": it comes with a plugin: npm install @nekit/adapter-shadowsocks, and add "ss" to plugins. Known types: mixed, http, socks, pipe\n    type: shadowsocks',
  ],
  ['listeners: [{ type: http }]\n', 'c.yaml:1:13 error: "name" is missing', 'c.yaml:1:13 error: "port" is missing'],
  ['listeners: [{ name: a, type: http, port: 1, lisen: 1 }]\n', 'c.yaml:1:45 warning: "lisen" is no key of a listener. Did you mean "listen"?'],
  ['listeners: [{ name: a, type: http, port: 1, users: [{ username: u }] }]\n', 'c.yaml:1:53 error: "password" is missing'],
  ['listeners: [{ name: a, type: pipe }]\n', 'c.yaml:1:13 error: "path" is missing'],
  [
    'listeners:\n  - { name: a, type: http, port: 0 }\n  - { name: a, type: http, port: 0 }\n',
    'c.yaml:3:5 error: the listener name "a" is given twice: c.yaml:2:5 and c.yaml:3:5',
  ],
  ['mixed-port: 7\nport: 7\n', 'c.yaml:1:13 error: 127.0.0.1:7 is taken by the listener DEFAULT-HTTP already (c.yaml:2:7)\n    mixed-port: 7'],
  // Proxies and groups
  ['proxies: [5]\n', 'c.yaml:1:11 error: an entry is a set of keys, as { name: home, type: socks5, server: 192.0.2.1, port: 1080 }\n    5'],
  ['proxies:\n  - type: direct\n', 'c.yaml:2:5 error: "name" is missing'],
  [
    'proxies:\n  - { name: h, type: socks5, server: a.example, prot: 1 }\n',
    'c.yaml:2:5 error: "port" is missing',
    'c.yaml:2:49 warning: "prot" is no key of a socks5 proxy. Did you mean "port"?',
  ],
  [
    'proxies:\n  - { name: h, type: socks5, server: a.example, port: 1, tuning: { windw: 1 } }\n',
    'c.yaml:2:68 warning: "windw" is no key of a socks5 proxy. Did you mean "window"?',
  ],
  [
    'proxies: [{ name: h, type: socks5, server: a.example, port: 1, smux: {} }]\n',
    'c.yaml:1:64 warning: "smux" is not supported in a socks5 proxy and has no effect',
  ],
  ['proxies: [{ name: h, type: socks5, server: a, port: 1, alpn: {} }]\n', 'c.yaml:1:62 error: "alpn" must be a text or a list'],
  [
    'proxies: [{ name: h, type: socks5, server: a, port: x, chain: [{ hop: 1 }, {}] }]\n',
    'c.yaml:1:53 error: "port" must be a number\n    port: x',
    'c.yaml:1:76 error: "hop" is missing',
  ],
  [
    'proxies: [{ name: v, type: vmess, server: a }]\n',
    'c.yaml:1:28 warning: type "vmess" is not supported. It stays listed, and connections to it fail. Known types: direct, handmade, reject, reject-drop, socks5, speechless\n    type: vmess',
  ],
  [
    'proxies: [{ name: v, type: ss, server: a }]\n',
    'c.yaml:1:28 warning: type "ss" is not supported: it comes with a plugin: npm install @nekit/adapter-shadowsocks, and add "ss" to plugins. It stays listed, and connections to it fail. Known types: direct, handmade, reject, reject-drop, socks5, speechless\n    type: ss',
  ],
  [
    'proxies: [{ name: v, type: select, proxies: [DIRECT] }]\n',
    'c.yaml:1:28 warning: type "select" is not supported: it belongs into proxy-groups. It stays listed, and connections to it fail. Known types: direct, handmade, reject, reject-drop, socks5, speechless\n    type: select',
  ],
  [
    'proxies: [{ name: v, type: speechless, any: 1 }]\n',
    'c.yaml:1:28 warning: the plugin of type "speechless" cannot describe its keys, so they are not checked for slips: transforms cannot be told\n    type: speechless',
  ],
  [
    'proxies:\n  - { name: h, type: direct }\nproxy-groups:\n  - { name: h, type: select, proxies: [DIRECT] }\n',
    'c.yaml:4:13 error: the name "h" is given twice: c.yaml:2:13 and c.yaml:4:13\n    name: h',
  ],
  ['proxies: [{ name: REJECT, type: direct }]\n', 'c.yaml:1:19 error: "REJECT" is the name of a built-in adapter; choose another one\n    name: REJECT'],
  ['proxies: [{ name: GLOBAL, type: direct }]\n', 'c.yaml:1:19 error: "GLOBAL" is the name of a built-in adapter; choose another one\n    name: GLOBAL'],
  ['proxy-groups: [{ name: g, type: select, proxies: [] }]\n', 'c.yaml:1:50 error: "proxies": a group needs at least one member'],
  [
    'proxy-groups: [{ name: g, type: select, proxies: [DIREKT] }]\n',
    'c.yaml:1:51 error: there is no proxy or group "DIREKT". Did you mean "DIRECT"?\n    DIREKT',
  ],
  ['proxy-groups: [{ name: g, type: select, proxies: [GLOBAL] }]\n', 'c.yaml:1:51 error: "g" names GLOBAL, which holds "g": GLOBAL -> g -> GLOBAL\n    GLOBAL'],
  ['proxies: [{ name: h, type: direct, dialer-proxy: away }]\n', 'c.yaml:1:50 error: there is no proxy or group "away".\n    dialer-proxy: away'],
  [
    'proxies:\n  - { name: c, type: direct, dialer-proxy: a }\nproxy-groups:\n  - { name: a, type: select, proxies: [DIRECT, b] }\n  - { name: b, type: race, proxies: [c] }\n',
    'c.yaml:5:38 error: these use each other in a circle: c -> a -> b -> c\n    c',
  ],
  ['proxies: [{ name: h, type: direct, dialer-proxy: h }]\n', 'c.yaml:1:50 error: these use each other in a circle: h -> h\n    dialer-proxy: h'],
  [
    'proxy-groups: [{ name: g, type: url-test, proxies: [DIRECT], url: "http://a.example/" }]\n',
    'c.yaml:1:33 warning: type "url-test" is not supported. It stays listed, and connections to it fail. Known types: race, select\n    type: url-test',
  ],
  // Rules
  [
    'rules: [5]\n',
    'c.yaml:1:9 error: a rule is a text, as DOMAIN-SUFFIX,example.com,DIRECT, or an object, as { type: DOMAIN-SUFFIX, value: example.com, to: DIRECT }\n    5',
  ],
  [
    'rules:\n  - DOMAIN-SUFIX,a.example,DIRECT\n',
    'c.yaml:2:5 error: there is no rule kind "DOMAIN-SUFIX". Did you mean "DOMAIN-SUFFIX"?\n    DOMAIN-SUFIX,a.example,DIRECT',
  ],
  ['rules:\n  - DOMAIN,a.example,home\n', 'c.yaml:2:5 error: there is no proxy or group "home".\n    DOMAIN,a.example,home'],
  ['rules:\n  - DOMAIN,a.example,DIRETC\n', 'c.yaml:2:5 error: there is no proxy or group "DIRETC". Did you mean "DIRECT"?\n    DOMAIN,a.example,DIRETC'],
  ['rules:\n  - { type: DAY, value: mondy, to: DIRECT }\n', 'c.yaml:2:5 error: "mondy" is no day'],
  ['rules:\n  - { type: DAY, value: monday }\n', 'c.yaml:2:5 error: "to" is missing'],
  [
    'rules:\n  - { type: DOMAIN, value: a.example, to: DIRECT, no-reslove: true }\n',
    'c.yaml:2:51 warning: "no-reslove" is no key of a DOMAIN rule. Did you mean "no-resolve"?',
  ],
  [
    'rules:\n  - GEOIP,CN,DIRECT\n',
    'c.yaml:2:5 error: there is no rule kind GEOIP: it comes with a plugin: npm install @nekit/rule-geoip, and add "geoip" to plugins\n    GEOIP,CN,DIRECT',
  ],
  ['rules:\n  - RULE-SET,ads,REJECT\n', 'c.yaml:2:5 error: there is no rule-provider "ads": name it under rule-providers\n    RULE-SET,ads,REJECT'],
  [
    'rules:\n  - MATCH,DIRECT\n  - DST-PORT,80,DIRECT\n',
    'c.yaml:3:5 warning: nothing comes this far: the MATCH before (c.yaml:2:5) takes everything\n    DST-PORT,80,DIRECT',
  ],
  // Hosts
  ['hosts: { "*.example": 192.0.2.1, +.b.example: [192.0.2.2] }\n'],
  ['hosts: { "a*.example": 192.0.2.1 }\n', 'c.yaml:1:10 error: "a*.example" is no pattern of names: write *.example.com, .example.com or +.example.com'],
  ['hosts: { a.example: [192.0.2.1, b.example] }\n', 'c.yaml:1:33 error: "b.example" is no IP address; a list in hosts holds addresses only\n    b.example'],
  ['hosts: { 192.0.2.1: 192.0.2.2 }\n', 'c.yaml:1:10 error: "192.0.2.1" is no domain name'],
  [
    'hosts: { a.example: b.example, b.example: a.example }\n',
    'c.yaml:1:21 error: these names lead in a circle: a.example -> b.example -> a.example\n    a.example: b.example',
  ],
  ['hosts: { a.example: 192.0.2.1, A.example.: 192.0.2.2 }\n', 'c.yaml:1:32 error: "A.example." is there twice, in another spelling'],
];

t.test('bad files are told with file, line, column and advice', (t) => {
  for (const [text, ...problems] of EXACT) t.same(problemsOf(text), problems, JSON.stringify(text).slice(0, 70));
  t.end();
});

t.test('rules of the engine are told with their place', (t) => {
  for (const [rule, words] of [
    ['IP-CIDR,10.0.0.0/99,DIRECT', /10\.0\.0\.0\/99/],
    ['MATCH', /no target/],
    ['DST-PORT,70000,DIRECT', /70000/],
    ['DOMAIN,a.example,DIRECT,no-reslove', /no-resolve/],
    ['AND,((DOMAIN,a.example),(NETWRK,UDP)),DIRECT', /NETWORK/],
    ['DOMAIN-REGEX,(,DIRECT', /./],
  ] as const) {
    const [problem, ...more] = problemsOf(`rules:\n  - ${JSON.stringify(rule)}\n`);
    t.match(problem, words, rule);
    t.ok(problem?.startsWith('c.yaml:2:5 error: '), rule);
    t.same(more, [], rule);
  }
  t.end();
});

t.test('all problems are told at once, in the order of the file', (t) => {
  const problems = problemsOf('rules:\n  - MATCH,x\n  - MATCH\nproxies:\n  - { name: a, type: socks5 }\nport: x\nmode: y\nfoo: 1\n');
  t.same(
    problems.map((problem) => problem.split(' ', 1)[0]),
    ['c.yaml:2:5', 'c.yaml:3:5', 'c.yaml:5:5', 'c.yaml:5:5', 'c.yaml:6:7', 'c.yaml:7:7', 'c.yaml:8:1'],
  );
  t.end();
});

t.test('strict: warnings are errors', (t) => {
  const source = parseConfig('mixed-port: 0\nalow-lan: true\n', 'c.yaml');
  t.not(checkConfig(source, registry).config, null);
  const { config, problems } = checkConfig(source, registry, { strict: true });
  t.equal(config, null);
  t.match(problems, [{ severity: 'error', code: 'UNKNOWN_KEY', line: 2, column: 1, path: ['alow-lan'] }]);
  t.end();
});

t.test('an empty file is a config with all defaults, and nothing listens', (t) => {
  for (const text of ['', '\ufeff', '# nothing\n', '{}', 'rules:\nproxies:\nproxy-groups:\nlisteners:\nhosts:\n']) {
    t.same(good(text), {
      folder: process.cwd(),
      plugins: [],
      mode: 'rule',
      logLevel: 'info',
      ipv6: true,
      outbound: {},
      listeners: [],
      proxies: [],
      groups: [],
      rules: [],
      subRules: new Map(),
      ruleProviders: new Map(),
      geodata: { country: null, asn: null, geosite: null },
      sniffer: null,
      sections: new Map(),
      hosts: new Map(),
      maxConnections: 10_000,
      timeouts: DEFAULT_TIMEOUTS,
    });
  }
  t.end();
});

t.test("Clash's sniffer, as it is written and in its older form", (t) => {
  const { sniffer } = good(`
sniffer:
  enable: true
  force-dns-mapping: true
  parse-pure-ip: true
  override-destination: false
  sniff:
    HTTP: { ports: [80, 8080-8880], override-destination: true }
    tls: { ports: ["443", 8443] }
    QUIC:
  force-domain: ["+.v2ex.com"]
  skip-domain: ["+.push.apple.com"]
  skip-src-address: [192.168.0.3/32]
  skip-dst-address: [192.168.0.3/32, "2001:db8::/32"]
`);
  t.same(sniffer, {
    protocols: [
      {
        protocol: 'HTTP',
        ports: [
          [80, 80],
          [8080, 8880],
        ],
        overrideDestination: true,
      },
      {
        protocol: 'TLS',
        ports: [
          [443, 443],
          [8443, 8443],
        ],
        overrideDestination: false,
      },
      { protocol: 'QUIC', ports: [[443, 443]], overrideDestination: false },
    ],
    forceDomain: ['+.v2ex.com'],
    skipDomain: ['+.push.apple.com'],
    skipSource: ['192.168.0.3/32'],
    skipDestination: ['192.168.0.3/32', '2001:db8::/32'],
    parsePureIp: true,
    forceDnsMapping: true,
  });
  const older = good(
    'sniffer: { enable: true, sniffing: [tls, http], port-whitelist: ["80", 443, 8000-9999], override-destination: true, parse-pure-ip: no }',
  ).sniffer;
  const ports = [
    [80, 80],
    [443, 443],
    [8000, 9999],
  ];
  t.same(older?.protocols, [
    { protocol: 'TLS', ports, overrideDestination: true },
    { protocol: 'HTTP', ports, overrideDestination: true },
  ]);
  t.equal(older?.parsePureIp, false);
  t.equal(good('sniffer: { sniff: { TLS: {} } }').sniffer, null, 'off unless it is on');
  t.equal(good('sniffer:\n').sniffer, null);
  t.end();
});

t.test("Clash's listener keys keep their meaning", (t) => {
  const listeners = (text: string): string[] => good(text).listeners.map(({ name, type, host, port }) => `${name} ${type} ${host} ${port}`);
  t.same(listeners('port: 1\nsocks-port: 2\nmixed-port: 3\n'), [
    'DEFAULT-HTTP http 127.0.0.1 1',
    'DEFAULT-SOCKS socks 127.0.0.1 2',
    'DEFAULT-MIXED mixed 127.0.0.1 3',
  ]);
  t.same(listeners('port: 0\nsocks-port: 0\nmixed-port: 0\n'), [], '0 is off');
  t.same(listeners('port: 1\nbind-address: 192.0.2.1\n'), ['DEFAULT-HTTP http 127.0.0.1 1'], 'bind-address is for allow-lan');
  t.same(listeners('port: 1\nallow-lan: true\nbind-address: 192.0.2.1\n'), ['DEFAULT-HTTP http 192.0.2.1 1']);
  t.same(listeners('port: 1\nallow-lan: true\n'), ['DEFAULT-HTTP http :: 1']);
  t.same(listeners('port: 1\nallow-lan: true\nipv6: false\n'), ['DEFAULT-HTTP http 0.0.0.0 1']);
  t.same(listeners('port: 1\nallow-lan: true\nbind-address: "[::1]"\n'), ['DEFAULT-HTTP http ::1 1']);
  t.same(listeners('allow-lan: true\nlisteners: [{ name: a, type: mixed, port: 0 }, { name: b, type: socks, port: 5, listen: "*" }]\n'), [
    'a mixed 127.0.0.1 0',
    'b socks :: 5',
  ]);
  const { listeners: own } = good(
    'authentication: ["a:b:c"]\nskip-auth-prefixes: [127.0.0.1/8, "::1/128"]\nlan-allowed-ips: [10.0.0.0/8]\nlan-disallowed-ips: [10.1.0.1]\nport: 1\nlisteners:\n' +
      '  - { name: a, type: http, port: 0 }\n  - { name: b, type: http, port: 0, users: [{ username: u, password: 0123 }] }\n  - { name: c, type: http, port: 0, users: [] }\n',
  );
  t.same(
    own.map(({ users }) => users),
    [[{ username: 'a', password: 'b:c' }], [{ username: 'a', password: 'b:c' }], [{ username: 'u', password: '0123' }], null],
  );
  for (const listener of own) t.match(listener, { skipAuthPrefixes: ['127.0.0.1/8', '::1/128'], allowedIps: ['10.0.0.0/8'], disallowedIps: ['10.1.0.1/32'] });
  t.match(good('listeners: [{ name: p, type: pipe, path: /run/p }]').listeners, [
    { name: 'p', type: 'pipe', options: { name: 'p', path: '/run/p' }, where: 'c.yaml:1:13' },
  ]);
  t.end();
});

t.test('the other keys of core', (t) => {
  const config = good(
    '$schema: ./s.json\nplugins: [http, ./mine]\nmode: Direct\nlog-level: DEBUG\nipv6: no\nmax-connections: 5\ntimeouts: { first-byte: 7, half-close: 8 }\nx-anchors: { a: 1 }\n.parked: 1\n' +
      'hosts: { Router.LAN: 192.0.2.1, both: ["::1", 0x7f.1], alias: router.lan }\n',
  );
  t.match(config, {
    plugins: ['http', './mine'],
    mode: 'direct',
    logLevel: 'debug',
    ipv6: false,
    maxConnections: 5,
    timeouts: { ...DEFAULT_TIMEOUTS, firstByte: 7, halfClose: 8 },
  });
  t.same(
    ['router.lan', 'both', 'alias'].map((name) => config.hosts.get(name)),
    [['192.0.2.1'], ['::1', '127.0.0.1'], ['router.lan']],
  );
  t.same(TIMEOUT_NAMES.map(timeoutKey), [
    'connect',
    'handshake',
    'resolve',
    'sniff',
    'first-byte',
    'idle',
    'half-close',
    'udp-idle',
    'http-pool',
    'http-keep-alive',
    'plugin',
    'drain',
  ]);
  for (const key of Object.keys(TOP.shape)) t.ok(SHOWN_KEYS.has(key) || key === '$schema', `${key} may be shown where the YAML is broken`);
  t.end();
});

t.test('weak typing at the edge, by the schema of whoever owns the key', (t) => {
  const config = good(
    'mixed-port: "7890"\nallow-lan: "off"\nipv6: Yes\nproxies:\n  - name: 5\n    type: socks5\n    server: 192.0.2.1\n    port: "443"\n    username: 0x1F\n    password: 0123\n' +
      '    tls: on\n    udp: "1"\n    alpn: [2, h2]\n    headers: { X-Count: 1.0 }\n    tuning: { window: "1.5", label: true }\n    chain: [{ hop: 1e3 }]\n' +
      '    dialer-proxy: 6\n  - { name: 6, type: direct, udp: "false" }\nrules:\n  - { type: DST-PORT, value: 080, to: 5 }\n',
  );
  t.match(config.listeners, [{ port: 7890, host: '127.0.0.1' }]);
  t.equal(config.ipv6, true);
  t.same(config.proxies[0]?.options, {
    server: '192.0.2.1',
    port: 443,
    username: '0x1F',
    password: '0123',
    tls: true,
    udp: true,
    alpn: ['2', 'h2'],
    headers: { 'X-Count': '1.0' },
    tuning: { window: 1.5, label: 'true' },
    chain: [{ hop: '1e3' }],
  });
  t.match(config.proxies, [
    { name: '5', dialerProxy: '6', where: 'c.yaml:5:5' },
    { name: '6', options: { udp: false } },
  ]);
  t.match(config.rules, [{ kind: 'DST-PORT', payload: '080', target: '5', text: 'DST-PORT,080,5' }]);
  t.match(problemsOf('port: "7x"\n'), ['c.yaml:1:7 error: "port" must be a number\n    port: "7x"']);
  t.match(problemsOf('port: 12345678901234567890\n'), [/must be/]);
  t.end();
});

t.test("a schema that is not zod's", (t) => {
  const config = good('proxies: [{ name: h, type: handmade, level: "3", child: { level: "4", child: { level: "5" } }, kind: a }]');
  t.same(
    config.proxies[0]?.options,
    { name: 'h', level: 3, child: { level: 4, child: { level: 5 } }, kind: 'a' },
    'references are followed; type is not in its schema',
  );
  t.match(problemsOf('proxies: [{ name: h, type: handmade, child: { levl: 1 } }]'), [/"levl" is no key of a handmade proxy\. Did you mean "level"\?/]);
  t.match(problemsOf('proxies:\n  - { name: h, type: handmade, fail: true }'), [/^c\.yaml:2:5 error: I do not like/]);
  t.end();
});

t.test('an unsupported node breaks nothing', (t) => {
  const { config, problems } = checkConfig(
    parseConfig(
      'proxies: [{ name: v, type: vmess, server: a, dialer-proxy: w }, { name: w, type: direct }]\nproxy-groups: [{ name: g, type: select, proxies: [v, w] }]\nrules: ["MATCH,v"]\n',
      'c.yaml',
    ),
    registry,
  );
  t.match(problems, [{ severity: 'warning', code: 'UNKNOWN_TYPE' }]);
  t.match(config, {
    proxies: [
      { name: 'v', options: null, unavailable: 'type "vmess" is not supported', dialerProxy: 'w' },
      { name: 'w', unavailable: null },
    ],
    rules: [{ target: 'v' }],
  });
  t.end();
});

t.test('rules: strings and objects come out alike', (t) => {
  const { rules } = good(
    'proxy-groups: [{ name: GLOBAL, type: select, proxies: [DIRECT] }]\nmode: global\nrules:\n  - domain-suffix, example.com , GLOBAL\n  - { type: domain-suffix, value: example.com, to: GLOBAL }\n' +
      '  - IP-CIDR,10.0.0.0/8,REJECT-DROP,no-resolve\n  - { type: IP-CIDR, value: 10.0.0.0/8, to: REJECT, no-resolve: true }\n  - { type: DAY, value: sunday, to: PASS, weight: 3 }\n' +
      '  - AND,((NETWORK,UDP),(NOT,((DST-PORT,53)))),REJECT\n  - { type: MATCH, to: COMPATIBLE }\n',
  );
  t.same(
    rules.map(({ kind, payload, target, parameters, options }) => [kind, payload, target, parameters, options]),
    [
      ['DOMAIN-SUFFIX', 'example.com', 'GLOBAL', [], {}],
      ['DOMAIN-SUFFIX', 'example.com', 'GLOBAL', [], {}],
      ['IP-CIDR', '10.0.0.0/8', 'REJECT-DROP', ['no-resolve'], {}],
      ['IP-CIDR', '10.0.0.0/8', 'REJECT', [], { 'no-resolve': true }],
      ['DAY', 'sunday', 'PASS', [], { weight: 3 }],
      ['AND', '((NETWORK,UDP),(NOT,((DST-PORT,53))))', 'REJECT', [], {}],
      ['MATCH', '', 'COMPATIBLE', [], {}],
    ],
  );
  t.same([rules[1]?.text, rules[1]?.where], ['DOMAIN-SUFFIX,example.com,GLOBAL', 'c.yaml:5:5']);
  t.end();
});

t.test('objects of embedders', (t) => {
  const input = defineConfig({
    mode: 'rule',
    listeners: [{ name: 'in', type: 'mixed', port: 0 }],
    proxies: [{ name: 'up', type: 'socks5', server: '192.0.2.1', port: 1080 }],
    'proxy-groups': [{ name: 'g', type: 'race', proxies: ['up', 'DIRECT'], delays: [0, 100] }],
    rules: ['DOMAIN-SUFFIX,example.com,g', { type: 'MATCH', to: 'DIRECT' }],
  } as const);
  const checked = checkConfig(configFromObject(input), registry);
  t.same(checked.problems, []);
  t.match(checked.config, { listeners: [{ where: 'listeners[0]' }], rules: [{ where: 'rules[0]' }, {}] });

  const { problems } = checkConfig(configFromObject({ proxies: [{ name: 'up', type: 'socks5', port: 0 }], portt: 1 }), registry);
  t.same(problems.map(formatProblem), [
    'portt: warning: "portt" is no key that we know, and has no effect. Did you mean "port"?',
    'proxies[0].server: error: "server" is missing',
    'proxies[0].port: error: "port" must be at least 1',
  ]);

  const loop: Record<string, unknown> = { name: 'h', type: 'handmade' };
  loop.child = loop;
  t.not(checkConfig(configFromObject({ proxies: [loop] }), registry).config, null, 'an object that holds itself is no endless loop');
  const polluting: unknown = JSON.parse('{ "hosts": { "__proto__": { "x": 1 } }, "__proto__": { "mode": "direct" } }');
  t.equal(checkConfig(configFromObject(polluting), registry).config?.mode ?? 'rule', 'rule');
  for (const value of [null, undefined, 5, 'x', [], [[]], new Map()]) t.doesNotThrow(() => checkConfig(configFromObject(value), registry));
  t.end();
});

t.test('overrides keep the places of the file', (t) => {
  const source = withOverrides(parseConfig('mixed-port: 1\nproxies:\n  - { name: a, type: socks5 }\nrules: ["MATCH,b"]\n', 'c.yaml'), {
    set: { 'mixed-port': 70000 },
    append: { proxies: [{ name: 'b', type: 'direct', x: 1 }], plugins: ['p'] },
  });
  t.same(checkConfig(source, registry).problems.map(formatProblem), [
    'mixed-port: error: "mixed-port" must be at most 65535',
    'proxies[1].x: warning: "x" is no key of a direct proxy.',
    'c.yaml:3:5 error: "server" is missing',
    'c.yaml:3:5 error: "port" is missing',
  ]);
  t.same(checkConfig(withOverrides(parseConfig('', 'c.yaml'), { set: { 'mixed-port': 5 } }), registry).config?.listeners[0]?.port, 5);
  t.equal(checkConfig(withOverrides(parseConfig('- a', 'c.yaml'), { set: { 'mixed-port': 5 } }), registry).config, null, 'a list stays an error');

  const within = { section: { set: { a: 1 }, defaults: { a: 0, b: 2, c: 3 } } };
  const merged = withOverrides(parseConfig('section:\n  a: 7\n  b: 8\n', 'c.yaml'), { within });
  t.same(merged.value, { section: { a: 1, b: 8, c: 3 } });
  t.same(
    ['a', 'b', 'c'].map((key) => merged.locate(['section', key])?.line ?? null),
    [null, 3, null],
    'what was given anew has no place',
  );
  t.same(withOverrides(parseConfig('', 'c.yaml'), { within }).value, { section: { a: 1, b: 2, c: 3 } });
  t.same(withOverrides(parseConfig('section: 5', 'c.yaml'), { within }).value, { section: 5 }, 'what is no section stays as it is, for the check to see');
  t.end();
});

t.test('ConfigError', (t) => {
  const { problems } = checkConfig(parseConfig('foo: 1\nport: x\nmode: y\n', 'c.yaml'), registry);
  const error = new ConfigError(problems);
  t.equal(
    error.message,
    'c.yaml:2:7 error: "port" must be a number\n    port: x\nc.yaml:3:7 error: "mode" must be one of "rule", "global", "direct"\n    mode: y',
  );
  t.match(error, { code: 'CONFIG', name: 'ConfigError', file: 'c.yaml', line: 2, column: 7, path: ['port'] });
  t.equal(error.problems.length, 3);
  t.ok(isConfigError(error));
  t.notOk(isConfigError(new Error('no')));
  t.notOk(isConfigError(Object.assign(new Error('no'), { code: 'CONFIG' })));
  t.end();
});

t.test('control characters of a file do not reach the terminal', (t) => {
  const [problem] = problemsOf('proxies: [{ name: h, type: "a\\e[31m\\u202e\\x9b" }]\n');
  t.match(problem, /type "a\\u001b\[31m\\u202e\\u009b" is not supported/);
  t.match(problemsOf('"a\\e[31m": 1'), [/"a…" is no key/]);
  t.end();
});

t.test('no secret is in any problem, whatever is wrong with the file', async (_t) => {
  const secret = fc.stringMatching(/^[A-Za-z0-9+/=_!%&*@#-]{6,24}$/).map((text) => `sEcr3t${text}`);
  const style = fc.constantFrom<(text: string) => string>(
    (text) => JSON.stringify(text),
    (text) => `'${text}'`,
    (text) => text,
    (text) => `"${text}`,
    (text) => `{ ${text}: [`,
    (text) => `- ${text}`,
    (text) => `!${text}`,
    (text) => `*${text}`,
    (text) => `&${text}`,
    (text) => `|\n  ${text}`,
  );
  const template = fc.constantFrom<(value: string) => string>(
    (value) => `authentication: [${value}]\nport: x\n`,
    (value) => `authentication:\n  - ${value}\n  - "u:${value}"\n`,
    (value) => `secret: ${value}\nproxies: [{ name: a, type: socks5, password: ${value}, port: 0 }]\n`,
    (value) => `proxies:\n  - name: a\n    type: handmade\n    fail: true\n    password: ${value}\n`,
    (value) => `proxies:\n  - { name: a, type: handmade, fail: true, token: ${value}, users: [{ password: ${value} }] }\n`,
    (value) => `proxies:\n  - { name: a, type: socks5, server: x, port: 1, password: [${value}] }\n`,
    (value) => `proxies:\n  - { name: a, type: socks5, server: x, port: 1, headers: { Authorization: [${value}] } }\n`,
    (value) => `listeners: [{ name: a, type: http, port: 1, users: [{ usrname: x, password: ${value} }] }]\n`,
    (value) => `listeners: [{ name: a, type: http, port: 1, users: ${value} }]\n`,
    (value) => `proxy-provider: { url: "https://u:${value}@a.example/${value}" }\nurl: ss://${value}@a.example:1\n`,
    (value) => `external-controller: 1\nsecret:\n  - ${value}\n\t- x\n`,
    (value) => `password: ${value}\n  more: ${value}\n`,
  );
  await fc.assert(
    fc.asyncProperty(secret, style, template, fc.nat(60), (value, write, place, cut) => {
      const whole = place(write(value));
      for (const text of [whole, whole.slice(0, Math.max(1, whole.length - cut)), `${whole}]`, whole.replace(':', '')]) {
        const { problems } = checkConfig(parseConfig(text, 'c.yaml'), registry, { strict: true });
        const told = JSON.stringify(problems.map((problem) => [problem.message, problem.excerpt, formatProblem(problem)])) + new ConfigError(problems).message;
        if (told.includes('sEcr3t')) throw new Error(`told: ${told}`);
      }
      return Promise.resolve();
    }),
    { numRuns: 400 },
  );
});

// Bad files to exact places and words.
import fc from 'fast-check';
import t from 'tap';
import { checkConfig } from '../../dist/config/check.js';
import { ConfigError, isConfigError } from '../../dist/config/config-error.js';
import { parseConfig } from '../../dist/config/load.js';
import { formatProblem } from '../../dist/config/report.js';
import { problemsOf, registry } from './checked.js';

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
  ['sniffer: { sniff: { TLS: { ports: 443 } } }\n', 'c.yaml:1:35 error: "ports" must be a list\n    ports: 443'],
  ['sniffer: { sniff: { TLS: yes } }\n', 'c.yaml:1:26 error: "TLS" must be a section of keys or null\n    TLS: yes'],
  ['sniffer: { enable: true }\n', 'c.yaml:1:1 warning: nothing is looked at: name it under sniff, as { TLS: { ports: [443] }, HTTP: { ports: [80] } }'],
  [
    'sniffer: { sniff: { TLS: { ports: [443, 90-80, ssl] } } }\n',
    'c.yaml:1:41 error: "90-80" is an empty range: write the lower port first, ports: 80-90\n    90-80',
    'c.yaml:1:48 error: "ssl" is neither a port (0 to 65535) nor a range of ports, as in ports: [443, 8443-8450]\n    ssl',
  ],
  [
    'sniffer:\n  force-domain: ["a b"]\n  skip-dst-address: [10.0.0.0/33, "rule-set:x"]\n  skip-src-adress: []\n',
    'c.yaml:2:18 warning: "a b" is not a domain name: one name stands on each line. It matches nothing and is left out\n    "a b"',
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
  ['proxies:\n  - { name: h, type: socks5, server: , port: 1 }\n', 'c.yaml:2:38 error: "server" is missing\n    server: '],
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
  ['proxies: [{ name: h, type: socks5, server: a, port: 1, alpn: [a, {}] }]\n', 'c.yaml:1:66 error: "alpn[1]" must be a text'],
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

// Good files to a typed config.
import t from 'tap';
import { checkConfig } from '../../dist/config/check.js';
import { defineConfig } from '../../dist/config/define-config.js';
import { SHOWN_KEYS } from '../../dist/config/known-keys.js';
import { parseConfig } from '../../dist/config/load.js';
import { formatProblem } from '../../dist/config/report.js';
import { TIMEOUT_NAMES, TOP, timeoutKey } from '../../dist/config/schema.js';
import { shape } from '../../dist/config/shape.js';
import { configFromObject, withOverrides } from '../../dist/config/source.js';
import { DEFAULT_TIMEOUTS } from '../../dist/net/timeouts.js';
import { good, problemsOf, registry } from './checked.js';

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

t.test('a key with nothing behind it is as good as none', (t) => {
  const SOCKS = 'name: h, type: socks5, server: a.example, port: 1';
  const PROVIDER = 'type: inline, behavior: ipcidr, payload: [10.0.0.0/8]';
  const LISTENER = 'name: l, type: mixed, port: 1';
  const RULE = 'type: MATCH, to: h';
  const whole = (entry: string, listener: string, group: string, provider: string, rule: string, sniffer: string): string =>
    `authentication: ["u:p"]\nproxies: [{ ${SOCKS}${entry} }]\nlisteners: [{ ${LISTENER}${listener} }]\nproxy-groups: [{ name: g, type: select, proxies: [h]${group} }]\n` +
    `rule-providers: { lan: { ${PROVIDER}${provider} } }\nrules: [{ ${RULE}${rule} }]\nsniffer: { enable: true, sniff: { TLS: ${sniffer} } }\n`;
  const empty = whole(
    ', username: , tls: , alpn: , headers: , tuning: { window: , label: ~ }, dialer-proxy: , smux: , no-such-key: ',
    ', listen: , users: ',
    ', use: , filter: , include-all: ',
    ', interval: , proxy: , url: ',
    ', value: , parameters: ',
    '{ ports: , override-destination: }',
  );
  t.match(good(empty), {
    proxies: [{ options: { tls: false, tuning: {} }, dialerProxy: null }],
    listeners: [{ host: '127.0.0.1', users: [{ username: 'u' }] }],
  });
  t.same(good(empty), good(whole(', tuning: {}', '', '', '', '', '{}')));
  t.same(good(whole('', '', '', '', '', '')).sniffer, good(whole('', '', '', '', '', '{}')).sniffer, 'a protocol is named by its key alone');
  const named = { a: null, b: undefined, c: null, d: null };
  const properties = { a: { type: 'string' }, b: { type: 'string' }, c: { anyOf: [{ type: 'string' }, { type: 'null' }] }, d: {} };
  const shaped = shape(named, [], { schema: { type: 'object', properties }, text: () => null, unknown: () => t.fail('all are known') });
  t.same(shaped, { c: null, d: null }, 'what a schema takes is left to it');
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

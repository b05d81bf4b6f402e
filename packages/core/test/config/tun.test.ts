// The section `tun:`: what is wrong with it, where, and what it becomes.
import { Ajv2020 } from 'ajv/dist/2020.js';
import t from 'tap';
import { z } from 'zod';
import { checkConfig } from '../../dist/config/check.js';
import { jsonSchema } from '../../dist/config/json-schema.js';
import { parseConfig } from '../../dist/config/load.js';
import { formatProblem } from '../../dist/config/report.js';
import type { KernelConfig } from '../../dist/config/types.js';
import type { AutoRouteSettings } from '../../dist/inbound/tun/auto-route/settings.js';
import type { IpStack } from '../../dist/ip/ip-stack.js';
import { detectsInterface, ownMark, withOwnMarks } from '../../dist/kernel/own-marks.js';
import { tunPlan } from '../../dist/kernel/tun-plan.js';
import { TunConfig } from '../../dist/kernel/tun-schema.js';
import { tunType } from '../../dist/kernel/tun-type.js';
import type { Registry } from '../../dist/plugin/registry.js';
import { knownTypes } from './known-types.js';

function never(): IpStack {
  throw new Error('a check makes no stacks');
}

/** With the TUN, and the stacks of the given names. */
function registryWith(...stacks: readonly string[]): Registry {
  return registryOf(stacks, true);
}

function registryOf(stacks: readonly string[], isSystem: boolean): Registry {
  const registry = knownTypes();
  registry.inbounds.add(
    'tun',
    'core',
    tunType(() => registry, isSystem),
  );
  const config = z.object({ timeout: z.int().min(1).max(86_400).default(300), 'accept-first': z.boolean().default(false) });
  for (const type of stacks) registry.stacks.add(type, `stack-${type}`, { type, config, create: never });
  return registry;
}

const registry = registryWith('udp', 'mine', 'tcp');

function check(text: string, types = registry): { readonly problems: string[]; readonly config: KernelConfig | null } {
  const { config, problems } = checkConfig(parseConfig(text, 'c.yaml'), types);
  return { problems: problems.map(formatProblem), config };
}

interface Options {
  readonly keys: Readonly<Record<string, unknown>>;
  readonly addresses: unknown;
  readonly stacks: readonly { readonly definition: { readonly type: string }; readonly options: unknown }[];
}

function options(text: string): Options {
  const { config, problems } = check(text);
  t.strictSame(problems, [], text);
  const [listener] = config?.listeners ?? [];
  t.match(listener, { name: 'tun', type: 'tun' });
  return listener?.options as Options;
}

const names = ({ stacks }: Options): string[] => stacks.map(({ definition }) => definition.type);

t.test('is off unless it says otherwise, and then nothing of it is looked at', async (t) => {
  for (const text of [
    'tun:\n',
    'tun: {}\n',
    'tun: { enable: , stack: }\n',
    'tun: { enable: false, stack: nobody, inet4-address: [x] }\n',
    'tun: { stack: system }\n',
  ]) {
    const { problems, config } = check(text);
    t.strictSame([problems, config?.listeners], [[], []], text);
  }
});

t.test('defaults', async (t) => {
  const given = options('tun: { enable: true }\n');
  t.strictSame(names(given), ['tcp', 'udp', 'mine'], 'ours in the order that makes sense, then those of others');
  t.strictSame(given.addresses, [
    { address: '198.18.0.1', prefix: 30 },
    { address: 'fdfe:dcba:9876::1', prefix: 126 },
  ]);
  t.match(given.keys, { device: '', mtu: 9000, gso: true, icmp: 'reply' });
  t.strictSame(
    options('tun: { enable: true, auto-route: , file-descriptor: , stack: , inet4-address: , tcp: { timeout: } }\n'),
    given,
    'with nothing behind keys, too',
  );
  t.strictSame(given.stacks[0]?.options, { timeout: 300, 'accept-first': false });
});

t.test('what Clash files have', async (t) => {
  for (const stack of ['system', 'gvisor', 'mixed', 'Mixed']) t.strictSame(names(options(`tun: { enable: true, stack: ${stack} }\n`)), ['tcp', 'udp', 'mine']);
  t.strictSame(names(options('tun: { enable: true, stack: tcp }\n')), ['tcp']);
  t.strictSame(names(options('tun: { enable: true, stack: [mine, tcp] }\n')), ['mine', 'tcp'], 'a list is asked in its own order');
  const { addresses } = options('tun: { enable: true, inet4-address: [10.9.0.1/24, 10.10.0.1], inet6-address: [] }\n');
  t.strictSame(addresses, [
    { address: '10.9.0.1', prefix: 24 },
    { address: '10.10.0.1', prefix: 32 },
  ]);
  t.strictSame(
    options('tun: { enable: true, tcp: { timeout: 7 }, udp: { accept-first: true } }\n')
      .stacks.slice(0, 2)
      .map((stack) => stack.options),
    [
      { timeout: 7, 'accept-first': false },
      { timeout: 300, 'accept-first': true },
    ],
  );
});

const EXACT: readonly [text: string, ...problems: string[]][] = [
  ['tun:\n  enable: yep\n', 'c.yaml:2:11 error: "enable" must be true or false\n    enable: yep'],
  [
    'tun:\n  enable: true\n  stack: dns\n',
    'c.yaml:3:10 error: "stack": there is no IP stack "dns": npm install @nekit/stack-dns, and add "dns" to plugins\n    stack: dns',
  ],
  ['tun:\n  enable: true\n  stack: gvisr\n', 'c.yaml:3:10 error: "stack": there is no IP stack "gvisr". Did you mean "gvisor"?\n    stack: gvisr'],
  ['tun:\n  enable: true\n  stack: [tcp, upd]\n', 'c.yaml:3:16 error: "stack[1]": there is no IP stack "upd". Did you mean "udp"?\n    upd'],
  ['tun:\n  enable: true\n  stack: quic\n', 'c.yaml:3:10 error: "stack": there is no IP stack "quic"\n    stack: quic'],
  [
    'tun:\n  enable: true\n  inet4-address: [10.0.0.300/8, fd00::1/64]\n',
    'c.yaml:3:19 error: "inet4-address[0]": "10.0.0.300/8" is no IPv4 address of a host with the length of its network, as 198.18.0.1/30\n    10.0.0.300/8',
    'c.yaml:3:33 error: "inet4-address[1]": "fd00::1/64" is no IPv4 address of a host with the length of its network, as 198.18.0.1/30\n    fd00::1/64',
  ],
  [
    'tun:\n  enable: true\n  inet6-address:\n    - fd00::1/129\n',
    'c.yaml:4:7 error: "inet6-address[0]": "fd00::1/129" is no IPv6 address of a host with the length of its network, as fd00::1/126\n    fd00::1/129',
  ],
  ...['224.0.0.1/4', '127.0.0.1/8'].map((address): [string, string] => [
    `tun: { enable: true, inet4-address: [${address}] }\n`,
    `c.yaml:1:38 error: "inet4-address[0]": "${address}" is no IPv4 address of a host with the length of its network, as 198.18.0.1/30\n    ${address}`,
  ]),
  ...['ff02::1/16', '::ffff:1.2.3.4/96'].map((address): [string, string] => [
    `tun: { enable: true, inet6-address: ["${address}"] }\n`,
    `c.yaml:1:38 error: "inet6-address[0]": "${address}" is no IPv6 address of a host with the length of its network, as fd00::1/126\n    "${address}"`,
  ]),
  [
    'tun: { enable: true, device: ääääääääa }\n',
    'c.yaml:1:30 error: "device": no name of an interface: at most 15 bytes, without blanks, "/", ":" and "%"\n    device: ääääääääa',
  ],
  ['tun: { enable: true, mtu: 576 }\n', 'c.yaml:1:27 error: "mtu" must be at least 1280\n    mtu: 576'],
  [
    'tun: { enable: true, device: "a b" }\n',
    'c.yaml:1:30 error: "device": no name of an interface: at most 15 bytes, without blanks, "/", ":" and "%"\n    device: "a b"',
  ],
  [
    'tun: { enable: true, device: sixteen-letters-- }\n',
    'c.yaml:1:30 error: "device": no name of an interface: at most 15 bytes, without blanks, "/", ":" and "%"\n    device: sixteen-letters--',
  ],
  [
    'tun: { enable: true, device: tun%d }\n',
    'c.yaml:1:30 error: "device": no name of an interface: at most 15 bytes, without blanks, "/", ":" and "%"\n    device: tun%d',
  ],
  [
    'tun: { enable: true, inet4-address: [10.9.0.1/24, 10.9.0.1] }\n',
    'c.yaml:1:51 error: "inet4-address[1]": the address 10.9.0.1 is there already\n    10.9.0.1',
  ],
  [
    'tun: { enable: true, inet6-address: ["fd00::1/64", "FD00:0::1/126"] }\n',
    'c.yaml:1:52 error: "inet6-address[1]": the address fd00::1 is there already\n    "FD00:0::1/126"',
  ],
  ['tun: { enable: true, file-descriptor: 4294967301 }\n', 'c.yaml:1:39 error: "file-descriptor" must be at most 2147483647\n    file-descriptor: 4294967301'],
  ['tun: { enable: true, icmp: answer }\n', 'c.yaml:1:28 error: "icmp" must be one of "reply", "drop"\n    icmp: answer'],
  ['tun: { enable: true, tcp: { timeout: 0 } }\n', 'c.yaml:1:38 error: "timeout" must be at least 1\n    timeout: 0'],
  ['tun: { enable: true, udp: { timeout: soon } }\n', 'c.yaml:1:38 error: "timeout" must be a number\n    timeout: soon'],
  ['tun: { enable: true, udp: { timout: 5 } }\n', 'c.yaml:1:29 warning: "timout" is no key of tun. Did you mean "timeout"?'],
  ['tun: { enable: true, mut: 1500 }\n', 'c.yaml:1:22 warning: "mut" is no key of tun. Did you mean "mtu"?'],
];
t.test('what is wrong, at its place', async (t) => {
  for (const [text, ...problems] of EXACT) t.strictSame(check(text).problems, problems, text);
});

t.test('auto-route: on in the section, off elsewhere and for a descriptor; every spelling of its lists', async (t) => {
  const autoRoute = (text: string): AutoRouteSettings | null => {
    const { problems, config } = check(text);
    t.strictSame(problems, []);
    const [options] = config?.listeners.map((listener) => listener.options) ?? [];
    return options instanceof TunConfig ? options.autoRoute : null;
  };
  t.match(autoRoute('tun: { enable: true }\n'), { table: 2022, priority: 9000, strict: false, detectInterface: true, excluded: [] });
  t.equal(autoRoute('tun: { enable: true, auto-route: false }\n'), null);
  t.equal(autoRoute('tun: { enable: true, file-descriptor: 5 }\n'), null);
  t.not(autoRoute('tun: { enable: true, file-descriptor: 5, auto-route: true }\n'), null);
  t.equal(autoRoute('listeners: [{ name: a, type: tun }]\n'), null);
  t.match(autoRoute('listeners: [{ name: a, type: tun, auto-route: true }]\n'), { routes: [{ address: '0.0.0.0' }, { address: '::' }] });
  const lists = `tun:
  enable: true
  route-address: [10.1.2.3/8, 2001:DB8:0::1/31]
  inet4-route-address: [10.0.0.0/8, 192.0.2.1]
  inet6-route-address: ["fd00::/8"]
  route-exclude-address: [172.16.0.0/12]
  inet4-route-exclude-address: [192.168.0.0/16]
  inet6-route-exclude-address: ["fe80::/10"]
  iproute2-table-index: 77
  iproute2-rule-index: 100
  strict-route: true
  auto-detect-interface: false
`;
  t.match(autoRoute(lists), {
    routes: [
      { address: '10.0.0.0', prefix: 8 },
      { address: '2001:db8::', prefix: 31 },
      { address: '192.0.2.1', prefix: 32 },
      { address: 'fd00::', prefix: 8 },
    ],
    excluded: [
      { address: '172.16.0.0', prefix: 12 },
      { address: '192.168.0.0', prefix: 16 },
      { address: 'fe80::', prefix: 10 },
    ],
    table: 77,
    priority: 100,
    strict: true,
    detectInterface: false,
  });
});

t.test('auto-route: what is wrong, and what is not there', async (t) => {
  const problems = check(`tun:
  enable: true
  route-address: [10.0.0.0/33]
  inet6-route-address: [10.0.0.0/8, "::ffff:10.0.0.0/104"]
  auto-redirect: false
  route-address-set: [cn]
`).problems;
  t.strictSame(problems, [
    'c.yaml:3:19 error: "route-address[0]": "10.0.0.0/33" is no network; write 192.168.0.0/16 or fd00::/8\n    10.0.0.0/33',
    'c.yaml:4:25 error: "inet6-route-address[0]": "10.0.0.0/8" is no network of IPv6; write 192.168.0.0/16 or fd00::/8\n    10.0.0.0/8',
    'c.yaml:4:37 error: "inet6-route-address[1]": "::ffff:10.0.0.0/104" is no network of IPv6; write 192.168.0.0/16 or fd00::/8\n    "::ffff:10.0.0.0/104"',
    'c.yaml:6:3 warning: "route-address-set" is not supported in tun and has no effect',
  ]);
  for (const bad of ['iproute2-table-index: 254', 'iproute2-table-index: 0', 'iproute2-rule-index: 0', 'iproute2-rule-index: 32766'])
    t.match(check(`tun: { enable: true, ${bad} }\n`).problems.join(), /error: "iproute2-/);
});

t.test('our own marks: a default one, all that proxies have, and none without auto-route', async (t) => {
  const marks = (text: string): unknown => {
    const { config } = check(text);
    if (config === null) throw new Error(text);
    const marked = withOwnMarks(config);
    const [options] = marked.listeners.map((listener) => listener.options);
    return [ownMark(marked), detectsInterface(marked), options instanceof TunConfig ? options.autoRoute?.marks : null];
  };
  t.same(marks('tun: { enable: true }\n'), [0x162, true, [0x162]]);
  t.same(marks('routing-mark: 5\ninterface-name: eth0\ntun: { enable: true }\n'), [5, false, [5]]);
  t.same(marks('tun: { enable: true, auto-route: false }\n'), [undefined, false, undefined]);
  t.same(marks('tun: { enable: true }\nproxies: [{ name: a, type: direct, routing-mark: 9 }]\n'), [0x162, true, [0x162, 9]]);
});

t.test('the plan, for --dry-run', async (t) => {
  const { config } = check('tun: { enable: true, device: tun9, route-exclude-address: [192.0.2.0/24] }\n');
  const lines = config === null ? [] : tunPlan(config);
  t.match(lines[0], { listener: 'tun', kind: 'device', family: 0, command: 'ip tuntap add tun9 mode tun' });
  for (const command of [
    'ip address add 198.18.0.1/30 dev tun9',
    'ip -6 address add fdfe:dcba:9876::1/126 dev tun9',
    'ip route add default dev tun9 table 2022 protocol 78',
    'ip rule add priority 9001 fwmark 0x162 goto 9009 protocol 78',
    'ip rule add priority 9003 to 192.0.2.0/24 goto 9009 protocol 78',
    'ip -6 rule add priority 9007 lookup 2022 protocol 78',
  ])
    t.ok(
      lines.some((line) => line.command === command),
      command,
    );
});

t.test('two TUNs that cannot run together', async (t) => {
  const both = (first: string, second: string, types = registry): string[] =>
    check(`tun: { enable: true${first} }\nlisteners:\n  - { name: b, type: tun${second} }\n`, types).problems.map((problem) => problem.split('\n', 1)[0] ?? '');
  const beside = 'c.yaml:3:5 error: this cannot run beside the listener tun (c.yaml:1:6): ';
  const other = ', auto-route: true, iproute2-rule-index: 9010, iproute2-table-index: 2024';
  for (const second of [other, '', ', device: tun9', `, device: tun9${other}`]) t.strictSame(both(', device: tun8, strict-route: true', second), [], second);
  t.strictSame(both(', device: tun8', ', device: tun8'), [`${beside}both have the device tun8`]);
  t.strictSame(both(', device: tun8', ', device: tun8, file-descriptor: 5'), []);
  t.strictSame(both(', file-descriptor: 6', ', file-descriptor: 5'), []);
  t.strictSame(both(', file-descriptor: 5', ', file-descriptor: 5'), [`${beside}both have the file descriptor 5`]);
  t.strictSame(both('', ', auto-route: true, iproute2-rule-index: 8991, iproute2-table-index: 1'), [
    `${beside}auto-route takes the priorities 9000 to 9009 there: choose others with "iproute2-rule-index", and a table with "iproute2-table-index"`,
  ]);
  t.strictSame(
    both(', device: tun8, auto-route: true', ', device: tun8, auto-route: true', registryOf(['tcp', 'udp'], false)),
    [],
    'devices of who embeds it have nothing in common',
  );
  const table = (number: number): string => `${beside}auto-route takes the routing table ${number} there: choose another with "iproute2-table-index"`;
  t.strictSame(both('', ', auto-route: true, iproute2-rule-index: 1'), [table(2022)]);
  t.strictSame(both(', strict-route: true', other.replace('2024', '2023')), [table(2023)]);
  t.strictSame(both('', `${other.replace('2024', '2021')}, strict-route: true`), [table(2022)]);
});

t.test('no stack at all', async (t) => {
  const { problems } = check('tun: { enable: true }\n', registryWith());
  t.strictSame(problems, ['c.yaml:1:6 error: no IP stack is loaded: npm install @nekit/stack-tcp, and add "tcp" to plugins']);
});

t.test('the JSON Schema has it, with the sections of the stacks', async (t) => {
  const schema = jsonSchema(registry) as {
    properties: { tun: { properties: Record<string, { default?: unknown; description?: string; properties?: object }> } };
  };
  const { properties } = schema.properties.tun;
  t.match(properties.mtu, { minimum: 1280, maximum: 65_535, default: 9000 });
  t.match(properties.tcp?.properties, { timeout: { minimum: 1 } });
  t.ok(properties.mine);
  const validate = new Ajv2020({ strict: true, strictTypes: false, strictRequired: false }).compile(schema);
  t.ok(validate({ tun: { enable: true, stack: ['tcp'], tcp: { timeout: 5 }, 'inet4-address': ['10.0.0.1/24'] } }), JSON.stringify(validate.errors));
  for (const bad of [{ mtu: 100 }, { tcp: { timeout: 0 } }, { nothing: 1 }, { icmp: 'x' }]) t.notOk(validate({ tun: bad }), JSON.stringify(bad));
});

// The section `tun:`: what is wrong with it, where, and what it becomes.
import { Ajv2020 } from 'ajv/dist/2020.js';
import t from 'tap';
import { z } from 'zod';
import { checkConfig } from '../../dist/config/check.js';
import { jsonSchema } from '../../dist/config/json-schema.js';
import { parseConfig } from '../../dist/config/load.js';
import { formatProblem } from '../../dist/config/report.js';
import type { KernelConfig } from '../../dist/config/types.js';
import type { IpStack } from '../../dist/ip/ip-stack.js';
import { tunType } from '../../dist/kernel/tun-type.js';
import type { Registry } from '../../dist/plugin/registry.js';
import { knownTypes } from './known-types.js';

function never(): IpStack {
  throw new Error('a check makes no stacks');
}

/** With the TUN, and the stacks of the given names. */
function registryWith(...stacks: readonly string[]): Registry {
  const registry = knownTypes();
  registry.inbounds.add(
    'tun',
    'core',
    tunType(() => registry),
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
  for (const text of ['tun:\n', 'tun: {}\n', 'tun: { enable: false, stack: nobody, inet4-address: [x] }\n', 'tun: { stack: system }\n']) {
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
  ['tun:\n  enable: yep\n', 'c.yaml:2:11 error: "enable" must be true or false\n    tun.enable: yep'],
  [
    'tun:\n  enable: true\n  stack: dns\n',
    'c.yaml:3:10 error: there is no IP stack "dns": npm install @nekit/stack-dns, and add "dns" to plugins\n    tun.stack: dns',
  ],
  ['tun:\n  enable: true\n  stack: gvisr\n', 'c.yaml:3:10 error: there is no IP stack "gvisr". Did you mean "gvisor"?\n    tun.stack: gvisr'],
  ['tun:\n  enable: true\n  stack: [tcp, upd]\n', 'c.yaml:3:16 error: there is no IP stack "upd". Did you mean "udp"?\n    tun.stack[1]: upd'],
  ['tun:\n  enable: true\n  stack: quic\n', 'c.yaml:3:10 error: there is no IP stack "quic"\n    tun.stack: quic'],
  [
    'tun:\n  enable: true\n  inet4-address: [10.0.0.300/8, fd00::1/64]\n',
    'c.yaml:3:19 error: "10.0.0.300/8" is no IPv4 address with the length of its network, as 198.18.0.1/30\n    tun.inet4-address[0]: 10.0.0.300/8',
    'c.yaml:3:33 error: "fd00::1/64" is no IPv4 address with the length of its network, as 198.18.0.1/30\n    tun.inet4-address[1]: fd00::1/64',
  ],
  [
    'tun:\n  enable: true\n  inet6-address:\n    - fd00::1/129\n',
    'c.yaml:4:7 error: "fd00::1/129" is no IPv6 address with the length of its network, as fd00::1/126\n    tun.inet6-address[0]: fd00::1/129',
  ],
  ['tun: { enable: true, mtu: 576 }\n', 'c.yaml:1:27 error: "mtu" must be at least 1280\n    tun.mtu: 576'],
  [
    'tun: { enable: true, device: "a b" }\n',
    'c.yaml:1:30 error: "device": no name of an interface: at most 15 characters, without blanks, "/" and ":"\n    tun.device: a b',
  ],
  [
    'tun: { enable: true, device: sixteen-letters-- }\n',
    'c.yaml:1:30 error: "device": no name of an interface: at most 15 characters, without blanks, "/" and ":"\n    tun.device: sixteen-letters--',
  ],
  ['tun: { enable: true, icmp: answer }\n', 'c.yaml:1:28 error: "icmp" must be one of "reply", "drop"\n    tun.icmp: answer'],
  ['tun: { enable: true, tcp: { timeout: 0 } }\n', 'c.yaml:1:38 error: "timeout" must be at least 1\n    tun.tcp.timeout: 0'],
  ['tun: { enable: true, udp: { timeout: soon } }\n', 'c.yaml:1:38 error: "timeout" must be a number\n    tun.udp.timeout: soon'],
  ['tun: { enable: true, udp: { timout: 5 } }\n', 'c.yaml:1:29 warning: "timout" is no key of a listener. Did you mean "timeout"?\n    tun.udp.timout: …'],
  ['tun: { enable: true, mut: 1500 }\n', 'c.yaml:1:22 warning: "mut" is no key of a listener. Did you mean "mtu"?\n    tun.mut: …'],
];
t.test('what is wrong, at its place', async (t) => {
  for (const [text, ...problems] of EXACT) t.strictSame(check(text).problems, problems, text);
});

t.test('auto-route and its like have no effect yet, and say so', async (t) => {
  const { problems } = check('tun:\n  enable: true\n  auto-route: true\n  strict-route: true\n  auto-redirect: false\n');
  t.equal(problems.length, 2);
  t.notMatch(problems.join(), 'redirect', 'what is switched off is as it is');
  for (const problem of problems) t.match(problem, /warning: "(?:auto|strict)-route" is not supported in tun and has no effect/);
});

t.test('no stack at all', async (t) => {
  const { problems } = check('tun: { enable: true }\n', registryWith());
  t.strictSame(problems, ['c.yaml:1:6 error: no IP stack is loaded: npm install @nekit/stack-tcp, and add "tcp" to plugins\n    tun: …']);
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

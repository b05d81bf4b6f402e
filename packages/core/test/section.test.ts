// A section of the config that a plugin brings.
import t from 'tap';
import { z } from 'zod';
import { checkConfig } from '../dist/config/check.js';
import { jsonSchema } from '../dist/config/json-schema.js';
import { configFromObject } from '../dist/config/source.js';
import { createKernel } from '../dist/kernel.js';
import { definePlugin, type SectionContext } from '../dist/plugin/plugin.js';

interface Seen {
  readonly steps: string[];
  readonly contexts: SectionContext[];
}

const schema = z.object({
  enable: z.boolean().default(true),
  address: z.string().default('192.0.2.1'),
  adapter: z.string().optional(),
  fail: z.string().optional(),
});

function namesPlugin(seen: Seen): ReturnType<typeof definePlugin> {
  return definePlugin({
    name: 'names',
    api: 1,
    setup(context) {
      context.section<z.infer<typeof schema>>({
        key: 'names',
        config: schema,
        enabled: ({ enable }) => enable,
        check({ adapter }, around) {
          if (adapter === undefined) return;
          if (!around.adapters.has(adapter)) around.error(`there is no "${adapter}"`, ['adapter']);
          for (const server of around.serversOf(adapter)) around.warning(`needs ${server}`, ['adapter']);
        },
        create({ address, fail }, given) {
          if (fail === 'create') throw new Error('not like this');
          seen.contexts.push(given);
          seen.steps.push(`create ${address}`);
          return {
            resolver: { resolve: () => Promise.resolve([address]) },
            load() {
              seen.steps.push(`load ${address}`);
              return fail === 'load' ? Promise.reject(new Error('no load')) : Promise.resolve();
            },
            close() {
              seen.steps.push(`close ${address}`);
            },
          };
        },
      });
      context.adapter({
        type: 'far',
        config: z.object({ server: z.string() }),
        create: (_config, { tag }) => ({ tag, type: 'far' }),
      });
    },
  });
}

const input = (names: Record<string, unknown>, more: object = {}): object => ({ names, rules: ['IP-CIDR,192.0.2.0/24,REJECT', 'MATCH,DIRECT'], ...more });

t.test('it is the resolver while its config is in force', async (t) => {
  const seen: Seen = { steps: [], contexts: [] };
  const kernel = createKernel(input({}), { plugins: [namesPlugin(seen)] });
  t.teardown(() => kernel.stop());
  await kernel.start();
  const adapterOf = async (): Promise<string> => (await kernel.explain({ destination: { host: 'a.example', port: 1 } })).adapter;
  t.equal(await adapterOf(), 'REJECT');
  await kernel.reload(input({ address: '198.51.100.1' }));
  t.equal(await adapterOf(), 'DIRECT');
  await t.rejects(kernel.reload(input({ address: '192.0.2.9', fail: 'load' })), /no load/);
  t.equal(await adapterOf(), 'DIRECT', 'the old one is still in force');
  await kernel.reload(input({ enable: false }));
  await kernel.stop();
  t.same(seen.steps, [
    'create 192.0.2.1',
    'load 192.0.2.1',
    'create 198.51.100.1',
    'load 198.51.100.1',
    'close 192.0.2.1',
    'create 192.0.2.9',
    'load 192.0.2.9',
    'close 192.0.2.9',
    'close 198.51.100.1',
  ]);
});

t.test('its mistakes are told at their place', async (t) => {
  const seen: Seen = { steps: [], contexts: [] };
  const { registry } = createKernel({}, { plugins: [namesPlugin(seen)] });
  const problems = (names: unknown, more: object = {}): string[] =>
    checkConfig(configFromObject({ names, ...more }), registry).problems.map(({ severity, path, message }) => `${severity} ${path.join('.')}: ${message}`);
  t.same(problems({ addres: 1 }), ['warning names.addres: "addres" is no key of names. Did you mean "address"?']);
  t.same(problems({ address: ['x'] }), ['error names.address: "address" must be a text']);
  t.same(problems({ adapter: 'x' }), ['error names.adapter: there is no "x"']);
  t.same(problems({ enable: 'no', adapter: 'x' }), [], 'off');
  t.same(problems(null), [], 'empty');
  const proxies = [
    { name: 'a', type: 'far', server: 'a.example' },
    { name: 'b', type: 'far', server: '192.0.2.5' },
    { name: 'c', type: 'far', server: 'c.example', 'dialer-proxy': 'a' },
  ];
  const groups = [{ name: 'g', type: 'select', proxies: ['b', 'c'] }];
  t.same(problems({ adapter: 'g' }, { proxies, 'proxy-groups': groups }), ['warning names.adapter: needs a.example'], 'what is dialled first');
  t.throws(() => createKernel(input({ fail: 'create' }), { plugins: [namesPlugin(seen)] }), /section "names" cannot be made: not like this/);
  t.match(jsonSchema(registry), { properties: { names: { properties: { address: { type: 'string' } } } } });
  t.throws(() => createKernel({}, { plugins: [namesPlugin(seen), { ...namesPlugin(seen), name: 'again' }] }), { code: 'DUPLICATE_TYPE' });
});

t.test('what it is given', async (t) => {
  const seen: Seen = { steps: [], contexts: [] };
  const proxies = [{ name: 'a', type: 'far', server: 'a.example' }];
  const kernel = createKernel(input({}, { proxies, hosts: { '*.lab': '192.0.2.3' }, ipv6: false }), { plugins: [namesPlugin(seen)], cacheFolder: null });
  t.teardown(() => kernel.stop());
  await kernel.start();
  const [context] = seen.contexts;
  t.equal(context?.adapter('a').tag, 'a');
  t.throws(() => context?.adapter('x'), { code: 'UNKNOWN_ADAPTER' });
  t.same(context?.hosts.get('x.lab'), ['192.0.2.3']);
  t.same([context?.ipv6, context?.cacheFolder, context?.servers], [false, null, new Set(['a.example'])]);
  t.ok(context?.rule('DOMAIN-SUFFIX', 'example'));
  t.throws(() => context?.rule('NOPE', 'x'), /NOPE/);
});

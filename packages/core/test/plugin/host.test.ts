// What plugins register, and what is refused.
import t from 'tap';
import { errorCode } from '../../dist/net/errors.js';
import { token } from '../../dist/net/token.js';
import { provided } from '../../dist/plugin/host.js';
import type { Plugin, PluginContext } from '../../dist/plugin/plugin.js';
import { settle } from '../../dist/testing/fake-clock.js';
import { adapter, COUNTER, inbound, logging, NAME, only, pluginError, protocol, rule, setUp, thrown } from '../support/plugins.js';

t.test('what is checked before any setup', async (t) => {
  const ran: string[] = [];
  const good = logging(ran, 'good');
  const bad: [unknown, string, string, RegExp][] = [
    [null, 'PLUGIN_BAD_SHAPE', 'plugins[1]', /is null, not an object/],
    ['text', 'PLUGIN_BAD_SHAPE', 'plugins[1]', /is string, not an object/],
    [{ api: 1, setup: () => {} }, 'PLUGIN_BAD_SHAPE', 'plugins[1]', /no "name"/],
    [{ name: 'p', api: 1 }, 'PLUGIN_BAD_SHAPE', 'p', /no "setup" function/],
    [{ name: 'p', api: 1, setup: () => {}, start: 1 }, 'PLUGIN_BAD_SHAPE', 'p', /"start"/],
    [{ name: 'p', api: 1, setup: () => {}, stop: 1 }, 'PLUGIN_BAD_SHAPE', 'p', /"stop"/],
    [{ name: 'p', api: 1, setup: () => {}, after: [1] }, 'PLUGIN_BAD_SHAPE', 'p', /"after"/],
    [{ name: 'p', api: 2, setup: () => {} }, 'PLUGIN_API_MISMATCH', 'p', /names plugin API 2, and @nekit\/core 0\.1\.0 has API 1; update @nekit\/core/],
    [{ name: 'p', api: 0, setup: () => {} }, 'PLUGIN_API_MISMATCH', 'p', /update the plugin/],
    [{ name: 'p', setup: () => {} }, 'PLUGIN_API_MISMATCH', 'p', /names no plugin API/],
    [logging(ran, 'good'), 'PLUGIN_DUPLICATE_NAME', 'good', /two plugins are called "good"/],
    [logging(ran, 'core'), 'PLUGIN_DUPLICATE_NAME', 'core', /calls itself "core"/],
    [logging(ran, 'self', ['self']), 'PLUGIN_CYCLE', 'self', /"self" after "self"/],
  ];
  for (const [plugin, code, name, message] of bad) {
    const error = thrown(() => setUp([good, plugin as Plugin], { builtin: () => void ran.push('builtin') }));
    pluginError(t, error, code, name, 'check', message);
  }
  t.strictSame(ran, [], 'nothing was set up');
});

t.test('order', async (t) => {
  const log: string[] = [];
  const { host } = setUp([logging(log, 'c', ['a', 'b']), logging(log, 'b', ['a']), logging(log, 'a'), logging(log, 'd', ['not-loaded'])]);
  t.strictSame(
    host.plugins.map((plugin) => plugin.name),
    ['a', 'b', 'c', 'd'],
  );
  await host.start();
  t.strictSame(await host.stop(), []);
  t.strictSame(
    log.filter((line) => line.startsWith('setup')),
    ['setup a', 'setup b', 'setup c', 'setup d'],
  );
  t.strictSame(
    log.filter((line) => line.startsWith('start')),
    ['start a', 'start b', 'start c', 'start d'],
  );
  t.strictSame(
    log.filter((line) => line.startsWith('stop')),
    ['stop d', 'stop c', 'stop b', 'stop a'],
  );
  t.strictSame(
    setUp(['x', 'y', 'z'].map((name) => logging([], name))).host.plugins.map((plugin) => plugin.name),
    ['x', 'y', 'z'],
    'stable',
  );
  const cycle = thrown(() => setUp([logging(log, 'free'), logging(log, 'a', ['b']), logging(log, 'b', ['c']), logging(log, 'c', ['a'])]));
  pluginError(t, cycle, 'PLUGIN_CYCLE', 'a', 'check', /"a" after "b" after "c" after "a"/);
});

t.test('setup', async (t) => {
  t.test('one that throws', async (t) => {
    const cause = new Error('no coffee');
    const error = thrown(() =>
      setUp([
        only(() => {
          throw cause;
        }),
      ]),
    );
    pluginError(t, error, 'PLUGIN_SETUP_FAILED', 'mine', 'setup', /"mine" failed in setup: no coffee/);
    t.equal((error as Error).cause, cause);
  });
  t.test('one that is async', async (t) => {
    const pending = { name: 'slow', api: 1, setup: () => new Promise<void>(() => {}) };
    pluginError(
      t,
      thrown(() => setUp([pending])),
      'PLUGIN_SETUP_ASYNC',
      'slow',
      'setup',
      /must not be async/,
    );
    const rejecting = {
      name: 'slow',
      api: 1,
      setup: async () => {
        throw new Error('unheard');
      },
    };
    pluginError(
      t,
      thrown(() => setUp([rejecting])),
      'PLUGIN_SETUP_ASYNC',
      'slow',
      'setup',
      /must not be async/,
    );
    await settle(); // an unhandled rejection would fail the test
  });
  t.test('registering later', async (t) => {
    let kept: PluginContext | undefined;
    const { host } = setUp(
      [
        only((context) => {
          kept = context;
        }),
      ],
      { values: [provided(NAME, () => 'core')] },
    );
    pluginError(
      t,
      thrown(() => kept?.adapter(adapter('late'))),
      'PLUGIN_SETUP_OVER',
      'mine',
      'setup',
      /called adapter after its setup/,
    );
    pluginError(
      t,
      thrown(() => kept?.provide(COUNTER, () => ({ count: 0 }))),
      'PLUGIN_SETUP_OVER',
      'mine',
      'setup',
      /called provide after/,
    );
    t.equal(kept?.get(NAME), 'core', 'get goes on');
    t.strictSame(host.registry.adapters.names(), []);
  });
  t.test('types land in the registry', async (t) => {
    const mine = only((context) => {
      context.adapter(adapter('ss'));
      context.adapter(adapter('fast', true));
      context.inbound(inbound('forward'));
      context.protocol(protocol('socks'));
      context.rule(rule('IP-CIDR6'));
    });
    const { registry } = setUp([mine], { builtin: (context) => context.adapter(adapter('direct')) }).host;
    t.strictSame(
      registry.adapters.entries().map(([type, { plugin }]) => `${type} ${plugin}`),
      ['direct core', 'ss mine'],
    );
    t.strictSame(registry.groups.names(), ['fast']);
    t.strictSame(registry.inbounds.names(), ['forward']);
    t.strictSame(registry.protocols.names(), ['socks']);
    t.strictSame(registry.rules.names(), ['IP-CIDR6']);
  });
});

t.test('a type that is taken names both plugins', async (t) => {
  const twice: [string, (context: PluginContext) => void][] = [
    ['adapter type "ss"', (context) => context.adapter(adapter('ss'))],
    ['group type "ss"', (context) => context.adapter(adapter('ss', true))],
    ['listener type "x"', (context) => context.inbound(inbound('x'))],
    ['inbound protocol "x"', (context) => context.protocol(protocol('x'))],
    ['rule kind "X"', (context) => context.rule(rule('X'))],
  ];
  for (const [what, setup] of twice) {
    const error = thrown(() => setUp([only(setup, 'first'), only(setup, 'second')]));
    pluginError(t, error, 'DUPLICATE_TYPE', 'second', 'setup', new RegExp(`${what} of plugin second is already taken by plugin first`));
    t.equal(errorCode((error as Error).cause), 'DUPLICATE_TYPE');
  }
  const asProtocol = only((context) => context.protocol(protocol('x')), 'first');
  const asInbound = only((context) => context.inbound(inbound('x')), 'second');
  pluginError(
    t,
    thrown(() => setUp([asProtocol, asInbound])),
    'DUPLICATE_TYPE',
    'second',
    'setup',
    /listener type "x" of plugin second is already taken by plugin first/,
  );
  pluginError(
    t,
    thrown(() => setUp([asInbound, asProtocol])),
    'DUPLICATE_TYPE',
    'first',
    'setup',
    /already taken by plugin second/,
  );
  pluginError(
    t,
    thrown(() => setUp([only((context) => context.protocol(protocol('mixed')))])),
    'DUPLICATE_TYPE',
    'mine',
    'setup',
    /already taken by plugin core/,
  );
});

t.test('definitions that make no sense', async (t) => {
  // As a plugin in plain JavaScript would pass them.
  const bad: [keyof PluginContext, unknown, RegExp][] = [
    ['adapter', null, /should be an object/],
    ['adapter', { ...adapter('x'), type: '' }, /no "type"/],
    ['adapter', { ...adapter('x'), create: undefined }, /"x" has no function "create"/],
    ['adapter', { ...adapter('x'), config: {} }, /no parse and toJSONSchema/],
    ['inbound', { ...inbound('x'), config: undefined }, /no parse and toJSONSchema/],
    ['protocol', { ...protocol('x'), serve: 1 }, /no function "serve"/],
    ['rule', rule('lower'), /upper case/],
    ['provide', 'text', /token/],
  ];
  for (const [method, definition, message] of bad) {
    const setup = (context: PluginContext): void => {
      Reflect.apply(context[method], context, [definition]);
    };
    pluginError(
      t,
      thrown(() => setUp([only(setup)])),
      'PLUGIN_BAD_DEFINITION',
      'mine',
      'setup',
      message,
    );
  }
});

t.test('values', async (t) => {
  t.test('made once, when asked for, and seen by everybody', async (t) => {
    let made = 0;
    const giver = only((context) => {
      context.provide(COUNTER, (get) => ({ count: get(NAME).length + made++ }));
      t.equal(made, 0);
    }, 'giver');
    const taker = only((context) => t.equal(context.get(COUNTER).count, 4), 'taker');
    const { host } = setUp([giver, taker], { values: [provided(NAME, () => 'core')] });
    t.equal(host.get(COUNTER), host.get(COUNTER));
    t.equal(made, 1);
  });
  t.test('undefined is a value, too', async (t) => {
    const NOTHING = token<string | undefined>('test.Nothing');
    let made = 0;
    const { host } = setUp([], {
      values: [
        provided(NOTHING, () => {
          made++;
          return undefined;
        }),
      ],
    });
    t.equal(host.get(NOTHING), undefined);
    t.equal(host.get(NOTHING), undefined);
    t.equal(made, 1);
  });
  t.test('an unknown one', async (t) => {
    const { host } = setUp([]);
    t.match(
      thrown(() => host.get(NAME)),
      { code: 'UNKNOWN_TOKEN', message: /nothing provides test\.Name/ },
    );
  });
  t.test('provided twice', async (t) => {
    const setup = (context: PluginContext): void => context.provide(NAME, () => 'x');
    pluginError(
      t,
      thrown(() => setUp([only(setup, 'first'), only(setup, 'second')])),
      'DUPLICATE_TOKEN',
      'second',
      'setup',
      /test\.Name of plugin second is already provided by plugin first/,
    );
    pluginError(
      t,
      thrown(() => setUp([only(setup)], { values: [provided(NAME, () => 'core')] })),
      'DUPLICATE_TOKEN',
      'mine',
      'setup',
      /provided by plugin core/,
    );
  });
  t.test('a factory that throws is named, and asked again next time', async (t) => {
    let broken = true;
    const { host } = setUp([
      only((context) =>
        context.provide(NAME, () => {
          if (broken) throw new Error('no');
          return 'yes';
        }),
      ),
    ]);
    pluginError(
      t,
      thrown(() => host.get(NAME)),
      'PLUGIN_PROVIDE_FAILED',
      'mine',
      'provide',
      /"mine" could not make test\.Name: no/,
    );
    broken = false;
    t.equal(host.get(NAME), 'yes');
  });
  t.test('values that need each other', async (t) => {
    const { host } = setUp([
      only((context) => {
        context.provide(NAME, (get) => String(get(COUNTER).count));
        context.provide(COUNTER, (get) => ({ count: get(NAME).length }));
      }),
    ]);
    pluginError(
      t,
      thrown(() => host.get(NAME)),
      'TOKEN_CYCLE',
      'mine',
      'provide',
      /test\.Name needs test\.Counter needs test\.Name/,
    );
  });
  t.test('two hosts share nothing', async (t) => {
    const plugin = only((context) => {
      context.provide(COUNTER, () => ({ count: 0 }));
      context.adapter(adapter('x'));
    });
    const a = setUp([plugin], { values: [provided(NAME, () => 'a')] }).host;
    const b = setUp([plugin], { values: [provided(NAME, () => 'b')] }).host;
    t.not(a.get(COUNTER), b.get(COUNTER));
    a.get(COUNTER).count = 7;
    t.equal(b.get(COUNTER).count, 0);
    t.strictSame([a.get(NAME), b.get(NAME)], ['a', 'b']);
    const c = setUp([]).host;
    t.match(
      thrown(() => c.get(COUNTER)),
      { code: 'UNKNOWN_TOKEN' },
    );
    t.strictSame(c.registry.adapters.names(), []);
  });
});

// What an entry may ask for: the text of SIP003, the keys of Clash, and what a link may choose.
import { join } from 'node:path';
import { type AdapterDefinition, checkConfig, formatProblem, parseConfig, Registry } from '@nekit/core';
import { dialOptions, testContext } from '@nekit/core/testing';
import fc from 'fast-check';
import t from 'tap';
import { z } from 'zod';
import { linkOf } from '../../dist/plugin/link.js';
import { checkPlugin, choosePlugin, type LinkConfig, type PluginChoice, pluginKeys, unsupportedPlugin } from '../../dist/plugin/plugin-config.js';
import { pluginFromUri, pluginToUri } from '../../dist/plugin/plugin-uri.js';
import { formatOptions, parseOptions, splitPlugin } from '../../dist/plugin/sip003-options.js';
import { makeProgram } from './support/sip003-program.js';

const SERVER = { server: '192.0.2.7', port: 8388 };

function chosen(config: Partial<LinkConfig>): PluginChoice {
  const choice = choosePlugin({ ...SERVER, ...config });
  if ('problem' in choice) throw new Error(`${choice.problem.path.join('.')}: ${choice.problem.message}`);
  return choice.plugin;
}

function problem(config: Partial<LinkConfig>): string {
  const [first] = checkPlugin({ ...SERVER, ...config });
  return first === undefined ? '' : `${first.path.join('.')} ${first.message}`;
}

function unsupported(config: Partial<LinkConfig>): string {
  t.equal(problem(config), '', 'it is not wrong');
  const found = unsupportedPlugin({ ...SERVER, ...config });
  return found === null ? '' : `${found.path.join('.')} ${found.message}`;
}

void t.test('options as text: escapes, flags, and what is broken', (t) => {
  t.same(
    [...parseOptions('obfs=http;obfs-host=a.b;tls;path=/a\\;b\\=c\\\\d;eq=x=y;;')],
    [
      ['obfs', 'http'],
      ['obfs-host', 'a.b'],
      ['tls', true],
      ['path', '/a;b=c\\d'],
      ['eq', 'x=y'],
    ],
  );
  t.same(
    [...parseOptions('a\\=b=c;empty=')],
    [
      ['a=b', 'c'],
      ['empty', ''],
    ],
  );
  t.equal(parseOptions('').size, 0);
  t.throws(() => parseOptions('a=b\\'), /backslash/);
  t.throws(() => parseOptions('=b'), /no name/);
  t.throws(() => parseOptions('password=one;password=two'), { message: 'the plugin option "password" is there twice' });
  t.throws(() => parseOptions('x'.repeat(70_000)), /longer/);
  t.same(splitPlugin('obfs-local;obfs=http;obfs-host=a'), { name: 'obfs-local', options: 'obfs=http;obfs-host=a' });
  t.same(splitPlugin('a\\;b;c'), { name: 'a;b', options: 'c' });
  t.same(splitPlugin('v2ray-plugin'), { name: 'v2ray-plugin', options: '' });
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(fc.string({ minLength: 1 }), fc.oneof(fc.string(), fc.constant<true>(true))), { selector: ([key]) => key }),
      (entries) => {
        t.same([...parseOptions(formatOptions(new Map(entries)))], entries);
      },
    ),
    { numRuns: 200 },
  );
  t.end();
});

void t.test('a link chooses among what is built in', (t) => {
  t.same(pluginFromUri('obfs-local', 'obfs=tls;obfs-host=a.b;fast-open'), {
    plugin: 'obfs',
    'plugin-opts': { mode: 'tls', host: 'a.b' },
    ignored: ['fast-open'],
  });
  t.same(pluginFromUri('simple-obfs', 'obfs=http'), { plugin: 'obfs', 'plugin-opts': { mode: 'http' }, ignored: [] });
  t.same(pluginFromUri('v2ray-plugin', 'tls;host=a.b;path=/x;mux=0;loglevel=none'), {
    plugin: 'v2ray-plugin',
    'plugin-opts': { mode: 'websocket', tls: true, host: 'a.b', path: '/x', mux: false },
    ignored: ['loglevel'],
  });
  t.match(pluginFromUri('v2ray-plugin', 'certRaw=QUJD')['plugin-opts'].ca, /^-----BEGIN CERTIFICATE-----\nQUJD\n/);
  for (const name of ['/bin/sh', 'sh', 'kcptun', 'xray-plugin', '../obfs-local', 'obfs-local\0', '__proto__', '']) {
    t.throws(() => pluginFromUri(name, ''), /must not choose a program/, JSON.stringify(name));
  }
  t.throws(() => pluginFromUri('v2ray-plugin', 'cert=/etc/passwd'), /names a file of this machine/);
  t.throws(() => pluginFromUri('v2ray-plugin', 'server'), /for the server/);
  t.throws(() => pluginFromUri('v2ray-plugin', 'mux=many'), /must be a number/);
  t.throws(() => pluginFromUri('v2ray-plugin', 'tls=perhaps'), /true or false/);
  t.throws(() => pluginFromUri('v2ray-plugin', 'host'), /needs a value/);
  t.equal(pluginToUri('obfs', { mode: 'http', host: 'a.b' }), 'obfs-local;obfs=http;obfs-host=a.b');
  t.equal(pluginToUri('v2ray-plugin', { mode: 'websocket', tls: true, mux: false, path: '/a;b' }), 'v2ray-plugin;tls;mux=0;path=/a\\;b');
  t.equal(pluginToUri('v2ray-plugin', { 'skip-cert-verify': true }), null);
  t.equal(pluginToUri('/bin/sh', {}), null);
  t.end();
});

void t.test('links there and back', (t) => {
  const host = fc.constantFrom('example.com', 'a.b', '192.0.2.1');
  const path = fc.stringMatching(/^\/[a-z;=\\]{0,12}$/);
  fc.assert(
    fc.property(fc.record({ mode: fc.constantFrom('http', 'tls'), host, path }, { requiredKeys: ['mode'] }), (opts) => {
      const { name, options } = splitPlugin(pluginToUri('obfs', opts) ?? '');
      t.same(pluginFromUri(name, options), { plugin: 'obfs', 'plugin-opts': opts, ignored: [] });
    }),
    { numRuns: 100 },
  );
  fc.assert(
    fc.property(
      fc.record({ mode: fc.constant('websocket'), host, path, tls: fc.constant(true), mux: fc.constant(false) }, { requiredKeys: ['mode'] }),
      (opts) => {
        const { name, options } = splitPlugin(pluginToUri('v2ray-plugin', opts) ?? '');
        t.same(pluginFromUri(name, options), { plugin: 'v2ray-plugin', 'plugin-opts': opts, ignored: [] });
      },
    ),
    { numRuns: 100 },
  );
  t.end();
});

void t.test('what an entry asks for', (t) => {
  t.same(chosen({}), { kind: 'none' });
  t.same(chosen({ plugin: '', 'plugin-opts': {} }), { kind: 'none' });
  t.same(chosen({ plugin: 'obfs', 'plugin-opts': { mode: 'tls' } }), { kind: 'obfs', mode: 'tls', host: 'bing.com', path: '/', ignored: [] });
  t.same(chosen({ plugin: 'obfs-local', 'plugin-opts': 'obfs=http;obfs-host=a.b;obfs-uri=/x' }), {
    kind: 'obfs',
    mode: 'http',
    host: 'a.b',
    path: '/x',
    ignored: [],
  });
  t.match(chosen({ plugin: 'obfs', 'plugin-opts': { mode: 'tls', tls: true, mux: false } }), { ignored: ['tls'] });
  t.match(chosen({ plugin: 'v2ray-plugin' }), { kind: 'websocket', host: 'bing.com', path: '/', mux: true, tls: null });
  t.match(chosen({ plugin: 'v2ray-plugin', 'plugin-opts': { tls: true } }), { host: '192.0.2.7', tls: { sni: '192.0.2.7' } });
  t.match(chosen({ plugin: 'v2ray-plugin', 'plugin-opts': { tls: true, host: 'a.b:8443', headers: { Host: 'c.d', A: 'b' } } }), {
    host: 'c.d',
    headers: { A: 'b' },
    tls: { sni: 'a.b' },
  });
  t.match(chosen({ plugin: 'v2ray-plugin', 'plugin-opts': 'tls;host=a.b;cert=/tmp/ca.pem' }), { tls: { ca: '/tmp/ca.pem' } });
  for (const plugin of ['shadow-tls', 'restls', 'kcptun', 'gost-plugin']) t.match(unsupported({ plugin }), /^plugin ".*" is not supported: /);
  t.match(unsupported({ plugin: 'v2ray-plugin', 'plugin-opts': { 'v2ray-http-upgrade': true } }), /^plugin-opts\.v2ray-http-upgrade is not supported/);
  t.end();
});

void t.test('what is wrong with an entry, and where', (t) => {
  t.match(problem({ plugin: 'obfs' }), /^plugin-opts\.mode is missing/);
  t.match(problem({ plugin: 'obfs', 'plugin-opts': { mode: 'quic' } }), /^plugin-opts\.mode must be http or tls, not "quic"$/);
  t.match(problem({ plugin: 'obfs', 'plugin-opts': { mode: 'tls1.2_ticket_auth' } }), /belongs to ShadowsocksR/);
  t.match(unsupported({ plugin: 'http_simple' }), /^plugin .*ShadowsocksR.*use the plugin obfs/);
  t.match(unsupported({ plugin: 'obsf' }), /^plugin "obsf" is not known, did you mean "obfs"\? \(built in are obfs and v2ray-plugin/);
  t.match(unsupported({ plugin: 'no-such-program-anywhere' }), /^plugin "no-such-program-anywhere" is not known \(/);
  t.match(problem({ plugin: './no-such-program' }), /^plugin ".\/no-such-program" is no program/);
  t.match(problem({ plugin: 'obfs-local', 'plugin-opts': 'obfs=http;obfs=tls' }), /^plugin-opts .*twice/);
  t.match(problem({ plugin: 'v2ray-plugin', 'plugin-opts': { mode: 'quic' } }), /^plugin-opts\.mode must be websocket/);
  t.match(problem({ plugin: 'v2ray-plugin', 'plugin-opts': { host: 'a b' } }), /^plugin-opts\.host/);
  t.match(problem({ plugin: 'v2ray-plugin', 'plugin-opts': { path: 'no-slash' } }), /^plugin-opts\.path/);
  t.match(problem({ plugin: 'obfs', 'plugin-opts': { mode: 'http', path: '/a HTTP/1.1\r\nX: y' } }), /^plugin-opts\.path/);
  t.match(problem({ plugin: 'v2ray-plugin', 'plugin-opts': { headers: { 'a b': 'c' } } }), /^plugin-opts\.headers hold a field/);
  t.match(problem({ plugin: 'v2ray-plugin', 'plugin-opts': { headers: { Upgrade: 'h2c' } } }), /^plugin-opts\.headers must not hold/);
  t.match(problem({ 'plugin-opts': { mode: 'http' } }), /^plugin is missing/);
  t.match(problem({ 'plugin-external': true }), /^plugin-external needs/);
  t.end();
});

void t.test('programs come by the config alone', (t) => {
  const program = makeProgram();
  t.teardown(() => program.remove());
  t.same(chosen({ plugin: program.path, 'plugin-opts': 'a=b' }), { kind: 'program', name: program.path, program: program.path, options: 'a=b' });
  t.match(problem({ plugin: program.path, 'plugin-opts': { mode: 'http' } }), /^plugin-opts of a program are written as text/);
  t.match(problem({ plugin: join(program.folder, 'other') }), /is no program/);
  t.match(problem({ plugin: 'obfs-local-that-is-not-there', 'plugin-external': true }), /is not known/);
  t.match(problem({ plugin: program.path, 'plugin-opts': 'a\0' }), /NUL/);
  t.end();
});

void t.test('in a config: places, weak types, unknown keys', (t) => {
  const config = z.object({ server: z.string(), port: z.int(), ...pluginKeys }).superRefine((entry, context) => {
    for (const { path, message } of checkPlugin(entry)) context.addIssue({ code: 'custom', path: [...path], message });
  });
  const definition: AdapterDefinition<z.infer<typeof config>> = { type: 'ss', config, create: (_, { tag }) => ({ tag, type: 'ss' }) };
  const registry = new Registry();
  registry.adapters.add('ss', 'test', definition);
  const told = (entry: string): string[] => {
    const source = parseConfig(`proxies:\n  - { name: a, type: ss, server: 192.0.2.7, port: 8388, ${entry} }\n`, 'config.yaml');
    return checkConfig(source, registry).problems.map((found) => formatProblem(found));
  };
  t.same(told('plugin: obfs, plugin-opts: { mode: http, host: a.b }'), []);
  t.same(told('plugin: v2ray-plugin, plugin-opts: { mode: websocket, tls: "true", skip-cert-verify: yes, mux: 0 }'), []);
  t.same(told('plugin: obfs-local, plugin-opts: "obfs=http;obfs-host=a.b"'), []);
  t.match(told('plugin: obsf, plugin-external: true')[0], /config\.yaml:2:\d+.*"obsf" is not known, did you mean/);
  t.match(told('plugin: v2ray-plugin, plugin-opts: { skip-cert-verfy: true }')[0], /"skip-cert-verfy" is no key.*did you mean "skip-cert-verify"/i);
  t.match(told('plugin: obfs, plugin-opts: { mode: htp }')[0], /must be http or tls/);
  t.end();
});

void t.test('an entry that cannot be used stays, and says why', async (t) => {
  const { context, events } = testContext({ tag: 'home' });
  const warnings: string[] = [];
  events.on('kernel.warning', ({ message }) => warnings.push(message));
  t.throws(() => linkOf({ ...SERVER, plugin: 'shadow-tls', 'plugin-opts': { host: 'a.b' } }, context), { code: 'SS_PLUGIN' });
  const obfs = linkOf({ ...SERVER, plugin: 'obfs', 'plugin-opts': { mode: 'http', sni: 'a.b' } }, context);
  obfs.start?.();
  t.match(warnings[0], /"sni" in "plugin-opts" has no effect/);
  const { base } = context;
  const nothing = linkOf(SERVER, { ...context, base: { tag: 'PASS', type: 'pass' }, adapter: () => base });
  await t.rejects(nothing.dial(dialOptions()), { code: 'ADAPTER_UNAVAILABLE' });
  t.throws(() => linkOf({ ...SERVER, plugin: 'obsf' }, context), { code: 'SS_PLUGIN' });
});

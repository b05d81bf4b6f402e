import {
  type Adapter,
  CancelSource,
  type Ciphers,
  checkConfig,
  DEFAULT_TIMEOUTS,
  EVENTS,
  formatProblem,
  isNetError,
  NetError,
  type PluginContext,
  parseConfig,
  Registry,
  relay,
  type Sockets,
  type Stream,
  type StreamDialer,
  TIMERS,
  type Totals,
} from '@nekit/core';
import {
  allCiphers,
  allSockets,
  closedPort,
  collect,
  dialerConformance,
  dialOptions,
  eventually,
  FakeClock,
  pattern,
  send,
  settle,
  startEcho,
  startSilent,
  startTarget,
  testContext,
  within,
} from '@nekit/core/testing';
import t from 'tap';
import { ShadowsocksAdapter } from '../dist/adapter.js';
import { shadowsocksConfig } from '../dist/config.js';
import { METHODS } from '../dist/method.js';
import plugin from '../dist/plugin.js';
import { type ServerOptions, type ShadowsocksServer, startShadowsocksServer } from './shadowsocks-server.js';

/** NEKIT_FULL=1: all methods on all implementations. */
const full = process.env.NEKIT_FULL === '1';

const key = (length: number, filled: number): string => Buffer.alloc(length, filled).toString('base64');

interface Setting {
  readonly name: string;
  readonly cipher: string;
  readonly password: string;
  /** The server's, if it has users. */
  readonly identity?: string;
  readonly users?: readonly Uint8Array[];
}

const SETTINGS: readonly Setting[] = [
  ...[...METHODS.values()].map(({ name, family, keyLength }) => ({ name, cipher: name, password: family === '2022' ? key(keyLength, 3) : 'pässwörd' })),
  {
    name: '2022-blake3-aes-256-gcm with identity headers',
    cipher: '2022-blake3-aes-256-gcm',
    password: `${key(32, 1)}:${key(32, 3)}`,
    identity: key(32, 1),
    users: [Buffer.alloc(32, 2), Buffer.alloc(32, 3)],
  },
];

/** One of each family; the rest differs in the cipher alone, which is tried once. */
const FEW: ReadonlySet<string> = new Set(['aes-256-gcm', '2022-blake3-aes-256-gcm with identity headers', 'aes-256-cfb']);

const serverFor = (setting: Setting, ciphers: Ciphers, more: Partial<ServerOptions> = {}): Promise<ShadowsocksServer> =>
  startShadowsocksServer({
    ciphers,
    cipher: setting.cipher,
    password: setting.identity ?? setting.password,
    allowInsecure: true,
    ...(setting.users === undefined ? {} : { users: setting.users }),
    ...more,
  });

function adapterFor(port: number, setting: Setting, context: ReturnType<typeof testContext>['context']): ShadowsocksAdapter {
  const { cipher, password } = setting;
  return new ShadowsocksAdapter('ss', shadowsocksConfig.parse({ server: '127.0.0.1', port, cipher, password, 'allow-insecure-ciphers': true }), context);
}

function streamOf(adapter: Adapter): StreamDialer {
  if (adapter.stream === undefined) throw new Error('the adapter has no stream dialer');
  return adapter.stream;
}

const byName = (name: string): Setting => SETTINGS.find((setting) => setting.name === name) ?? { name, cipher: name, password: 'secret' };

for (const sockets of allSockets()) {
  for (const ciphers of allCiphers()) {
    // The server has the other implementation, so that both are tried against each other.
    const others = allCiphers().find(({ kind }) => kind !== ciphers.kind) ?? ciphers;
    for (const setting of SETTINGS) {
      if (!full && !FEW.has(setting.name) && (sockets.kind === 'node') !== (ciphers.kind === 'typescript')) continue;
      t.test(`dialer conformance: ${setting.name}, ${ciphers.kind} ciphers, ${sockets.kind} sockets`, async (t) => {
        t.teardown(() => sockets.close());
        dialerConformance(
          (title, run) => t.test(title, run),
          async () => {
            const server = await serverFor(setting, others);
            const { context } = testContext({ sockets, ciphers });
            return {
              dialer: streamOf(adapterFor(server.port, setting, context)),
              async close() {
                await server.close();
                t.equal(context.get(TIMERS).size, 0, 'no deadline is left');
              },
            };
          },
          { reportsRefusal: false },
        );
      });
    }

    t.test(`relay of an inbound's connection: ${ciphers.kind} ciphers, ${sockets.kind} sockets`, async (t) => {
      t.teardown(() => sockets.close());
      for (const name of FEW) {
        const setting = byName(name);
        const echo = await startEcho();
        const server = await serverFor(setting, others);
        const { context } = testContext({ sockets, ciphers });
        const stream = await streamOf(adapterFor(server.port, setting, context)).dialStream(
          { host: '127.0.0.1', port: echo.port },
          dialOptions({ host: '127.0.0.1', port: echo.port }),
        );
        const { app, done } = await relayed(sockets, stream, context.get(TIMERS));
        const bytes = pattern(3_000_001, 7);
        const [back] = await within(Promise.all([collect(app), send(app, bytes)]), 20_000);
        t.ok(back.equals(bytes), name);
        t.strictSame(await within(done), { up: bytes.length, down: bytes.length, error: null });
        t.equal(server.first.length, 1);
        await Promise.all([server.close(), echo.close()]);
      }
    });

    t.test(`a server that speaks first, through a relay: ${ciphers.kind} ciphers, ${sockets.kind} sockets`, async (t) => {
      t.teardown(() => sockets.close());
      for (const name of FEW) {
        const setting = byName(name);
        const target = await startTarget((socket) => socket.end('220 ready\r\n'));
        const server = await serverFor(setting, others);
        const { context } = testContext({ sockets, ciphers });
        const destination = { host: '127.0.0.1', port: target.port };
        const stream = await streamOf(adapterFor(server.port, setting, context)).dialStream(destination, dialOptions(destination));
        const { app, done } = await relayed(sockets, stream, context.get(TIMERS));
        t.equal((await within(collect(app))).toString(), '220 ready\r\n', name);
        await app.closeWrite();
        t.strictSame(await within(done), { up: 0, down: 11, error: null });
        await Promise.all([server.close(), target.close()]);
      }
    });
  }
}

/** A client's connection that is relayed to `stream`, as the kernel does it. */
async function relayed(
  sockets: Sockets,
  stream: Stream,
  timers: Parameters<typeof relay>[3],
): Promise<{ readonly app: Stream; readonly done: Promise<Totals> }> {
  let accepted: (stream: Stream) => void = () => undefined;
  const incoming = new Promise<Stream>((resolve) => {
    accepted = resolve;
  });
  const nothing = (): void => undefined;
  const listener = await sockets.listen(
    { host: '127.0.0.1', port: 0, backlog: 1 },
    {
      connection: (connection) => accepted(connection.open(nothing, nothing)),
      failed: (error) => {
        throw error;
      },
    },
  );
  const app = await new Promise<Stream>((resolve, reject) => sockets.connect('127.0.0.1', listener.port, {}, resolve, reject));
  const inside = await incoming;
  listener.close();
  const { idle, halfClose } = DEFAULT_TIMEOUTS;
  const done = relay(inside, stream, { signal: new CancelSource(), idleMs: idle, halfCloseMs: halfClose, counters: new Float64Array(2), slot: 0 }, timers);
  return { app, done };
}

const [ciphers] = allCiphers();
if (ciphers === undefined) throw new Error('there are no ciphers');

t.test('the request says what was asked for, in one packet with the first bytes', async (t) => {
  const setting = byName('aes-128-gcm');
  const server = await serverFor(setting, ciphers, { instead: ({ stream }) => stream.abort(new Error('enough')) });
  t.teardown(() => server.close());
  const { context } = testContext();
  const dialer = streamOf(adapterFor(server.port, setting, context));
  const long = `${'a'.repeat(62)}.`.repeat(4).slice(0, 251);
  for (const host of ['192.0.2.1', '2001:db8::1', 'example.com', long]) {
    const options = { ...dialOptions({ host, port: 8080 }), addresses: ['192.0.2.77'] }; // of the destination: the base must not see them
    const stream = await dialer.dialStream({ host, port: 8080 }, options);
    await stream.write([Buffer.from('first bytes')]);
    await stream.read().catch(() => null);
  }
  t.strictSame(
    server.requests.map(({ host, port }) => `${host} ${port}`),
    ['192.0.2.1 8080', '2001:db8::1 8080', 'example.com 8080', `${long} 8080`],
  );
  const overhead = 16 + 2 + 16 + 'first bytes'.length + 16;
  t.strictSame(
    server.first.map(({ length }) => length - overhead),
    [1 + 4 + 2, 1 + 16 + 2, 2 + 11 + 2, 2 + 251 + 2],
    'addresses as ATYP 1, 4 and 3',
  );
  const idn = await dialer.dialStream({ host: 'bücher.example', port: 1 }, dialOptions());
  await idn.write([Buffer.from('x')]);
  await idn.read().catch(() => null);
  t.equal(server.requests.at(-1)?.host, 'xn--bcher-kva.example', 'sent as it is; who reads it makes it canonical');
});

t.test('what no request can carry is refused before anything is dialled', async (t) => {
  const server = await serverFor(byName('aes-128-gcm'), ciphers);
  t.teardown(() => server.close());
  const dialer = streamOf(adapterFor(server.port, byName('aes-128-gcm'), testContext().context));
  for (const [host, wanted] of [
    ['fe80::1%eth0', 'unreachable SS_ZONE'],
    ['é'.repeat(128), 'name SS_NAME_LENGTH'],
    ['', 'name SS_NAME_LENGTH'],
  ] as const) {
    t.equal(await failureOf(dialer.dialStream({ host, port: 80 }, dialOptions())), wanted);
  }
  t.equal(server.accepted(), 0);
});

t.test('a dial succeeds when the TCP of the server does', async (t) => {
  const { context } = testContext({ timeouts: { connect: 1_000 } });
  const setting = byName('aes-256-gcm');
  const refused = streamOf(adapterFor(await closedPort(), setting, context));
  t.equal(await failureOf(refused.dialStream({ host: 'example.com', port: 80 }, dialOptions())), 'refused ECONNREFUSED');
  const silent = await startSilent();
  t.teardown(() => silent.close());
  const stream = await within(streamOf(adapterFor(silent.port, setting, context)).dialStream({ host: 'example.com', port: 80 }, dialOptions()));
  stream.abort(new Error('enough'));
  await eventually(() => silent.connections() === 0);
});

t.test('a wrong password shows as a reset that says so', async (t) => {
  const setting = byName('aes-256-gcm');
  const server = await serverFor({ ...setting, password: 'another' }, ciphers);
  t.teardown(() => server.close());
  const dialer = streamOf(adapterFor(server.port, setting, testContext().context));
  const stream = await dialer.dialStream({ host: 'example.com', port: 80 }, dialOptions());
  await stream.write([pattern(100, 1)]);
  const error = await within(stream.read()).catch((thrown: unknown) => thrown);
  t.ok(isNetError(error));
  t.match(error, { code: 'SEALED_NO_REPLY', message: /wrong password or cipher, .* or a target that refused/ });
});

t.test('a server that is reached too late is let go', async (t) => {
  let opened: (stream: Stream) => void = () => undefined;
  let aborted: Error | null = null;
  const late: Stream = {
    read: () => Promise.reject(new NetError('aborted', 'spent')),
    write: () => Promise.reject(new NetError('aborted', 'spent')),
    closeWrite: () => Promise.resolve(),
    abort: (reason) => {
      aborted = reason;
    },
  };
  const clock = new FakeClock();
  const base: Adapter = { tag: 'DIRECT', type: 'direct', stream: { dialStream: () => new Promise((resolve) => (opened = resolve)) } };
  const dialer = streamOf(adapterFor(1, byName('aes-256-gcm'), testContext({ base, clock }).context));
  const signal = new CancelSource();
  const dialling = dialer.dialStream({ host: 'example.com', port: 80 }, dialOptions(undefined, { signal }));
  const reason = new NetError('aborted', 'the client has left', { code: 'CLIENT_LEFT' });
  signal.cancel(reason);
  opened(late);
  t.equal(await failureOf(dialling), 'aborted CLIENT_LEFT');
  t.equal(aborted, reason);
  await settle();
  t.equal(clock.pending, 0, 'no header is waiting');
});

t.test('the adapter', async (t) => {
  const { context } = testContext({ tag: 'home' });
  const adapter = adapterFor(8388, byName('aes-256-gcm'), context);
  t.match(adapter, { tag: 'home', type: 'ss' });
  adapter.start();
  adapter.close();
  adapter.close();
  const nowhere = adapterFor(8388, byName('aes-256-gcm'), testContext({ base: { tag: 'x', type: 'x' } }).context);
  t.equal(nowhere.stream, undefined, 'what cannot dial cannot reach the server');
  const config = shadowsocksConfig.parse({ server: '127.0.0.1', port: 1, cipher: 'aes-256-gcm', password: 'x' });
  t.throws(() => new ShadowsocksAdapter('ss', { ...config, cipher: 'rc4-md5' }, context), { code: 'SS_INSECURE' });
  const streamsOnly: Adapter = { tag: 'x', type: 'x', stream: { dialStream: () => Promise.reject(new NetError('refused', 'no')) } };
  const onStreams = testContext({ base: streamsOnly }).context;
  const packetOf = (more: Partial<typeof config>, given = context): boolean => new ShadowsocksAdapter('ss', { ...config, ...more }, given).packet !== undefined;
  t.equal(packetOf({}), false, 'UDP only where it is asked for');
  t.equal(packetOf({ 'udp-over-tcp': true }), false);
  t.equal(packetOf({ udp: true }), true);
  t.equal(packetOf({ udp: true }, onStreams), false, 'datagrams need a base that has them');
  t.equal(packetOf({ udp: true, 'udp-over-tcp': true }, onStreams), true, 'inside of connections they do not');
  const warnings: string[] = [];
  context.get(EVENTS).on('kernel.warning', ({ message }) => warnings.push(message));
  new ShadowsocksAdapter('ss', { ...config, udp: true, 'udp-over-tcp': true }, context).start();
  t.same(warnings, []);
  new ShadowsocksAdapter('ss', { ...config, 'udp-over-tcp': true }, context).start();
  t.same(warnings, ['home: "udp-over-tcp" has no effect without "udp: true"']);
});

/** The failure and code that a dial ends with. */
async function failureOf(dialling: Promise<Stream>): Promise<string> {
  try {
    (await within(dialling)).abort(new Error('it should have failed'));
    return 'connected';
  } catch (error) {
    return isNetError(error) ? `${error.failure} ${error.code}` : `not a NetError: ${String(error)}`;
  }
}

// ---- The config, as `nekit-kernel check` reports it ------------------------------------------------------------------------------------

const registry = new Registry();
const nothing = (): void => undefined;
const setup: PluginContext = {
  adapter: (definition) => registry.adapters.add(definition.type, 'adapter-shadowsocks', definition),
  inbound: nothing,
  protocol: nothing,
  rule: nothing,
  stack: nothing,
  section: nothing,
  resolver: nothing,
  nameHook: nothing,
  provide: nothing,
  get: () => {
    throw new Error('nothing is needed at setup');
  },
};
plugin.setup(setup);

const check = (entry: string): string[] => checkConfig(parseConfig(`proxies:\n  - ${entry}\n`, 'c.yaml'), registry).problems.map(formatProblem);

t.test('a good entry', async (t) => {
  for (const type of ['ss', 'shadowsocks']) {
    t.strictSame(
      check(`{ name: home, type: ${type}, server: 192.0.2.1, port: "8388", cipher: AES-256-GCM, password: 0123, udp: yes, udp-over-tcp-version: "2" }`),
      [],
    );
  }
  const plain = { server: '192.0.2.1', port: 8388, cipher: 'aes-256-gcm', password: 'x' };
  const defaults = { 'allow-insecure-ciphers': false, udp: false, 'udp-over-tcp': false, 'udp-over-tcp-version': 1, 'plugin-external': false };
  t.strictSame(shadowsocksConfig.parse(plain), { ...plain, ...defaults });
  t.strictSame(
    check('{ name: old, type: ss, server: a.test, port: 1, cipher: AES-256-CFB, password: x, protocol: origin, obfs: plain, allow-insecure-ciphers: true }'),
    [],
  );
  t.strictSame(check('{ name: none, type: ss, server: a.test, port: 1, cipher: dummy }'), []);
  t.strictSame(
    check('{ name: obfs, type: ss, server: a.test, port: 1, cipher: aes-128-gcm, password: x, plugin: obfs, plugin-opts: { mode: http, host: b.test } }'),
    [],
  );
});

t.test('a cipher and a plugin of other programs break no file', async (t) => {
  const whole = (rest: string): string =>
    `proxies:\n  - { name: x, type: ss, server: a.test, port: 1, password: x, ${rest} }\n  - { name: y, type: ss, server: a.test, port: 1, password: x, cipher: aes-128-gcm }\n`;
  for (const [rest, words] of [
    ['cipher: aes-256-cfb', /^"cipher": aes-256-cfb is broken/],
    ['cipher: aes-128-ccm', /^"cipher": aes-128-ccm is no cipher of the Shadowsocks specifications/],
    ['cipher: 2022-blake3-chacha8-poly1305', /^"cipher": 2022-blake3-chacha8-poly1305 is an optional method/],
    ['cipher: aes-128-gcm, plugin: shadow-tls, plugin-opts: { host: b.test }', /^"plugin": "shadow-tls" is not supported/],
    ['cipher: aes-128-gcm, plugin: xray-plugin-of-nobody', /^"plugin": "xray-plugin-of-nobody" is not known/],
    ['cipher: aes-128-gcm, plugin: v2ray-plugin, plugin-opts: { v2ray-http-upgrade: true }', /^"v2ray-http-upgrade": is not supported/],
  ] as const) {
    const { config, problems } = checkConfig(parseConfig(whole(rest), 'c.yaml'), registry);
    t.match(problems, [{ severity: 'warning', code: 'UNSUPPORTED_VALUE', message: words }], rest);
    t.match(problems[0]?.message, /It stays listed, and connections to it fail\.$/);
    // Clients read this, so it repeats no value: it may be the password, in the wrong place.
    const unavailable = /^its "(?:cipher|plugin|v2ray-http-upgrade)" is not supported$/;
    t.match(
      config?.proxies,
      [
        { name: 'x', options: null, unavailable },
        { name: 'y', unavailable: null },
      ],
      rest,
    );
    const strict = checkConfig(parseConfig(whole(rest), 'c.yaml'), registry, { strict: true });
    t.match(strict, { config: null, problems: [{ severity: 'error' }] });
    t.notMatch(strict.problems[0]?.message, /stays listed/);
    t.equal(checkConfig(parseConfig(whole(rest).replace('port: 1', 'port: 0'), 'c.yaml'), registry).config, null, 'what is malformed stays an error');
  }
});

t.test('a bad one is told at the key that is bad', async (t) => {
  const told = (rest: string): string => check(`{ name: x, type: ss, server: a.test, port: 1, ${rest} }`).join('\n');
  const at = '{ name: x, type: ss, server: a.test, port: 1, '.length + '  - '.length + 1;
  t.match(
    told('cipher: aes-256-gmc, password: x'),
    `c.yaml:2:${at + 'cipher: '.length} warning: "cipher": "aes-256-gmc" is no cipher of Shadowsocks. Did you mean "aes-256-gcm"?`,
  );
  t.match(
    told('cipher: rc4-md5, password: x'),
    /c\.yaml:2:\d+ warning: "cipher": rc4-md5 is broken: .*allow-insecure-ciphers: true"\. It stays listed, and connections to it fail/,
  );
  t.match(told('cipher: verify_sha1, password: x'), /"cipher": verify_sha1 belongs to ShadowsocksR/);
  const password = told('cipher: 2022-blake3-aes-128-gcm, password: hunter2hunter2');
  t.match(
    password,
    `c.yaml:2:${at + 'cipher: 2022-blake3-aes-128-gcm, password: '.length} error: "password": the key has 10 bytes, 2022-blake3-aes-128-gcm needs 16; make one with: openssl rand -base64 16`,
  );
  t.notMatch(password, /hunter/);
  t.match(told('cipher: aes-256-gcm'), /"password": must be given/);
  t.match(told('password: x'), /"cipher" is missing/);
  t.match(told('cipher: aes-256-gcm, password: x, protocol: verify_sha1'), /"protocol": belongs to ShadowsocksR.*aes-256-gcm/);
  t.match(told('cipher: aes-256-gcm, password: x, obfs: http_simple'), /"obfs": belongs to ShadowsocksR.*obfs or v2ray-plugin/);
  t.match(told('cipher: aes-256-gcm, password: x, plugin: obfs, plugin-opts: { mode: tls1.2_ticket_auth }'), /"mode": must be http or tls/);
  t.match(told('cipher: aes-256-gcm, password: x, udp-over-tcp-version: 3'), /"udp-over-tcp-version" must be/);
  t.match(told('cipher: aes-256-gcm, password: x, client-fingerprint: chrome'), /warning: "client-fingerprint" is not supported in a ss proxy/);
  t.match(told('cipher: aes-256-gcm, password: x, udp-over-tpc: true'), /warning: "udp-over-tpc" is no key of a ss proxy\. Did you mean "udp-over-tcp"/);
  t.match(
    check('{ name: x, type: ss, server: "a b", port: 0, cipher: aes-256-gcm, password: x }').join('\n'),
    /"server": must be an IP address or a domain[\s\S]*"port" must be/,
  );
});

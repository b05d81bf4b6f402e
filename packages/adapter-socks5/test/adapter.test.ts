import { type AddressInfo, createServer } from 'node:net';
import { inspect } from 'node:util';
import {
  type AdapterContext,
  CancelSource,
  type DialOptions,
  isNetError,
  type NativeEnd,
  NetError,
  type Stream,
  type StreamDialer,
  streamFromSocket,
  TIMERS,
} from '@nekit/core';
import {
  collect,
  dialerConformance,
  dialOptions,
  eventually,
  startEcho,
  startSilent,
  streamConformance,
  type TestContextOptions,
  testContext,
  within,
} from '@nekit/core/testing';
import t from 'tap';
import { Socks5Adapter } from '../dist/adapter.js';
import { parseSocks5Uri, socks5Config } from '../dist/config.js';
import plugin from '../dist/plugin.js';
import { makeCertificate } from './certificate.js';
import { type Behaviour, type SocksServer, type Step, startSocksServer } from './socks-server.js';

const certificate = makeCertificate('proxy.test');
const user = { username: 'nekit', password: 'pä ss\0word' };
const TARGET = { host: 'target.test', port: 443 };

interface Dialled {
  readonly server: SocksServer;
  readonly dialer: StreamDialer;
  readonly context: AdapterContext;
}

async function withServer(
  behaviour: Behaviour,
  config: Record<string, unknown>,
  run: (made: Dialled) => Promise<void>,
  options: TestContextOptions = {},
): Promise<void> {
  const server = await startSocksServer(behaviour);
  try {
    const { context } = testContext(options);
    await within(run({ server, dialer: streamOf(adapterFor(server.port, config, context)), context }), 10_000);
  } finally {
    await server.close();
  }
}

function adapterFor(port: number, config: Record<string, unknown>, context: AdapterContext): Socks5Adapter {
  return new Socks5Adapter('socks5', socks5Config.parse({ server: '127.0.0.1', port, ...config }), context);
}

function streamOf(adapter: Socks5Adapter): StreamDialer {
  if (adapter.stream === undefined) throw new Error('the adapter has no stream dialer');
  return adapter.stream;
}

const dial = (dialer: StreamDialer, destination = TARGET, partial: Partial<DialOptions> = {}): Promise<Stream> =>
  dialer.dialStream(destination, dialOptions(destination, partial));

/** The failure and code that a dial ends with. */
async function failureOf(dialling: Promise<Stream>): Promise<string> {
  try {
    const stream = await dialling;
    stream.abort(new Error('it should have failed'));
    return 'connected';
  } catch (error) {
    return isNetError(error) ? `${error.failure} ${error.code}` : `not a NetError: ${String(error)}`;
  }
}

const WAYS: readonly { name: string; behaviour: Behaviour; config: Record<string, unknown> }[] = [
  { name: 'plain', behaviour: {}, config: {} },
  { name: 'password, byte by byte', behaviour: { user, bytewise: true }, config: user },
  { name: 'TLS and password', behaviour: { user, tls: certificate }, config: { ...user, tls: true, sni: 'proxy.test', ca: certificate.cert } },
];

for (const { name, behaviour, config } of WAYS) {
  t.test(`dialer conformance: ${name}`, async (t) => {
    dialerConformance(
      (title, run) => t.test(title, run),
      async () => {
        const server = await startSocksServer(behaviour);
        const { context } = testContext();
        return {
          dialer: streamOf(adapterFor(server.port, config, context)),
          async close() {
            t.strictSame(server.breaches, []);
            await server.close();
            t.equal(context.get(TIMERS).size, 0, 'no deadline is left');
          },
        };
      },
    );
  });

  t.test(`stream conformance: ${name}`, async (t) => {
    streamConformance(
      (title, run) => t.test(title, run),
      async () => {
        const server = await startSocksServer(behaviour);
        const { context } = testContext();
        const pair = await directPair(streamOf(adapterFor(server.port, config, context)));
        return { ...pair, close: () => server.close() };
      },
    );
  });
}

/** `a` goes through the dialer to a listener whose end of the connection is `b`. */
async function directPair(dialer: StreamDialer): Promise<{ a: Stream; b: Stream }> {
  const listener = createServer({ allowHalfOpen: true, noDelay: true });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const accepted = new Promise<Stream>((resolve) => listener.once('connection', (socket) => resolve(streamFromSocket(socket))));
  const { port } = listener.address() as AddressInfo;
  const a = await dial(dialer, { host: '127.0.0.1', port });
  const b = await accepted;
  listener.close();
  return { a, b };
}

t.test('the request says what was asked for, as it was asked for', async (t) => {
  await withServer({ behindReply: Buffer.from('hello') }, {}, async ({ server, dialer }) => {
    const long = `${'a'.repeat(62)}.`.repeat(4).slice(0, 255);
    for (const host of ['192.0.2.1', '2001:db8::1', 'example.com', long]) (await dial(dialer, { host, port: 8080 })).abort(new Error('enough'));
    t.strictSame(server.requests, [
      { command: 1, type: 1, host: '192.0.2.1', port: 8080 },
      { command: 1, type: 4, host: '20010db8000000000000000000000001', port: 8080 },
      { command: 1, type: 3, host: 'example.com', port: 8080 },
      { command: 1, type: 3, host: long, port: 8080 },
    ]);
    const before = server.accepted();
    t.equal(await failureOf(dial(dialer, { host: 'a'.repeat(256), port: 80 })), 'name SOCKS5_NAME_LENGTH');
    t.equal(await failureOf(dial(dialer, { host: 'ä'.repeat(128), port: 80 })), 'name SOCKS5_NAME_LENGTH', 'bytes count, not characters');
    t.equal(await failureOf(dial(dialer, { host: '', port: 80 })), 'name SOCKS5_NAME_LENGTH');
    t.equal(server.accepted(), before, 'the server is not even dialled');
    t.strictSame(server.breaches, []);
  });
});

t.test('every ATYP in BND is understood, byte by byte, and what comes behind the reply is kept', async (t) => {
  const bounds = {
    IPv4: Buffer.of(1, 0, 0, 0, 0, 0, 0),
    IPv6: Buffer.concat([Buffer.of(4), Buffer.alloc(16, 0xfe), Buffer.of(1, 2)]),
    domain: Buffer.concat([Buffer.of(3, 9), Buffer.from('bound.xyz'), Buffer.of(1, 2)]),
    'a domain of 255 bytes': Buffer.concat([Buffer.of(3, 255), Buffer.alloc(255, 0x61), Buffer.of(1, 2)]),
    'an empty domain': Buffer.of(3, 0, 1, 2),
  };
  const behind = Buffer.from([5, 0, 0, 1, 9, 9, 9, 9, 9, 9, ...Buffer.from('payload that looks like a reply')]);
  for (const [name, bound] of Object.entries(bounds)) {
    for (const bytewise of [false, true]) {
      await withServer({ bound, bytewise, behindReply: behind }, {}, async ({ dialer }) => {
        const stream = await dial(dialer);
        const parts: Uint8Array[] = [];
        while (Buffer.concat(parts).length < behind.length) parts.push(...((await stream.read()) ?? [Buffer.from('FIN')]));
        t.ok(Buffer.concat(parts).equals(behind), `${name}${bytewise ? ' byte by byte' : ''}`);
        stream.abort(new Error('enough'));
      });
    }
  }
});

t.test('every REP is an error with its code', async (t) => {
  const expected = ['', 'unreachable', 'denied', 'unreachable', 'unreachable', 'refused', 'timeout', 'protocol', 'protocol', 'protocol'];
  for (let rep = 1; rep <= 9; rep++) {
    await withServer({ wrong: { request: Buffer.of(5, rep, 0, 1, 0, 0, 0, 0, 0, 0) } }, {}, async ({ server, dialer }) => {
      t.equal(await failureOf(dial(dialer)), `${expected[rep]} SOCKS5_REP_${rep}`);
      await eventually(() => server.connections() === 0);
    });
  }
  await withServer({ wrong: { request: Buffer.of(5, 255) } }, {}, async ({ dialer }) => {
    t.equal(await failureOf(dial(dialer)), 'protocol SOCKS5_REP_255', 'a refusal that stops after REP');
  });
});

t.test('authentication: what can go wrong', async (t) => {
  const cases: [string, Behaviour, Record<string, unknown>, string][] = [
    ['wanted, and we have none', { user }, {}, 'auth SOCKS5_NO_METHOD'],
    ['wrong password', { user }, { username: 'nekit', password: 'wrong' }, 'auth SOCKS5_AUTH'],
    ['password cut at its NUL', { user }, { username: 'nekit', password: 'pä ss' }, 'auth SOCKS5_AUTH'],
    ['an odd status', { user, wrong: { auth: Buffer.of(1, 0x7f) } }, user, 'auth SOCKS5_AUTH'],
    ['method FF', { wrong: { greeting: Buffer.of(5, 0xff) } }, user, 'auth SOCKS5_NO_METHOD'],
    ['a method that was not offered', { wrong: { greeting: Buffer.of(5, 1) } }, user, 'protocol SOCKS5_PROTOCOL'],
    ['a password without one being offered', { wrong: { greeting: Buffer.of(5, 2) } }, {}, 'protocol SOCKS5_PROTOCOL'],
    ['an HTTP server', { wrong: { greeting: Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n') } }, {}, 'protocol SOCKS5_PROTOCOL'],
    ['a reply of version 4', { wrong: { request: Buffer.of(4, 0, 0, 1, 0, 0, 0, 0, 0, 0) } }, {}, 'protocol SOCKS5_PROTOCOL'],
    ['an unknown ATYP', { wrong: { request: Buffer.of(5, 0, 0, 2, 0, 0, 0, 0, 0, 0) } }, {}, 'protocol SOCKS5_PROTOCOL'],
  ];
  for (const [name, behaviour, config, failure] of cases) {
    await withServer(behaviour, config, async ({ server, dialer }) => {
      t.equal(await failureOf(dial(dialer)), failure, name);
      await eventually(() => server.connections() === 0);
      t.strictSame(server.breaches, []);
    });
  }
  await withServer({ wrong: { auth: Buffer.of(5, 0) }, user }, user, async ({ dialer }) => {
    const cancel = new CancelSource();
    const dialling = failureOf(dial(dialer, TARGET, { signal: cancel }));
    cancel.cancel(new NetError('aborted', 'test over', { code: 'OVER' }));
    t.equal(await dialling, 'aborted OVER');
  });
});

const STEPS: readonly Step[] = ['greeting', 'auth', 'request'];

t.test('a server that leaves, hangs, or a client that leaves, at every step: an error, and nothing is left', async (t) => {
  for (const tlsOn of [false, true]) {
    const base: Behaviour = { user, ...(tlsOn ? { tls: certificate } : {}) };
    const config = { ...user, tls: tlsOn, fingerprint: certificate.fingerprint };
    for (const step of STEPS) {
      const name = `${step}${tlsOn ? ' in TLS' : ''}`;
      await withServer({ ...base, closeAt: step }, config, async ({ server, dialer, context }) => {
        t.equal(await failureOf(dial(dialer)), 'aborted UNEXPECTED_END', `FIN at ${name}`);
        await eventually(() => server.connections() === 0);
        t.equal(context.get(TIMERS).size, 0);
      });
      await withServer({ ...base, resetAt: step }, config, async ({ server, dialer, context }) => {
        t.match(await failureOf(dial(dialer)), /^aborted /, `RST at ${name}`);
        await eventually(() => server.connections() === 0);
        t.equal(context.get(TIMERS).size, 0);
      });
      await withServer(
        { ...base, hangAt: step },
        config,
        async ({ server, dialer, context }) => {
          t.equal(await failureOf(dial(dialer)), 'timeout NET_TIMEOUT', `hangs at ${name}`);
          await eventually(() => server.connections() === 0);
          t.equal(context.get(TIMERS).size, 0);
        },
        { timeouts: { handshake: tlsOn ? 150 : 40 } },
      );
      await withServer({ ...base, hangAt: step }, config, async ({ server, dialer, context }) => {
        const cancel = new CancelSource();
        const dialling = failureOf(dial(dialer, TARGET, { signal: cancel }));
        await eventually(() => server.connections() === 1);
        cancel.cancel(new NetError('aborted', 'the client has left', { code: 'CLIENT_LEFT' }));
        t.equal(await dialling, 'aborted CLIENT_LEFT', `cancelled at ${name}`);
        await eventually(() => server.connections() === 0);
        t.equal(context.get(TIMERS).size, 0);
      });
    }
  }
  t.test('a TLS handshake that never comes', async (t) => {
    const silent = await startSilent();
    const { context } = testContext({ timeouts: { handshake: 40 } });
    t.equal(await failureOf(dial(streamOf(adapterFor(silent.port, { tls: true }, context)))), 'timeout NET_TIMEOUT');
    await eventually(() => silent.connections() === 0);
    await silent.close();
  });
});

t.test('TLS: who the server is, is checked before anything is sent', async (t) => {
  const other = makeCertificate('other.test');
  const cases: [string, Record<string, unknown>, string | RegExp][] = [
    ['unknown authority', {}, 'protocol DEPTH_ZERO_SELF_SIGNED_CERT'],
    ['own authority, address in the certificate', { ca: certificate.cert }, 'connected'],
    ['own authority, its name', { ca: certificate.cert, sni: 'proxy.test' }, 'connected'],
    ['own authority, another name', { ca: certificate.cert, sni: 'elsewhere.test' }, 'protocol ERR_TLS_CERT_ALTNAME_INVALID'],
    ['another authority', { ca: other.cert }, /^protocol /],
    ['no check', { 'skip-cert-verify': true }, 'connected'],
    ['fingerprint', { fingerprint: certificate.fingerprint.replace(/..(?!$)/g, '$&:').toUpperCase() }, 'connected'],
    ['another fingerprint', { fingerprint: other.fingerprint, 'skip-cert-verify': true }, 'protocol TLS_FINGERPRINT'],
  ];
  for (const [name, config, expected] of cases) {
    await withServer({ tls: certificate, user, behindReply: Buffer.from('x') }, { ...user, tls: true, ...config }, async ({ server, dialer }) => {
      const found = await dial(dialer).then(
        (stream) => {
          stream.abort(new Error('enough'));
          return 'connected';
        },
        (error: unknown) => (isNetError(error) ? `${error.failure} ${error.code}` : String(error)),
      );
      if (typeof expected === 'string') t.equal(found, expected, name);
      else t.match(found, expected, name);
      t.equal(server.requests.length, found === 'connected' ? 1 : 0);
      await eventually(() => server.connections() === 0);
    });
  }
  await withServer({ tls: certificate, behindReply: Buffer.from('x') }, { tls: true, sni: 'proxy.test', ca: certificate.cert }, async ({ server, dialer }) => {
    (await dial(dialer)).abort(new Error('enough'));
    t.strictSame(server.sni, ['proxy.test']);
  });
  await withServer({ tls: certificate, behindReply: Buffer.from('x') }, { tls: true, ca: certificate.cert }, async ({ server, dialer }) => {
    (await dial(dialer)).abort(new Error('enough'));
    t.strictSame(server.sni, [false], 'an address is no server name');
  });
});

t.test('addresses that a rule looked up do not reach the base', async (t) => {
  const echo = await startEcho();
  const server = await startSocksServer();
  const direct = testContext().context;
  const seen: (readonly string[] | undefined)[] = [];
  const base = {
    ...direct.base,
    tag: 'spy',
    type: 'spy',
    stream: {
      dialStream(destination: { host: string; port: number }, options: DialOptions) {
        seen.push(options.addresses);
        return streamOfBase(direct).dialStream(destination, options);
      },
    },
  };
  const { context } = testContext({ base });
  const stream = await dial(streamOf(adapterFor(server.port, {}, context)), { host: 'localhost', port: echo.port }, { addresses: ['192.0.2.9'] });
  t.strictSame(seen, [undefined]);
  t.equal(server.requests[0]?.host, 'localhost', 'the name goes to the server');
  stream.abort(new Error('enough'));
  await server.close();
  await echo.close();
});

function streamOfBase(context: AdapterContext): StreamDialer {
  if (context.base.stream === undefined) throw new Error('no base');
  return context.base.stream;
}

t.test("the base's native end survives a plain handshake and is absent behind TLS", async (t) => {
  const native: NativeEnd = { detach: () => Promise.reject(new NetError('protocol', 'not in this test')) };
  for (const behindReply of [Buffer.alloc(0), Buffer.from('unread')]) {
    for (const tls of [false, true]) {
      const server = await startSocksServer({ behindReply, ...(tls ? { tls: certificate } : {}) });
      const direct = testContext().context;
      const stream = {
        async dialStream(destination: { host: string; port: number }, options: DialOptions): Promise<Stream> {
          const inner = await streamOfBase(direct).dialStream(destination, options);
          return {
            read: () => inner.read(),
            write: (chunks) => inner.write(chunks),
            closeWrite: () => inner.closeWrite(),
            abort: (reason) => inner.abort(reason),
            native,
          };
        },
      };
      const { context } = testContext({ base: { tag: 'native', type: 'native', stream } });
      const made = await dial(streamOf(adapterFor(server.port, { tls, 'skip-cert-verify': true }, context)));
      t.equal(made.native !== undefined, !tls);
      made.abort(new Error('enough'));
      await server.close();
    }
  }
});

t.test('a base that carries no TCP leaves nothing to dial with', async (t) => {
  const { context } = testContext({ base: { tag: 'udp only', type: 'test', packet: { dialPacket: () => Promise.reject(new NetError('denied', 'no')) } } });
  const adapter = adapterFor(1080, { udp: true }, context);
  t.equal(adapter.stream, undefined);
  t.equal(adapter.packet, undefined);
});

t.test('packet is there only with udp: true and a base that has it', async (t) => {
  const { context } = testContext();
  t.equal(adapterFor(1080, {}, context).packet, undefined);
  t.ok(adapterFor(1080, { udp: true }, context).packet);
  const { stream } = context.base;
  const tcpOnly = testContext({ base: { tag: 'tcp', type: 'test', ...(stream === undefined ? {} : { stream }) } }).context;
  t.equal(adapterFor(1080, { udp: true }, tcpOnly).packet, undefined);
});

t.test('config', async (t) => {
  t.strictSame(socks5Config.parse({ server: 'a.test', port: 1080 }), { server: 'a.test', port: 1080, tls: false, 'skip-cert-verify': false, udp: false });
  const bad: Record<string, unknown>[] = [
    { server: 'a b', port: 1 },
    { server: 'a.test', port: 0 },
    { server: 'a.test', port: 65536 },
    { server: 'a.test' },
    { server: 'a.test', port: 1, username: 'u'.repeat(256) },
    { server: 'a.test', port: 1, username: 'ü'.repeat(128), password: 'p' },
    { server: 'a.test', port: 1, password: 'alone' },
    { server: 'a.test', port: 1, fingerprint: 'chrome' },
  ];
  for (const config of bad) t.equal(socks5Config.safeParse(config).success, false, JSON.stringify(config).slice(0, 60));
  t.equal(socks5Config.safeParse({ server: 'a.test', port: 1, username: '', password: '' }).success, true, 'empty means none');
  const schema: unknown = socks5Config.toJSONSchema();
  t.match(schema, { type: 'object', properties: { server: { type: 'string' }, port: { type: 'integer' } } });
  const { context } = testContext();
  t.throws(() => adapterFor(1, { tls: true, ca: '/nonexistent/ca.pem' }, context), { code: 'BAD_CA' });
});

t.test('what the plugin registers', async (t) => {
  const registered: string[] = [];
  const no = (): never => {
    throw new Error('not by this plugin');
  };
  plugin.setup({
    adapter: ({ type, uri }) => registered.push(`adapter ${type} ${uri?.schemes.join() ?? ''}`),
    protocol: ({ name }) => registered.push(`protocol ${name}`),
    inbound: no,
    rule: no,
    stack: no,
    section: no,
    resolver: no,
    nameHook: no,
    provide: no,
    get: no,
  });
  t.strictSame(registered, ['adapter socks5 socks5,socks5h,socks,socks5+tls', 'adapter socks ', 'protocol socks']);
  t.match(plugin, { name: 'adapter-socks5', api: 1 });
});

t.test('URIs', async (t) => {
  const good: [string, Record<string, unknown>][] = [
    ['socks5://192.0.2.1:1081', { type: 'socks5', server: '192.0.2.1', port: 1081 }],
    ['socks5h://Proxy.Example', { type: 'socks5', server: 'proxy.example', port: 1080 }],
    ['socks://[2001:db8::1]:9', { type: 'socks5', server: '2001:db8::1', port: 9 }],
    ['socks5://me:p%40ss%3A@h.test:1?udp=true#name', { type: 'socks5', server: 'h.test', port: 1, username: 'me', password: 'p@ss:', udp: true }],
    ['socks://bWU6c2VjcmV0@192.0.2.1:1080#v2rayn', { type: 'socks5', server: '192.0.2.1', port: 1080, username: 'me', password: 'secret' }],
    ['socks://Z8O8bjpzOkAvIQ==@h.test', { type: 'socks5', server: 'h.test', port: 1080, username: 'gün', password: 's:@/!' }],
    ['socks://bTo_Pz8-@h.test', { type: 'socks5', server: 'h.test', port: 1080, username: 'm', password: '???>' }],
    ['socks://bTo/Pz8+@h.test', { type: 'socks5', server: 'h.test', port: 1080, username: 'm', password: '???>' }],
    ['socks://bWU6c2VjcmV0:@h.test', { type: 'socks5', server: 'h.test', port: 1080, username: 'bWU6c2VjcmV0' }],
    ['socks://username@h.test', { type: 'socks5', server: 'h.test', port: 1080, username: 'username' }],
    ['socks://bWU6@h.test', { type: 'socks5', server: 'h.test', port: 1080, username: 'bWU6' }],
    ['socks://bWU6AQ@h.test', { type: 'socks5', server: 'h.test', port: 1080, username: 'bWU6AQ' }],
    [
      'socks5+tls://h.test:443/?sni=x.test&skip-cert-verify=1',
      { type: 'socks5', server: 'h.test', port: 443, tls: true, sni: 'x.test', 'skip-cert-verify': true },
    ],
  ];
  for (const [uri, entry] of good) {
    t.strictSame(parseSocks5Uri(uri), entry, uri);
    t.equal(socks5Config.safeParse(entry).success, true);
  }
  for (const uri of [
    '',
    'h.test:1080',
    'http://h.test',
    'socks5://',
    'socks5://:1',
    'socks5://h.test:0',
    'socks5://h.test:70000',
    'socks5://a:secret@h.test?udp=maybe',
    'socks5://a:secret@h.test?what=1',
    'socks5://a:secret%@h.test',
  ]) {
    try {
      parseSocks5Uri(uri);
      t.fail(`taken: ${uri}`);
    } catch (error) {
      t.ok(error instanceof Error && !/secret/.test(inspect(error)), String(error));
    }
  }
});

t.test('the signal is for the dial: a stream that was handed over is not touched', async (t) => {
  const echo = await startEcho();
  await withServer({}, {}, async ({ dialer }) => {
    const cancel = new CancelSource();
    const stream = await dial(dialer, { host: '127.0.0.1', port: echo.port }, { signal: cancel });
    cancel.cancel(new NetError('aborted', 'the client has left'));
    await stream.write([Buffer.from('still here')]);
    await stream.closeWrite();
    t.equal((await collect(stream)).toString(), 'still here');
  });
  await echo.close();
});

t.test('through itself: a SOCKS5 server behind a SOCKS5 server', async (t) => {
  const echo = await startEcho();
  const [first, second] = [await startSocksServer(), await startSocksServer({ user })];
  const inner = adapterFor(first.port, {}, testContext().context);
  const outer = adapterFor(second.port, user, testContext({ base: inner }).context);
  const stream = await dial(streamOf(outer), { host: '127.0.0.1', port: echo.port });
  await stream.write([Buffer.from('twice')]);
  await stream.closeWrite();
  t.equal((await collect(stream)).toString(), 'twice');
  t.equal(first.requests[0]?.port, second.port);
  for (const part of [first, second, echo]) await part.close();
});

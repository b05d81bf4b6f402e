import { CancelSource, isNetError, NetError, relay, type Stream, type StreamRequest, toNetError } from '@nekit/core';
import { collect, dialerConformance, dialOptions, eventually, pipePair, testContext, testInboundContext, within } from '@nekit/core/testing';
import t from 'tap';
import { Socks5Adapter } from '../dist/adapter.js';
import { socks5Config } from '../dist/config.js';
import { socksProtocol } from '../dist/protocol.js';
import { bytes, type InboundOptions, type InboundServer, type RawClient, startInbound, usersOf } from './inbound-server.js';

async function withInbound(options: InboundOptions, run: (server: InboundServer) => Promise<void>): Promise<void> {
  const server = await startInbound(options);
  try {
    await within(run(server), 20_000);
    await eventually(() => server.serving() === 0, 5_000, 'every connection is served to its end');
    await eventually(() => server.timers.size === 0, 1_000, 'no deadline is left');
    if (server.thrown.length > 0) throw new Error(`serve threw: ${String(server.thrown[0])}`);
  } finally {
    await server.close();
  }
}

/** Sends back what comes, and FIN after FIN. */
async function echo(request: StreamRequest): Promise<void> {
  const stream = await request.accept();
  for (let chunks = await stream.read(); chunks !== null; chunks = await stream.read()) await stream.write(chunks);
  await stream.closeWrite();
}

/** One whole exchange: everything is sent at once or byte by byte, then FIN; what came back and how it ended. */
async function exchange(server: InboundServer, sent: Buffer, bytewise: boolean): Promise<{ received: string; end: string }> {
  const client = await server.connect();
  await client.say(sent, bytewise);
  client.socket.end();
  const received = await client.rest();
  client.socket.destroy();
  return { received, end: client.end };
}

const never = async (): Promise<void> => {};

const GRANTED = '05000001000000000000';
const compact = (text: string): string => text.replace(/\s+/g, '');
const asHex = (text: string): string => Buffer.from(text).toString('hex');

interface Case {
  readonly name: string;
  readonly users?: Readonly<Record<string, string>>;
  readonly sent: string;
  /** In hex; after it comes the echo of the payload if there is a target. */
  readonly answer: string;
  readonly target?: { host: string; port: number };
  readonly user?: string;
  readonly version?: 'SOCKS4' | 'SOCKS5';
  readonly code?: string;
}

const LOGIN = "01 05 'alice' 06 'secret'";
const USERS = { alice: 'secret', '': 'empty' };
const v6 = '2001 0db8 0000 0000 0000 0000 0000 0001';

const CASES: readonly Case[] = [
  { name: 'IPv4', sent: '05 01 00  05 01 00 01 c0000201 0050', answer: `0500 ${GRANTED}`, target: { host: '192.0.2.1', port: 80 } },
  { name: 'IPv6', sent: `05 01 00  05 01 00 04 ${v6} 01bb`, answer: `0500 ${GRANTED}`, target: { host: '2001:db8::1', port: 443 } },
  {
    name: 'IPv4 in IPv6',
    sent: '05 01 00  05 01 00 04 00000000000000000000ffff7f000001 01bb',
    answer: `0500 ${GRANTED}`,
    target: { host: '127.0.0.1', port: 443 },
  },
  { name: 'domain', sent: "05 01 00  05 01 00 03 0b 'Example.COM' ffff", answer: `0500 ${GRANTED}`, target: { host: 'example.com', port: 65535 } },
  {
    name: 'domain of 253 characters',
    sent: `05 01 00  05 01 00 03 fd '${`${'a'.repeat(62)}.`.repeat(4)}b' 0050`,
    answer: `0500 ${GRANTED}`,
    target: { host: `${`${'a'.repeat(62)}.`.repeat(4)}b`, port: 80 },
  },
  { name: 'IDN', sent: "05 01 00  05 01 00 03 0a 'bücher.de' 0050", answer: `0500 ${GRANTED}`, target: { host: 'xn--bcher-kva.de', port: 80 } },
  { name: 'address as a name', sent: "05 01 00  05 01 00 03 06 '0x7f.1' 0050", answer: `0500 ${GRANTED}`, target: { host: '127.0.0.1', port: 80 } },
  { name: 'address as a number', sent: "05 01 00  05 01 00 03 0a '2130706433' 0050", answer: `0500 ${GRANTED}`, target: { host: '127.0.0.1', port: 80 } },
  { name: 'octal address', sent: "05 01 00  05 01 00 03 0a '0177.0.0.1' 0050", answer: `0500 ${GRANTED}`, target: { host: '127.0.0.1', port: 80 } },
  { name: 'IPv6 as a name', sent: "05 01 00  05 01 00 03 05 '[::1]' 0050", answer: `0500 ${GRANTED}`, target: { host: '::1', port: 80 } },
  { name: 'several methods', sent: '05 03 80 02 00  05 01 00 01 c0000201 0050', answer: `0500 ${GRANTED}`, target: { host: '192.0.2.1', port: 80 } },
  { name: 'RSV is not judged', sent: '05 01 00  05 01 aa 01 c0000201 0050', answer: `0500 ${GRANTED}`, target: { host: '192.0.2.1', port: 80 } },
  {
    name: 'only a password offered, none wanted',
    sent: `05 01 02 ${LOGIN} 05 01 00 01 c0000201 0050`,
    answer: `0502 0100 ${GRANTED}`,
    target: { host: '192.0.2.1', port: 80 },
  },
  {
    name: 'empty credentials, none wanted',
    sent: '05 01 02 01 00 00 05 01 00 01 c0000201 0050',
    answer: `0502 0100 ${GRANTED}`,
    target: { host: '192.0.2.1', port: 80 },
  },
  {
    name: 'password',
    users: USERS,
    sent: `05 02 00 02 ${LOGIN} 05 01 00 01 c0000201 0050`,
    answer: `0502 0100 ${GRANTED}`,
    target: { host: '192.0.2.1', port: 80 },
    user: 'alice',
  },
  {
    name: 'password with a NUL behind',
    users: USERS,
    sent: "05 01 02 01 05 'alice' 07 'secret' 00 05 01 00 01 c0000201 0050",
    answer: '0502 0101',
    code: 'SOCKS5_AUTH',
  },
  {
    name: 'user with a NUL behind',
    users: USERS,
    sent: "05 01 02 01 06 'alice' 00 06 'secret' 05 01 00 01 c0000201 0050",
    answer: '0502 0101',
    code: 'SOCKS5_AUTH',
  },
  { name: 'wrong password', users: USERS, sent: "05 01 02 01 05 'alice' 06 'Secret' 05 01 00 01 c0000201 0050", answer: '0502 0101', code: 'SOCKS5_AUTH' },
  { name: 'no password', users: USERS, sent: "05 01 02 01 05 'alice' 00 05 01 00 01 c0000201 0050", answer: '0502 0101', code: 'SOCKS5_AUTH' },
  { name: 'unknown user', users: USERS, sent: "05 01 02 01 07 'mallory' 06 'secret' 05 01 00 01 c0000201 0050", answer: '0502 0101', code: 'SOCKS5_AUTH' },
  {
    name: 'broken UTF-8 is nobody',
    users: { '\ufffd': 'x' },
    sent: "05 01 02 01 01 ff 01 'x' 05 01 00 01 c0000201 0050",
    answer: '0502 0101',
    code: 'SOCKS5_AUTH',
  },
  { name: 'no method at all', sent: '05 00', answer: '05ff', code: 'SOCKS5_NO_METHOD' },
  { name: 'only GSSAPI', sent: '05 01 01', answer: '05ff', code: 'SOCKS5_NO_METHOD' },
  { name: 'no password offered, one wanted', users: USERS, sent: '05 01 00  05 01 00 01 c0000201 0050', answer: '05ff', code: 'SOCKS5_NO_METHOD' },
  { name: 'BIND', sent: '05 01 00  05 02 00 01 c0000201 0050', answer: '0500 05070001000000000000', code: 'SOCKS_REQUEST' },
  { name: 'unknown command', sent: '05 01 00  05 f0 00 01 c0000201 0050', answer: '0500 05070001000000000000', code: 'SOCKS_REQUEST' },
  { name: 'unknown ATYP', sent: '05 01 00  05 01 00 02 c0000201 0050', answer: '0500 05080001000000000000', code: 'SOCKS_REQUEST' },
  { name: 'port 0', sent: '05 01 00  05 01 00 01 c0000201 0000', answer: '0500 05010001000000000000', code: 'SOCKS_REQUEST' },
  ...[
    '',
    'a b',
    'evil.com/x',
    'evil.com#x',
    'evil.com?x',
    '%65vil.com',
    'ev\til.com',
    'a..b',
    'evil.com:80',
    '1.2.3.4.5',
    'x@evil.com',
    'evil.com\\x',
    '\u0000',
  ].map(
    (name): Case => ({
      name: `no host: ${JSON.stringify(name)}`,
      sent: `05 01 00  05 01 00 03 ${Buffer.from([name.length]).toString('hex')} ${asHex(name)} 0050`,
      answer: '0500 05010001000000000000',
      code: 'SOCKS_REQUEST',
    }),
  ),
  { name: 'SOCKS4', sent: "04 01 0050 c0000201 'me' 00", answer: '005a000000000000', target: { host: '192.0.2.1', port: 80 }, version: 'SOCKS4' },
  { name: 'SOCKS4, no userid', sent: '04 01 0050 c0000201 00', answer: '005a000000000000', target: { host: '192.0.2.1', port: 80 }, version: 'SOCKS4' },
  { name: 'SOCKS4 to 0.0.0.0', sent: '04 01 0050 00000000 00', answer: '005a000000000000', target: { host: '0.0.0.0', port: 80 }, version: 'SOCKS4' },
  {
    name: 'SOCKS4a',
    sent: "04 01 01bb 00000001 'me' 00 'Example.com' 00",
    answer: '005a000000000000',
    target: { host: 'example.com', port: 443 },
    version: 'SOCKS4',
  },
  {
    name: 'SOCKS4a, odd address',
    sent: "04 01 01bb 000000ff 00 '0x7f000001' 00",
    answer: '005a000000000000',
    target: { host: '127.0.0.1', port: 443 },
    version: 'SOCKS4',
  },
  { name: 'SOCKS4a, no host', sent: "04 01 01bb 000000ff 00 'a/b' 00", answer: '005b000000000000', code: 'SOCKS_REQUEST' },
  { name: 'SOCKS4a, empty host', sent: '04 01 01bb 000000ff 00 00', answer: '005b000000000000', code: 'SOCKS_REQUEST' },
  { name: 'SOCKS4 BIND', sent: '04 02 0050 c0000201 00', answer: '005b000000000000', code: 'SOCKS_REQUEST' },
  { name: 'SOCKS4 port 0', sent: '04 01 0000 c0000201 00', answer: '005b000000000000', code: 'SOCKS_REQUEST' },
  { name: 'SOCKS4 where a password is wanted', users: USERS, sent: "04 01 0050 c0000201 'alice' 00", answer: '005b000000000000', code: 'SOCKS4_AUTH' },
];

// Payload that would be a request if anybody took it for one.
const PAYLOAD = bytes("05 01 00 05 01 00 01 0a000001 0050 04 01 0050 0a000001 00 'GET / HTTP/1.1' 0d0a");

for (const bytewise of [false, true]) {
  t.test(`byte-exact, ${bytewise ? 'one byte per segment' : 'all in one segment, payload and FIN included'}`, async (t) => {
    for (const { name, users, sent, answer, target, user, version = 'SOCKS5', code } of CASES) {
      await withInbound({ handleStream: echo, ...(users === undefined ? {} : { users: usersOf(users) }) }, async (server) => {
        const { received, end } = await exchange(server, Buffer.concat([bytes(sent), PAYLOAD]), bytewise);
        const expected = compact(answer) + (target === undefined ? '' : PAYLOAD.toString('hex'));
        t.strictSame({ received, end }, { received: expected, end: 'FIN' }, name);
        t.equal(server.streams.length, target === undefined ? 0 : 1, `${name}: sessions`);
        t.strictSame(
          server.failed.map((event) => event.code),
          code === undefined ? [] : [code],
          `${name}: events`,
        );
        const session = server.streams[0]?.session;
        if (target === undefined || session === undefined) return;
        t.strictSame(session.destination, target);
        t.strictSame(session.requested, target);
        t.match(session, { id: 1, network: 'tcp', inbound: 'in', inboundType: version, inboundPort: 1080, source: { host: '127.0.0.1' } });
        t.equal(session.user, user);
      });
    }
  });
}

const FAILURES: readonly [NetError, string][] = [
  [new NetError('refused', 'x'), '05'],
  [new NetError('unreachable', 'x'), '03'],
  [new NetError('unreachable', 'x', { code: 'ENETUNREACH' }), '03'],
  [new NetError('unreachable', 'x', { code: 'EHOSTUNREACH' }), '04'],
  [new NetError('unreachable', 'x', { code: 'EHOSTDOWN' }), '04'],
  [new NetError('timeout', 'x'), '04'],
  [new NetError('name', 'x'), '04'],
  [new NetError('auth', 'x'), '01'],
  [new NetError('denied', 'x'), '02'],
  [new NetError('protocol', 'x'), '01'],
  [new NetError('aborted', 'x'), '01'],
  [new NetError('unreachable', 'x', { code: 'SOCKS5_REP_1' }), '01'],
  [new NetError('denied', 'x', { code: 'SOCKS5_REP_2' }), '02'],
  [new NetError('unreachable', 'x', { code: 'SOCKS5_REP_3' }), '03'],
  [new NetError('unreachable', 'x', { code: 'SOCKS5_REP_4' }), '04'],
  [new NetError('refused', 'x', { code: 'SOCKS5_REP_5' }), '05'],
  [new NetError('timeout', 'x', { code: 'SOCKS5_REP_6' }), '06'],
  [new NetError('protocol', 'x', { code: 'SOCKS5_REP_7' }), '01'],
  [new NetError('protocol', 'x', { code: 'SOCKS5_REP_8' }), '01'],
  [new NetError('protocol', 'x', { code: 'SOCKS5_REP_255' }), '01'],
];

t.test('every failure has its REP; the reply arrives, and then FIN', async (t) => {
  for (const [error, rep] of FAILURES) {
    await withInbound({ handleStream: async (request) => request.reject(error) }, async (server) => {
      for (const trailing of [Buffer.alloc(0), Buffer.alloc(20_000, 0x61)]) {
        const client = await server.connect();
        await client.say(Buffer.concat([bytes('05 01 00  05 01 00 01 c0000201 0050'), trailing]));
        await eventually(() => client.end !== 'open');
        t.equal(client.received, `050005${rep}0001000000000000`, `${error.failure} ${error.code}`);
        t.equal(client.end, 'FIN', 'unread payload does not turn it into a reset');
        client.socket.end();
      }
      const old = await server.connect();
      await old.say(bytes('04 01 0050 c0000201 00'));
      t.equal(await old.rest(), '005b000000000000');
      old.socket.end();
      t.equal(server.failed.length, 0, 'a target that fails is not the client that fails');
    });
  }
});

t.test('a client that does not hang up after a refusal is cut off', async (t) => {
  await withInbound({}, async (server) => {
    const [silent, loud] = [await server.connect(), await server.connect()];
    for (const client of [silent, loud]) await client.say(bytes('05 01 00  05 01 00 01 c0000201 0050'));
    await silent.rest();
    await loud.rest();
    loud.socket.write(Buffer.alloc(1024 * 1024));
    await eventually(() => server.serving() === 1, 1_000, 'too much after a refusal');
    await eventually(() => server.serving() === 0, 4_000, 'silence after a refusal');
    t.ok(silent.socket.destroyed || silent.end === 'FIN');
    silent.socket.destroy();
    loud.socket.destroy();
  });
});

t.test('a request is answered once', async (t) => {
  const late: string[] = [];
  const twice = async (request: StreamRequest): Promise<void> => {
    request.reject(new NetError('denied', 'first'));
    request.reject(new NetError('refused', 'second'));
    await request.accept().catch((error: unknown) => late.push(isNetError(error) ? error.code : 'not a NetError'));
  };
  await withInbound({ handleStream: twice }, async (server) => {
    const { received } = await exchange(server, bytes('05 01 00  05 01 00 01 c0000201 0050'), false);
    t.equal(received, '050005020001000000000000');
    t.strictSame(late, ['ANSWERED']);
  });
  await withInbound({ handleStream: never }, async (server) => {
    const { received } = await exchange(server, bytes('05 01 00  05 01 00 01 c0000201 0050'), false);
    t.equal(received, '050005010001000000000000', 'a handler that forgot to answer does not leave the client waiting');
  });
});

t.test('replies come step by step, not before they are due', async (t) => {
  await withInbound({ handleStream: echo, users: usersOf(USERS) }, async (server) => {
    const client = await server.connect();
    await client.say(bytes('05 01 02'));
    t.equal(await client.answers(2), '0502');
    await client.say(bytes(LOGIN));
    t.equal(await client.answers(4), '05020100');
    await client.say(bytes('05 01 00 01 c0000201 00'));
    t.equal(client.received, '05020100');
    t.equal(server.streams.length, 0);
    await client.say(bytes('50'));
    t.equal(await client.answers(14), `05020100${GRANTED}`);
    await client.say(Buffer.from('ping'));
    t.equal(await client.answers(18), `05020100${GRANTED}${asHex('ping')}`);
    client.socket.end();
    await client.rest();
    t.equal(client.end, 'FIN', 'half-close goes through');
  });
});

t.test('a client that is slow, silent, or leaves in the middle is let go, and reported', async (t) => {
  const whole = bytes(`05 01 02 ${LOGIN} 05 01 00 03 0b 'example.com' 0050`);
  await withInbound({ timeouts: { handshake: 60 }, users: usersOf(USERS) }, async (server) => {
    const clients: RawClient[] = [];
    for (let length = 0; length < whole.length; length += 3) {
      const client = await server.connect();
      clients.push(client);
      await client.say(whole.subarray(0, length));
    }
    for (const client of clients) await client.rest();
    t.ok(server.failed.length === clients.length && server.failed.every(({ code }) => code === 'NET_TIMEOUT'), 'each timed out');
    t.equal(server.streams.length, 0);
  });
  await withInbound({ users: usersOf(USERS) }, async (server) => {
    let expected = 0;
    for (let length = 0; length < whole.length; length++) {
      expected++;
      const client = await server.connect();
      await client.say(whole.subarray(0, length));
      if (length % 2 === 0) client.socket.end();
      else client.socket.resetAndDestroy();
    }
    await eventually(() => server.serving() === 0);
    t.equal(server.failed.length, expected);
    t.ok(
      server.failed.every(({ code }) => code === 'UNEXPECTED_END' || code === 'ECONNRESET' || code === 'EPIPE'),
      server.failed.map(({ code }) => code).join(),
    );
    t.equal(server.streams.length, 0);
  });
});

t.test('the kernel stops: handshakes are cut, and so is a client that waits for its target', async (t) => {
  const pending = async (request: StreamRequest): Promise<void> => {
    await new Promise<void>((resolve) => request.session.signal.onCancel(() => resolve()));
    request.reject(new NetError('aborted', 'stopped'));
  };
  await withInbound({ handleStream: pending }, async (server) => {
    const [early, late] = [await server.connect(), await server.connect()];
    await early.say(bytes('05 01'));
    await late.say(bytes('05 01 00  05 01 00 01 c0000201 0050'));
    await eventually(() => server.streams.length === 1);
    server.stopKernel();
    await eventually(() => server.serving() === 0);
    await early.rest();
    await late.rest();
    t.equal(server.thrown.length, 0);
  });
});

t.test('a client that resets while we dial: its signal fires, accept says so', async (t) => {
  const outcome: string[] = [];
  const slow = async (request: StreamRequest): Promise<void> => {
    await new Promise<void>((resolve) => request.session.signal.onCancel(() => resolve()));
    outcome.push(
      await request.accept().then(
        () => 'accepted',
        (error: unknown) => (isNetError(error) ? error.failure : 'not a NetError'),
      ),
    );
  };
  await withInbound({ handleStream: slow }, async (server) => {
    const client = await server.connect();
    await client.say(bytes('05 01 00  05 01 00 01 c0000201 0050'));
    await eventually(() => server.streams.length === 1);
    client.socket.resetAndDestroy();
    await eventually(() => server.serving() === 0);
    t.strictSame(outcome, ['aborted']);
  });
});

t.test('malformed beginnings are closed without an answer', async (t) => {
  const cases = [
    '06',
    '00',
    "'GET / HTTP/1.1' 0d0a0d0a",
    '05 01 00 04 01 00 01 c0000201 0050',
    `05 01 02 05 ${LOGIN.slice(3)}`,
    `04 01 0050 c0000201 ${'61'.repeat(256)} 00`,
    `04 01 0050 00000001 00 ${'61'.repeat(256)} 00`,
  ];
  for (const sent of cases) {
    await withInbound({}, async (server) => {
      const { received } = await exchange(server, bytes(sent), false);
      t.match(received, /^(?:|0500|0502)$/, sent.slice(0, 40));
      t.equal(server.streams.length, 0);
      t.match(server.failed[0]?.code, /^(?:SOCKS_PROTOCOL|TOO_LONG)$/);
      t.equal(server.failed[0]?.listener, 'in');
    });
  }
});

t.test('which connections are ours', async (t) => {
  t.equal(socksProtocol.name, 'socks');
  t.equal(socksProtocol.takes(bytes('05')), true);
  t.equal(socksProtocol.takes(bytes('04 01')), true);
  for (const other of ['16 0301', "'GET '", '06', '00']) t.equal(socksProtocol.takes(bytes(other)), false);
});

t.test('events carry no secret', async (t) => {
  await withInbound({ users: usersOf(USERS) }, async (server) => {
    await exchange(server, bytes("05 01 02 01 08 'username' 08 'hunter22'"), false);
    t.equal(server.failed.length, 1);
    t.notMatch(JSON.stringify(server.failed), /hunter22/);
  });
});

t.test('any Stream will do: nothing here needs a socket', async (t) => {
  const [client, ours]: [Stream, Stream] = pipePair();
  const { context } = testContext();
  const served = socksProtocol.serve(
    {
      stream: ours,
      source: { host: '192.0.2.7', port: 1 },
      local: { host: '192.0.2.8', port: 2 },
      port: 2,
      signal: new CancelSource(),
      retired: new CancelSource(),
      users: null,
    },
    testInboundContext({ name: 'pipe', type: 'socks', nextId: () => 7, get: context.get, handleStream: echo }),
  );
  await client.write([bytes('05 01 00  05 01 00 01 c0000201 0050'), Buffer.from('hello')]);
  await client.closeWrite();
  t.equal((await collect(client)).toString('hex'), `0500${GRANTED}${asHex('hello')}`);
  await within(served);
});

t.test('our adapter through our inbound: dialer conformance', async (t) => {
  const { context, timers } = testContext();
  const { stream: direct } = context.base;
  const carry = async (request: StreamRequest): Promise<void> => {
    const { session } = request;
    try {
      if (direct === undefined) throw new NetError('denied', 'no direct adapter');
      const remote = await direct.dialStream(session.destination, dialOptions(session.destination, { signal: session.signal }));
      const options = { signal: session.signal, idleMs: 60_000, halfCloseMs: 60_000, counters: new Float64Array(2), slot: 0 };
      await relay(await request.accept(), remote, options, timers);
    } catch (error) {
      request.reject(toNetError(error));
    }
  };
  dialerConformance(
    (title, run) => t.test(title, run),
    async () => {
      const server = await startInbound({ handleStream: carry, users: usersOf(USERS) });
      const { stream: dialer } = new Socks5Adapter(
        'socks5',
        socks5Config.parse({ server: server.host, port: server.port, username: 'alice', password: 'secret' }),
        context,
      );
      if (dialer === undefined) throw new Error('no dialer');
      return { dialer, close: () => server.close() };
    },
  );
});

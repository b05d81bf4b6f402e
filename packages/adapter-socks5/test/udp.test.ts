import dgram from 'node:dgram';
import { CancelSource, type Datagram, type DialOptions, isNetError, NetError, type PacketConn, type PacketRequest, TIMERS } from '@nekit/core';
import { dialOptions, eventually, testContext, within } from '@nekit/core/testing';
import t from 'tap';
import { Socks5Adapter } from '../dist/adapter.js';
import { socks5Config } from '../dist/config.js';
import { PeerTable } from '../dist/peer-table.js';
import { bytes, type InboundOptions, type InboundServer, type RawClient, startInbound, usersOf } from './inbound-server.js';
import { type Association, type Behaviour, type SocksServer, startSocksServer } from './socks-server.js';

/** A UDP socket that remembers what it got. */
class Udp {
  readonly socket: dgram.Socket;
  readonly received: { hex: string; port: number; address: string }[] = [];

  constructor(socket: dgram.Socket) {
    this.socket = socket;
    socket.on('message', (bytes, from) => this.received.push({ hex: bytes.toString('hex'), port: from.port, address: from.address }));
  }

  static open(host = '127.0.0.1', port = 0): Promise<Udp> {
    const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4');
    return new Promise((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(port, host, () => {
        socket.off('error', reject);
        resolve(new Udp(socket));
      });
    });
  }

  get port(): number {
    return this.socket.address().port;
  }

  send(bytes: Uint8Array, port: number, host = this.socket.address().address): Promise<void> {
    return new Promise((resolve, reject) => this.socket.send(bytes, port, host, (error) => (error === null ? resolve() : reject(error))));
  }
}

/** Answers with what came, in capitals. */
async function startUdpEcho(host?: string): Promise<Udp> {
  const echo = await Udp.open(host);
  echo.socket.on('message', (bytes, from) => echo.socket.send(bytes.toString('latin1').toUpperCase(), from.port, from.address));
  return echo;
}

const port16 = (port: number): string => port.toString(16).padStart(4, '0');
const text = (value: string): string => Buffer.from(value).toString('hex');
const datagram = (host: string, port: number, payload: string | Uint8Array): Datagram => ({ bytes: Buffer.from(payload), peer: Object.freeze({ host, port }) });

// ---- The adapter, against a test server ----------------------------------------------------------------------------------------------

interface Made {
  readonly server: SocksServer;
  readonly conn: PacketConn & { readonly dropped?: number };
  readonly association: Association;
}

function adapterFor(port: number, base?: PacketConn | NetError, server = '127.0.0.1'): Socks5Adapter {
  const { context } = testContext();
  const { stream } = context.base;
  const packet = { dialPacket: () => (base instanceof NetError ? Promise.reject(base) : Promise.resolve(base ?? fail('no base'))) };
  const made = base === undefined ? context : testContext({ base: { tag: 'fake', type: 'fake', ...(stream === undefined ? {} : { stream }), packet } }).context;
  return new Socks5Adapter('socks5', socks5Config.parse({ server, port, udp: true }), made);
}

function fail(message: string): never {
  throw new Error(message);
}

const dialPacket = (adapter: Socks5Adapter, options: DialOptions = dialOptions()): Promise<PacketConn> =>
  adapter.packet?.dialPacket(options) ?? fail('no packet dialer');

async function withAssociation(behaviour: Behaviour, run: (made: Made) => Promise<void>, name = '127.0.0.1'): Promise<void> {
  const server = await startSocksServer(behaviour);
  try {
    const conn = await dialPacket(adapterFor(server.port, undefined, name));
    const association = server.associations[0] ?? fail('no association');
    await within(run({ server, conn, association }), 10_000);
    conn.close();
    await eventually(() => server.connections() === 0, 2_000, 'the control connection goes with the association');
    await eventually(() => server.associations.length === 0);
    if (server.breaches.length > 0) fail(server.breaches.join());
  } finally {
    await server.close();
  }
}

t.test('adapter: headers on the way out', async (t) => {
  await withAssociation({}, async ({ server, conn, association }) => {
    t.strictSame(server.requests, [{ command: 3, type: 1, host: '0.0.0.0', port: 0 }]);
    const long = 'x'.repeat(60_000);
    const taken = conn.send([
      datagram('192.0.2.1', 53, 'four'),
      datagram('2001:db8::1', 65535, 'six'),
      datagram('example.com', 443, ''),
      datagram('a'.repeat(254), 53, 'no such name'),
      datagram('192.0.2.1', 53, long),
    ]);
    t.equal(taken, 4, 'a name that cannot be is not taken');
    t.equal(conn.dropped, 1);
    await eventually(() => association.received.length === 4);
    t.strictSame(
      association.received.map(({ bytes }) => bytes.toString('hex')),
      [
        `000000 01 c0000201 0035 ${text('four')}`,
        `000000 04 20010db8000000000000000000000001 ffff ${text('six')}`,
        `000000 03 0b ${text('example.com')} 01bb`,
        `000000 01 c0000201 0035 ${text(long)}`,
      ].map((line) => line.replace(/ /g, '')),
    );
  });
});

t.test('adapter: only valid datagrams of the relay come in, with the remote as their peer', async (t) => {
  await withAssociation({}, async ({ conn, association }) => {
    conn.send([datagram('192.0.2.1', 53, 'x')]);
    await eventually(() => association.received.length === 1);
    const { port } = association.received[0] ?? fail('nothing');
    const stranger = await Udp.open();
    await stranger.send(bytes("000000 01 c0000201 0035 'stranger'"), port);
    const bad = [
      '',
      '00',
      '0000',
      '000000',
      '000000 01',
      '000000 01 c0000201 00',
      '000001 01 c0000201 0035 61',
      '000080 01 c0000201 0035 61',
      '000000 02 c0000201 0035 61',
    ];
    for (const hex of [
      ...bad,
      '000000 01 c0000201 0000 61',
      "000000 03 03 'a b' 0035 61",
      '000000 03 00 0035 61',
      '000000 03 ff 61 0035',
      '000000 04 c0000201 0035',
    ]) {
      await new Promise((resolve) => association.socket.send(bytes(hex), port, '127.0.0.1', resolve));
    }
    for (const hex of [
      "000000 01 c0000201 0035 'one'",
      "000000 01 c0000201 0035 'two'",
      "abcd00 04 20010db8000000000000000000000001 0035 'six'",
      "000000 03 0b 'Example.COM' 0035 'name'",
      '000000 01 c0000201 0035',
    ]) {
      await new Promise((resolve) => association.socket.send(bytes(hex), port, '127.0.0.1', resolve));
    }
    const got: { payload: string; peer: Datagram['peer'] }[] = [];
    while (got.length < 5) for (const { bytes, peer } of (await conn.receive()) ?? fail('ended')) got.push({ payload: Buffer.from(bytes).toString(), peer });
    t.strictSame(
      got.map(({ payload, peer }) => `${payload} ${peer.host} ${peer.port}`),
      ['one 192.0.2.1 53', 'two 192.0.2.1 53', 'six 2001:db8::1 53', 'name example.com 53', ' 192.0.2.1 53'],
    );
    t.ok(got.every(({ peer }) => Object.isFrozen(peer)));
    t.equal(got[0]?.peer, got[1]?.peer, 'one object per remote');
    t.equal(got[0]?.peer, got[4]?.peer);
    t.equal(conn.dropped, 15);
    stranger.socket.close();
  });
});

t.test('adapter: where the relay is', async (t) => {
  const zero = Buffer.of(1, 0, 0, 0, 0, 0, 0);
  const zero6 = Buffer.concat([Buffer.of(4), Buffer.alloc(18)]);
  const name = Buffer.concat([Buffer.of(3, 9), Buffer.from('localhost'), Buffer.of(0, 0)]);
  for (const [what, bound, server] of [
    ['0.0.0.0 means the server', zero, '127.0.0.1'],
    [':: means the server', zero6, '127.0.0.1'],
    ['a server with a name', zero, 'localhost'],
    ['a relay with a name', name, '127.0.0.1'],
  ] as const) {
    await withAssociation(
      { bound },
      async ({ conn, association }) => {
        conn.send([datagram('192.0.2.1', 53, 'x')]);
        await eventually(() => association.received.length === 1, 5_000, what);
        // From the relay's port, but another address: told apart once the relay has answered.
        const stranger = await Udp.open('127.0.0.2', association.port);
        const { port } = association.received[0] ?? fail('nothing');
        for (const answer of ['first', 'second']) {
          association.socket.send(bytes(`000000 01 c0000201 0035 '${answer}'`), port, '127.0.0.1');
          t.equal(Buffer.from((await conn.receive())?.[0]?.bytes ?? []).toString(), answer, what);
          await stranger.send(bytes("000000 01 c0000201 0035 'no'"), port, '127.0.0.1');
        }
        t.ok((conn.dropped ?? 0) >= 1);
        conn.send([datagram('192.0.2.1', 53, 'y')]);
        await eventually(() => association.received.length === 2);
        stranger.socket.close();
      },
      server,
    );
  }
  for (const wrong of [Buffer.of(5, 0, 0, 1, 127, 0, 0, 1, 0, 0), Buffer.of(5, 0, 0, 3, 0, 0, 9), Buffer.of(5, 7, 0, 1, 0, 0, 0, 0, 0, 0)]) {
    const server = await startSocksServer({ wrong: { request: wrong } });
    const code = await dialPacket(adapterFor(server.port)).then(
      () => 'dialled',
      (error: unknown) => (isNetError(error) ? error.code : 'not a NetError'),
    );
    t.equal(code, wrong[1] === 7 ? 'SOCKS5_REP_7' : 'SOCKS5_PROTOCOL');
    await eventually(() => server.connections() === 0);
    await server.close();
  }
});

t.test('adapter: the association and its control connection end together', async (t) => {
  for (const how of ['FIN', 'RST']) {
    await withAssociation({}, async ({ server, conn, association }) => {
      const receiving = conn.receive();
      if (how === 'FIN') association.endControl();
      else await server.close();
      t.equal(await receiving, null, how);
      t.equal(conn.error?.code, 'SOCKS5_ASSOCIATION_ENDED');
      t.equal(conn.send([datagram('192.0.2.1', 53, 'late')]), 0);
      t.equal(await conn.receive(), null);
    });
  }
  await withAssociation({}, async ({ server, conn }) => {
    const receiving = conn.receive();
    conn.close();
    conn.close(new NetError('aborted', 'again'));
    t.equal(await receiving, null);
    t.equal(conn.error, null);
    await eventually(() => server.connections() === 0);
    t.strictSame(server.ends, ['FIN'], 'an association that is over is no error');
  });
  await withAssociation({ deafToFin: true }, async ({ server, conn }) => {
    conn.close();
    await eventually(() => server.ends.includes('FIN'));
    t.equal(server.connections(), 1);
    await eventually(() => server.connections() === 0, 4_000, 'a server that does not hang up is hung up on');
    t.strictSame(server.ends, ['FIN', 'RST']);
  });
});

/** A base whose PacketConn is in the test's hand. */
function fakeConn(): PacketConn & { end(error: NetError | null): void; closed: boolean } {
  let finish: (value: null) => void = () => {};
  const received = new Promise<null>((resolve) => {
    finish = resolve;
  });
  const conn = {
    closed: false,
    error: null as NetError | null,
    receive: () => received,
    send: (datagrams: readonly Datagram[]) => datagrams.length,
    close: () => {
      conn.closed = true;
      finish(null);
    },
    end: (error: NetError | null) => {
      conn.error = error;
      finish(null);
    },
  };
  return conn;
}

t.test('adapter: a base that fails or ends takes the control connection with it', async (t) => {
  const server = await startSocksServer();
  const denied = dialPacket(adapterFor(server.port, new NetError('denied', 'no UDP here')));
  await t.rejects(denied, { code: 'NET_DENIED' });
  await eventually(() => server.connections() === 0);
  const base = fakeConn();
  const conn = await dialPacket(adapterFor(server.port, base));
  const lost = new NetError('unreachable', 'the interface is gone');
  base.end(lost);
  t.equal(await conn.receive(), null);
  t.equal(conn.error, lost);
  await eventually(() => server.connections() === 0);
  await server.close();
});

t.test('adapter: cancelled at every step: nothing is left', async (t) => {
  for (const hangAt of ['greeting', 'request'] as const) {
    const server = await startSocksServer({ hangAt });
    const cancel = new CancelSource();
    const dialling = dialPacket(adapterFor(server.port), dialOptions(undefined, { signal: cancel }));
    await eventually(() => server.connections() === 1);
    cancel.cancel(new NetError('aborted', 'left', { code: 'CLIENT_LEFT' }));
    // An unanswered ASSOCIATE of the test server is not "hanging": it opens the relay first. Either way the dial ends with the reason.
    await t.rejects(dialling, { code: 'CLIENT_LEFT' });
    await eventually(() => server.connections() === 0 && server.associations.length === 0);
    await server.close();
  }
  const server = await startSocksServer();
  const cancel = new CancelSource();
  const base = fakeConn();
  const { context } = testContext();
  const { stream } = context.base;
  const packet = {
    dialPacket: () => {
      cancel.cancel(new NetError('aborted', 'left', { code: 'CLIENT_LEFT' }));
      return Promise.resolve(base);
    },
  };
  const made = testContext({ base: { tag: 'fake', type: 'fake', ...(stream === undefined ? {} : { stream }), packet } }).context;
  const adapter = new Socks5Adapter('socks5', socks5Config.parse({ server: '127.0.0.1', port: server.port, udp: true }), made);
  await t.rejects(dialPacket(adapter, dialOptions(undefined, { signal: cancel })), { code: 'CLIENT_LEFT' });
  t.ok(base.closed);
  await eventually(() => server.connections() === 0);
  t.equal(made.get(TIMERS).size, 0);
  await server.close();
});

t.test('peers are bounded, the one unseen for longest goes first', async (t) => {
  const peers = new PeerTable(3);
  const [a, b] = [peers.add('a', 'a.test', 1), peers.add('b', 'b.test', 2)];
  peers.add('c', 'c.test', 3);
  t.equal(peers.get('a'), a);
  peers.add('d', 'd.test', 4);
  t.equal(peers.size, 3);
  t.equal(peers.get('b'), null, 'a was seen after b');
  t.equal(peers.get('a'), a);
  t.not(peers.add('b', 'b.test', 2), b);
  t.equal(peers.get('unknown'), null);
});

// ---- The inbound, with real datagrams ------------------------------------------------------------------------------------------------

/** What handlePackets does, for one adapter: everything goes out directly. */
async function carry(request: PacketRequest): Promise<void> {
  const { packet } = testContext().context.base;
  const remote = await (packet ?? fail('no direct UDP')).dialPacket(dialOptions(request.session.destination, { signal: request.session.signal }));
  const client = request.accept();
  const pump = async (from: PacketConn, to: PacketConn): Promise<void> => {
    for (let datagrams = await from.receive(); datagrams !== null; datagrams = await from.receive()) to.send(datagrams);
    to.close();
  };
  await Promise.all([pump(client, remote), pump(remote, client)]);
}

interface Associated {
  readonly server: InboundServer;
  readonly control: RawClient;
  /** The relay's port, from BND. */
  readonly relay: number;
  readonly client: Udp;
}

const HOSTS = { '127.0.0.1': '01 7f000001', '::1': '04 00000000000000000000000000000001' };

async function withRelay(options: InboundOptions, run: (made: Associated) => Promise<void>, asked = '01 00000000 0000'): Promise<void> {
  const server = await startInbound({ handlePackets: carry, ...options });
  const host = server.host === '::1' ? '::1' : '127.0.0.1';
  const client = await Udp.open(host);
  try {
    const control = await server.connect();
    const { relay, bound } = await associate(control, asked.replace('PORT', port16(client.port)));
    if (bound !== HOSTS[host].replace(/ /g, '')) fail(`the relay is at ${bound}, not where the client connected to`);
    await within(run({ server, control, relay, client }), 10_000);
    control.socket.destroy();
    await eventually(() => server.serving() === 0, 2_000, 'the association ends with its connection');
    await eventually(() => server.timers.size === 0);
    if (server.own.includes('udp', host, relay)) fail('the port is still held as ours');
    if (server.thrown.length > 0) fail(String(server.thrown[0]));
  } finally {
    client.socket.close();
    await server.close();
  }
}

async function associate(control: RawClient, asked: string): Promise<{ relay: number; bound: string }> {
  await control.say(bytes(`05 01 00 05 03 00 ${asked}`));
  const reply = await control.answers(12);
  if (!reply.startsWith('0500050000')) fail(`refused: ${reply}`);
  return { relay: Number.parseInt(reply.slice(-4), 16), bound: reply.slice(10, -4) };
}

for (const [host, header] of Object.entries(HOSTS)) {
  t.test(`inbound: there and back on ${host}`, async (t) => {
    const echo = await startUdpEcho(host);
    const prefix = `000000 ${header} ${port16(echo.port)}`;
    await withRelay({ host }, async ({ server, relay, client }) => {
      t.equal(server.own.includes('udp', host, relay), true, 'nothing may loop back into the relay');
      await client.send(bytes(`${prefix} 'hello'`), relay);
      await eventually(() => client.received.length === 1);
      t.strictSame(client.received[0], { hex: bytes(`${prefix} 'HELLO'`).toString('hex'), port: relay, address: host });
      const big = Buffer.alloc(60_000, 'a');
      await client.send(Buffer.concat([bytes(prefix), big]), relay);
      await eventually(() => client.received.length === 2);
      t.equal(client.received[1]?.hex, bytes(prefix).toString('hex') + big.toString().toUpperCase().replace(/./g, '41'));
      t.equal(server.packets.length, 1, 'one association, one request');
      t.match(server.packets[0]?.session, {
        network: 'udp',
        inbound: 'in',
        inboundType: 'SOCKS5',
        inboundPort: 1080,
        source: { host, port: client.port },
        destination: { host, port: echo.port },
        requested: { host, port: echo.port },
      });
    });
    echo.socket.close();
  });
}

t.test('inbound: names go out as names, answers carry the real address', async (t) => {
  const echo = await startUdpEcho();
  await withRelay({}, async ({ server, relay, client }) => {
    await client.send(bytes(`000000 03 09 'LocalHost' ${port16(echo.port)} 'by name'`), relay);
    await eventually(() => client.received.length === 1);
    t.equal(client.received[0]?.hex, bytes(`000000 01 7f000001 ${port16(echo.port)} 'BY NAME'`).toString('hex'));
    t.strictSame(server.packets[0]?.session.destination, { host: 'localhost', port: echo.port });
  });
  echo.socket.close();
});

t.test('inbound: fragments, malformed datagrams and strangers are dropped; the port is locked', async (t) => {
  const echo = await startUdpEcho();
  const prefix = `000000 01 7f000001 ${port16(echo.port)}`;
  const [second, elsewhere] = [await Udp.open(), await Udp.open('127.0.0.2')];
  await withRelay({}, async ({ server, relay, client }) => {
    // None of these may lock the port: they come from another socket than the client's.
    await elsewhere.send(bytes(`${prefix} 'elsewhere'`), relay, '127.0.0.1');
    for (const hex of [
      '',
      '00',
      '000000',
      '000000 01',
      '000000 01 7f000001 00',
      `000001 ${prefix.slice(7)} 61`,
      `0000ff ${prefix.slice(7)} 61`,
      '000000 05 7f000001 0035 61',
      '000000 01 7f000001 0000 61',
      "000000 03 03 'a/b' 0035 61",
      '000000 03 00 0035',
    ]) {
      await second.send(bytes(hex), relay);
    }
    // The relay listens on the one address that the client reached.
    await second.send(bytes(`${prefix} 'other address'`), relay, '127.0.0.2');
    await client.send(bytes(`${prefix} 'client'`), relay);
    await eventually(() => client.received.length === 1);
    await second.send(bytes(`${prefix} 'thief'`), relay);
    await client.send(bytes(`${prefix} 'again'`), relay);
    await eventually(() => client.received.length === 2);
    t.strictSame(
      echo.received.map(({ hex }) => Buffer.from(hex, 'hex').toString()),
      ['client', 'again'],
    );
    t.equal(second.received.length, 0);
    t.equal(server.packets.length, 1);
    t.equal(server.packets[0]?.session.source.port, client.port);
  });
  for (const udp of [second, elsewhere, echo]) udp.socket.close();
});

t.test('inbound: DST.PORT of the request is the client, if DST.ADDR is', async (t) => {
  const echo = await startUdpEcho();
  const prefix = `000000 01 7f000001 ${port16(echo.port)}`;
  const second = await Udp.open();
  const first = async (asked: string): Promise<string> => {
    let winner = '';
    await withRelay(
      {},
      async ({ server, relay, client }) => {
        await second.send(bytes(`${prefix} 'second'`), relay);
        await client.send(bytes(`${prefix} 'client'`), relay);
        await eventually(() => server.packets.length === 1);
        winner = server.packets[0]?.session.source.port === client.port ? 'client' : 'second';
      },
      asked,
    );
    return winner;
  };
  t.equal(await first('01 7f000001 PORT'), 'client', 'announced');
  t.equal(await first('03 09 31 32 37 2e 30 2e 30 2e 31 PORT'), 'client', 'announced, written as a name');
  t.equal(await first('01 c0a80001 PORT'), 'second', 'another address: what the client calls itself behind NAT');
  t.equal(await first('01 00000000 PORT'), 'second');
  t.equal(await first('03 00 0000'), 'second', 'a hint that is none does no harm');
  t.equal(await first("03 03 'a b' 0035"), 'second');
  for (const udp of [second, echo]) udp.socket.close();
});

t.test('inbound: ends with its connection, however that ends', async (t) => {
  const echo = await startUdpEcho();
  const prefix = `000000 01 7f000001 ${port16(echo.port)}`;
  for (const how of ['FIN', 'RST', 'kernel', 'idle'] as const) {
    const ended: (NetError | null)[] = [];
    const handlePackets = async (request: PacketRequest): Promise<void> => {
      const conn = request.accept();
      while ((await conn.receive()) !== null);
      ended.push(conn.error);
    };
    await withRelay({ handlePackets, timeouts: how === 'idle' ? { idle: 60 } : {} }, async ({ server, control, relay, client }) => {
      await client.send(bytes(`${prefix} 'x'`), relay);
      await eventually(() => server.packets.length === 1);
      await control.say(Buffer.from('nobody listens to this'));
      if (how === 'FIN') control.socket.end();
      if (how === 'RST') control.socket.resetAndDestroy();
      if (how === 'kernel') server.stopKernel();
      await eventually(() => server.serving() === 0, 2_000, how);
      t.strictSame(ended, [null], how);
      if (how === 'FIN') t.equal(await control.rest().then(() => control.end), 'FIN');
      // The port is free again: somebody else may have it.
      const next = dgram.createSocket('udp4');
      await new Promise<void>((resolve, reject) => next.once('error', reject).bind(relay, '127.0.0.1', () => resolve()));
      next.close();
    });
  }
  echo.socket.close();
});

t.test('inbound: when handlePackets has ended, the next datagram begins anew', async (t) => {
  const prefix = '000000 01 7f000001 0035';
  const first: string[] = [];
  const kinds = ['returns', 'closes and stays', 'rejects', 'throws'];
  let calls = 0;
  const stay = new CancelSource();
  const handlePackets = async (request: PacketRequest): Promise<void> => {
    const kind = kinds[calls++];
    if (kind === 'rejects') {
      request.reject(new NetError('denied', 'by rule'));
      return;
    }
    const conn = request.accept();
    for (const { bytes } of (await conn.receive()) ?? []) first.push(Buffer.from(bytes).toString());
    if (kind === 'throws') throw new Error('a bug somewhere else');
    if (kind === 'closes and stays') {
      conn.close();
      t.equal(conn.send([datagram('127.0.0.1', 53, 'late')]), 0, 'a closed conn sends nothing');
      await new Promise<void>((resolve) => stay.onCancel(() => resolve()));
    }
  };
  await withRelay({ handlePackets }, async ({ server, relay, client }) => {
    for (let i = 1; i <= 6; i++) {
      await client.send(bytes(`${prefix} 0${i}`), relay);
      await eventually(() => calls === i, 2_000, `call ${i}`);
    }
    t.equal(new Set(server.packets.map(({ session }) => session.id)).size, 6, 'each with an id of its own');
    t.strictSame(
      first.map((value) => value.charCodeAt(0)),
      [1, 2, 4, 5, 6],
    );
    stay.cancel(new Error('done'));
  });
});

t.test('inbound: a reject after accept leaves the association alone', async (t) => {
  const echo = await startUdpEcho();
  const handlePackets = async (request: PacketRequest): Promise<void> => {
    const conn = request.accept();
    request.reject(new NetError('denied', 'one of its peers'));
    for (let got = await conn.receive(); got !== null; got = await conn.receive()) conn.send(got);
  };
  await withRelay({ handlePackets }, async ({ server, relay, client }) => {
    for (let i = 1; i <= 3; i++) {
      await client.send(bytes('000000 01 7f000001 0035 61'), relay);
      await eventually(() => client.received.length === i);
    }
    t.equal(server.packets.length, 1);
  });
  echo.socket.close();
});

t.test('inbound: what nobody takes is bounded; peers are one frozen object each', async (t) => {
  const go = new CancelSource();
  const taken: Datagram[] = [];
  const handlePackets = async (request: PacketRequest): Promise<void> => {
    const conn = request.accept();
    await new Promise<void>((resolve) => go.onCancel(() => resolve()));
    const got = (await conn.receive()) ?? [];
    if (taken.length === 0) taken.push(...got); // what is still on its way begins anew
  };
  await withRelay({ handlePackets }, async ({ server, relay, client }) => {
    for (let i = 0; i < 800; i++) await client.send(bytes(`000000 01 7f000001 00${i % 2 === 0 ? '35' : '36'} 61`), relay);
    await eventually(() => server.packets.length === 1);
    go.cancel(new Error('go'));
    await eventually(() => taken.length > 0);
    t.ok(taken.length <= 256, `${taken.length} datagrams`);
    t.ok(taken.length > 1);
    const peers = new Set(taken.map(({ peer }) => peer));
    t.equal(peers.size, 2);
    t.ok([...peers].every((peer) => Object.isFrozen(peer)));
  });
});

t.test('inbound: where no relay can listen, REP 1', async (t) => {
  for (const local of [
    { host: '0.0.0.0', port: 1 },
    { host: '::', port: 1 },
    { host: 'unix', port: 0 },
    { host: '192.0.2.1', port: 1 },
  ]) {
    const server = await startInbound({ local });
    const control = await server.connect();
    await control.say(bytes('05 01 00 05 03 00 01 00000000 0000'));
    t.equal(await control.rest(), '050005010001000000000000', local.host);
    control.socket.end();
    await eventually(() => server.serving() === 0 && server.timers.size === 0);
    t.equal(server.failed.length, 1);
    await server.close();
  }
});

t.test('inbound: UDP needs the same password', async (t) => {
  const server = await startInbound({ users: usersOf({ alice: 'secret' }), handlePackets: carry });
  const control = await server.connect();
  await control.say(bytes('05 01 00 05 03 00 01 00000000 0000'));
  t.equal(await control.rest(), '05ff');
  control.socket.end();
  const good = await server.connect();
  await good.say(bytes("05 01 02 01 05 'alice' 06 'secret' 05 03 00 01 00000000 0000"));
  const reply = await good.answers(14);
  t.match(reply, /^050201000500000 ?17f000001/);
  const client = await Udp.open();
  await client.send(bytes('000000 01 7f000001 0009 61'), Number.parseInt(reply.slice(-4), 16));
  await eventually(() => server.packets.length === 1);
  t.equal(server.packets[0]?.session.user, 'alice');
  good.socket.destroy();
  client.socket.close();
  await eventually(() => server.serving() === 0);
  await server.close();
});

for (const host of Object.keys(HOSTS)) {
  t.test(`our adapter through our inbound on ${host}: datagrams to several peers, there and back`, async (t) => {
    const [one, two] = [await startUdpEcho('127.0.0.1'), await startUdpEcho('::1')];
    const server = await startInbound({ host, handlePackets: carry });
    const conn = await dialPacket(adapterFor(server.port, undefined, host));
    const sent = Array.from({ length: 20 }, (_, i) =>
      i % 2 === 0 ? datagram('127.0.0.1', one.port, `to one ${i}`) : datagram('::1', two.port, `to two ${i}`),
    );
    const got: string[] = [];
    for (const each of sent) {
      t.equal(conn.send([each]), 1);
      for (const { bytes, peer } of (await within(conn.receive())) ?? fail('ended')) got.push(`${Buffer.from(bytes).toString()} ${peer.host} ${peer.port}`);
    }
    t.strictSame(
      got,
      sent.map(({ bytes, peer }) => `${Buffer.from(bytes).toString().toUpperCase()} ${peer.host} ${peer.port}`),
    );
    conn.close();
    await eventually(() => server.serving() === 0);
    await server.close();
    for (const udp of [one, two]) udp.socket.close();
  });
}

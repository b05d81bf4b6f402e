// UDP by the adapter, against a test server.
import { CancelSource, type Datagram, isNetError, NetError, type PacketConn, TIMERS } from '@nekit/core';
import { dialOptions, eventually, testContext, within } from '@nekit/core/testing';
import t from 'tap';
import { Socks5Adapter } from '../dist/adapter.js';
import { socks5Config } from '../dist/config.js';
import { PeerTable } from '../dist/peer-table.js';
import { bytes } from './inbound-server.js';
import { type Association, type Behaviour, type SocksServer, startSocksServer } from './socks-server.js';
import { adapterFor, datagram, dialPacket, fail, text, Udp } from './udp-peers.js';

interface Made {
  readonly server: SocksServer;
  readonly conn: PacketConn & { readonly dropped?: number };
  readonly association: Association;
}

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
      datagram('fe80::1%eth0', 53, 'a zone'),
      datagram('192.0.2.1', 53, long),
    ]);
    t.equal(taken, 4, 'a name that cannot be is not taken, nor a zone');
    t.equal(conn.dropped, 2);
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

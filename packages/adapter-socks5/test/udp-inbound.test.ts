// UDP by the inbound, with real datagrams.
import dgram from 'node:dgram';
import { CancelSource, type Datagram, NetError, type PacketConn, type PacketRequest } from '@nekit/core';
import { dialOptions, eventually, packetDialerConformance, testContext, within } from '@nekit/core/testing';
import t from 'tap';
import { bytes, type InboundOptions, type InboundServer, type RawClient, startInbound, usersOf } from './inbound-server.js';
import { adapterFor, datagram, dialPacket, fail, port16, startUdpEcho, Udp } from './udp-peers.js';

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

t.test('inbound: an answer from an address with a zone, which no header can say, is dropped, and the association goes on', async (t) => {
  const header = '000000 01 c0000201 0035';
  const taken: number[] = [];
  const handlePackets = async (request: PacketRequest): Promise<void> => {
    const client = request.accept();
    for (let datagrams = await client.receive(); datagrams !== null; datagrams = await client.receive()) {
      const [asked] = datagrams;
      if (asked === undefined) continue;
      const stranger = datagram('fe80::1%eth0', 53, 'from the link');
      taken.push(client.send([stranger, { bytes: Buffer.from('yes'), peer: asked.peer }, stranger]));
    }
    client.close();
  };
  await withRelay({ handlePackets }, async ({ relay, client }) => {
    for (const count of [1, 2]) {
      await client.send(bytes(`${header} 'hello'`), relay);
      await eventually(() => client.received.length === count);
      t.equal(client.received[count - 1]?.hex, bytes(`${header} 'yes'`).toString('hex'));
    }
    t.same(taken, [1, 1]);
  });
});

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

t.test('our adapter through our inbound: packet dialer conformance', (t) => {
  packetDialerConformance(
    (title, run) => t.test(title, run),
    async () => {
      const server = await startInbound({ handlePackets: carry });
      return { dialer: adapterFor(server.port).packet ?? fail('no packet dialer'), close: () => server.close() };
    },
  );
  t.end();
});

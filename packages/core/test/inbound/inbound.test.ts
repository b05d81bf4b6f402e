import assert from 'node:assert/strict';
import net from 'node:net';
import t from 'tap';
import { AccessList, AddressList, UserList } from '../../dist/inbound/access.js';
import { chooseProtocol } from '../../dist/inbound/choose-protocol.js';
import { ConnectionLimit } from '../../dist/inbound/connection-limit.js';
import type { InboundConnection, InboundProtocol } from '../../dist/inbound/inbound.js';
import { TcpInbound } from '../../dist/inbound/tcp-inbound.js';
import { CancelSource, never } from '../../dist/net/cancel.js';
import { isNetError, NekitError, NetError } from '../../dist/net/errors.js';
import { finish } from '../../dist/net/linger.js';
import { collect, eventually, pipePair, send, startTarget, testContext, testInboundContext, within } from '../../dist/testing.js';

void t.test('AddressList', async (t) => {
  await t.test('holds networks and single addresses of both families', async () => {
    const list = new AddressList(['10.0.0.0/8', '192.0.2.7', 'fd00::/8', '::1']);
    for (const address of ['10.1.2.3', '192.0.2.7', 'fd12::1', '::1']) assert.ok(list.includes(address), address);
    for (const address of ['11.0.0.1', '192.0.2.8', 'fe80::1%eth0', '2001:db8::1']) assert.ok(!list.includes(address), address);
  });
  await t.test('refuses what is no network', async () => {
    for (const bad of ['10.0.0.0/33', 'example.com', '10.0.0.0/x', '::/129', '']) {
      assert.throws(
        () => new AddressList([bad]),
        (error) => error instanceof NekitError && error.code === 'BAD_CIDR',
        bad,
      );
    }
  });
});

void t.test('AccessList: the disallowed lose, a non-empty allow list is exclusive', async () => {
  const list = new AccessList(['192.168.0.0/16'], ['192.168.9.0/24']);
  assert.deepEqual(
    ['192.168.1.1', '192.168.9.1', '10.0.0.1', '127.0.0.1', '::1'].map((address) => list.admits(address)),
    [true, false, false, false, false],
  );
  const open = new AccessList([], ['10.0.0.0/8']);
  assert.deepEqual(
    ['192.0.2.1', '10.0.0.1'].map((address) => open.admits(address)),
    [true, false],
  );
});

void t.test('UserList compares whole credentials', async () => {
  const users = new UserList([
    { username: 'me', password: 'secret' },
    { username: 'empty', password: '' },
  ]);
  assert.ok(users.check('me', 'secret'));
  assert.ok(users.check('empty', ''));
  for (const [name, password] of [
    ['me', 'secret\0'],
    ['me', 'Secret'],
    ['me', ''],
    ['you', 'secret'],
    ['', ''],
    ['me\0', 'secret'],
  ] as const) {
    assert.ok(!users.check(name, password), JSON.stringify([name, password]));
  }
});

class Nobody extends AccessList {
  override admits(): boolean {
    return false;
  }
}

/** Takes connections whose first byte is its letter, reads that byte, and then does what the test wants. */
function letter(name: string, then: (connection: InboundConnection) => Promise<void> = () => Promise.resolve()): InboundProtocol {
  const serve = async (connection: InboundConnection): Promise<void> => {
    await connection.stream.read();
    await then(connection);
  };
  return { name, takes: (first) => first[0] === name.charCodeAt(0), serve };
}

void t.test('chooseProtocol', async (t) => {
  await t.test('leaves the first bytes in the stream', async () => {
    const [client, stream] = pipePair();
    const wanted = letter('b');
    void send(client, Buffer.from('bytes'));
    const chosen = await chooseProtocol(stream, [letter('a'), wanted]);
    assert.equal(chosen?.protocol, wanted);
    assert.equal((await collect(chosen.stream)).toString(), 'bytes');
  });
  await t.test('reads on while a protocol cannot tell', async () => {
    const [client, stream] = pipePair();
    const slow: InboundProtocol = { ...letter('s'), takes: (first) => (first.length < 4 ? undefined : Buffer.from(first).toString().startsWith('slow')) };
    void (async () => {
      for (const byte of 'slowly') await client.write([Buffer.from(byte)]);
      await client.closeWrite();
    })();
    const chosen = await chooseProtocol(stream, [slow, letter('x')]);
    assert.equal((chosen === null ? '' : await collect(chosen.stream)).toString(), 'slowly');
  });
  await t.test('says so when nobody takes it, when it ends undecided, and when it never decides', async () => {
    const never: InboundProtocol = { ...letter('n'), takes: () => undefined };
    for (const [text, protocol] of [
      ['x', letter('a')],
      ['no', never],
      ['n'.repeat(100), never],
    ] as const) {
      const [client, stream] = pipePair();
      void send(client, Buffer.from(text));
      await assert.rejects(chooseProtocol(stream, [protocol]), (error) => isNetError(error) && error.code === 'UNKNOWN_PROTOCOL', text);
    }
  });
  await t.test('gives null for a client that leaves without a word', async () => {
    const [client, stream] = pipePair();
    await client.closeWrite();
    assert.equal(await chooseProtocol(stream, [letter('a')]), null);
  });
});

void t.test('TcpInbound', async (t) => {
  const open = async (protocols: readonly InboundProtocol[], over: Partial<ConstructorParameters<typeof TcpInbound>[0]> = {}, handshake = 5_000) => {
    const { context, events, own, timers } = testContext({ timeouts: { handshake } });
    const limit = new ConnectionLimit(10);
    const refuse = (): never => assert.fail('not in this test');
    const inboundContext = testInboundContext({
      type: 'mixed',
      handleStream: refuse,
      handlePackets: refuse,
      route: refuse,
      nextId: refuse,
      get: (wanted) => context.get(wanted),
    });
    const options = { host: '127.0.0.1', port: 0, protocols, users: null, skipAuthPrefixes: [], access: new AccessList([], []), limit, ...over };
    const inbound = new TcpInbound(options, inboundContext);
    const stop = new CancelSource();
    await inbound.start(stop);
    const connect = async (): Promise<net.Socket> => {
      const socket = net.connect({ port: inbound.endpoint.port, host: options.host, allowHalfOpen: true });
      socket.on('error', () => socket.destroy());
      await new Promise<void>((resolve) => socket.once('connect', resolve).once('close', () => resolve()));
      return socket;
    };
    const close = async (): Promise<void> => {
      await inbound.stop();
      stop.cancel(new NetError('aborted', 'the test is over'));
      await eventually(() => limit.open === 0 && timers.size === 0);
    };
    return { inbound, events, own, limit, connect, close, timers };
  };
  const closed = (socket: net.Socket): Promise<void> =>
    within(new Promise<void>((resolve) => (socket.destroyed ? resolve() : socket.resume().once('close', () => resolve()))));

  await t.test('registers itself as our own while it listens', async () => {
    const { inbound, own, close } = await open([letter('a')]);
    assert.ok(own.includes('tcp', '127.0.0.1', inbound.endpoint.port));
    await close();
    assert.ok(!own.includes('tcp', '127.0.0.1', inbound.endpoint.port));
  });

  await t.test('tells the protocol where the client comes from, where it came to, and by which port', async () => {
    let seen: InboundConnection | null = null;
    const { inbound, connect, close } = await open([
      letter('a', (connection) => {
        seen = connection;
        return Promise.resolve();
      }),
    ]);
    const socket = await connect();
    const from = socket.localPort;
    socket.write('a');
    await eventually(() => seen !== null);
    const { source, local, port, users } = seen ?? assert.fail();
    assert.deepEqual(
      { source, local, port, users },
      {
        source: { host: '127.0.0.1', port: from },
        local: { host: '127.0.0.1', port: inbound.endpoint.port },
        port: inbound.endpoint.port,
        users: null,
      },
    );
    await closed(socket);
    await close();
  });

  await t.test('tells its connections when it stops, and is itself again when it starts again', async () => {
    const reasons: (Error | null)[] = [];
    const look = ({ retired }: InboundConnection): Promise<void> => {
      reasons.push(retired.reason);
      return new Promise((resolve) => retired.onCancel(() => resolve()));
    };
    const { inbound, connect, close } = await open([letter('a', look)]);
    for (const round of [1, 2]) {
      const socket = await connect();
      socket.write('a');
      await eventually(() => reasons.length === round);
      await inbound.stop();
      await closed(socket);
      await inbound.start(never);
    }
    assert.deepEqual(reasons, [null, null]);
    await close();
  });

  await t.test('a client that says nothing is cut off after the handshake timeout', async () => {
    const { connect, close } = await open([letter('a'), letter('b')], {}, 50);
    await closed(await connect());
    await close();
  });

  await t.test('a client that nobody understands, and a protocol that throws, are reported and cut off', async () => {
    const { connect, close, events } = await open([letter('a', () => Promise.reject(new Error('a bug in the protocol'))), letter('b')]);
    const failures: string[] = [];
    events.on('request.failed', ({ code, message }) => failures.push(`${code}: ${message}`));
    for (const first of ['x', 'a']) {
      const socket = await connect();
      socket.write(first);
      await closed(socket);
    }
    assert.equal(failures.length, 2);
    assert.match(failures[0] ?? '', /UNKNOWN_PROTOCOL/);
    assert.match(failures[1] ?? '', /a bug in the protocol/);
    await close();
  });

  await t.test('the signal fires when the client resets, and when the kernel stops', async () => {
    const reasons: string[] = [];
    let entered = 0;
    const waits = async ({ signal }: InboundConnection): Promise<void> => {
      entered++;
      const reason = await new Promise<Error>((resolve) => signal.onCancel(resolve));
      reasons.push(reason.message);
    };
    const { connect, close } = await open([letter('a', waits)]);
    const leaving = await connect();
    leaving.write('a');
    await eventually(() => entered === 1);
    leaving.resetAndDestroy();
    await eventually(() => reasons.length === 1);
    const staying = await connect();
    staying.write('a');
    await eventually(() => entered === 2);
    await close();
    assert.equal(reasons[1], 'the test is over');
    await closed(staying);
  });

  await t.test('who is in skip-auth-prefixes needs no credentials', async () => {
    const users = new UserList([{ username: 'me', password: 'x' }]);
    for (const [skipAuthPrefixes, expected] of [
      [['127.0.0.0/8'], null],
      [['10.0.0.0/8'], users],
    ] as const) {
      let seen: InboundConnection['users'] | undefined;
      const look = ({ users: needed }: InboundConnection): Promise<void> => {
        seen = needed;
        return Promise.resolve();
      };
      const { connect, close } = await open([letter('a', look)], { users, skipAuthPrefixes });
      const socket = await connect();
      socket.write('a');
      await eventually(() => seen !== undefined);
      assert.equal(seen, expected);
      await closed(socket);
      await close();
    }
  });

  await t.test('addresses that may not come are turned away with a reset', async () => {
    // Loopback always passes the list, so the list is one that refuses everybody.
    const { connect, close, events, limit } = await open([letter('a')], { access: new Nobody([], []) });
    const reasons: string[] = [];
    events.on('connection.refused', ({ reason }) => reasons.push(reason));
    await closed(await connect());
    assert.deepEqual(reasons, ['address']);
    assert.equal(limit.open, 0);
    await close();
  });

  await t.test('a port in use is an error that says so', async () => {
    const taken = await startTarget((socket) => socket.destroy());
    await assert.rejects(
      open([letter('a')], { port: taken.port }),
      (error) => error instanceof NekitError && error.code === 'LISTEN_FAILED' && error.message.includes('the port is in use'),
    );
    await taken.close();
  });
});

void t.test('finish', async (t) => {
  const { timers } = testContext();
  await t.test('says the last word, FIN, and waits for the client', async () => {
    const [client, stream] = pipePair();
    const done = finish(stream, Buffer.from('bye'), timers);
    assert.equal((await collect(client)).toString(), 'bye');
    await client.write([Buffer.from('still talking')]);
    await client.closeWrite();
    await within(done);
    assert.equal(timers.size, 0);
  });
  await t.test('does not listen for ever, nor to everything', async () => {
    const [client, stream] = pipePair();
    const done = finish(stream, null, timers);
    await assert.rejects(async () => {
      for (;;) await client.write([new Uint8Array(32 * 1024)]);
    }, isNetError);
    await within(done);
    assert.equal(timers.size, 0);
  });
  await t.test('is content with a client that has left', async () => {
    const [client, stream] = pipePair();
    client.abort(new NetError('aborted', 'gone'));
    await within(finish(stream, Buffer.from('bye'), timers));
    assert.equal(never.reason, null);
  });
});

import assert from 'node:assert/strict';
import t from 'tap';
import type { Adapter } from '../../dist/adapter/adapter.js';
import { CancelSource } from '../../dist/net/cancel.js';
import { isNetError, NetError } from '../../dist/net/errors.js';
import type { Datagram } from '../../dist/net/packet-conn.js';
import type { Resolver } from '../../dist/net/resolver.js';
import type { Session } from '../../dist/net/session.js';
import { DEFAULT_TIMEOUTS } from '../../dist/net/timeouts.js';
import { handlePackets } from '../../dist/routing/handle-packets.js';
import { handleStream, routeStream } from '../../dist/routing/handle-stream.js';
import { collect, pipePair, send, settle, testSession } from '../../dist/testing.js';
import { FakeConn, packetAdapter, scene } from '../support/routing-scene.js';

void t.test('handlePackets', async (t) => {
  const peer = (host: string, port = 53): Datagram['peer'] => Object.freeze({ host, port });
  const open = (rules: readonly string[], adapters: readonly Adapter[], resolver?: Resolver, destination = peer('192.0.2.1'), known: Partial<Session> = {}) => {
    const made = scene(rules, adapters, resolver);
    const client = new FakeConn();
    const rejected: NetError[] = [];
    const signal = new CancelSource();
    const session = testSession({ id: made.sessions.nextId(), network: 'udp', destination, signal, ...known });
    const done = handlePackets({ session, accept: () => client, reject: (error) => rejected.push(error) }, made.routing);
    const say = async (text: string, to: Datagram['peer']): Promise<void> => {
      client.incoming.put({ bytes: Buffer.from(text), peer: to });
      await settle();
    };
    return { ...made, client, rejected, done, say, signal };
  };

  await t.test('peers of one adapter share one association, and any peer may answer (full cone)', async () => {
    const direct = packetAdapter('DIRECT');
    const { client, say, done, ended, sessions } = open(['MATCH,DIRECT'], [direct]);
    const [one, two] = [peer('192.0.2.1'), peer('192.0.2.2')];
    await say('to one', one);
    await say('to two', two);
    assert.equal(direct.conns.length, 1);
    assert.deepEqual(
      direct.conns[0]?.sent.map((datagram) => datagram.peer),
      [one, two],
    );
    const stranger = peer('198.51.100.9', 9999);
    direct.conns[0]?.incoming.put({ bytes: Buffer.from('hello'), peer: stranger });
    await settle();
    assert.deepEqual(
      client.sent.map((datagram) => datagram.peer),
      [stranger],
    );
    assert.equal(sessions.size, 1);
    client.close();
    await done;
    assert.ok(direct.conns[0]?.closed);
    await settle();
    assert.deepEqual(
      ended.map(({ network, up, down, error }) => ({ network, up, down, error })),
      [{ network: 'udp', up: 12, down: 5, error: null }],
    );
  });

  await t.test('a burst to a new peer arrives whole, where no rule has to wait', async () => {
    const direct = packetAdapter('DIRECT');
    const { client, say, done } = open(['MATCH,DIRECT'], [direct]);
    await say('before', peer('192.0.2.1'));
    const other = peer('192.0.2.2');
    const burst = Array.from({ length: 200 }, (_, i) => ({ bytes: Buffer.from(`${i}`), peer: other }));
    for (const datagram of burst.slice(0, 100)) client.incoming.put(datagram);
    client.incoming.putAll(burst.slice(100));
    await settle();
    assert.deepEqual(direct.conns[0]?.texts(), ['before', ...burst.map(({ bytes }) => bytes.toString())]);
    client.close();
    await done;
  });

  await t.test('what waits for a dial keeps no more than itself', async () => {
    const sent: Datagram[] = [];
    let dialled: (conn: FakeConn) => void = () => {};
    const slow: Adapter = { tag: 'slow', type: 'test', packet: { dialPacket: () => new Promise((resolve) => (dialled = resolve)) } };
    const { client, done } = open(['MATCH,slow'], [slow, packetAdapter('DIRECT')]);
    client.givesBytes = true;
    const one = peer('192.0.2.1');
    const received = new Uint8Array(100_000);
    for (let i = 0; i < 5; i++) client.incoming.put({ bytes: received.subarray(i, i + 1), peer: one });
    await settle();
    const conn = new FakeConn();
    conn.send = (datagrams) => sent.push(...datagrams);
    dialled(conn);
    await settle();
    assert.equal(sent.length, 5);
    assert.ok(
      sent.every(({ bytes }) => bytes.buffer.byteLength < 100),
      'of the 100,000 bytes that came with it nothing is kept',
    );
    client.close();
    await done;
  });

  await t.test('what waits for a dial counts with what waits for others, and is dropped where that is too much', async () => {
    for (const others of [0, 32 * 1024 * 1024 - 2_000]) {
      let dialled: (conn: FakeConn) => void = () => {};
      const slow: Adapter = { tag: 'slow', type: 'test', packet: { dialPacket: () => new Promise((resolve) => (dialled = resolve)) } };
      const { client, done, sessions } = open(['MATCH,slow'], [slow, packetAdapter('DIRECT')]);
      sessions.waiting.now = others;
      for (let i = 0; i < 5; i++) client.incoming.put({ bytes: new Uint8Array(1_000), peer: peer('192.0.2.1') });
      await settle();
      const taken = others === 0 ? 5 : 1;
      assert.ok(sessions.waiting.now - others >= taken * 1_000 && sessions.waiting.now - others < (taken + 1) * 1_000);
      const conn = new FakeConn();
      dialled(conn);
      await settle();
      assert.deepEqual([conn.sent.length, sessions.waiting.now], [taken, others]);
      client.close();
      await done;
    }
  });

  await t.test('so does what waits for its peer to be routed, until that is so or the client has left', async () => {
    let answer: (addresses: string[]) => void = () => {};
    const resolver: Resolver = { resolve: () => new Promise((resolve) => (answer = resolve)) };
    for (const leaves of [false, true]) {
      const direct = packetAdapter('DIRECT');
      const one = peer('slow.example');
      const { client, done, sessions } = open(['IP-CIDR,203.0.113.0/24,DIRECT', 'MATCH,DIRECT'], [direct], resolver, one);
      sessions.waiting.now = 32 * 1024 * 1024 - 4_000;
      for (let i = 0; i < 5; i++) client.incoming.put({ bytes: new Uint8Array(1_000), peer: one });
      await settle();
      assert.equal(32 * 1024 * 1024 - 4_000 + 3 * 1_128, sessions.waiting.now);
      if (!leaves) answer(['192.0.2.1']);
      await settle();
      if (!leaves) assert.equal(direct.conns[0]?.sent.length, 3);
      client.close();
      await done;
      assert.equal(sessions.waiting.now, 32 * 1024 * 1024 - 4_000);
    }
  });

  await t.test('an adapter that throws, or has no UDP, refuses its peers as one that rejects', async () => {
    let broken = true;
    const made = packetAdapter('DIRECT');
    const thrower: Adapter = {
      ...made,
      packet: {
        dialPacket: (options) => {
          if (broken) throw new Error('by somebody else');
          return made.packet?.dialPacket(options) ?? Promise.reject(new Error('it has one'));
        },
      },
    };
    for (const adapter of [thrower, { tag: 'DIRECT', type: 'test' }]) {
      broken = true;
      const { client, say, done, rejected, clock, ended } = open(['MATCH,DIRECT'], [adapter]);
      const one = peer('192.0.2.1');
      for (let i = 0; i < 3; i++) await say('lost', one);
      assert.deepEqual([rejected.length, ended.length], [3, 1]);
      broken = false;
      await clock.advance(1_100);
      await say('again', one);
      if (adapter === thrower) assert.deepEqual(made.conns[0]?.texts(), ['again']);
      else assert.equal(rejected.length, 4);
      client.close();
      await done;
    }
  });

  await t.test('one that fails before a byte has moved is not dialled again for each datagram', async () => {
    const direct = packetAdapter('DIRECT');
    const { client, say, done, rejected, clock } = open(['MATCH,DIRECT'], [direct]);
    const one = peer('192.0.2.1');
    const { packet } = direct;
    assert.ok(packet !== undefined);
    const dial = packet.dialPacket;
    packet.dialPacket = async (options) => {
      const conn = await dial(options);
      conn.send = () => {
        conn.close(new NetError('unreachable', 'no such family'));
        return 0;
      };
      return conn;
    };
    for (let i = 0; i < 3; i++) await say('lost', one);
    assert.deepEqual([direct.conns.length, rejected.length], [1, 3]);
    await clock.advance(1_100);
    await say('again', one);
    assert.equal(direct.conns.length, 2);
    client.close();
    await done;
  });

  await t.test('the client says how long it may be silent', async () => {
    const direct = packetAdapter('DIRECT');
    const made = scene(['MATCH,DIRECT'], [direct]);
    const client = new FakeConn();
    const one = peer('192.0.2.1');
    const session = testSession({ id: made.sessions.nextId(), network: 'udp', destination: one, signal: new CancelSource() });
    const done = handlePackets({ session, idleMs: 3_600_000, accept: () => client, reject() {} }, made.routing);
    client.incoming.put({ bytes: Buffer.from('x'), peer: one });
    await settle();
    await made.clock.advance(3_500_000);
    assert.equal(direct.conns[0]?.closed, false);
    await made.clock.advance(200_000);
    assert.equal(direct.conns[0]?.closed, true);
    client.close();
    await done;
  });

  await t.test('bytes that are lent are copied; those that are given are not', async () => {
    for (const givesBytes of [false, true]) {
      const direct = packetAdapter('DIRECT');
      const { client, say, done } = open(['MATCH,DIRECT'], [direct]);
      client.givesBytes = givesBytes;
      const one = peer('192.0.2.1');
      await say('routed', one);
      const [first, second] = [Buffer.from('first'), Buffer.from('second')];
      client.incoming.putAll([
        { bytes: first, peer: one },
        { bytes: second, peer: one },
      ]);
      // The association has them, the adapter does not yet.
      await Promise.resolve();
      await Promise.resolve();
      first.fill('x');
      second.fill('x');
      await settle();
      assert.deepEqual(direct.conns[0]?.texts(), givesBytes ? ['routed', 'xxxxx', 'xxxxxx'] : ['routed', 'first', 'second']);
      client.close();
      await done;
    }
  });

  await t.test('each peer is routed on its own', async () => {
    const [direct, proxy] = [packetAdapter('DIRECT'), packetAdapter('proxy')];
    const { say, client, done } = open(['IP-CIDR,192.0.2.0/24,proxy', 'MATCH,DIRECT'], [direct, proxy]);
    await say('a', peer('192.0.2.1'));
    await say('b', peer('198.51.100.1'));
    await say('c', peer('192.0.2.7'));
    assert.deepEqual([proxy.conns[0]?.texts(), direct.conns[0]?.texts()], [['a', 'c'], ['b']]);
    client.close();
    await done;
  });

  await t.test('also where the datagram that it was opened for has been dropped: another that comes first goes its own way', async () => {
    const [one, two, three] = [peer('192.0.2.1'), peer('192.0.2.1', 54), peer('192.0.2.2')];
    const adapters = ['one', 'two', 'three', 'DIRECT'].map((tag) => packetAdapter(tag));
    const rules = ['AND,((IP-CIDR,192.0.2.1/32),(DST-PORT,53)),one', 'IP-CIDR,192.0.2.1/32,two', 'IP-CIDR,192.0.2.2/32,three', 'MATCH,DIRECT'];
    const { client, say, done, events } = open(rules, adapters, undefined, one);
    const opened = new Set<number>();
    events.on('session.connected', ({ session }) => opened.add(session));
    await say('to three', three);
    await say('to two', two);
    await say('to one', peer('192.0.2.1'));
    assert.deepEqual(
      adapters.map(({ conns }) => conns.map((conn) => conn.texts())),
      [[['to one']], [['to two']], [['to three']], []],
    );
    client.close();
    await done;
    assert.equal(opened.size, 3);
  });

  await t.test('a name that is known of the first peer is not that of the others', async () => {
    const adapters = ['named', 'DIRECT'].map((tag) => packetAdapter(tag));
    const { client, say, done } = open(['DOMAIN,first.example,named', 'MATCH,DIRECT'], adapters, undefined, peer('192.0.2.1'), { sniffed: 'first.example' });
    await say('to the first', peer('192.0.2.1'));
    await say('to another', peer('192.0.2.2'));
    assert.deepEqual(
      adapters.map(({ conns }) => conns.map((conn) => conn.texts())),
      [[['to the first']], [['to another']]],
    );
    client.close();
    await done;
  });

  await t.test('a target without UDP is passed over', async () => {
    const direct = packetAdapter('DIRECT');
    const { say, client, done } = open(
      ['MATCH,tcp-only', 'MATCH,DIRECT'],
      [{ tag: 'tcp-only', type: 'test', stream: { dialStream: () => Promise.reject(new Error('not here')) } }, direct],
    );
    await say('a', peer('192.0.2.1'));
    assert.deepEqual(direct.conns[0]?.texts(), ['a']);
    client.close();
    await done;
  });

  await t.test('what comes while a peer is routed waits, within bounds, and judged addresses go with it', async () => {
    const direct = packetAdapter('DIRECT');
    const name = peer('name.example');
    let answer: (addresses: readonly string[]) => void = () => {};
    const resolver: Resolver = { resolve: () => new Promise((resolve) => (answer = resolve)) };
    const { say, client, done } = open(['IP-CIDR,10.0.0.0/8,REJECT', 'MATCH,DIRECT'], [direct, packetAdapter('REJECT')], resolver, name);
    for (let i = 0; i < 30; i++) await say(`${i}`, name);
    assert.equal(direct.conns.length, 0);
    answer(['192.0.2.55']);
    await settle();
    assert.equal(direct.conns[0]?.sent.length, 16);
    assert.deepEqual(direct.conns[0]?.sent[0]?.addresses, ['192.0.2.55']);
    client.close();
    await done;
  });

  await t.test('idle flows end, and a later datagram opens a new one', async () => {
    const direct = packetAdapter('DIRECT');
    const { say, client, done, clock, sessions } = open(['MATCH,DIRECT'], [direct]);
    await say('a', peer('192.0.2.1'));
    await clock.advance(DEFAULT_TIMEOUTS.udpIdle + 1_000);
    assert.equal(sessions.size, 0);
    assert.ok(direct.conns[0]?.closed);
    await say('b', peer('192.0.2.1'));
    assert.deepEqual(direct.conns[1]?.texts(), ['b']);
    client.close();
    await done;
  });

  await t.test('a refusal is told, remembered for a second, and tried again after it', async () => {
    const refusing = packetAdapter('DIRECT', new NetError('denied', 'no'));
    const { say, client, done, rejected, ended, clock } = open(['MATCH,DIRECT'], [refusing]);
    const to = peer('192.0.2.1');
    for (let i = 0; i < 5; i++) await say('x', to);
    assert.equal(rejected.length, 5, 'each datagram has its answer');
    assert.equal(ended.length, 1, 'but one dial is enough');
    assert.equal(ended[0]?.error?.failure, 'denied');
    await clock.advance(1_100);
    await say('x', to);
    assert.equal(ended.length, 2);
    client.close();
    await done;
  });

  await t.test('every refused peer is told of, each time; what is carried or dropped is not', async () => {
    const refusing = packetAdapter('REJECT', new NetError('denied', 'no'));
    const { routing, clock } = scene(['IP-CIDR,192.0.2.0/24,REJECT', 'MATCH,DIRECT'], [refusing, packetAdapter('DIRECT')]);
    const client = new FakeConn();
    const told: string[] = [];
    const session = testSession({ id: 1, network: 'udp', destination: peer('198.51.100.1') });
    const reject = (error: NetError, to?: Datagram['peer']): number => told.push(`${to?.host} ${error.failure}`);
    const done = handlePackets({ session, accept: () => client, reject }, routing);
    const [carried, one, two] = [peer('198.51.100.1'), peer('192.0.2.1'), peer('192.0.2.2')];
    for (const to of [carried, one, two, carried, one]) {
      client.incoming.put({ bytes: Buffer.from('x'), peer: to });
      await settle();
    }
    assert.deepEqual(told, ['192.0.2.1 denied', '192.0.2.2 denied', '192.0.2.1 denied']);
    await clock.advance(1_100);
    client.incoming.put({ bytes: Buffer.from('x'), peer: two });
    await settle();
    assert.deepEqual(told.slice(3), ['192.0.2.2 denied'], 'routed anew');
    client.close();
    await done;
  });

  await t.test('the client leaves: what is still dialled for it is told to stop, and closed if it comes all the same', async () => {
    for (const heeds of [true, false]) {
      let stopped: Error | null = null;
      let dialled: (conn: FakeConn) => void = () => {};
      const dialPacket: NonNullable<Adapter['packet']>['dialPacket'] = ({ signal }) =>
        new Promise((resolve, reject) => {
          dialled = resolve;
          signal.onCancel((reason) => {
            stopped = reason;
            if (heeds) reject(reason);
          });
        });
      const { client, say, done, rejected, ended, sessions } = open(
        ['MATCH,slow'],
        [{ tag: 'slow', type: 'test', packet: { dialPacket } }, packetAdapter('DIRECT')],
      );
      await say('x', peer('192.0.2.1'));
      assert.deepEqual([stopped, sessions.size], [null, 1]);
      client.close();
      await done;
      assert.ok(isNetError(stopped));
      const conn = new FakeConn();
      if (!heeds) dialled(conn);
      await settle();
      assert.equal(conn.closed, !heeds);
      assert.deepEqual([sessions.size, ended[0]?.error?.code, rejected], [0, 'CLIENT_LEFT', []]);
    }
  });

  await t.test('the client leaves while a peer is being routed: nothing of it is remembered', async () => {
    for (const how of ['known', 'unknown', 'told to stop'] as const) {
      const name = peer('name.example');
      let known: (addresses: readonly string[]) => void = () => {};
      let failed: (error: NetError) => void = () => {};
      const resolver: Resolver = {
        resolve: () => new Promise((resolve, reject) => ([known, failed] = [resolve, reject])),
      };
      const { say, client, done, sessions, signal } = open(
        ['IP-CIDR,10.0.0.0/8,REJECT', 'MATCH,DIRECT'],
        [packetAdapter('DIRECT'), packetAdapter('REJECT')],
        resolver,
        name,
      );
      await say('x', name);
      assert.equal(sessions.peers.now, 1);
      client.close();
      await done;
      if (how === 'known') known(['192.0.2.55']);
      else if (how === 'unknown') failed(new NetError('name', 'no such name'));
      else {
        signal.cancel(new NetError('aborted', 'stop'));
        failed(new NetError('aborted', 'stop'));
      }
      await settle();
      assert.deepEqual([sessions.peers.now, sessions.size], [0, 0], how);
    }
  });

  await t.test('the client leaves: what was carried ends without an error', async () => {
    const { client, say, done, ended } = open(['MATCH,DIRECT'], [packetAdapter('DIRECT')]);
    await say('x', peer('192.0.2.1'));
    client.close();
    await done;
    await settle();
    assert.deepEqual(
      ended.map(({ error }) => error),
      [null],
    );
  });

  await t.test('the number of peers and of adapters is bounded', async () => {
    const direct = packetAdapter('DIRECT');
    const { say, client, done, sessions } = open(['MATCH,DIRECT'], [direct]);
    for (let i = 0; i < 1_100; i++) client.incoming.put({ bytes: Buffer.from('x'), peer: peer('192.0.2.1', 1 + i) });
    for (let i = 0; i < 1_100; i += 200) await settle();
    await say('still here', peer('192.0.2.1', 60_000));
    assert.equal(direct.conns.length, 1);
    assert.ok(direct.conns[0]?.texts().includes('still here'));
    assert.equal(sessions.peers.now, 1_024);
    sessions.peers.now += sessions.peers.most; // others hold as many as all may
    await say('and here', peer('192.0.2.1', 60_001));
    assert.equal(direct.conns[0]?.texts().at(-1), 'and here');
    assert.equal(sessions.peers.now, sessions.peers.most + 1_024);
    client.close();
    await done;
    assert.equal(sessions.peers.now, sessions.peers.most, 'nothing of it is left');
  });
});

void t.test('handleStream', async (t) => {
  const streamAdapter = (tag: string, dialStream: NonNullable<Adapter['stream']>['dialStream']): Adapter => ({ tag, type: 'test', stream: { dialStream } });

  await t.test('dials, accepts, relays, and reports what moved', async () => {
    const [remote, target] = pipePair();
    const { routing, sessions, ended } = scene(['MATCH,DIRECT'], [streamAdapter('DIRECT', () => Promise.resolve(remote))]);
    const [client, inside] = pipePair();
    const order: string[] = [];
    const session = testSession({ id: sessions.nextId() });
    const accept = (): Promise<typeof inside> => {
      order.push('accept');
      return Promise.resolve(inside);
    };
    const done = handleStream({ session, accept, reject: () => order.push('reject') }, routing);
    const [got] = await Promise.all([collect(target), send(client, Buffer.from('up')), send(target, Buffer.from('down!')), collect(client)]);
    await done;
    assert.equal(got.toString(), 'up');
    assert.deepEqual(order, ['accept']);
    assert.deepEqual(
      ended.map(({ up, down, rule, adapter, error }) => ({ up, down, rule, adapter, error })),
      [{ up: 2, down: 5, rule: 'MATCH,DIRECT', adapter: 'DIRECT', error: null }],
    );
    assert.equal(sessions.size, 0);
  });

  await t.test('a dial that fails is a rejection with its error', async () => {
    const { routing, ended } = scene(['MATCH,DIRECT'], [streamAdapter('DIRECT', () => Promise.reject(new NetError('refused', 'nobody there')))]);
    const errors: NetError[] = [];
    await handleStream({ session: testSession(), accept: () => assert.fail('accepted'), reject: (error) => errors.push(error) }, routing);
    assert.equal(errors[0]?.failure, 'refused');
    assert.equal(ended[0]?.error?.failure, 'refused');
  });

  await t.test('a client that left before the accept: the remote is aborted, nobody is rejected', async () => {
    const [remote, target] = pipePair();
    const { routing, ended } = scene(['MATCH,DIRECT'], [streamAdapter('DIRECT', () => Promise.resolve(remote))]);
    await handleStream(
      { session: testSession(), accept: () => Promise.reject(new NetError('aborted', 'gone')), reject: () => assert.fail('rejected') },
      routing,
    );
    await assert.rejects(target.read(), isNetError);
    assert.equal(ended[0]?.error?.failure, 'aborted');
  });

  await t.test('an adapter without TCP is a refusal', async () => {
    const { routing } = scene([], [packetAdapter('DIRECT')]);
    const errors: NetError[] = [];
    await handleStream({ session: testSession(), accept: () => assert.fail('accepted'), reject: (error) => errors.push(error) }, routing);
    assert.equal(errors[0]?.code, 'NOT_SUPPORTED');
    await assert.rejects(routeStream(testSession(), routing), (error) => isNetError(error) && error.code === 'NOT_SUPPORTED');
  });

  await t.test('routeStream leaves the bytes to the caller and the account to us', async () => {
    const [remote] = pipePair();
    const { routing, sessions, ended } = scene(['MATCH,DIRECT'], [streamAdapter('DIRECT', () => Promise.resolve(remote))]);
    const routed = await routeStream(testSession({ id: 7 }), routing);
    assert.equal(routed.key, '1:DIRECT');
    assert.equal(await routed.dial(), remote);
    routed.counters[routed.slot] = 10;
    routed.counters[routed.slot + 1] = 20;
    assert.deepEqual(
      sessions.list().map(({ id, up, down }) => ({ id, up, down })),
      [{ id: 7, up: 10, down: 20 }],
    );
    routed.end(null);
    routed.end(new NetError('aborted', 'twice'));
    assert.equal(ended.length, 1);
    assert.equal(sessions.size, 0);
  });

  await t.test('counters are handed back and start at zero', async () => {
    const { sessions } = scene([], [packetAdapter('DIRECT')]);
    const first = sessions.open(testSession({ id: 1 }));
    first.counters[first.slot] = 99;
    first.close(null);
    const second = sessions.open(testSession({ id: 2 }));
    assert.equal(second.counters[second.slot], 0);
    for (let id = 3; id < 700; id++) sessions.open(testSession({ id }));
    assert.equal(sessions.size, 698);
    sessions.abort(new NetError('aborted', 'all'));
  });
});

// Sessions whose first bytes are looked at: accepted first, routed by the name, and not a byte or datagram the less.
import assert from 'node:assert/strict';
import t from 'tap';
import type { Adapter } from '../../dist/adapter/adapter.js';
import { CancelSource } from '../../dist/net/cancel.js';
import type { Endpoint } from '../../dist/net/endpoint.js';
import { isNetError, NetError } from '../../dist/net/errors.js';
import type { KernelEvents } from '../../dist/net/events.js';
import type { Session } from '../../dist/net/session.js';
import type { Stream } from '../../dist/net/stream.js';
import { handlePackets } from '../../dist/routing/handle-packets.js';
import { handleStream } from '../../dist/routing/handle-stream.js';
import { Sniffer, type SnifferConfig } from '../../dist/sniff/sniffer.js';
import { collect, pipePair, send, settle, testSession } from '../../dist/testing.js';
import { cryptoFrame, helloFor, initialPacket, OUTER_ECH, records } from '../sniff/client-hellos.js';
import { FakeConn, packetAdapter, scene } from '../support/routing-scene.js';

function sniffer(overrideDestination = false, config: Partial<SnifferConfig> = {}): Sniffer {
  const ports: [number, number][] = [[443, 443]];
  return new Sniffer(
    {
      protocols: (['TLS', 'QUIC'] as const).map((protocol) => ({ protocol, ports, overrideDestination })),
      forceDomain: [],
      skipDomain: [],
      skipSource: [],
      skipDestination: [],
      parsePureIp: true,
      forceDnsMapping: true,
      ...config,
    },
    () => assert.fail('no rule is in any list here'),
  );
}

const RULES = ['DOMAIN-SUFFIX,example.com,named', 'MATCH,DIRECT'];
const TO: Endpoint = Object.freeze({ host: '192.0.2.1', port: 443 });
const hello = records(helloFor('www.example.com'));

interface Dialled {
  readonly adapter: string;
  readonly destination: Endpoint;
  readonly sniffed: string | undefined;
  readonly target: Stream;
}

function streams(made: Sniffer, fail: NetError | null = null) {
  const dialled: Dialled[] = [];
  const adapter = (tag: string): Adapter => ({
    tag,
    type: 'test',
    stream: {
      dialStream(destination, { session }) {
        if (fail !== null) return Promise.reject(fail);
        const [remote, target] = pipePair();
        dialled.push({ adapter: tag, destination, sniffed: session.sniffed, target });
        return Promise.resolve(remote);
      },
    },
  });
  const all = scene(RULES, [adapter('DIRECT'), adapter('named')], undefined, made);
  const seen: Omit<KernelEvents['session.sniffed'], 'at'>[] = [];
  all.events.on('session.sniffed', ({ at: _at, ...event }) => seen.push(event));
  const order: string[] = [];
  const open = (session: Session = testSession({ id: all.sessions.nextId(), destination: TO })): { client: Stream; done: Promise<void> } => {
    const [client, inside] = pipePair();
    const accept = (): Promise<Stream> => {
      order.push(`accepted with ${dialled.length} dialled`);
      return Promise.resolve(inside);
    };
    return { client, done: handleStream({ session, accept, reject: () => order.push('rejected') }, all.routing) };
  };
  return { ...all, dialled, seen, order, open };
}

void t.test('a stream', async (t) => {
  await t.test('is accepted, looked at, routed by the name, dialled by its address', async () => {
    const { open, dialled, seen, order, ended } = streams(sniffer());
    const { client, done } = open();
    await client.write([hello.subarray(0, 100)]);
    await settle();
    assert.equal(dialled.length, 0);
    await client.write([hello.subarray(100)]);
    await settle();
    const [to = assert.fail('nothing was dialled')] = dialled;
    assert.deepEqual({ ...to, target: null }, { adapter: 'named', destination: TO, sniffed: 'www.example.com', target: null });
    const [got] = await Promise.all([collect(to.target), send(client, Buffer.from('more')), send(to.target, Buffer.from('back')), collect(client)]);
    await done;
    assert.equal(got.toString('latin1'), `${hello.toString('latin1')}more`);
    assert.deepEqual(order, ['accepted with 0 dialled']);
    assert.deepEqual(seen, [{ session: 1, protocol: 'TLS', host: 'www.example.com', ech: false }]);
    assert.deepEqual(
      ended.map(({ destination, sniffed, rule, adapter, up, down, error }) => ({ destination, sniffed, rule, adapter, up, down, error })),
      [{ destination: TO, sniffed: 'www.example.com', rule: RULES[0], adapter: 'named', up: hello.length + 4, down: 4, error: null }],
    );
  });

  await t.test('override-destination: the name is what is dialled', async () => {
    const { open, dialled, ended } = streams(sniffer(true));
    const { client, done } = open();
    await client.write([hello]);
    await settle();
    assert.deepEqual(dialled[0]?.destination, { host: 'www.example.com', port: 443 });
    client.abort(new NetError('aborted', 'enough'));
    await done;
    assert.deepEqual(ended[0]?.destination, { host: 'www.example.com', port: 443 });
  });

  await t.test('an outer hello is told as one', async () => {
    const { open, dialled, seen } = streams(sniffer());
    const { client, done } = open();
    await client.write([records(helloFor('www.example.com', 36, OUTER_ECH))]);
    await settle();
    assert.equal(dialled[0]?.adapter, 'named');
    assert.equal(seen[0]?.ech, true);
    client.abort(new NetError('aborted', 'enough'));
    await done;
  });

  await t.test('a server that speaks first: it is dialled when the wait is over, and then everything goes both ways', async () => {
    const { open, dialled, clock } = streams(sniffer());
    const { client, done } = open();
    await clock.advance(200);
    assert.equal(dialled.length, 0);
    await clock.advance(200);
    const [to = assert.fail('nothing was dialled')] = dialled;
    assert.equal(to.adapter, 'DIRECT');
    await to.target.write([Buffer.from('220 ready\r\n')]);
    assert.equal(Buffer.concat((await client.read()) ?? []).toString(), '220 ready\r\n');
    await client.write([Buffer.from('EHLO me\r\n')]);
    assert.equal(Buffer.concat((await to.target.read()) ?? []).toString(), 'EHLO me\r\n');
    await Promise.all([client.closeWrite(), to.target.closeWrite(), collect(client), collect(to.target)]);
    await done;
  });

  await t.test('on other ports, to names, and with the sniffer off it is dialled before it is accepted', async () => {
    for (const [made, destination] of [
      [sniffer(), { host: '192.0.2.1', port: 22 }],
      [sniffer(), { host: 'www.example.com', port: 443 }],
      [null, TO],
    ] as const) {
      const [remote, target] = pipePair();
      const order: string[] = [];
      const stream = {
        dialStream(): Promise<Stream> {
          order.push('dialled');
          return Promise.resolve(remote);
        },
      };
      const { routing } = scene(
        RULES,
        [
          { tag: 'DIRECT', type: 'test', stream },
          { tag: 'named', type: 'test', stream },
        ],
        undefined,
        made,
      );
      const [client, inside] = pipePair();
      const accept = (): Promise<Stream> => {
        order.push('accepted');
        return Promise.resolve(inside);
      };
      const done = handleStream({ session: testSession({ destination }), accept, reject: () => assert.fail('rejected') }, routing);
      await settle();
      assert.deepEqual(order, ['dialled', 'accepted']);
      client.abort(new NetError('aborted', 'enough'));
      target.abort(new NetError('aborted', 'enough'));
      await done;
    }
  });

  await t.test('a dial that fails is a reset, for the client was told yes', async () => {
    const { open, order, ended, sessions } = streams(sniffer(), new NetError('refused', 'nobody there'));
    const { client, done } = open();
    await client.write([hello]);
    await done;
    await assert.rejects(client.read(), isNetError);
    assert.deepEqual(order, ['accepted with 0 dialled']);
    assert.equal(ended[0]?.error?.failure, 'refused');
    assert.equal(ended[0]?.sniffed, 'www.example.com');
    assert.equal(sessions.size, 0);
  });

  await t.test('a client that leaves, and a session that is closed, while the first bytes are waited for', async () => {
    const { open, dialled, ended, sessions, timers } = streams(sniffer());
    const first = open();
    await settle();
    first.client.abort(new NetError('aborted', 'away'));
    await first.done;
    const second = open();
    await settle();
    sessions.abort(new NetError('aborted', 'closed by the user', { code: 'CLOSED' }));
    await second.done;
    await assert.rejects(second.client.read(), isNetError);
    assert.deepEqual(
      ended.map(({ error }) => error?.code),
      ['ECONNRESET', 'CLOSED'],
    );
    assert.equal(dialled.length, 0);
    assert.equal(timers.size, 0);
  });

  await t.test('an accept that fails ends it', async () => {
    const { routing, ended } = streams(sniffer());
    await handleStream(
      { session: testSession({ destination: TO }), accept: () => Promise.reject(new NetError('aborted', 'gone')), reject: () => assert.fail() },
      routing,
    );
    assert.equal(ended[0]?.error?.failure, 'aborted');
  });
});

void t.test('datagrams', async (t) => {
  const peer = (host: string, port = 443): Endpoint => Object.freeze({ host, port });
  const quic = (name: string): Buffer => {
    const message = helloFor(name);
    return initialPacket(cryptoFrame(message, 0, message.length), { paddedTo: 1_162 });
  };
  const big = helloFor('www.example.com', 1_500);
  const parts = [
    initialPacket(cryptoFrame(big, 0, 1_000), { paddedTo: 1_162 }),
    initialPacket(cryptoFrame(big, 1_000, 1_000), { packetNumber: 1, paddedTo: 1_162 }),
  ] as const;

  const open = (made: Sniffer, first = TO) => {
    const [direct, named] = [packetAdapter('DIRECT'), packetAdapter('named')];
    const all = scene(RULES, [direct, named], undefined, made);
    const client = new FakeConn();
    const source = new CancelSource();
    const session = testSession({ id: all.sessions.nextId(), network: 'udp', destination: first, signal: source });
    const done = handlePackets({ session, accept: () => client, reject: () => assert.fail('rejected') }, all.routing);
    const say = async (bytes: Uint8Array, to: Endpoint): Promise<void> => {
      client.incoming.put({ bytes, peer: to });
      await settle();
    };
    const end = async (): Promise<void> => {
      client.close();
      await done;
      await settle();
      assert.equal(all.timers.size, 0);
    };
    return { ...all, direct, named, client, say, end, done };
  };

  await t.test('go by the name in the first, to the address', async () => {
    const { say, named, direct, end, ended } = open(sniffer());
    const bytes = quic('www.example.com');
    await say(bytes, TO);
    await say(Buffer.from('second'), TO);
    assert.equal(direct.conns.length, 0);
    assert.deepEqual(
      named.conns[0]?.sent.map((datagram) => [datagram.bytes.length, datagram.peer]),
      [
        [bytes.length, TO],
        [6, TO],
      ],
    );
    await end();
    assert.equal(ended[0]?.sniffed, 'www.example.com');
  });

  await t.test('a hello in two: both wait, and go on in their order', async () => {
    const { say, named, end } = open(sniffer());
    await say(parts[0], TO);
    assert.equal(named.conns.length, 0);
    await say(parts[1], TO);
    assert.deepEqual(
      named.conns[0]?.sent.map(({ bytes }) => Buffer.compare(bytes, parts[0]) === 0),
      [true, false],
    );
    await end();
  });

  await t.test('a hello whose rest does not come: 300 ms, then the address decides', async () => {
    const { say, direct, clock, end } = open(sniffer());
    await say(parts[0], TO);
    await clock.advance(290);
    assert.equal(direct.conns.length, 0);
    await clock.advance(110);
    assert.equal(direct.conns[0]?.sent.length, 1);
    await end();
  });

  await t.test('what is no QUIC, and other ports, do not wait', async () => {
    const { say, direct, end } = open(sniffer());
    await say(Buffer.from('no QUIC'), TO);
    await say(quic('www.example.com'), peer('192.0.2.2', 444));
    assert.equal(direct.conns[0]?.sent.length, 2);
    await end();
  });

  await t.test('override-destination: each such peer has a way of its own, and answers come from where the client sent to', async () => {
    const { say, named, client, end, sessions } = open(sniffer(true));
    const other = peer('192.0.2.2');
    await say(quic('www.example.com'), TO);
    await say(quic('img.example.com'), other);
    assert.equal(sessions.size, 2);
    assert.deepEqual(
      named.conns.map((conn) => conn.sent.map((datagram) => datagram.peer)),
      [[{ host: 'www.example.com', port: 443 }], [{ host: 'img.example.com', port: 443 }]],
    );
    named.conns[1]?.incoming.put({ bytes: Buffer.from('two'), peer: peer('203.0.113.2') });
    named.conns[0]?.incoming.put({ bytes: Buffer.from('one'), peer: peer('203.0.113.1') });
    await settle();
    assert.deepEqual(
      client.sent.map((datagram) => [Buffer.from(datagram.bytes).toString(), datagram.peer]),
      [
        ['two', other],
        ['one', TO],
      ],
    );
    await end();
    assert.ok(named.conns.every(({ closed }) => closed));
    assert.equal(sessions.size, 0);
  });

  await t.test('a client that leaves while its hello is waited for', async () => {
    const { say, direct, named, end, sessions } = open(sniffer());
    await say(parts[0], TO);
    await end();
    assert.deepEqual([direct.conns.length, named.conns.length, sessions.size], [0, 0, 0]);
  });
});

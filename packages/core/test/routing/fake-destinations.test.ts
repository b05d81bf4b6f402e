// Fake addresses as destinations: names for the rules, and the way back.
import assert from 'node:assert/strict';
import t from 'tap';
import type { Adapter } from '../../dist/adapter/adapter.js';
import type { FakeIpTable } from '../../dist/ip/fake-ip.js';
import type { Endpoint } from '../../dist/net/endpoint.js';
import { NetError } from '../../dist/net/errors.js';
import { Events } from '../../dist/net/events.js';
import type { Datagram, PacketConn } from '../../dist/net/packet-conn.js';
import { PacketQueue } from '../../dist/net/packet-queue.js';
import type { Session } from '../../dist/net/session.js';
import { DEFAULT_TIMEOUTS } from '../../dist/net/timeouts.js';
import { TimerWheel } from '../../dist/net/timer-wheel.js';
import { enter } from '../../dist/routing/enter.js';
import { handlePackets } from '../../dist/routing/handle-packets.js';
import { handleStream, routeStream } from '../../dist/routing/handle-stream.js';
import { type Claim, Router } from '../../dist/routing/router.js';
import type { Routing } from '../../dist/routing/routing.js';
import { SessionTable } from '../../dist/routing/session-table.js';
import { FakeClock, pipePair, settle, testSession } from '../../dist/testing.js';

/** 198.18.0.x; `names` may be changed. */
class Fakes implements FakeIpTable {
  readonly names = new Map([
    ['198.18.0.5', 'five.example'],
    ['198.18.0.6', 'six.example'],
    ['198.18.0.7', 'seven.example'],
  ]);
  readonly held = new Map<string, () => void>();
  assign(): string {
    return assert.fail('nobody asks for one');
  }
  domainOf(address: string): string | null {
    return this.names.get(address) ?? null;
  }
  contains(address: string): boolean {
    return address.startsWith('198.18.0.');
  }
  realNameOf(address: string): string | null {
    return address === '192.0.2.200' ? 'real.example' : null;
  }
  hold(address: string, recycled: () => void): () => void {
    this.held.set(address, recycled);
    return () => this.held.delete(address);
  }
  give(address: string, name: string): void {
    this.names.set(address, name);
    const recycled = this.held.get(address);
    this.held.delete(address);
    recycled?.();
  }
}

class Conn implements PacketConn {
  readonly incoming = new PacketQueue();
  readonly sent: Datagram[] = [];
  error: NetError | null = null;
  receive(): ReturnType<PacketConn['receive']> {
    return this.incoming.take();
  }
  send(datagrams: readonly Datagram[]): number {
    for (const datagram of datagrams) this.sent.push({ ...datagram, bytes: Uint8Array.from(datagram.bytes) });
    return datagrams.length;
  }
  close(error?: NetError): void {
    this.error ??= error ?? null;
    this.incoming.end();
  }
  /** `text` from an address. */
  async say(text: string, peer: Endpoint, more: Partial<Datagram> = {}): Promise<void> {
    this.incoming.put({ bytes: Buffer.from(text), peer, ...more });
    await settle();
  }
  /** What was sent to it since the last time. */
  took(): string[] {
    return this.sent.splice(0).map(({ bytes, peer }) => `${Buffer.from(bytes).toString()} ${peer.host}:${peer.port}`);
  }
}

const at = (host: string, port = 443): Endpoint => Object.freeze({ host, port });

interface Scene {
  readonly routing: Routing;
  readonly fakes: Fakes;
  readonly sessions: SessionTable;
  readonly dialled: string[];
  readonly conns: Conn[];
  readonly ended: (string | null)[];
}

function scene(claims: readonly Claim[] = [], addresses: readonly string[] = []): Scene {
  const clock = new FakeClock();
  const timers = new TimerWheel(clock);
  const events = new Events();
  const sessions = new SessionTable(clock, events);
  const fakes = new Fakes();
  const dialled: string[] = [];
  const conns: Conn[] = [];
  const adapter: Adapter = {
    tag: 'DIRECT',
    type: 'test',
    stream: {
      dialStream: ({ host, port }) => {
        dialled.push(`${host}:${port}`);
        return Promise.resolve(pipePair()[0]);
      },
    },
    packet: {
      dialPacket: () => {
        const conn = new Conn();
        conns.push(conn);
        return Promise.resolve(conn);
      },
    },
  };
  const routes = addresses.length === 0 ? [] : [{ rule: { match: () => addresses }, kind: 'X', payload: '', target: 'DIRECT', text: 'X,DIRECT' }];
  const timeouts = DEFAULT_TIMEOUTS;
  const resolver = { resolve: () => Promise.reject(new NetError('name', 'nothing resolves here')) };
  const router = new Router({ routes, claims, adapters: () => adapter, mode: 'rule', events, resolver, timeouts, timers });
  const ended: (string | null)[] = [];
  events.on('session.closed', ({ destination, error }) => ended.push(`${destination.host} ${error?.code ?? 'well'}`));
  return { routing: { router, generation: 1, fakes, sniffer: null, sessions, events, timers, timeouts }, fakes, sessions, dialled, conns, ended };
}

void t.test('a stream to a fake address goes to its name; to an unknown one it is refused, and never dialled', async (t) => {
  const { routing, dialled, sessions, fakes, ended } = scene();
  const rejected: NetError[] = [];
  const [client, inside] = pipePair();
  const open = (host: string): Promise<void> => {
    const session = testSession({ id: sessions.nextId(), destination: at(host) });
    return handleStream({ session, accept: () => Promise.resolve(inside), reject: (error) => rejected.push(error) }, routing);
  };
  await open('198.18.0.99');
  t.same([dialled, rejected.map(({ failure, code }) => `${failure} ${code}`)], [[], ['refused UNKNOWN_FAKE_IP']]);
  const done = open('198.18.0.5');
  await settle();
  t.same(dialled, ['five.example:443']);
  t.same(
    sessions.list().map(({ destination }) => destination),
    [at('five.example')],
  );
  t.same([...fakes.held.keys()], ['198.18.0.5'], 'it counts as used');
  fakes.give('198.18.0.5', 'other.example');
  await done;
  t.same(ended, ['198.18.0.99 UNKNOWN_FAKE_IP', 'five.example FAKE_IP_RECYCLED']);
  await t.rejects(client.read(), { code: 'ECONNRESET' });
  t.same([...fakes.held.keys()], []);
  await t.rejects(routeStream(testSession({ destination: at('198.18.0.99') }), routing), { code: 'UNKNOWN_FAKE_IP' });
  const routed = await routeStream(testSession({ destination: at('198.18.0.6') }), routing);
  const plain = await routeStream(testSession({ id: 9, destination: at('six.example') }), routing);
  t.not(routed.key, plain.key, 'a pooled connection is of the name, whatever its address stood for before');
  routed.end(null);
  plain.end(null);
  t.same([...fakes.held.keys()], []);
});

void t.test('what is claimed keeps its address, and goes by no rule', async (t) => {
  const tag: Adapter = { tag: 'DNS', type: 'dns' };
  const takes = ({ requested }: Session): boolean => requested.port === 53;
  const claim: Claim = { adapter: tag, takes, route: { rule: { match: takes }, kind: 'CLAIM', payload: '', target: 'DNS', text: 'CLAIM' } };
  const { routing } = scene([claim]);
  const asked = testSession({ destination: at('198.18.0.99', 53) });
  t.equal(enter(asked, routing), asked);
  t.equal(enter(testSession({ destination: at('198.18.0.99', 54) }), routing), null);
  t.match(enter(testSession({ destination: at('192.0.2.200', 54) }), routing), { sniffed: 'real.example', destination: at('192.0.2.200', 54) });
  t.match(enter(testSession({ destination: at('192.0.2.200', 54), sniffed: 'seen.example' }), routing), { sniffed: 'seen.example' });
  t.match(await routing.router.route(asked), { adapter: { tag: 'DNS' }, rule: { text: 'CLAIM' } });
  t.match(await routing.router.route(testSession({ destination: at('a.example', 54) })), { adapter: { tag: 'DIRECT' } });
  t.equal(enter(testSession({ destination: at('a.example') }), { ...routing, fakes: null })?.destination.host, 'a.example');
});

interface Association {
  readonly client: Conn;
  readonly rejected: string[];
  readonly done: Promise<void>;
}

function associate({ routing, sessions }: Scene, first: Endpoint): Association {
  const client = new Conn();
  const rejected: string[] = [];
  const session = testSession({ id: sessions.nextId(), network: 'udp', destination: first });
  return { client, rejected, done: handlePackets({ session, accept: () => client, reject: ({ code }) => rejected.push(code) }, routing) };
}

void t.test('datagrams to fake addresses go to names, and answers come from the fake addresses', async (t) => {
  const made = scene();
  const { conns, fakes } = made;
  const [five, six, plain] = [at('198.18.0.5'), at('198.18.0.6', 80), at('203.0.113.1')];
  const { client, done } = associate(made, five);
  await client.say('a', five);
  await client.say('b', six);
  await client.say('c', plain);
  const [conn] = conns;
  assert.ok(conn !== undefined);
  t.equal(conns.length, 1, 'one association for all');
  t.same(conn.took(), ['a five.example:443', 'b six.example:80', 'c 203.0.113.1:443']);
  await conn.say('A', at('192.0.2.5'));
  await conn.say('B', at('192.0.2.6', 80));
  await conn.say('C', at('203.0.113.1'));
  await conn.say('D', at('192.0.2.77', 7));
  await conn.say('A2', at('192.0.2.5'));
  await conn.say('N', at('six.example', 80));
  t.same(client.took(), ['A 198.18.0.5:443', 'B 198.18.0.6:80', 'C 203.0.113.1:443', 'D 192.0.2.77:7', 'A2 198.18.0.5:443', 'N 198.18.0.6:80']);
  t.same([...fakes.held.keys()], ['198.18.0.5', '198.18.0.6']);
  client.close();
  await done;
  t.same([...fakes.held.keys()], []);
});

void t.test('several names on one port: by the name that the conn knows, by what a rule has looked up, by their order', async (t) => {
  const peers = [at('198.18.0.5'), at('198.18.0.6'), at('198.18.0.7')];
  const open = async (addresses: readonly string[] = []): Promise<{ client: Conn; conn: Conn; close: () => Promise<void> }> => {
    const made = scene([], addresses);
    const { client, done } = associate(made, peers[0] ?? assert.fail());
    for (const peer of peers) await client.say('x', peer);
    const conn = made.conns[0] ?? assert.fail();
    const close = (): Promise<void> => {
      client.close();
      return done;
    };
    return { client, conn, close };
  };
  const named = await open();
  await named.conn.say('7', at('192.0.2.7'), { named: at('seven.example') });
  await named.conn.say('5', at('192.0.2.5'), { named: at('five.example') });
  t.same(named.client.took(), ['7 198.18.0.7:443', '5 198.18.0.5:443']);
  await named.close();
  const inOrder = await open();
  for (const last of ['1', '2', '1', '3']) await inOrder.conn.say(last, at(`192.0.2.${last}`));
  t.same(inOrder.client.took(), ['1 198.18.0.5:443', '2 198.18.0.6:443', '1 198.18.0.5:443', '3 198.18.0.7:443']);
  await inOrder.close();
  const judged = await open(['192.0.2.9']);
  await judged.conn.say('x', at('192.0.2.9'));
  t.same(judged.client.took(), ['x 198.18.0.5:443']);
  await judged.close();
});

void t.test('an unknown fake address is refused, a recycled one is routed anew', async (t) => {
  const made = scene();
  const { conns, fakes, ended } = made;
  const unknown = associate(made, at('198.18.0.99'));
  await unknown.client.say('x', at('198.18.0.99'));
  t.same([unknown.rejected, conns.length], [['UNKNOWN_FAKE_IP'], 0]);
  unknown.client.close();
  await unknown.done;
  const five = at('198.18.0.5');
  const { client, done } = associate(made, five);
  await client.say('a', five);
  fakes.give('198.18.0.5', 'other.example');
  await settle();
  t.same(ended, ['five.example FAKE_IP_RECYCLED'], 'a flow that was for it alone ends');
  await client.say('b', five);
  await client.say('c', at('203.0.113.1'));
  t.same([conns[0]?.took(), conns[1]?.took()], [['a five.example:443'], ['b other.example:443', 'c 203.0.113.1:443']]);
  fakes.give('198.18.0.5', 'third.example');
  await settle();
  t.equal(ended.length, 1, 'one that others use goes on');
  await client.say('d', five);
  t.same(conns[1]?.took(), ['d third.example:443']);
  client.close();
  await done;
});

import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import t from 'tap';
import type { Adapter } from '../../dist/adapter/adapter.js';
import { sortAddresses } from '../../dist/adapter/connect.js';
import { DirectAdapter } from '../../dist/adapter/direct.js';
import { RaceAdapter } from '../../dist/adapter/race.js';
import { RejectAdapter, RejectDropAdapter } from '../../dist/adapter/reject.js';
import { SelectAdapter } from '../../dist/adapter/select.js';
import { findAddon } from '../../dist/native/load.js';
import { openSockets } from '../../dist/native/open-sockets.js';
import { type Cancel, CancelSource } from '../../dist/net/cancel.js';
import type { DialOptions } from '../../dist/net/dialer.js';
import { isNetError, NekitError, NetError } from '../../dist/net/errors.js';
import type { PacketConn } from '../../dist/net/packet-conn.js';
import type { Sockets } from '../../dist/net/sockets.js';
import type { Stream } from '../../dist/net/stream.js';
import {
  collect,
  dialerConformance,
  dialOptions,
  eventually,
  FakeClock,
  packetDialerConformance,
  pipePair,
  send,
  settle,
  startEcho,
  testContext,
  within,
} from '../../dist/testing.js';

const direct = (over: Parameters<typeof testContext>[0] = {}, options: Partial<ConstructorParameters<typeof DirectAdapter>[0]> = {}) => {
  const { context, own, timers } = testContext(over);
  return { adapter: new DirectAdapter({ ipVersion: 'dual', udp: true, ...options }, context), own, timers };
};
const fails = (failure: string, code?: string) => (error: unknown) =>
  isNetError(error) && error.failure === failure && (code === undefined || error.code === code);

void t.test('direct: TCP', async (t) => {
  dialerConformance(
    (name, run) => t.test(name, run),
    async () => {
      const { adapter, timers } = direct();
      return { dialer: adapter.stream, close: () => eventually(() => timers.size === 0) };
    },
  );

  await t.test('dials exactly the addresses that were judged, not what the name resolves to', async () => {
    const echo = await startEcho();
    const { adapter } = direct({ resolver: { resolve: () => Promise.reject(new Error('must not be asked')) } });
    const destination = { host: 'rebind.example', port: echo.port };
    const stream = await adapter.stream.dialStream(destination, { ...dialOptions(destination), addresses: ['127.0.0.1'] });
    const [back] = await Promise.all([collect(stream), send(stream, Buffer.from('judged'))]);
    assert.equal(back.toString(), 'judged');
    await echo.close();
  });

  await t.test('a name that was judged as nowhere is not looked up again', async () => {
    const { adapter } = direct({ resolver: { resolve: () => Promise.reject(new Error('must not be asked')) } });
    await assert.rejects(adapter.stream.dialStream({ host: 'gone.example', port: 80 }, { ...dialOptions(), addresses: [] }), fails('name'));
  });

  await t.test('Happy Eyeballs: a dead first address costs no more than its head start', async () => {
    const echo = await startEcho('127.0.0.1');
    // 127.0.0.2 refuses (the target listens on 127.0.0.1 only): the next one is tried at once
    const { adapter } = direct({ resolver: { resolve: () => Promise.resolve(['127.0.0.2', '127.0.0.1']) } });
    const stream = await within(adapter.stream.dialStream({ host: 'two.example', port: echo.port }, dialOptions()), 2_000);
    stream.abort(new NetError('aborted', 'seen'));
    await echo.close();
  });

  await t.test('an interface is sent from where the addon is, and refused where it is not: traffic takes no other way than it was told', async () => {
    const echo = await startEcho();
    const destination = { host: '127.0.0.1', port: echo.port };
    const { addon } = findAddon();
    for (const sockets of [openSockets(null), ...(addon === null ? [] : [openSockets(addon)])]) {
      const { adapter } = direct({ sockets }, { sockets: { device: 'lo' } });
      const dialling = adapter.stream.dialStream(destination, dialOptions(destination));
      if (sockets.kind === 'node') await assert.rejects(dialling, fails('protocol', 'NATIVE_NEEDED'));
      else (await dialling).abort(new NetError('aborted', 'seen'));
      const nowhere = direct({ sockets }, { sockets: { device: 'nekit-absent0' } });
      await assert.rejects(nowhere.adapter.stream.dialStream(destination, dialOptions(destination)), isNetError);
      const conn = (await nowhere.adapter.packet?.dialPacket(dialOptions(destination))) ?? assert.fail('no UDP');
      assert.equal(conn.send([{ bytes: Buffer.from('x'), peer: destination }]), 0);
      conn.close();
      sockets.close();
    }
    await echo.close();
  });

  await t.test('ip-version chooses the family and the order', async () => {
    const mixed = ['192.0.2.1', '192.0.2.2', '2001:db8::1'];
    assert.deepEqual(sortAddresses(mixed, 'dual'), ['2001:db8::1', '192.0.2.1', '192.0.2.2']);
    assert.deepEqual(sortAddresses(mixed, 'ipv4-prefer'), ['192.0.2.1', '2001:db8::1', '192.0.2.2']);
    assert.deepEqual(sortAddresses(mixed, 'ipv4'), ['192.0.2.1', '192.0.2.2']);
    assert.deepEqual(sortAddresses(mixed, 'ipv6'), ['2001:db8::1']);
    const { adapter } = direct({}, { ipVersion: 'ipv6' });
    await assert.rejects(adapter.stream.dialStream({ host: '127.0.0.1', port: 9 }, dialOptions()), fails('unreachable', 'NO_ADDRESS'));
  });

  await t.test('refuses to dial our own listeners, at whatever local address', async () => {
    const echo = await startEcho();
    const { adapter, own } = direct({ resolver: { resolve: () => Promise.resolve(['127.0.0.1']) } });
    own.add('tcp', echo.port);
    for (const host of ['127.0.0.1', '127.1.2.3', '0.0.0.0', '::1', 'loop.example']) {
      await assert.rejects(adapter.stream.dialStream({ host, port: echo.port }, dialOptions()), fails('denied', 'LOOP'), host);
    }
    assert.equal(echo.accepted(), 0);
    await echo.close();
  });

  await t.test('gives up after the connect timeout and leaves nothing', async () => {
    // The time is up before the event loop can see that the connection was made.
    const echo = await startEcho();
    let now = 0;
    let tick = (): void => {};
    const clock = {
      now: () => now,
      after(_ms: number, run: () => void) {
        tick = run;
        return () => {};
      },
    };
    const { adapter, timers } = direct({ clock, timeouts: { connect: 200 } });
    const dialling = adapter.stream.dialStream({ host: '127.0.0.1', port: echo.port }, { ...dialOptions(), addresses: ['127.0.0.1'] });
    now = 250;
    tick();
    await assert.rejects(within(dialling), fails('timeout'));
    assert.equal(timers.size, 0);
    await eventually(() => echo.connections() === 0);
    await echo.close();
  });

  await t.test('the connect timeout is for all addresses of a name together', async () => {
    const clock = new FakeClock();
    let [tried, left] = [0, 0];
    const sockets: Sockets = {
      kind: 'node',
      listen: () => assert.fail('nobody listens here'),
      bindUdp: () => assert.fail('no UDP here'),
      connect() {
        tried++;
        return () => left++;
      },
      close() {},
    };
    const { adapter, timers } = direct({ clock, sockets, timeouts: { connect: 1_000 } });
    const addresses = Array.from({ length: 16 }, (_, i) => `192.0.2.${i + 1}`);
    const dialling = adapter.stream.dialStream({ host: 'many.example', port: 80 }, { ...dialOptions(), addresses });
    const failing = assert.rejects(within(dialling), fails('timeout'));
    await clock.advance(1_200);
    await failing;
    assert.deepEqual([tried, left], [5, 5]);
    assert.deepEqual([timers.size, clock.pending], [0, 0]);
  });

  await t.test('a name that does not resolve is a failure of the name', async () => {
    const { adapter } = direct();
    await assert.rejects(adapter.stream.dialStream({ host: 'does-not-exist.invalid', port: 80 }, dialOptions()), fails('name'));
  });
});

void t.test('direct: UDP', async (t) => {
  packetDialerConformance(
    (name, run) => t.test(name, run),
    async () => ({ dialer: direct().adapter.packet ?? assert.fail('no UDP'), close: () => {} }),
  );

  const echo = async (type: 'udp4' | 'udp6' = 'udp4') => {
    const socket = dgram.createSocket({ type, ipv6Only: type === 'udp6' });
    const sources = new Set<number>();
    socket.on('message', (bytes, from) => {
      sources.add(from.port);
      socket.send(Buffer.concat([Buffer.from('re: '), bytes]), from.port, from.address);
    });
    await new Promise<void>((resolve) => socket.bind(0, type === 'udp4' ? '127.0.0.1' : '::1', resolve));
    return { port: socket.address().port, sources, close: () => new Promise<void>((resolve) => socket.close(() => resolve())) };
  };
  const open = async (over: Parameters<typeof testContext>[0] = {}) => {
    const made = direct(over);
    assert.ok(made.adapter.packet !== undefined);
    return { ...made, conn: await made.adapter.packet.dialPacket(dialOptions()) };
  };
  const next = async (conn: PacketConn) => {
    const [datagram] = (await within(conn.receive())) ?? [];
    assert.ok(datagram !== undefined);
    return { text: Buffer.from(datagram.bytes).toString(), peer: datagram.peer, ...(datagram.named === undefined ? {} : { named: datagram.named }) };
  };

  await t.test('one local port for all peers, replies carry the real peer, one object per peer', async () => {
    const [one, two] = [await echo(), await echo()];
    const { conn } = await open();
    assert.equal(conn.send([{ bytes: Buffer.from('a'), peer: { host: '127.0.0.1', port: one.port } }]), 1);
    const first = await next(conn);
    assert.deepEqual(first, { text: 're: a', peer: { host: '127.0.0.1', port: one.port } });
    conn.send([{ bytes: Buffer.from('b'), peer: { host: '127.0.0.1', port: two.port } }]);
    assert.equal((await next(conn)).peer.port, two.port);
    conn.send([{ bytes: Buffer.from('c'), peer: { host: '127.0.0.1', port: one.port } }]);
    assert.equal((await next(conn)).peer, first.peer);
    assert.deepEqual([...one.sources], [...two.sources]);
    conn.close();
    assert.equal(await conn.receive(), null);
    assert.equal(conn.send([{ bytes: Buffer.from('d'), peer: first.peer }]), 0);
    await one.close();
    await two.close();
  });

  await t.test('IPv6 peers', async () => {
    const target = await echo('udp6');
    const { conn } = await open();
    conn.send([{ bytes: Buffer.from('six'), peer: { host: '::1', port: target.port } }]);
    assert.deepEqual(await next(conn), { text: 're: six', peer: { host: '::1', port: target.port } });
    conn.close();
    await target.close();
  });

  await t.test('names are resolved once for a burst; judged addresses are not resolved again', async () => {
    const target = await echo();
    let asked = 0;
    const resolver = {
      resolve() {
        asked++;
        return Promise.resolve(['127.0.0.1']);
      },
    };
    const { conn } = await open({ resolver });
    const peer = { host: 'name.example', port: target.port };
    conn.send([
      { bytes: Buffer.from('1'), peer },
      { bytes: Buffer.from('2'), peer },
    ]);
    assert.deepEqual(await next(conn), { text: 're: 1', peer: { host: '127.0.0.1', port: target.port }, named: peer }, 'it says which name this is');
    assert.equal(asked, 1);
    conn.send([{ bytes: Buffer.from('3'), peer: { host: 'judged.example', port: target.port }, addresses: ['127.0.0.1'] }]);
    await eventually(async () => (await next(conn)).text === 're: 3');
    assert.equal(conn.send([{ bytes: Buffer.from('4'), peer: { host: 'judged.example', port: target.port }, addresses: [] }]), 0, 'judged as nowhere');
    assert.equal(asked, 1);
    conn.close();
    await target.close();
  });

  await t.test('what looks a name up is told when the association ends', async () => {
    const signals: Cancel[] = [];
    const resolve = (_host: string, _family: number, signal: Cancel): Promise<never> => {
      signals.push(signal);
      return new Promise((_resolve, reject) => signal.onCancel(reject));
    };
    const { conn } = await open({ resolver: { resolve } });
    conn.send([{ bytes: Buffer.from('x'), peer: { host: 'slow.example', port: 9 } }]);
    assert.equal(signals[0]?.reason, null);
    conn.close();
    assert.ok(fails('aborted', 'CLOSED')(signals[0]?.reason));
  });

  await t.test('what cannot be sent is dropped and counted: our own ports, port 0, names that do not resolve, too long', async () => {
    const { conn, own } = await open({ resolver: { resolve: () => Promise.reject(new NetError('name', 'no')) } });
    own.add('udp', 5353);
    assert.equal(conn.send([{ bytes: Buffer.from('x'), peer: { host: '127.0.0.1', port: 5353 } }]), 0);
    assert.equal(conn.send([{ bytes: Buffer.from('x'), peer: { host: '127.0.0.1', port: 0 } }]), 0);
    conn.send([{ bytes: Buffer.from('x'), peer: { host: 'nowhere.example', port: 53 } }]);
    conn.send([{ bytes: Buffer.alloc(65_535), peer: { host: '127.0.0.1', port: 9 } }]);
    await eventually(() => 'dropped' in conn && conn.dropped === 4);
    conn.close();
  });

  await t.test('a fake address is dialled by nobody', async () => {
    const { conn, own, adapter } = await open();
    const release = own.addFakes((address) => address === '127.0.0.1');
    const endpoint = { host: '127.0.0.1', port: 9 };
    await assert.rejects(adapter.stream.dialStream(endpoint, dialOptions()), fails('refused', 'FAKE_IP_DIALLED'));
    assert.equal(conn.send([{ bytes: Buffer.from('x'), peer: endpoint }]), 0);
    release();
    assert.equal(conn.send([{ bytes: Buffer.from('x'), peer: endpoint }]), 1);
    conn.close();
  });
});

/** A member whose dials the test settles. */
function member(tag: string): Adapter & { dials: { resolve(stream: Stream): void; reject(error: Error): void; options: DialOptions }[] } {
  const dials: { resolve(stream: Stream): void; reject(error: Error): void; options: DialOptions }[] = [];
  const dialStream = (_destination: unknown, options: DialOptions): Promise<Stream> =>
    new Promise((resolve, reject) => dials.push({ resolve, reject, options }));
  return { tag, type: 'test', dials, stream: { dialStream } };
}

void t.test('race: UDP', (t) => {
  packetDialerConformance(
    (name, run) => t.test(name, run),
    async () => {
      const race = new RaceAdapter({ proxies: ['DIRECT'], delays: [] }, testContext({ tag: 'fast' }).context);
      return { dialer: race.packet ?? assert.fail('no UDP'), close: () => {} };
    },
  );
  t.end();
});

void t.test('race', async (t) => {
  const scene = (delays: number[]) => {
    const clock = new FakeClock();
    const members = [member('a'), member('b'), member('c')] as const;
    const { context } = testContext({ tag: 'fast', clock, adapters: members });
    return { clock, members, context, race: new RaceAdapter({ proxies: ['a', 'b', 'c'], delays }, context) };
  };
  const where = { host: 'target.example', port: 80 };

  await t.test('the first that is ready wins, losers are cancelled, late ones aborted, the choice is told', async () => {
    const { clock, members, race } = scene([0, 100, 300]);
    const chosen: string[] = [];
    const dialling = race.stream.dialStream(where, { ...dialOptions(where), chosen: (group, tag) => chosen.push(`${group}>${tag}`) });
    await clock.advance(99);
    assert.deepEqual(
      members.map((each) => each.dials.length),
      [1, 0, 0],
    );
    await clock.advance(1);
    const [winner] = pipePair();
    members[1].dials[0]?.resolve(winner);
    assert.equal(await dialling, winner);
    assert.deepEqual(chosen, ['fast>b']);
    assert.ok(members[0].dials[0]?.options.signal.reason !== null);
    const [late, far] = pipePair();
    members[0].dials[0]?.resolve(late);
    await assert.rejects(far.read(), isNetError);
    await clock.advance(1_000);
    assert.equal(members[2].dials.length, 0);
  });

  await t.test('all fail: an error, at once, not a hang', async () => {
    const { members, race } = scene([0, 60_000, 60_000]);
    const dialling = race.stream.dialStream(where, dialOptions(where));
    for (const each of members) {
      await settle();
      each.dials[0]?.reject(new NetError('refused', `${each.tag} said no`));
    }
    await assert.rejects(within(dialling), fails('refused'));
  });

  await t.test('what comes too late may be anything', async () => {
    const broken = { ...pipePair()[0], abort: () => assert.fail('abort threw') };
    for (const late of [null, 5, broken]) {
      const { clock, members, race } = scene([0, 100, 300]);
      const dialling = race.stream.dialStream(where, dialOptions(where));
      await clock.advance(100);
      const [winner] = pipePair();
      members[1].dials[0]?.resolve(winner);
      assert.equal(await within(dialling), winner);
      members[0].dials[0]?.resolve(late as never); // what nobody catches would fail the test
      await settle();
    }
  });

  await t.test('members start in the order of their delays, whatever the order of the list', async () => {
    const { clock, members, race } = scene([200, 0, 100]);
    race.stream.dialStream(where, dialOptions(where)).catch((error: unknown) => assert.ok(isNetError(error)));
    const started: number[][] = [];
    for (let i = 0; i < 3; i++) {
      started.push(members.map((each) => each.dials.length));
      await clock.advance(100);
    }
    assert.deepEqual(started, [
      [0, 1, 0],
      [0, 1, 1],
      [1, 1, 1],
    ]);
  });

  await t.test('nests, and takes IPv6 literals', async () => {
    const { clock, members, context } = scene([]);
    const inner = new RaceAdapter({ proxies: ['a', 'b'], delays: [0, 0] }, { ...context, tag: 'inner' });
    const outer = new RaceAdapter(
      { proxies: ['inner', 'c'], delays: [0, 500] },
      { ...context, tag: 'outer', adapter: (tag) => (tag === 'inner' ? inner : context.adapter(tag)) },
    );
    const chosen: string[] = [];
    const dialling = outer.stream.dialStream({ host: '2001:db8::1', port: 443 }, { ...dialOptions(), chosen: (group, tag) => chosen.push(`${group}>${tag}`) });
    await clock.advance(10);
    const [winner] = pipePair();
    members[1].dials[0]?.resolve(winner);
    assert.equal(await dialling, winner);
    assert.deepEqual(chosen, ['inner>b', 'outer>inner']);
  });

  await t.test('the signal cancels every member', async () => {
    const { members, race } = scene([0, 0, 0]);
    const signal = new CancelSource();
    const dialling = race.stream.dialStream(where, dialOptions(where, { signal }));
    const reason = new NetError('aborted', 'left', { code: 'CLIENT_LEFT' });
    signal.cancel(reason);
    await assert.rejects(dialling, reason);
    assert.equal(members[0].dials[0]?.options.signal.reason, reason);
  });
});

void t.test('reject waits, then says no; drop says nothing for long', async () => {
  const clock = new FakeClock();
  const { context, timers } = testContext({ clock });
  const outcome = (dialling: Promise<unknown>) => {
    const seen: { error: unknown } = { error: null };
    dialling.catch((error: unknown) => (seen.error = error));
    return seen;
  };
  const rejected = outcome(new RejectAdapter({ delayMs: 300 }, { ...context, tag: 'REJECT' }).stream.dialStream({}, dialOptions()));
  const dropped = outcome(new RejectDropAdapter({ ...context, tag: 'REJECT-DROP' }).stream.dialStream({}, dialOptions()));
  await clock.advance(299);
  assert.equal(rejected.error, null);
  await clock.advance(120);
  assert.ok(fails('denied', 'REJECTED')(rejected.error));
  await clock.advance(25_000);
  assert.equal(dropped.error, null);
  await clock.advance(6_000);
  assert.ok(fails('timeout', 'DROPPED')(dropped.error));
  const signal = new CancelSource();
  const left = outcome(new RejectAdapter({ delayMs: 300 }, context).stream.dialStream({}, dialOptions(undefined, { signal })));
  signal.cancel(new NetError('aborted', 'left', { code: 'CLIENT_LEFT' }));
  await settle();
  assert.ok(fails('aborted', 'CLIENT_LEFT')(left.error));
  assert.equal(timers.size, 0);
  const hole = await new RejectDropAdapter(context).packet.dialPacket();
  assert.equal(hole.send([{ bytes: new Uint8Array(1), peer: { host: '192.0.2.1', port: 1 } }]), 1);
  hole.close();
  assert.equal(await hole.receive(), null);
});

void t.test('select uses its first member until another is chosen', async () => {
  const members = [member('a'), { ...member('b'), packet: { dialPacket: () => Promise.reject(new Error('the dial of b')) } }] as const;
  const { context } = testContext({ tag: 'pick', adapters: members });
  const select = new SelectAdapter({ proxies: ['a', 'b'] }, context);
  assert.equal(select.now().tag, 'a');
  assert.equal(select.packet, undefined);
  select.select('b');
  assert.equal(select.now().tag, 'b');
  const told: string[] = [];
  const { packet } = select as Adapter; // TypeScript remembers the undefined from above
  const packets = packet?.dialPacket({ ...dialOptions(), chosen: (group, tag) => told.push(`${group}>${tag}`) });
  await assert.rejects(packets ?? assert.fail('no UDP'), /the dial of b/);
  assert.deepEqual(told, ['pick>b']);
  void select.stream.dialStream({ host: 'x', port: 1 }, dialOptions());
  assert.deepEqual(
    members.map((each) => each.dials.length),
    [0, 1],
  );
  assert.throws(
    () => select.select('c'),
    (error) => error instanceof NekitError && error.code === 'UNKNOWN_MEMBER' && error.message.includes('a, b'),
  );
});

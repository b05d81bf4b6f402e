// interface-name and routing-mark: of all that goes out, of one proxy, and where they have no effect.
import t from 'tap';
import { z } from 'zod';
import { directType, selectType } from '../../dist/adapter/builtin.js';
import { DirectAdapter } from '../../dist/adapter/direct.js';
import { UdpConn } from '../../dist/adapter/udp-conn.js';
import { checkConfig } from '../../dist/config/check.js';
import { parseConfig } from '../../dist/config/load.js';
import { formatProblem } from '../../dist/config/report.js';
import { AdapterSet } from '../../dist/kernel/adapter-set.js';
import { Farewell } from '../../dist/kernel/farewell.js';
import { openSockets } from '../../dist/native/open-sockets.js';
import type { DialOptions } from '../../dist/net/dialer.js';
import type { Endpoint } from '../../dist/net/endpoint.js';
import { NetError } from '../../dist/net/errors.js';
import { MarkedSockets } from '../../dist/net/marked-sockets.js';
import type { SocketOptions, Sockets } from '../../dist/net/sockets.js';
import { EVENTS, OUTGOING, TIMEOUTS, TIMERS } from '../../dist/net/tokens.js';
import type { UdpOptions, UdpSocket } from '../../dist/net/udp.js';
import { Registry } from '../../dist/plugin/registry.js';
import { dialOptions, testContext } from '../../dist/testing.js';
import { knownTypes } from '../config/known-types.js';

/** Sockets that remember what they were asked for, and give none. */
class Asked implements Sockets {
  readonly kind = 'native';
  readonly tcp: SocketOptions[] = [];
  readonly udp: UdpOptions[] = [];

  listen(): Promise<never> {
    return Promise.reject(new Error('nobody listens here'));
  }

  connect(_address: string, _port: number, options: SocketOptions, _opened: unknown, failed: (error: NetError) => void): () => void {
    this.tcp.push(options);
    const soon = setImmediate(() => failed(new NetError('refused', 'not in this test')));
    return () => clearImmediate(soon);
  }

  bindUdp(options: UdpOptions): never {
    this.udp.push(options);
    throw new Error('not in this test');
  }

  close(): void {}
}

/** A proxy of a plugin: it dials its server by its base. */
const hop = {
  type: 'hop',
  config: z.object({ server: z.string(), port: z.int() }),
  create: ({ server, port }: { server: string; port: number }, { base, tag }: Parameters<typeof directType.create>[1]) => ({
    tag,
    type: 'hop',
    stream: {
      dialStream: (_destination: Endpoint, options: DialOptions) => {
        const { stream } = base;
        if (stream === undefined) throw new Error('no streams');
        return stream.dialStream({ host: server, port }, options);
      },
    },
  }),
};

/** Dials by one adapter of a config: the settings of the sockets that it asked for. */
async function settingsOf(text: string, tag: string): Promise<{ readonly tcp: SocketOptions[]; readonly udp: UdpOptions[] }> {
  const registry = new Registry();
  registry.adapters.add('direct', 'core', directType);
  registry.adapters.add('hop', 'test', hop);
  registry.groups.add('select', 'core', selectType);
  const { config, problems } = checkConfig(parseConfig(text, 'c.yaml'), registry);
  t.strictSame(problems.map(formatProblem), [], text);
  if (config === null) throw new Error('no config');
  const sockets = new Asked();
  const { context } = testContext({ sockets });
  const farewell = new Farewell({ timers: context.get(TIMERS), timeouts: context.get(TIMEOUTS), events: context.get(EVENTS) });
  const adapter = new AdapterSet(config, registry, (token) => context.get(token), farewell).get(tag);
  const destination = { host: '192.0.2.1', port: 80 };
  const dialled = adapter?.stream?.dialStream(destination, dialOptions(destination)) ?? Promise.resolve(null);
  t.match(await dialled.catch((error: unknown) => error), { failure: 'refused' });
  const packets = await adapter?.packet?.dialPacket(dialOptions(destination));
  packets?.send([{ bytes: new Uint8Array(1), peer: destination }]);
  packets?.close();
  return sockets;
}

const only = ({ mark, device }: SocketOptions | UdpOptions): object => ({
  ...(mark === undefined ? {} : { mark }),
  ...(device === undefined ? {} : { device }),
});

const ALL = 'interface-name: eth7\nrouting-mark: 0x11\n';

const CASES: readonly [name: string, text: string, tag: string, settings: object][] = [
  ['without them nothing is set', '{}', 'DIRECT', {}],
  ['of all that goes out', ALL, 'DIRECT', { device: 'eth7', mark: 17 }],
  ['one alone', 'routing-mark: 5\n', 'COMPATIBLE', { mark: 5 }],
  ['a direct of the config has them', `${ALL}proxies: [{ name: d, type: direct }]\n`, 'd', { device: 'eth7', mark: 17 }],
  ['its own go over them', `${ALL}proxies: [{ name: d, type: direct, interface-name: wlan0 }]\n`, 'd', { device: 'wlan0', mark: 17 }],
  ['a proxy’s server is reached by them', `${ALL}proxies: [{ name: p, type: hop, server: 192.0.2.9, port: 1 }]\n`, 'p', { device: 'eth7', mark: 17 }],
  [
    'a proxy’s own',
    `${ALL}proxies: [{ name: p, type: hop, server: 192.0.2.9, port: 1, interface-name: wlan0, routing-mark: 9 }]\n`,
    'p',
    { device: 'wlan0', mark: 9 },
  ],
  [
    'the first of a chain decides',
    'proxies:\n  - { name: near, type: hop, server: 192.0.2.9, port: 1, routing-mark: 9 }\n  - { name: far, type: hop, server: 192.0.2.10, port: 1, dialer-proxy: near }\n',
    'far',
    { mark: 9 },
  ],
];
for (const [name, text, tag, settings] of CASES) {
  t.test(name, async (t) => {
    const { tcp, udp } = await settingsOf(text, tag);
    t.strictSame(tcp.map(only), [settings]);
    // Only direct ones carry packets here.
    if (udp.length > 0) t.strictSame(udp.map(only), [settings]);
  });
}

t.test('the interface that was found: for each address, and not where one is set', async (t) => {
  const sockets = new Asked();
  const device = { now: 'eth0' };
  const outgoing = { deviceFor: (address: string) => (address.startsWith('192.') ? device.now : undefined) };
  const { context } = testContext({ sockets, values: new Map<symbol, unknown>([[OUTGOING, outgoing]]) });
  const dial = async (host: string, options: SocketOptions = {}): Promise<void> => {
    const adapter = new DirectAdapter({ ipVersion: 'dual', udp: true, sockets: options }, context);
    await adapter.stream.dialStream({ host, port: 80 }, dialOptions({ host, port: 80 })).catch(() => undefined);
    const packets = await adapter.packet?.dialPacket(dialOptions({ host, port: 80 }));
    packets?.send([{ bytes: new Uint8Array(1), peer: { host, port: 80 } }]);
  };
  await dial('192.0.2.1');
  await dial('10.0.0.1');
  device.now = 'eth1';
  await dial('192.0.2.1', { mark: 5 });
  await dial('192.0.2.1', { device: 'wlan0' });
  const wanted = [{ device: 'eth0' }, {}, { mark: 5, device: 'eth1' }, { device: 'wlan0' }];
  t.strictSame([sockets.tcp.map(only), sockets.udp.map(only)], [wanted, wanted]);
});

t.test('UDP: a socket for each interface that it leaves by, and not more than 16', async (t) => {
  const sent: string[] = [];
  let closed = 0;
  const sockets = Object.assign(new Asked(), {
    bindUdp: ({ host, device = '' }: UdpOptions): UdpSocket => ({
      family: host === '::' ? 6 : 4,
      port: 1,
      put: (_bytes, _start, _end, address) => sent.push(`${device} ${address}`) > 0,
      flush: () => 0,
      send: () => true,
      close: () => {
        closed++;
      },
    }),
  });
  let device: string | undefined = 'eth0';
  const { own } = testContext();
  const conn = new UdpConn({
    own,
    sockets,
    deviceFor: () => device,
    resolve: () => Promise.resolve([]),
    sort: (addresses) => addresses,
    waiting: { now: 0, most: 1_000 },
    now: () => 0,
  });
  const send = (host: string): number => conn.send([{ bytes: new Uint8Array(1), peer: { host, port: 9 } }]);
  t.equal(send('192.0.2.1') + send('192.0.2.2') + send('2001:db8::1'), 3);
  device = undefined;
  t.equal(send('192.0.2.1'), 1);
  device = 'eth1';
  t.equal(send('192.0.2.1'), 1);
  t.same(sent, ['eth0 192.0.2.1', 'eth0 192.0.2.2', 'eth0 2001:db8::1', ' 192.0.2.1', 'eth1 192.0.2.1']);
  for (let i = 2; i < 100; i++) {
    device = `eth${i}`;
    send('192.0.2.1');
  }
  conn.close();
  t.equal(closed, 17, 'sixteen, and the one of no interface');
});

t.test('UDP: a family that the host does not have costs its datagrams only; what waits for names counts', async (t) => {
  const closed: string[] = [];
  let tries = 0;
  let now = 0;
  let has: '4' | 'none' = '4';
  const sockets = Object.assign(new Asked(), {
    bindUdp({ host }: UdpOptions): UdpSocket {
      tries++;
      if (host === '::' || has === 'none') throw Object.assign(new Error('not here'), { code: 'EAFNOSUPPORT' });
      return { family: 4, port: 1, put: () => true, flush: () => 0, send: () => true, close: () => closed.push(host) };
    },
  });
  const { own } = testContext();
  const waiting = { now: 0, most: 3_000 };
  let answer: (addresses: string[]) => void = () => {};
  const resolve = (): Promise<string[]> => new Promise((done) => (answer = done));
  const options = { own, sockets, resolve, sort: (addresses: readonly string[]) => addresses, waiting, now: () => now };
  const conn = new UdpConn(options);
  const send = (to: UdpConn, host: string, length = 1): number => to.send([{ bytes: new Uint8Array(length), peer: { host, port: 9 } }]);
  t.same([send(conn, '192.0.2.1'), send(conn, '2001:db8::1'), send(conn, '192.0.2.1'), closed.length], [1, 0, 1, 0]);
  for (let i = 0; i < 10; i++) send(conn, '2001:db8::1');
  t.equal(tries, 2, 'not for each datagram');
  now = 1_001;
  send(conn, '2001:db8::1');
  t.equal(tries, 3);
  t.same([send(conn, 'a.example', 1_000), send(conn, 'a.example', 1_000), send(conn, 'b.example', 1_000), send(conn, 'a.example', 1)], [1, 1, 0, 1]);
  answer(['192.0.2.7']);
  await new Promise(setImmediate);
  t.same([waiting.now, conn.dropped], [0, 13]);
  send(conn, 'c.example', 1_000);
  t.equal(waiting.now, 1_128);
  conn.close();
  t.equal(waiting.now, 0);
  has = 'none';
  const other = new UdpConn(options);
  t.equal(send(other, '192.0.2.1'), 0);
  t.match(other.error, { code: 'EAFNOSUPPORT' }, 'one that has no socket at all says why');
});

t.test('UDP: a name has one address in an association, the first that this machine has a way to', async (t) => {
  let calls: string[] = [];
  let has6: 'yes' | 'no way' | 'no family' = 'no way';
  const sockets = Object.assign(new Asked(), {
    bindUdp({ host }: UdpOptions): UdpSocket {
      if (host === '::' && has6 === 'no family') throw Object.assign(new Error('not here'), { code: 'EAFNOSUPPORT' });
      let refused = 0;
      return {
        family: host === '::' ? 6 : 4,
        port: 1,
        put(_bytes, _start, _end, address) {
          calls.push(`put ${address}`);
          if (address.startsWith('10.')) refused++;
          return true;
        },
        flush() {
          const now = refused;
          refused = 0;
          return now;
        },
        send(_bytes, _start, _end, address) {
          calls.push(`send ${address}`);
          return refused === 0 && (has6 === 'yes' || !address.includes(':'));
        },
        close() {},
      };
    },
  });
  const { own } = testContext();
  const both = ['2001:db8::1', '192.0.2.1'];
  const open = (): UdpConn =>
    new UdpConn({
      own,
      sockets,
      resolve: () => Promise.resolve(both),
      sort: (addresses) => addresses,
      waiting: { now: 0, most: 1_000 },
      now: () => 0,
    });
  const told = (): string[] => calls.splice(0);
  const bytes = new Uint8Array(1);
  const name = { bytes, peer: { host: 'dual.example', port: 9 } };
  const judged = { ...name, addresses: both };

  let conn = open();
  t.equal(conn.send([judged, judged]), 2);
  t.same(told(), ['send 2001:db8::1', 'send 192.0.2.1', 'put 192.0.2.1']);
  has6 = 'yes';
  t.equal(conn.send([judged]), 1);
  t.same(told(), ['put 192.0.2.1'], 'it stays where it was');
  t.equal(conn.send([{ ...judged, addresses: ['2001:db8::1', '192.0.2.2'] }]), 1);
  t.same(told(), ['send 2001:db8::1'], 'as long as that is an address of the name');
  t.equal(conn.send([{ ...judged, turn: 1 }]), 1);
  t.same(told(), ['send 192.0.2.1'], 'what is sent anew goes to the next');
  conn.close();

  has6 = 'no way';
  conn = open();
  conn.send([name, name]);
  await new Promise(setImmediate);
  t.same(told(), ['send 2001:db8::1', 'send 192.0.2.1', 'put 192.0.2.1'], 'looked up here');
  conn.close();

  conn = open();
  const lost = { bytes, peer: { host: '10.0.0.1', port: 9 } };
  t.equal(conn.send([lost, judged]), 1);
  t.same(told(), ['put 10.0.0.1', 'send 2001:db8::1', 'send 192.0.2.1'], 'what was put before is counted, and not taken for it');
  t.equal(conn.dropped, 1);
  t.equal(conn.send([{ ...name, addresses: ['2001:db8::1', '2001:db8::2'] }]), 0, 'no way to any');
  conn.close();

  calls = [];
  has6 = 'no family';
  conn = open();
  t.equal(conn.send([judged]), 1, 'a host that has not even sockets of the family');
  t.same(told(), ['send 192.0.2.1']);
  t.equal(conn.error, null);
  conn.close();
});

t.test('a mark on whatever has none of its own, listeners included, as long as there is one', async (t) => {
  const asked = new Asked();
  const sockets = new MarkedSockets(asked);
  const use = (options: { mark?: number }): void => {
    sockets.connect(
      '192.0.2.1',
      1,
      options,
      () => undefined,
      () => undefined,
    )();
    t.throws(() => sockets.bindUdp({ host: '0.0.0.0', port: 0, ...options }, { received() {}, failed() {} }), /not in this test/);
  };
  use({});
  sockets.mark = 7;
  use({});
  use({ mark: 9 });
  sockets.mark = undefined;
  use({});
  const wanted = [{}, { mark: 7 }, { mark: 9 }, {}];
  t.strictSame([asked.tcp.map(only), asked.udp.map(only)], [wanted, wanted]);
  t.equal(sockets.kind, 'native');
  await t.rejects(sockets.listen({ host: '127.0.0.1', port: 0, backlog: 1 }, { connection() {}, failed() {} }), /nobody listens here/);
  sockets.close();
});

t.test('where they have no effect, and what is no value', async (t) => {
  const problemsOf = (text: string): string[] => checkConfig(parseConfig(text, 'c.yaml'), knownTypes()).problems.map(formatProblem);
  const chained =
    'proxies:\n  - { name: a, type: direct }\n  - { name: b, type: socks5, server: b.example, port: 1, dialer-proxy: a, routing-mark: 7 }\nproxy-groups:\n  - { name: g, type: select, proxies: [a], interface-name: eth0 }\n';
  t.strictSame(problemsOf(chained), [
    'c.yaml:3:75 warning: "routing-mark" has no effect here: the connection is made by dialer-proxy',
    'c.yaml:5:44 warning: "interface-name" has no effect here: a group connects to nothing itself',
  ]);
  t.match(problemsOf('interface-name: an-interface-too-long\n'), [/^c\.yaml:1:17 error: "interface-name" /]);
  t.match(problemsOf('routing-mark: 0\n'), [/^c\.yaml:1:15 error: "routing-mark" must be at least 1/]);
  t.match(problemsOf('proxies: [{ name: b, type: socks5, server: b.example, port: 1, routing-mark: -1 }]\n'), [/error: "routing-mark" must be at least 1/]);
});

t.test('without the addon they are refused, never ignored', async (t) => {
  const sockets = openSockets(null);
  t.teardown(() => sockets.close());
  const error = await new Promise<NetError>((resolve, reject) => {
    sockets.connect('127.0.0.1', 9, { mark: 7 }, () => reject(new Error('it connected')), resolve);
  });
  t.match(error.message, /mark/);
  t.throws(() => sockets.bindUdp({ host: '127.0.0.1', port: 0, device: 'lo' }, { received() {}, failed() {} }), /device/);
});

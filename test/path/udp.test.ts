// app -> socks5 UDP -> direct -> echo
// app -> socks5 UDP -> socks5 adapter with a password -> socks5 UDP -> direct -> echo
// app -> socks5 UDP -> socks5 adapter, dialled through a socks5 adapter -> socks5 UDP -> socks5 UDP -> direct -> echo
// app -> socks5 UDP -> race of a dead proxy and direct -> echo
// app -> socks5 UDP -> (an adapter without UDP) -> the next rule
import { closedPort, eventually } from '@nekit/core/testing';
import t, { type Test } from 'tap';
import { startKernel, type TestKernel } from '../helpers/kernel.js';
import { bytesOf, sha256 } from '../helpers/targets.js';
import { UdpApp, UdpPeer } from '../helpers/udp.js';

const server = '127.0.0.1';
const login = { username: 'app', password: 'let me in' };
type Closers = (() => Promise<void>)[];

async function startUpstream(closers: Closers, users = false): Promise<TestKernel> {
  const kernel = await startKernel({ listeners: [{ name: 'up', type: 'socks', port: 0, ...(users ? { users: [login] } : {}) }] });
  closers.unshift(() => kernel.stop());
  return kernel;
}

interface Path {
  readonly name: string;
  readonly leaf: string;
  start(closers: Closers): Promise<TestKernel>;
}

const paths: readonly Path[] = [
  { name: 'direct', leaf: 'DIRECT', start: () => startKernel() },
  {
    name: 'socks5 adapter with a password -> socks5 UDP -> direct',
    leaf: 'up',
    start: async (closers) => {
      const { port } = await startUpstream(closers, true);
      return startKernel({ proxies: [{ name: 'up', type: 'socks5', server, port, udp: true, ...login }], rules: ['MATCH,up'] });
    },
  },
  {
    name: 'socks5 adapter, dialled through a socks5 adapter -> socks5 UDP -> socks5 UDP -> direct',
    leaf: 'last',
    start: async (closers) => {
      const [first, last] = [await startUpstream(closers), await startUpstream(closers)];
      return startKernel({
        proxies: [
          { name: 'last', type: 'socks5', server, port: last.port, udp: true, 'dialer-proxy': 'first' },
          { name: 'first', type: 'socks5', server, port: first.port, udp: true },
        ],
        rules: ['MATCH,last'],
      });
    },
  },
  {
    name: 'race of a dead proxy and direct',
    leaf: 'DIRECT',
    start: async () =>
      startKernel({
        proxies: [{ name: 'dead', type: 'socks5', server, port: await closedPort(), udp: true }],
        'proxy-groups': [{ name: 'fastest', type: 'race', proxies: ['dead', 'DIRECT'], delays: [0, 50] }],
        rules: ['MATCH,fastest'],
      }),
  },
];

for (const { name, leaf, start } of paths) {
  t.test(`app -> socks5 UDP -> ${name} -> echo`, async (t) => {
    const closers: Closers = [];
    const entry = await start(closers);
    closers.unshift(() => entry.stop());
    const echo = await UdpPeer.echo();
    closers.push(() => echo.close());
    const open = async (t: Test): Promise<UdpApp> => {
      const app = await UdpApp.open(entry.port);
      t.teardown(async () => {
        await app.close();
        await entry.last();
      });
      return app;
    };
    t.teardown(async () => {
      for (const close of closers) await close();
    });
    const target = { host: server, port: echo.port };

    await t.test('connects, counts, and ends with its TCP connection', async (t) => {
      const app = await open(t);
      app.send(target, Buffer.from('ping'));
      t.same(await app.next(), { bytes: Buffer.from('ping'), from: target }, 'the reply carries the real peer');
      t.match(entry.kernel.sessions(), [{ network: 'udp', destination: target, adapter: leaf }], 'one session');
      await app.control.closeWrite();
      t.match(await entry.last(), { network: 'udp', adapter: leaf, up: 4, down: 4, error: null });
      app.send(target, Buffer.from('too late'));
      const later = await open(t);
      later.send(target, Buffer.from('in time'));
      t.equal((await later.next()).bytes.toString(), 'in time');
      t.same(
        echo.received.map(({ bytes }) => bytes.toString()),
        ['ping', 'in time'],
        'what is sent afterwards goes nowhere',
      );
    });

    await t.test('moves data intact', async (t) => {
      const app = await open(t);
      const sizes = [0, 1, 500, 1_400, 1_500, 9_000, 32_768, 60_000];
      const datagrams = Array.from({ length: 160 }, (_, index) => bytesOf(sizes[index % sizes.length] ?? 0, index + 1));
      const back: string[] = [];
      for (let at = 0; at < datagrams.length; at += 8) {
        for (const datagram of datagrams.slice(at, at + 8)) app.send(target, datagram);
        for (let i = 0; i < 8; i++) back.push(sha256((await app.next()).bytes));
      }
      t.same(back, datagrams.map(sha256), 'every datagram, whole, in order');
      t.equal(app.unseen, 0, 'and none twice');
    });

    await t.test('full cone: who was told the address may answer', async (t) => {
      const app = await open(t);
      const stranger = await UdpPeer.open();
      closers.push(() => stranger.close());
      const before = echo.received.length;
      app.send(target, Buffer.from('this is where I am'));
      await app.next();
      const mapped = echo.received[before]?.from.port ?? 0;
      stranger.send(Buffer.from('hello from somebody else'), mapped);
      t.same(await app.next(), { bytes: Buffer.from('hello from somebody else'), from: { host: server, port: stranger.port } });
      app.send({ host: server, port: stranger.port }, Buffer.from('hello back'));
      await eventually(() => stranger.received.length === 1, 5_000, 'the answer to the stranger');
      t.same(stranger.received[0]?.from.port, mapped, 'from the same port: one association for all peers');
      t.equal(entry.kernel.sessions().length, 1);
    });

    await t.test('a peer that is not there costs nothing but its datagram', async (t) => {
      const app = await open(t);
      const gone = await UdpPeer.open();
      await gone.close();
      app.send({ host: server, port: gone.port }, Buffer.from('anybody?'));
      app.send(target, Buffer.from('and you?'));
      t.equal((await app.next()).bytes.toString(), 'and you?');
    });
    t.same(entry.warned, [], 'no warning of the kernel');
  });
}

t.test('UDP falls through an adapter without UDP to the next rule; each peer is routed on its own', async (t) => {
  const closers: Closers = [];
  const upstream = await startUpstream(closers);
  const [one, other] = [await UdpPeer.echo(), await UdpPeer.echo()];
  const entry = await startKernel({
    proxies: [
      { name: 'no-udp', type: 'http', server, port: 1 },
      { name: 'off', type: 'socks5', server, port: 1 },
      { name: 'up', type: 'socks5', server, port: upstream.port, udp: true },
    ],
    rules: [`DST-PORT,${one.port},no-udp`, 'IN-NAME,in,off', `DST-PORT,${other.port},up`, 'MATCH,DIRECT'],
  });
  const app = await UdpApp.open(entry.port);
  t.teardown(async () => {
    await app.close();
    await entry.stop();
    for (const peer of [one, other]) await peer.close();
    for (const close of closers) await close();
  });
  app.send({ host: server, port: one.port }, Buffer.from('one'));
  t.equal((await app.next()).bytes.toString(), 'one');
  app.send({ host: server, port: other.port }, Buffer.from('other'));
  t.equal((await app.next()).bytes.toString(), 'other');
  t.match(
    entry.kernel.sessions().map(({ adapter, rule }) => ({ adapter, rule })),
    [
      { adapter: 'DIRECT', rule: 'MATCH,DIRECT' },
      { adapter: 'up', rule: `DST-PORT,${other.port},up` },
    ],
    'one association, two sessions',
  );
  t.equal(upstream.kernel.sessions().length, 1);
});

t.test('names, refusals and loops', async (t) => {
  const echo = await UdpPeer.echo();
  const entry = await startKernel({ hosts: { 'echo.test': server }, rules: ['DOMAIN,blocked.test,REJECT', 'MATCH,DIRECT'] });
  const [app, second] = [await UdpApp.open(entry.port), await UdpApp.open(entry.port)];
  t.teardown(async () => {
    for (const open of [app, second]) await open.close();
    await entry.stop();
    await echo.close();
  });
  app.send({ host: 'blocked.test', port: echo.port }, Buffer.from('no'));
  app.send({ host: server, port: second.relay.port }, Buffer.from('a relay of ours'));
  app.send({ host: 'echo.test', port: echo.port }, Buffer.from('by name'));
  t.same(await app.next(), { bytes: Buffer.from('by name'), from: { host: server, port: echo.port } }, 'a name is resolved here');
  t.same(
    echo.received.map(({ bytes }) => bytes.toString()),
    ['by name'],
    'the refused datagram reached nobody',
  );
  t.equal(second.unseen, 0);
});

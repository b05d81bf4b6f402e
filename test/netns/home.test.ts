// a home: client -> gateway with a TUN by --tun -> rules -> Shadowsocks -> proxy -> servers, by names that only the proxy resolves
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '@nekit/core/testing';
import t, { type Test } from 'tap';
import { browse, PARTS } from '../helpers/browser.js';
import { curl, dig, ping, QUIC_ANSWERS, quicLike, udpEcho, who } from '../helpers/home-clients.js';
import { routesOf, startKernelIn } from '../helpers/home-kernel.js';
import { type HomeNetwork, makeHomeNetwork, PAGE_MEGABYTES, PROXY, PROXY_NAME, PROXY_URI, WEB, WEB_6 } from '../helpers/home-network.js';
import { type Namespace, unlessNamespaces } from '../helpers/namespace.js';
import { bigHash } from '../helpers/origin.js';
import { hasProgram } from '../helpers/programs.js';
import { bytesOf, sha256 } from '../helpers/targets.js';

const skip = unlessNamespaces('curl', 'dig', 'ping', 'dnsmasq', 'tcpdump', 'ss-server', 'sysctl', 'mount');
const QUICK_START = ['--plugins', 'ss,tcp,udp,dns', '--proxy', PROXY_URI, '--tun'];
const FULL = process.env.NEKIT_FULL !== undefined;
const FAKE = /^198\.18\.\d+\.\d+$/;
const FAKE_6 = /^fdfe:dcba:9876::/;

/** Of what is refused, in ms, on a machine that is busy. */
const AT_ONCE = 5_000;

/** Everything that a device does goes by the proxy. */
async function everythingByProxy(t: Test, namespace: Namespace): Promise<void> {
  t.equal(await who(namespace, 'http://www.far.test'), `www.far.test from ${WEB}`);
  t.equal(await who(namespace, 'http://www.far.test', '-6'), `www.far.test from ${WEB}`, 'by the fake address of IPv6');
  t.equal(await who(namespace, 'https://s.far.test'), `s.far.test from ${WEB}`);
  t.equal(await who(namespace, 'http://www.six.test'), `www.six.test from ${WEB_6}`, 'a target that has IPv6 only');
  t.equal(await who(namespace, `http://${WEB}`), `${WEB} from ${WEB}`, 'by address');
  t.equal(await who(namespace, `http://[${WEB_6}]`), `[${WEB_6}] from ${WEB_6}`);
  t.equal((await curl(namespace, 'http://www.far.test/big/20')).stdout.length, 20_000_000);
  const stdin = bytesOf(20_000_000, 7);
  const upload = await namespace.run('curl', ['-sS', '--max-time', '20', '-T', '-', 'http://www.far.test/digest'], { stdin, ms: 30_000 });
  t.equal(upload.stdout.toString(), sha256(stdin), `20 MB up: ${upload.stderr}`);
}

async function namesAreFake(t: Test, namespace: Namespace): Promise<void> {
  const address = await dig(namespace, 'www.far.test', 'A');
  t.match(address, FAKE);
  t.match(await dig(namespace, 'www.far.test', 'AAAA'), FAKE_6);
  t.equal(await dig(namespace, 'www.far.test', 'A', '+tcp'), address, 'by TCP');
  t.equal(await dig(namespace, '@192.0.2.1', 'www.far.test', 'A'), address, 'whomever one asks');
  t.equal(await dig(namespace, 'www.far.test', 'TYPE65'), '', 'HTTPS is empty');
  t.equal(await dig(namespace, '-x', address), 'www.far.test.');
  t.equal(await ping(namespace, 'www.far.test'), 3);
  t.equal(await ping(namespace, await dig(namespace, 'www.far.test', 'AAAA')), 3);
}

async function datagramsByProxy(t: Test, namespace: Namespace): Promise<void> {
  for (const family of [4, 6] as const) {
    const sizes = [0, 1, 1200, 1400];
    const echo = await udpEcho(namespace, 'www.far.test', family, sizes);
    t.match(echo, { error: null, sizes, to: family === 4 ? FAKE : FAKE_6 });
    t.same(new Set(echo.from), new Set([echo.to]), 'from the fake address');
    const quic = await quicLike(namespace, 'www.far.test', family);
    t.same({ error: quic.error, sizes: quic.sizes }, { error: null, sizes: QUIC_ANSWERS }, 'many at once');
    t.same(new Set(quic.from), new Set([quic.to]));
  }
}

async function browserByProxy(t: Test, home: HomeNetwork, namespace: Namespace): Promise<void> {
  home.reports.length = 0;
  const reported = eventually(() => home.reports.length > 0, 60_000, "the page's report");
  const { stderr } = await browse('http://www.far.test/', {
    until: reported,
    ms: 60_000,
    runner: (command, args, options) => namespace.run(command, args, options),
  });
  await reported.catch((error: unknown) => t.fail(String(error), { stderr: stderr.slice(-3_000) }));
  const [report] = home.reports;
  t.same(report?.errors, []);
  t.equal(new Set(report?.parts).size, PARTS);
  t.same(report?.socket, ['one', '70000', 'three', '1000']);
  t.equal(report?.large, bigHash(PAGE_MEGABYTES));
  t.equal(report?.secure, 's.far.test/part/secure');
}

t.test('a gateway, by the quick start', { skip, timeout: 170_000 }, async (t) => {
  const home = await makeHomeNetwork();
  t.teardown(() => home.close());
  const { client, gateway, folder } = home;
  const before = await routesOf(gateway);
  let proxy = await home.startProxy();
  const forwarder = await home.startForwarder();
  let kernel = await startKernelIn(gateway, folder, QUICK_START);
  const cached = await dig(client, 'www.far.test', 'A');

  await t.test('its clients: curl', (t) => everythingByProxy(t, client));
  await t.test('its clients: dig, ping', async (t) => {
    await namesAreFake(t, client);
    t.equal(await dig(client, `@${forwarder}`, 'www.far.test', 'A'), cached, 'by the name server of the router, which asks outside');
  });
  await t.test('its clients: a fake address that stands for nothing', async (t) => {
    t.equal((await curl(client, 'http://198.18.255.250/')).code, 7, 'is refused');
    t.match(await udpEcho(client, '198.18.255.250', 4, [1]), { error: 'ECONNREFUSED' });
  });
  await t.test('its clients: UDP', (t) => datagramsByProxy(t, client));
  await t.test('its clients: Chromium', { skip: !hasProgram('chromium') && 'not installed: chromium' }, (t) => browserByProxy(t, home, client));
  await t.test('itself', async (t) => {
    await everythingByProxy(t, gateway);
    await namesAreFake(t, gateway);
    await datagramsByProxy(t, gateway);
  });

  await t.test('nobody outside has heard a name but that of the proxy', async (t) => {
    t.same(new Set(home.askedNames()), new Set([`A ${PROXY_NAME}`, `AAAA ${PROXY_NAME}`]));
    for (const name of ['far.test', 'six.test']) t.notOk(await home.leaked(name), name);
    t.ok(await home.leaked(PROXY_NAME), 'and the capture sees names');
  });

  await t.test('the proxy dies: errors, and no waiting; it comes back: all is well', async (t) => {
    proxy.kill('SIGKILL');
    await eventually(() => proxy.signalCode !== null, 5_000, 'the end of the proxy');
    const begin = performance.now();
    t.not((await curl(client, 'http://www.far.test/who')).code, 0);
    t.ok(performance.now() - begin < AT_ONCE);
    proxy = await home.startProxy();
    await eventually(async () => (await who(client, 'http://www.far.test')) === `www.far.test from ${WEB}`, 10_000, 'the proxy again');
    t.match(await udpEcho(client, 'www.far.test', 4, [100]), { error: null, sizes: [100] });
  });

  await t.test('the proxy is not to be reached any more: errors in time', { skip: FULL ? false : 'takes as long as a dial may: NEKIT_FULL=1' }, async (t) => {
    await home.internet.sh(`ip addr del ${PROXY}/32 dev lo; ip route add blackhole ${PROXY}`);
    t.match(await curl(client, 'http://www.far.test/who'), { code: 7 });
    await home.internet.sh(`ip route del blackhole ${PROXY}; ip addr add ${PROXY}/32 dev lo`);
    t.equal(await who(client, 'http://www.far.test'), `www.far.test from ${WEB}`);
  });

  await t.test('SIGTERM: everything is as it was', async (t) => {
    t.not(await routesOf(gateway), before);
    t.equal(await kernel.end('SIGTERM'), 0, kernel.log());
    t.equal(await routesOf(gateway), before);
    t.notMatch(kernel.log(), /"level":"error"|Error:/);
  });

  await t.test('after a restart fake addresses are those of before; without the plugin udp QUIC is refused at once', async (t) => {
    kernel = await startKernelIn(gateway, folder, ['--plugins', 'ss,tcp,dns', '--proxy', PROXY_URI, '--tun']);
    t.equal(await who(client, 'http://www.far.test', '--resolve', `www.far.test:80:${cached}`), `www.far.test from ${WEB}`, 'one that a client has kept');
    t.equal(await dig(client, 'www.far.test', 'A'), cached);
    for (const family of [4, 6] as const) {
      const { error, ms } = await quicLike(client, 'www.far.test', family);
      t.equal(error, 'ECONNREFUSED');
      t.ok(ms < AT_ONCE);
    }
    t.equal(kernel.log().split('UDP is not carried').length, 2, 'which is said once');
  });

  await t.test('SIGKILL: the network works as without it, and the next start cleans up', async (t) => {
    await kernel.end('SIGKILL');
    t.equal(await who(client, `http://${WEB}`), `${WEB} from 192.168.50.2`);
    t.not(await routesOf(gateway), before, 'its rules are still there');
    kernel = await startKernelIn(gateway, folder, QUICK_START);
    t.equal(await who(client, 'http://www.far.test', '--resolve', `www.far.test:80:${cached}`), `www.far.test from ${WEB}`);
    t.equal(await kernel.end('SIGTERM'), 0, kernel.log());
    t.equal(await routesOf(gateway), before);
    t.notOk(await home.leaked('far.test'), 'in all that time');
  });
});

const RULES = `
plugins: [tcp, udp, dns]
tun: { device: nekit0 }
rules:
  - DOMAIN-SUFFIX,blocked.test,REJECT
  - DOMAIN-SUFFIX,direct.test,DIRECT
  - MATCH,far
`;

t.test('rules of a file, with --tun and --proxy', { skip, timeout: 120_000 }, async (t) => {
  const home = await makeHomeNetwork();
  t.teardown(() => home.close());
  const { client, gateway, folder } = home;
  const config = join(folder, 'config.yaml');
  writeFileSync(config, RULES);
  const before = await routesOf(gateway);
  await home.startProxy();
  const kernel = await startKernelIn(gateway, folder, ['-c', config, '--plugins', 'ss', '--proxy', PROXY_URI, '--tun']);
  for (const [who_, namespace] of [
    ['a client', client],
    ['the gateway', gateway],
  ] as const)
    await t.test(who_, async (t) => {
      t.equal(await who(namespace, 'http://www.far.test'), `www.far.test from ${WEB}`);
      t.match(await who(namespace, 'http://www.direct.test'), /^www\.direct\.test from (?:203\.0\.113\.2|2001:db8:113::2)$/, 'directly');
      t.match(await udpEcho(namespace, 'www.direct.test', 4, [1, 1400]), { error: null, sizes: [1, 1400], to: FAKE });
      const begin = performance.now();
      t.equal((await curl(namespace, 'http://www.blocked.test/who')).code, 7, 'refused');
      t.ok(performance.now() - begin < AT_ONCE);
    });
  t.same(
    home.askedNames().filter((line) => !line.endsWith(` ${PROXY_NAME}`) && !line.endsWith(' www.direct.test')),
    [],
    'the name server of the home has heard what the rules allow',
  );
  for (const name of ['far.test', 'blocked.test']) t.notOk(await home.leaked(name), name);
  t.equal(await kernel.end('SIGTERM'), 0, kernel.log());
  t.equal(await routesOf(gateway), before);
});

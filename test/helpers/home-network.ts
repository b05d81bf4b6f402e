/**
 * A home and the net outside, in namespaces:
 *
 *   client ── lan ── gateway ── wan ── internet: proxy, name servers, web server
 *
 * The name server that the home is given knows the proxy and what lies under direct.test; of all other names it tells an address where nobody is, so that whoever asks it for
 * them goes wrong. The one that the proxy asks knows what lies under far.test, and under six.test, which has IPv6 only.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from '@nekit/core/testing';
import type { PageReport } from './browser.js';
import { Namespace } from './namespace.js';
import { makeFolder } from './programs.js';

export const PROXY = '198.51.100.10';
export const WEB = '198.51.100.80';
export const WEB_6 = '2001:db8:100::80';
/** By the name that only the home's own name server knows. */
export const PROXY_NAME = 'proxy.home.test';

/** Megabytes that the page loads. */
export const PAGE_MEGABYTES = 5;

/** Datagrams that one to UDP port 443 is answered by: that many copies, numbered in their first byte. */
export const FLIGHT = 6;

const NAME_SERVER = '198.51.100.53';
const NAME_SERVER_OF_PROXY = '198.51.100.54';
const GATEWAY = '192.168.50.1';
const NOBODY = '203.0.113.66';

const PASSWORD = 'a home is a castle';
export const PROXY_URI = `ss://${Buffer.from(`aes-256-gcm:${PASSWORD}`).toString('base64url')}@${PROXY_NAME}:8388#far`;

const SERVERS = fileURLToPath(new URL('./home-servers.js', import.meta.url));

export interface HomeNetwork {
  readonly client: Namespace;
  readonly gateway: Namespace;
  readonly internet: Namespace;
  readonly folder: string;
  /** Of Chromium's page, as they come. */
  readonly reports: PageReport[];
  /** Names that the home's name server was asked for, as `A name`. */
  askedNames(): readonly string[];
  /** Whether these bytes or this name, plain or as a DNS question, went over the cable to the net outside. */
  leaked(name: string): Promise<boolean>;
  startProxy(): Promise<ChildProcess>;
  /** A name server on the gateway that asks the home's, as routers have. Settles with its address. */
  startForwarder(): Promise<string>;
  close(): Promise<void>;
}

export async function makeHomeNetwork(): Promise<HomeNetwork> {
  const folder = makeFolder();
  const resolvConf = join(folder.path, 'resolv.conf');
  writeFileSync(resolvConf, `nameserver ${NAME_SERVER}\n`);
  const client = await Namespace.make({ resolvConf });
  const gateway = await Namespace.make({ resolvConf });
  const internet = await Namespace.make();
  await cable(client, gateway, internet);

  let asked = '';
  const nameServer = await startDnsmasq(internet, NAME_SERVER, known({ [PROXY_NAME]: [PROXY], 'direct.test': [WEB, WEB_6], '#': [NOBODY] }));
  nameServer.stderr?.on('data', (part: Buffer) => {
    asked += part.toString();
  });
  await startDnsmasq(internet, NAME_SERVER_OF_PROXY, known({ 'far.test': [WEB, WEB_6], 'six.test': [WEB_6] }));
  const reports: PageReport[] = [];
  await startServers(internet, reports);
  const capture = join(folder.path, 'wan.pcap');
  await startCapture(internet, capture);

  return {
    client,
    gateway,
    internet,
    folder: folder.path,
    reports,
    askedNames: () => [...asked.matchAll(/query\[(\S+)\] (\S+) from/g)].map(([, type, name]) => `${type} ${name?.toLowerCase()}`),
    async leaked(name) {
      const marker = `end-${name.length}-${performance.now()}`;
      // What was captured is written in order: when this has arrived, all before it has.
      await internet.run(process.execPath, ['-e', `require('dgram').createSocket('udp4').send('${marker}', 9, '203.0.113.2', () => process.exit())`]);
      await eventually(() => readFileSync(capture).includes(marker), 10_000, 'the capture');
      const bytes = readFileSync(capture).toString('latin1').toLowerCase();
      const asQuestion = name
        .split('.')
        .map((label) => String.fromCharCode(label.length) + label)
        .join('');
      return bytes.includes(name) || bytes.includes(asQuestion);
    },
    startProxy: () => startProxy(internet),
    async startForwarder() {
      await startDnsmasq(gateway, GATEWAY, [`--server=${NAME_SERVER}`]);
      return GATEWAY;
    },
    async close() {
      for (const namespace of [client, gateway, internet]) await namespace.close();
      folder.remove();
    },
  };
}

async function cable(client: Namespace, gateway: Namespace, internet: Namespace): Promise<void> {
  await client.connect('lan', gateway, 'lan');
  await gateway.connect('wan', internet, 'wan');
  await client.sh('ip addr add 192.168.50.2/24 dev lan; ip route add default via 192.168.50.1');
  await client.sh('ip -6 addr add fd50::2/64 dev lan nodad; ip -6 route add default via fd50::1');
  await gateway.sh('ip addr add 192.168.50.1/24 dev lan; ip addr add 203.0.113.2/24 dev wan; ip route add default via 203.0.113.1');
  await gateway.sh('ip -6 addr add fd50::1/64 dev lan nodad; ip -6 addr add 2001:db8:113::2/64 dev wan nodad; ip -6 route add default via 2001:db8:113::1');
  await gateway.sh('sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1');
  await internet.sh('ip addr add 203.0.113.1/24 dev wan; ip route add 192.168.50.0/24 via 203.0.113.2');
  await internet.sh('ip -6 addr add 2001:db8:113::1/64 dev wan nodad; ip -6 route add fd50::/64 via 2001:db8:113::2');
  const own = [PROXY, NAME_SERVER, NAME_SERVER_OF_PROXY, WEB].map((address) => `ip addr add ${address}/32 dev lo`);
  await internet.sh([...own, `ip -6 addr add ${WEB_6}/128 dev lo nodad`].join('; '));
  // Addresses that the system gives itself are there when duplicates have been looked for.
  for (const namespace of [client, gateway, internet])
    await eventually(async () => !(await namespace.sh('ip -6 addr show tentative')).includes('inet6'), 10_000, 'addresses of the cables');
}

/** Domains and their addresses, as dnsmasq is told them. */
function known(domains: Readonly<Record<string, readonly string[]>>): string[] {
  return Object.entries(domains).flatMap(([domain, addresses]) => addresses.map((address) => `--address=/${domain}/${address}`));
}

/** Settles when it answers. */
async function startDnsmasq(namespace: Namespace, address: string, more: readonly string[]): Promise<ChildProcess> {
  const options = [
    '--keep-in-foreground',
    '--conf-file=/dev/null',
    '--no-resolv',
    '--no-hosts',
    '--user=root',
    '--pid-file=',
    '--log-queries',
    '--log-facility=-',
  ];
  const server = namespace.spawn('dnsmasq', [...options, '--bind-interfaces', `--listen-address=${address}`, ...more]);
  await eventually(async () => (await namespace.run('ss', ['-Hlnu'])).stdout.includes(`${address}:53`), 10_000, 'dnsmasq');
  return server;
}

async function startServers(namespace: Namespace, reports: PageReport[]): Promise<void> {
  const servers = namespace.spawn(process.execPath, [SERVERS, WEB, WEB_6]);
  let said = '';
  servers.stdout?.on('data', (part: Buffer) => {
    said += part.toString();
    for (let end = said.indexOf('\n'); end !== -1; end = said.indexOf('\n')) {
      const line = said.slice(0, end);
      said = said.slice(end + 1);
      if (line.startsWith('{')) reports.push(JSON.parse(line) as PageReport);
      else ready ||= line === 'ready';
    }
  });
  let ready = false;
  let failed = '';
  servers.stderr?.on('data', (part: Buffer) => {
    failed += part.toString();
  });
  await eventually(() => ready || servers.exitCode !== null, 15_000, 'the web server');
  if (!ready) throw new Error(`the web server does not run: ${failed}`);
}

/** All that goes to the home and comes from it. */
async function startCapture(namespace: Namespace, file: string): Promise<void> {
  mkdirSync(join(file, '..'), { recursive: true });
  const capture = namespace.spawn('tcpdump', ['-i', 'wan', '-n', '-U', '-s', '600', '-Z', 'root', '-w', file]);
  let said = '';
  capture.stderr?.on('data', (part: Buffer) => {
    said += part.toString();
  });
  await eventually(() => said.includes('listening on'), 10_000, 'tcpdump');
}

/** shadowsocks-libev, TCP and UDP. */
async function startProxy(namespace: Namespace): Promise<ChildProcess> {
  const server = namespace.spawn('ss-server', ['-s', PROXY, '-p', '8388', '-k', PASSWORD, '-m', 'aes-256-gcm', '-u', '-d', NAME_SERVER_OF_PROXY, '-t', '60']);
  await eventually(async () => (await namespace.run('ss', ['-Hlnt'])).stdout.includes(`${PROXY}:8388`), 10_000, 'ss-server');
  return server;
}

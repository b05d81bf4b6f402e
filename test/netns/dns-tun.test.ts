// client -> TUN -> name server -> fake address -> TUN -> rules by name -> direct or socks -> server, all of it real, in namespaces
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '@nekit/core/testing';
import t, { type Test } from 'tap';
import { unlessNamespaces } from '../helpers/namespace.js';
import { makeFolder } from '../helpers/programs.js';
import { makeTunHome, SERVER, SERVER_6, serve, TUN, type TunHome } from '../helpers/tun-home.js';

/** A name server outside that writes down what it is asked; every name has the address of the servers, but for those that begin with "no-". */
const RECORDER = `
const dgram = require('node:dgram'), net = require('node:net');
const asked = [];
const answer = (message) => {
  const labels = []; let at = 12;
  while (message[at] !== 0) { labels.push(message.toString('latin1', at + 1, at + 1 + message[at])); at += message[at] + 1; }
  const name = labels.join('.').toLowerCase(), type = message.readUInt16BE(at + 1), question = message.subarray(12, at + 5);
  asked.push(name);
  console.log('asked ' + name + ' ' + type);
  const head = Buffer.from([message[0], message[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0]);
  if (name.startsWith('no-')) { head[3] |= 3; return Buffer.concat([head, question]); }
  const address = type === 1 ? Buffer.from([203, 0, 113, 1]) : type === 28 ? Buffer.from('20010db8011300000000000000000001', 'hex') : null;
  if (address === null) return Buffer.concat([head, question]);
  head[7] = 1;
  return Buffer.concat([head, question, Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, address.length]), address]);
};
const udp = dgram.createSocket('udp4');
udp.on('message', (message, remote) => udp.send(answer(message), remote.port, remote.address));
udp.bind(53, '10.1.0.2', () => console.log('ready'));
`;

/** HTTP on 80 says which Host it was asked for; UDP on 9 echoes. */
const SERVERS = `
const http = require('node:http'), dgram = require('node:dgram');
const server = http.createServer((request, response) => {
  if (request.url === '/slow') { response.write('begin\\n'); return; }
  response.end(request.headers.host + '\\n');
});
let left = 3;
const ready = () => { if (--left === 0) console.log('ready'); };
server.listen(80, '::', ready);
for (const [type, host] of [['udp4', '${SERVER}'], ['udp6', '${SERVER_6}']]) {
  const socket = dgram.createSocket(type);
  socket.on('message', (message, remote) => socket.send(message, remote.port, remote.address)).bind(9, host, ready);
}
`;

const DNS = `
dns:
  enable: true
  ipv6: true
  enhanced-mode: fake-ip
  fake-ip-range: 198.18.0.1/16
  fake-ip-range6: fdfe:dcba:9876::1/64
  fake-ip-filter: ['+.real.example']
  use-system-hosts: false
  nameserver: [10.1.0.2]
`;

function config(rules: readonly string[], { tun = '', dns = DNS, more = '' } = {}): string {
  return `
plugins: [dns, tcp, udp]
log-level: debug
interface-name: cable
tun: { enable: true, device: ${TUN}, mtu: 1500${tun} }
${dns}${more}
rules:
${rules.map((rule) => `  - ${rule}`).join('\n')}
`;
}

/** Arguments of `unshare` for a program that asks 9.9.9.9 for names, whatever /etc/resolv.conf of this machine says. */
function client(...words: readonly string[]): string[] {
  return ['-m', 'sh', '-c', 'mount --bind "$0" /etc/resolv.conf && exec "$@"', RESOLV_CONF, ...words];
}

const folder = makeFolder();
t.teardown(() => folder.remove());
const RESOLV_CONF = join(folder.path, 'resolv.conf');
writeFileSync(RESOLV_CONF, 'nameserver 9.9.9.9\nnameserver 2620:fe::fe\n');

interface Scene extends TunHome {
  /** What the name server outside was asked since the last time. */
  asked(): string[];
  readonly restart: (config: string, args?: readonly string[]) => Promise<void>;
  dig(...words: string[]): Promise<string>;
}

async function scene(t: Test, first: string): Promise<Scene> {
  const made = await makeTunHome();
  t.teardown(() => made.close());
  const { home, outside, start } = made;
  const recorder = await serve(outside, RECORDER);
  await serve(outside, SERVERS);
  let said = '';
  recorder.stdout?.on('data', (part: Buffer) => {
    said += part.toString();
  });
  const cache = makeFolder();
  t.teardown(() => cache.remove());
  process.env.XDG_CACHE_HOME = join(cache.path, 'cache');
  let kernel = await start(first);
  /** Fake addresses, and somebody else's name servers, are beyond the device. */
  const routes = async (): Promise<void> => {
    await home.sh(`ip route replace 198.18.0.0/15 dev ${TUN}; ip -6 route replace fdfe:dcba:9876::/64 dev ${TUN}`);
    await home.sh(`ip route replace 9.9.9.9/32 dev ${TUN}; ip -6 route replace 2620:fe::fe/128 dev ${TUN}`);
  };
  await routes();
  return {
    ...made,
    asked() {
      const names = said.split('\n').flatMap((line) => /^asked (\S+)/.exec(line)?.[1] ?? []);
      said = '';
      return [...new Set(names)].sort();
    },
    async restart(text, args = []) {
      const gone = new Promise((resolve) => kernel.once('exit', resolve));
      kernel.kill('SIGTERM');
      await gone;
      kernel = await start(text, args);
      await routes();
    },
    async dig(...words) {
      const { stdout, stderr } = await home.run('dig', ['+tries=1', '+time=5', ...words], { ms: 20_000 });
      return stdout.toString() + stderr;
    },
  };
}

t.test('names by the TUN: answered by us, carried by rules on names', { skip: unlessNamespaces('dig', 'curl'), timeout: 120_000 }, async (t) => {
  const { home, dig, asked, log, restart } = await scene(t, config(['DOMAIN-SUFFIX,refused.example,REJECT', 'DOMAIN-SUFFIX,example,DIRECT', 'MATCH,REJECT']));
  const curl = (...words: string[]) => home.run('unshare', client('curl', '-sS', '--max-time', '20', ...words), { ms: 30_000 });

  await t.test('dig: by UDP and TCP, IPv4 and IPv6, whoever is asked', async (t) => {
    const first = await dig('+short', '@9.9.9.9', 'www.example');
    t.match(first, /^198\.18\.\d+\.\d+\n$/, log());
    for (const server of ['@198.18.0.2', '@2620:fe::fe', '@fdfe:dcba:9876::2'])
      for (const way of ['+notcp', '+tcp']) {
        t.equal(await dig('+short', way, server, 'www.example'), first, `${server} ${way}`);
        t.match(await dig('+short', way, server, 'AAAA', 'www.example'), /^fdfe:dcba:9876::/, `${server} ${way}`);
      }
    t.match(await dig('+short', '@9.9.9.9', '-x', first.trim()), /^www\.example\.\n$/);
    const noisy = await dig('@9.9.9.9', 'wWw.eXample');
    t.match(noisy, /wWw\.eXample/);
    t.notMatch(noisy, /warning|malformed|unexpected source/i);
    t.match(await dig('@9.9.9.9', 'HTTPS', 'www.example'), /status: NOERROR.*ANSWER: 0/s);
    t.same(asked(), [], 'nobody was asked for it');
    t.equal(await dig('+short', '@9.9.9.9', 'a.real.example'), `${SERVER}\n`);
    t.equal(await dig('+short', '+tcp', '@2620:fe::fe', 'AAAA', 'a.real.example'), `${SERVER_6}\n`);
    t.match(await dig('@9.9.9.9', 'no-such.real.example'), /status: NXDOMAIN/);
    t.same(asked(), ['a.real.example', 'no-such.real.example']);
  });

  await t.test('curl by a rule on the name: direct, refused, both families; nobody outside is asked but for what goes direct', async (t) => {
    for (const family of ['-4', '-6']) {
      const { stdout, stderr, code } = await curl(family, 'http://site.example/');
      t.equal(stdout.toString(), 'site.example\n', `${code} ${stderr} ${log()}`);
    }
    t.same(asked(), ['site.example'], 'DIRECT has to look it up');
    t.equal((await curl('http://a.refused.example/')).code, 7, 'a reset');
    t.equal((await curl('http://other.test/')).code, 7);
    t.same(asked(), []);
    t.match(log(), /"rule":"DOMAIN-SUFFIX,refused.example,REJECT"/);
    t.equal((await curl(`http://${SERVER}/`)).code, 0, 'an address goes by the name that it was looked up for last, a.real.example');
    t.equal((await curl('http://203.0.113.2/')).code, 7, 'any other is no name');
  });

  await t.test('UDP: answers come from the fake address', async (t) => {
    for (const [type, record] of [
      ['udp4', 'A'],
      ['udp6', 'AAAA'],
    ] as const) {
      const fake = (await dig('+short', '@9.9.9.9', record, 'echo.example')).trim();
      const text = `
        const socket = require('node:dgram').createSocket('${type}');
        socket.on('message', (message, remote) => { console.log(String(message), remote.address, remote.port); socket.close(); });
        socket.send('hello', 9, '${fake}');`;
      t.equal((await home.run(process.execPath, ['-e', text], { ms: 15_000 })).stdout.toString(), `hello ${fake} 9\n`);
    }
  });

  await t.test('an address that stands for nothing is refused at once', async (t) => {
    asked();
    for (const [host, type] of [
      ['198.18.77.77', 'udp4'],
      ['fdfe:dcba:9876::7777', 'udp6'],
    ] as const) {
      const begin = performance.now();
      const url = host.includes(':') ? `http://[${host}]/` : `http://${host}/`;
      t.equal((await curl(url)).code, 7);
      const text = `
        const socket = require('node:dgram').createSocket('${type}');
        socket.on('error', (error) => { console.log(error.code); socket.close(); });
        socket.connect(9, '${host}', () => socket.send('x'));`;
      t.equal((await home.run(process.execPath, ['-e', text], { ms: 15_000 })).stdout.toString(), 'ECONNREFUSED\n');
      t.ok(performance.now() - begin < 8_000);
    }
    t.same(asked(), []);
  });

  await t.test('a restart keeps what stands for what', async (t) => {
    const before = await dig('+short', '@9.9.9.9', 'kept.example');
    await restart(config(['MATCH,DIRECT']));
    t.equal((await curl('--resolve', `kept.example:80:${before.trim()}`, 'http://kept.example/')).stdout.toString(), 'kept.example\n', log());
    t.equal(await dig('+short', '@9.9.9.9', 'kept.example'), before);
  });

  await t.test('a listener of SOCKS that is told a fake address goes by its name', async (t) => {
    await restart(config(['DOMAIN,site.example,DIRECT', 'MATCH,REJECT'], { more: 'mixed-port: 7890\n' }));
    const fake = (await dig('+short', '@9.9.9.9', 'site.example')).trim();
    for (const proxy of ['socks5://127.0.0.1:7890', 'http://127.0.0.1:7890']) {
      t.equal((await curl('-p', '-x', proxy, '-H', 'Host: site.example', `http://${fake}/`)).stdout.toString(), 'site.example\n', `${proxy} ${log()}`);
      t.not((await curl('-p', '-x', proxy, 'http://198.18.77.77/')).code, 0);
    }
    t.equal((await curl('-x', 'http://127.0.0.1:7890', `http://${fake}/`)).stdout.toString(), `${fake}\n`, 'a plain request');
  });
});

/** A SOCKS5 server outside; it alone knows where names are. Says which it was asked for. */
const SOCKS = `
const net = require('node:net');
net.createServer((client) => {
  let bytes = Buffer.alloc(0), state = 0;
  client.on('error', () => client.destroy());
  const on = (part) => {
    bytes = Buffer.concat([bytes, part]);
    if (state === 0 && bytes.length >= 2 + bytes[1]) { client.write(Buffer.from([5, 0])); bytes = bytes.subarray(2 + bytes[1]); state = 1; }
    if (state !== 1 || bytes.length < 5) return;
    const length = bytes[3] === 3 ? 5 + bytes[4] : bytes[3] === 1 ? 8 : 20;
    if (bytes.length < length + 2) return;
    console.log('socks ' + bytes[3] + ' ' + (bytes[3] === 3 ? bytes.toString('latin1', 5, length) : 'an address'));
    const rest = bytes.subarray(length + 2), port = bytes.readUInt16BE(length);
    state = 2;
    client.off('data', on);
    const server = net.connect(port, '${SERVER}', () => { client.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0])); server.write(rest); client.pipe(server).pipe(client); });
    server.on('error', () => client.destroy());
  };
  client.on('data', on);
}).listen(1080, '10.1.0.2', () => console.log('ready'));
`;

t.test('a name that goes through a proxy is looked up by nobody here', { skip: unlessNamespaces('dig', 'curl', 'tcpdump'), timeout: 60_000 }, async (t) => {
  const proxies = 'proxies: [{ name: home, type: socks5, server: 10.1.0.2, port: 1080 }]\n';
  const rules = [
    'DOMAIN-SUFFIX,refused.example,REJECT',
    'DOMAIN-SUFFIX,direct.example,DIRECT',
    'DOMAIN-SUFFIX,example,home',
    'IP-CIDR,10.0.0.0/8,DIRECT',
    'MATCH,home',
  ];
  const { home, outside, dig, asked, log, restart } = await scene(t, config(rules, { more: proxies }));
  const socks = await serve(outside, SOCKS);
  let said = '';
  socks.stdout?.on('data', (part: Buffer) => {
    said += part.toString();
  });
  // Whatever leaves for any name server, by whatever way.
  const capture = home.spawn('tcpdump', ['-i', 'cable', '-n', '-l', '-U', 'port 53 or port 853']);
  let captured = '';
  let ready = '';
  capture.stdout?.on('data', (part: Buffer) => {
    captured += part.toString().toLowerCase(); // the letters of questions are of any case
  });
  capture.stderr?.on('data', (part: Buffer) => {
    ready += part.toString();
  });
  await eventually(() => ready.includes('listening on'), 10_000, 'tcpdump');
  const curl = (...words: string[]) => home.run('unshare', client('curl', '-sS', '--max-time', '20', ...words), { ms: 30_000 });
  for (const family of ['-4', '-6']) t.equal((await curl(family, 'http://secret.example/')).stdout.toString(), 'secret.example\n', log());
  t.equal((await curl('http://a.refused.example/')).code, 7);
  t.match(await dig('+short', '@9.9.9.9', 'HTTPS', 'secret.example'), /^$/);
  t.match(said, /socks 3 secret\.example/, 'the proxy is given the name');
  t.same(asked(), []);
  // What is asked afterwards comes behind: it is there, so all before it would be.
  t.equal((await curl('http://a.direct.example/')).stdout.toString(), 'a.direct.example\n');
  await eventually(() => captured.includes('a.direct.example'), 10_000, `the capture: ${captured}`);
  t.notMatch(captured, /secret|refused/);
  t.same(asked(), ['a.direct.example']);
  // A name that a rule on addresses is asked for has to be looked up; those before it still have not.
  t.equal((await curl('http://elsewhere.test/')).stdout.toString(), 'elsewhere.test\n');
  t.same(asked(), ['elsewhere.test']);
  await restart(config(['DOMAIN-SUFFIX,example,home', 'MATCH,home'], { more: proxies }));
  t.equal((await curl('http://elsewhere.test/')).stdout.toString(), 'elsewhere.test\n', 'no rule on addresses');
  t.same(asked(), []);
  t.notMatch(captured, /secret|refused/);
});

t.test('a name that loses its address: its connection is reset', { skip: unlessNamespaces('dig', 'curl'), timeout: 60_000 }, async (t) => {
  const dns = DNS.replace('198.18.0.1/16', '198.18.0.1/28').replace(/ {2}fake-ip-range6.*\n/, '');
  const { home, dig, log } = await scene(t, config(['MATCH,DIRECT'], { dns }));
  // All that the range has, each with a connection that stays.
  const children = Array.from({ length: 11 }, (_, i) => home.spawn('unshare', client('curl', '-sSN', '--max-time', '50', `http://n${i}.example/slow`)));
  let open = 0;
  for (const { stdout } of children) stdout?.once('data', () => open++);
  const first = Promise.race(children.map((child) => new Promise<number | null>((resolve) => child.once('exit', resolve))));
  let complaints = '';
  for (const { stderr } of children) stderr?.on('data', (part: Buffer) => (complaints += part.toString()));
  await eventually(() => open === children.length, 20_000, 'all connections').catch(() => t.fail(`${open} connections: ${complaints}`));
  t.match(await dig('+short', '@9.9.9.9', 'one-more.example'), /^198\.18\.0\.\d+\n$/);
  t.equal(await first, 56, 'reset by the peer');
  await eventually(() => log().includes('FAKE_IP_RECYCLED') || log().includes('was given to another name'), 5_000, log());
});

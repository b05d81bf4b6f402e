// client -> rules and table of auto-route -> TUN -> direct, marked -> server, all of it real, in namespaces
import { chmodSync, readdirSync, readFileSync } from 'node:fs';
import { eventually } from '@nekit/core/testing';
import t, { type Test } from 'tap';
import { type AutoRouteHome, makeAutoRouteHome, type RunningKernel, SERVER, SERVER_6, TUN } from '../helpers/auto-route-home.js';
import type { Namespace } from '../helpers/namespace.js';
import { unlessNamespaces } from '../helpers/namespace.js';
import { serve } from '../helpers/tun-home.js';

const skip = unlessNamespaces('curl', 'ping');

const config = (tun = '', more = ''): string => `
plugins: [tcp, udp]
mixed-port: 7890
tun: { enable: true, device: ${TUN}${tun} }
rules:
  - DST-PORT,81,REJECT
  - MATCH,DIRECT
${more}`;

/** TCP on 80 and 81 says who asks; UDP on 9 and 53 answers with it. */
const SERVERS = `
const net = require('node:net'), dgram = require('node:dgram');
const http = (socket) => { socket.on('error', () => {}); socket.once('data', () => socket.end('HTTP/1.0 200 OK\\r\\n\\r\\n' + socket.remoteAddress.replace('::ffff:', ''))); };
let left = 6;
const ready = () => { if (--left === 0) console.log('ready'); };
for (const port of [80, 81]) net.createServer(http).listen(port, '::', ready);
for (const port of [9, 53]) for (const [type, hosts] of [['udp4', ['${SERVER}', '10.1.0.2']], ['udp6', ['${SERVER_6}', 'fd01::2']]])
  for (const host of hosts) {
    const socket = dgram.createSocket(type);
    socket.on('message', (message, remote) => socket.send(remote.address, remote.port, remote.address)).bind(port, host, () => { if (host.length > 8) ready(); });
  }
`;

/** Names to the two servers, over UDP. */
const NAME_SERVER = `
const socket = require('node:dgram').createSocket('udp4');
socket.on('message', (question, { port, address }) => {
  const type = question.readUInt16BE(question.length - 4);
  const address4or6 = type === 1 ? Buffer.from([203, 0, 113, 1]) : Buffer.from('20010db8011300000000000000000001', 'hex');
  const head = Buffer.from(question.subarray(0, 12));
  head.writeUInt16BE(0x8180, 2);
  head.writeUInt16BE(1, 6);
  const record = Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, address4or6.length]);
  socket.send(Buffer.concat([head, question.subarray(12), record, address4or6]), port, address);
}).bind(53, '10.1.0.3', () => console.log('ready'));
`;

async function prepare(t: Test): Promise<AutoRouteHome> {
  const around = await makeAutoRouteHome();
  t.teardown(around.close);
  await serve(around.outside, SERVERS);
  return around;
}

const HOSTS = [SERVER, `[${SERVER_6}]`];

/** What the server answers: the address that it sees. '' where there is no connection. */
async function fetch(from: Namespace, host: string, port = 80, ...args: readonly string[]): Promise<string> {
  return (await from.run('curl', ['-sS', '--max-time', '8', ...args, `http://${host}:${port}/`])).stdout.toString();
}

/** What a UDP server answers; '' if it does not. */
async function ask(from: Namespace, host: string, port: number): Promise<string> {
  const text = `
    const socket = require('node:dgram').createSocket('udp${host.includes(':') ? 6 : 4}');
    socket.on('message', (message, remote) => { process.stdout.write(remote.address === '${host}' ? message : 'another'); socket.close(); });
    socket.send('?', ${port}, '${host}');
    setTimeout(() => process.exit(), 3000).unref();`;
  return (await from.run(process.execPath, ['-e', text], { ms: 10_000 })).stdout.toString();
}

/** Connects now; the function asks, and gives the answer. */
async function openConnection(from: Namespace, host: string): Promise<() => Promise<string>> {
  const client = from.spawn(process.execPath, [
    '-e',
    `const socket = require('node:net').connect(80, '${host}', () => console.log('connected'));
     process.on('SIGUSR2', () => socket.write('?'));
     socket.on('data', (part) => process.stdout.write(part));`,
  ]);
  let said = '';
  client.stdout?.on('data', (part: Buffer) => {
    said += part.toString();
  });
  await eventually(() => said.includes('connected'), 10_000, 'a connection');
  return async () => {
    client.kill('SIGUSR2');
    await eventually(() => client.exitCode !== null, 10_000, 'an answer');
    return said;
  };
}

/** Whether the kernel has told of a session to there. */
function carried(kernel: RunningKernel, target: string): Promise<boolean> {
  return eventually(() => kernel.log().includes(target), 5_000, target).then(
    () => true,
    () => false,
  );
}

t.test('all of this machine goes into the TUN, and nothing else', { skip, timeout: 180_000 }, async (t) => {
  const around = await prepare(t);
  const { home, guest, outside, rules } = around;
  t.same(await rules(), []);
  const older = await Promise.all([SERVER, SERVER_6].map((host) => openConnection(home, host)));
  const kernel = await around.start(config('', 'log-level: debug'));

  await t.test('connections that are older than the TUN go on', async (t) => {
    for (const [index, own] of ['10.1.0.1', 'fd01::1'].entries()) t.match(await older[index]?.(), own);
    t.notOk(kernel.log().includes(`${SERVER}:80`));
  });

  await t.test('TCP and UDP of this machine, by the rules', async (t) => {
    for (const host of HOSTS) {
      t.equal(await fetch(home, host), host === SERVER ? '10.1.0.1' : 'fd01::1', 'our own connection leaves by the cable, and does not come back');
      t.equal((await home.run('curl', ['-sS', '--max-time', '8', `http://${host}:81/`])).code, 7, 'refused by a rule');
      t.ok(await carried(kernel, `${host}:80`));
    }
    t.equal(await ask(home, SERVER, 9), '10.1.0.1');
    t.equal(await ask(home, SERVER_6, 9), 'fd01::1');
  });

  await t.test('ping is answered here', async (t) => {
    for (const host of [SERVER, SERVER_6, '192.0.2.77']) t.match((await home.run('ping', ['-c', '1', '-W', '5', host])).stdout.toString(), '1 received');
  });

  await t.test('a connected network stays as it is, but for its resolver', async (t) => {
    for (const [host, own] of [
      ['10.1.0.2', '10.1.0.1'],
      ['fd01::2', 'fd01::1'],
    ] as const) {
      t.equal(await ask(home, host, 9), own);
      t.equal(await ask(home, host, 53), own);
      const there = host.includes(':') ? `[${host}]` : host;
      t.ok(await carried(kernel, `${there}:53`), 'port 53 enters the TUN');
      t.notOk(kernel.log().includes(`${there}:9`), 'and nothing else');
    }
  });

  await t.test('a gateway: what it forwards goes into the TUN as well', async (t) => {
    for (const host of HOSTS) {
      t.equal(await fetch(guest, host), host === SERVER ? '10.1.0.1' : 'fd01::1');
      t.equal((await guest.run('curl', ['-sS', '--max-time', '8', `http://${host}:81/`])).code, 7);
    }
    t.equal(await ask(guest, SERVER, 9), '10.1.0.1');
    t.equal(await ask(guest, '10.1.0.2', 53), '10.1.0.1', 'a resolver behind the gateway');
    t.match((await guest.run('ping', ['-c', '1', '-W', '5', SERVER])).stdout.toString(), '1 received');
  });

  await t.test('servers of this machine keep answering, near and far', async (t) => {
    await serve(
      home,
      `require('node:net').createServer((socket) => socket.end('HTTP/1.0 200 OK\\r\\n\\r\\nhome')).listen(8080, '::', () => console.log('ready'))`,
    );
    t.equal(await fetch(guest, '192.168.7.1', 8080), 'home');
    t.equal(await fetch(guest, '[fd07::1]', 8080), 'home');
    t.equal(await fetch(outside, '10.1.0.1', 8080, '--interface', SERVER), 'home', 'by its default route');
    t.equal(await fetch(outside, '[fd01::1]', 8080, '--interface', SERVER_6), 'home');
    t.equal(await fetch(home, '127.0.0.1', 8080), 'home', 'loopback');
    t.equal(await fetch(home, '198.18.0.1', 8080), 'home', 'the address of the TUN');
    t.equal(await fetch(home, '10.1.0.1', 8080), 'home');
  });

  await t.test('our proxy ports work beside it', async (t) => {
    for (const host of HOSTS) t.equal(await fetch(home, host, 80, '-x', 'http://127.0.0.1:7890'), host === SERVER ? '10.1.0.1' : 'fd01::1');
  });

  await t.test('resolv.conf is nobody’s to write, and `check --tun` shows what is set', async (t) => {
    const { code, stdout } = await around.cli('check', '-c', around.configFile, '--tun');
    t.equal(code, 0);
    const lines = stdout.toString().split('\n').slice(1, -1);
    t.ok(lines.length > 20);
    t.same(
      lines.filter((line) => !/^set {6}ip /.test(line)),
      [],
    );
  });

  await t.test('SIGTERM takes everything back', async (t) => {
    t.equal((await rules()).length, 20);
    t.equal(await kernel.end('SIGTERM'), 0, kernel.log());
    t.same(await rules(), []);
    t.equal(await fetch(home, SERVER), '10.1.0.1', 'the network is as it was');
    t.match((await around.cli('check', '-c', around.configFile, '--tun')).stdout.toString(), /^not set {2}ip tuntap add tun7 mode tun$/m);
  });
});

t.test('lists of networks', { skip, timeout: 60_000 }, async (t) => {
  const around = await prepare(t);
  const { home } = around;
  const refused = async (host: string): Promise<boolean> => (await home.run('curl', ['-sS', '--max-time', '8', `http://${host}:81/`])).code === 7;
  const first = await around.start(config(', route-exclude-address: [203.0.113.0/24, "2001:db8:113::/48"]'));
  for (const host of HOSTS) t.notOk(await refused(host), 'excluded');
  t.match((await home.run('ping', ['-c', '1', '-W', '5', '192.0.2.77'])).stdout.toString(), '1 received', 'all others are not');
  await first.end('SIGTERM');
  const second = await around.start(config(', inet4-route-address: [203.0.113.9/24]'));
  t.ok(await refused(SERVER), 'what is named');
  t.notOk(await refused(`[${SERVER_6}]`), 'and nothing else');
  await second.end('SIGTERM');
  t.same(await around.rules(), []);
});

t.test('SIGKILL leaves rules; the next start removes them, whatever it is called', { skip, timeout: 60_000 }, async (t) => {
  const around = await prepare(t);
  const { home, rules } = around;
  // Of somebody else, in our range of priorities but for one, and with our words.
  await home.sh(
    'ip rule add priority 8999 fwmark 0x5 lookup 77; ip rule add priority 9010 to 192.0.2.0/24 lookup main; ip route add 198.51.100.0/24 via 10.1.0.2 table 77',
  );
  const others = await rules();
  const killed = await around.start(config());
  await killed.end('SIGKILL');
  t.ok((await rules()).length > others.length);
  t.equal(await fetch(home, SERVER), '10.1.0.1', 'without strict-route the network works meanwhile');
  t.match((await around.cli('check', '-c', around.configFile, '--tun')).stdout.toString(), /^left {5}ip rule priority 9000 iif tun7 goto 9009$/m);
  // Somebody else's device has the name now.
  await home.sh(`ip tuntap add ${TUN} mode tun; ip link set ${TUN} up`);
  const next = await around.start(config().replace(TUN, 'tun8').replace('7890', '7891'));
  t.match(next.log(), /rules were removed that a kernel which was killed had left/);
  t.notMatch((await rules()).join('\n'), TUN);
  await next.end('SIGTERM');
  t.same(await rules(), others);
  t.match(await home.sh('ip route show table 77'), '198.51.100.0/24');
});

t.test('no descriptor is left: rules and routes are taken back all the same', { skip: unlessNamespaces('prlimit'), timeout: 60_000 }, async (t) => {
  const { home, start } = await prepare(t);
  const everything = async (): Promise<string[]> => {
    const text = await home.sh('ip rule; ip -6 rule; ip route show table all; ip -6 route show table all');
    return text.split('\n').filter((line) => !line.includes('fe80:')); // which come when a cable is found free of rivals
  };
  const before = await everything();
  const kernel = await start(config());
  const folder = `/proc/${kernel.process.pid}/fd`;
  const limit = Math.max(...readdirSync(folder).map(Number)) + 1; // one above what it has
  await home.sh(`prlimit --pid ${kernel.process.pid} --nofile=${limit}:${limit}`);
  // Connections that say nothing take what is left below it.
  home.spawn(process.execPath, [
    '-e',
    `for (let count = 0; count < ${limit}; count++) require('node:net').connect(7890, '127.0.0.1').on('error', () => {});
     setInterval(() => {}, 1000);`,
  ]);
  await eventually(() => readdirSync(folder).length === limit, 20_000, 'the last descriptor');
  t.equal(await kernel.end('SIGTERM'), 0);
  t.same(await everything(), before, 'nothing is left');
  const unexpected = kernel
    .log()
    .split('\n')
    .filter((line) => /"level":"error"|taken back/.test(line) && !line.includes('accept: EMFILE'));
  t.same(unexpected, []);
});

t.test('somebody removes the device: the network works as without us, and nothing stays behind', { skip, timeout: 60_000 }, async (t) => {
  const { home, start, rules } = await prepare(t);
  const kernel = await start(config());
  await home.sh(`ip link del ${TUN}`);
  await eventually(() => kernel.log().includes('it was removed'), 10_000, 'the end of the device');
  for (const host of HOSTS) t.equal(await fetch(home, host), host === SERVER ? '10.1.0.1' : 'fd01::1');
  await kernel.end('SIGTERM');
  t.same(await rules(), []);
  t.notMatch(kernel.log(), /could be taken back/);
});

t.test('two kernels: the second says what is taken, or takes another place', { skip, timeout: 60_000 }, async (t) => {
  const around = await prepare(t);
  const { home, rules } = around;
  const first = await around.start(config(', iproute2-rule-index: 8000, iproute2-table-index: 3000'));
  const before = await rules();
  const file = around.write('second.yaml', config(', iproute2-rule-index: 8005').replace(TUN, 'tun8').replace('7890', '7891'));
  const { code, stdout, stderr } = await around.cli('run', '-c', file);
  t.equal(code, 1);
  t.match(stdout.toString() + stderr, /of the priorities 8005 to 8014 some are taken by the kernel of tun7: choose others with "iproute2-rule-index"/);
  t.same(await rules(), before, 'a failed start leaves nothing');
  t.notMatch(await home.sh('ip link'), 'tun8');
  around.write('second.yaml', config(', iproute2-table-index: 3000').replace(TUN, 'tun8').replace('7890', '7891'));
  t.match((await around.cli('run', '-c', file)).stderr, /the routing table 3000 is in use/);
  const second = await around.start(config().replace(TUN, 'tun8').replace('7890', '7891'), { file });
  t.equal(await fetch(home, SERVER), '10.1.0.1', 'neither sends the other its own connections');
  t.equal(await second.end('SIGKILL'), 'SIGKILL');
  const third = await around.start(config().replace(TUN, 'tun9').replace('7890', '7891'), { file });
  t.match(third.log(), /rules were removed/);
  await third.end('SIGTERM');
  t.same(await rules(), before, 'those of the living one are untouched');
  t.equal(await fetch(home, SERVER), '10.1.0.1');
  await first.end('SIGTERM');
});

t.test('a reload turns it on and off', { skip, timeout: 60_000 }, async (t) => {
  const around = await prepare(t);
  const { home, rules, write } = around;
  const kernel = await around.start(config(', auto-route: false'));
  t.same(await rules(), []);
  const reload = async (text: string, count: number): Promise<void> => {
    write('config.yaml', text);
    const said = kernel.log().length;
    kernel.process.kill('SIGHUP');
    await eventually(() => kernel.log().slice(said).includes('the new config is in force'), 10_000, 'the new config');
    t.equal((await rules()).length, count, kernel.log());
  };
  await reload(config(), 20);
  t.equal((await home.run('curl', ['-sS', '--max-time', '8', `http://${SERVER}:81/`])).code, 7);
  for (const host of HOSTS) t.equal(await fetch(home, host), host === SERVER ? '10.1.0.1' : 'fd01::1');
  await reload(config(', route-exclude-address: [192.0.2.0/24]', 'routing-mark: 0x99'), 21);
  t.match((await rules()).join('\n'), 'fwmark 0x99');
  t.equal(await fetch(home, SERVER), '10.1.0.1');
  await reload(config(', auto-route: false'), 0);
  t.equal(await fetch(home, SERVER, 81), '10.1.0.1');
  await kernel.end('SIGTERM');
});

t.test('the way out changes: a cable is pulled, another has the default route', { skip, timeout: 60_000 }, async (t) => {
  const around = await prepare(t);
  const { home, outside } = around;
  await home.connect('radio', outside, 'radio');
  await home.sh('ip addr add 10.2.0.1/24 dev radio; ip route add default via 10.2.0.2 metric 500; echo 1 > /proc/sys/net/ipv4/conf/radio/rp_filter');
  await outside.sh('ip addr add 10.2.0.2/24 dev radio');
  for (const detect of ['true', 'false']) {
    const kernel = await around.start(config(`, auto-detect-interface: ${detect}`));
    t.equal(await fetch(home, SERVER), '10.1.0.1');
    t.equal(await ask(home, SERVER, 9), '10.1.0.1');
    await home.sh('ip link set cable down');
    await eventually(async () => (await fetch(home, SERVER)) === '10.2.0.1', 10_000, 'the other way');
    t.equal(await ask(home, SERVER, 9), '10.2.0.1');
    await home.sh('ip link set radio down');
    const begin = performance.now();
    t.not((await home.run('curl', ['-sS', '--max-time', '8', `http://${SERVER}/`])).code, 0, 'no way at all: an error, and no loop');
    t.ok(performance.now() - begin < 7_000);
    await home.sh(
      'ip link set cable up; ip link set radio up; ip route replace default via 10.2.0.2 metric 500; ip route replace default via 10.1.0.2; ip -6 addr replace fd01::1/64 dev cable nodad; ip -6 route replace default via fd01::2',
    );
    await eventually(async () => (await fetch(home, SERVER)) === '10.1.0.1', 10_000, 'the first way again');
    await kernel.end('SIGTERM');
  }
});

t.test(
  'another program’s rules would send our sockets elsewhere: auto-detect-interface keeps them',
  { skip: unlessNamespaces('curl', 'dig'), timeout: 60_000 },
  async (t) => {
    const around = await prepare(t);
    const { home, outside } = around;
    await home.connect('vpn', outside, 'vpn');
    await outside.sh('ip addr add 10.3.0.2/24 dev vpn; ip addr add 10.3.0.3/24 dev vpn');
    await serve(outside, NAME_SERVER.replace('10.1.0.3', '10.3.0.3'));
    // As wg-quick does it, behind our priorities. (With a strict check of reverse paths it would have to mark answers as well.)
    await home.sh('for name in all cable vpn; do echo 2 > /proc/sys/net/ipv4/conf/$name/rp_filter; done');
    await home.sh(
      'ip addr add 10.3.0.1/24 dev vpn; ip route add default via 10.3.0.2 table 51; ip rule add priority 31000 lookup main suppress_prefixlength 0; ip rule add priority 31001 lookup 51',
    );
    t.equal(await fetch(home, SERVER), '10.3.0.1');
    const kernel = await around.start(config());
    t.equal(await fetch(home, SERVER), '10.1.0.1');
    t.equal(await ask(home, SERVER, 9), '10.1.0.1');
    t.match(
      (await home.run('dig', ['+short', '+noedns', '+tries=1', '+time=5', '@10.3.0.3', 'web.test'])).stdout.toString(),
      SERVER,
      'what has a route of its own is reached by it',
    );
    await kernel.end('SIGTERM');
    const plain = await around.start(config(', auto-detect-interface: false'));
    t.equal(await fetch(home, SERVER), '10.3.0.1');
    await plain.end('SIGTERM');
  },
);

t.test('no IPv6', { skip, timeout: 60_000 }, async (t) => {
  const around = await prepare(t);
  const { home, rules } = around;
  for (const strict of ['false', 'true']) {
    await home.sh('echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6');
    const kernel = await around.start(config(`, strict-route: ${strict}`));
    t.match(kernel.log(), /no IPv6 by tun7/);
    t.equal(await fetch(home, SERVER), '10.1.0.1');
    t.equal((await home.run('curl', ['-sS', '--max-time', '8', `http://${SERVER}:81/`])).code, 7);
    await kernel.end('SIGTERM');
    t.same(await rules(), []);
  }
});

t.test('strict-route: what has no way through the TUN has none', { skip, timeout: 60_000 }, async (t) => {
  const around = await prepare(t);
  const { home, guest, rules } = around;
  const only4 = ', inet6-address: []';
  const lax = await around.start(config(only4));
  t.equal(await fetch(home, `[${SERVER_6}]`), 'fd01::1', 'without it IPv6 takes the other way');
  t.equal(await fetch(home, `[${SERVER_6}]`, 81), 'fd01::1');
  await lax.end('SIGTERM');
  const strict = await around.start(config(`${only4}, strict-route: true`));
  t.equal(await fetch(home, SERVER), '10.1.0.1');
  t.equal(await fetch(home, `[${SERVER_6}]`), '', 'IPv6 does not leak');
  t.equal(await fetch(guest, `[${SERVER_6}]`), '', 'nor what is forwarded');
  t.equal(await ask(home, 'fd01::2', 9), 'fd01::1', 'a connected network is no leak');
  t.equal(await ask(home, 'fd01::2', 53), '', 'its resolver is');
  t.equal(await fetch(home, `[${SERVER_6}]`, 80, '-x', 'http://127.0.0.1:7890'), 'fd01::1', 'our own connections have IPv6');
  await home.sh(`ip link set ${TUN} down`);
  t.equal(await fetch(home, SERVER), '', 'its routes went with the device: nothing leaks');
  await strict.end('SIGTERM');
  t.same(await rules(), []);
  const killed = await around.start(config(', strict-route: true'));
  await killed.end('SIGKILL');
  for (const host of HOSTS) t.equal(await fetch(home, host), '', 'nor after a crash');
  const next = await around.start(config(', strict-route: true'));
  for (const host of HOSTS) t.equal(await fetch(home, host), host === SERVER ? '10.1.0.1' : 'fd01::1', 'until the next start');
  await next.end('SIGTERM');
  for (const host of HOSTS) t.equal(await fetch(home, host), host === SERVER ? '10.1.0.1' : 'fd01::1');
});

/** What a program gets that binds to `device`, or to `address`: what the server says, or an error. */
async function askFrom(home: Namespace, host: string, port: number, bound: { readonly device?: string; readonly address?: string }): Promise<string> {
  const text = `
import socket, sys
host, port, device, address = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
s = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_STREAM if port == 80 else socket.SOCK_DGRAM)
s.settimeout(3)
try:
    if device: s.setsockopt(socket.SOL_SOCKET, 25, device.encode())
    if address: s.bind((address, 0))
    if port == 80: s.connect((host, port)); s.send(b'?')
    else: s.sendto(b'?', (host, port))
    print(s.recv(200).decode().split('\\n')[-1].strip())
except OSError as error: print(error.strerror or 'nothing')
`;
  return (await home.run('python3', ['-c', text, host, String(port), bound.device ?? '', bound.address ?? ''], { ms: 10_000 })).stdout.toString().trim();
}

t.test(
  'strict-route: who chooses an interface, or an address to ask names from, does not get by',
  { skip: unlessNamespaces('python3', 'curl'), timeout: 90_000 },
  async (t) => {
    const around = await prepare(t);
    const { home, outside, rules } = around;
    const everything = (): Promise<string> => home.sh('ip rule; ip -6 rule; ip route; ip route show table 2023 2>/dev/null || true');
    // One that takes all without asking whose address it is, as a modem does: where the worst would leave.
    await home.sh('ip link add modem type veth peer name far; ip link set far up; ip link set modem arp off up; ip addr add 10.9.0.1/24 dev modem');
    const before = await everything();
    const lax = await around.start(config());
    t.equal(await askFrom(home, SERVER, 80, { device: 'cable' }), '10.1.0.1', 'without it they do');
    await lax.end('SIGTERM');
    const kernel = await around.start(config(', strict-route: true', 'log-level: debug'));
    const UNREACHABLE = 'Network is unreachable';
    for (const device of ['cable', 'modem']) {
      t.equal(await askFrom(home, SERVER, 80, { device }), UNREACHABLE, `TCP by ${device}`);
      t.equal(await askFrom(home, SERVER, 9, { device }), 'Permission denied', `UDP by ${device}`);
      t.equal(await askFrom(home, SERVER_6, 80, { device }), UNREACHABLE);
      t.equal(await askFrom(home, SERVER_6, 9, { device }), UNREACHABLE);
    }
    t.equal(await askFrom(home, '10.1.0.2', 53, { device: 'cable' }), 'Permission denied', 'nor to a resolver on the cable');
    t.equal(await askFrom(home, 'fd01::2', 53, { device: 'cable' }), UNREACHABLE);
    await askFrom(home, '10.1.0.2', 53, { address: '10.1.0.1' });
    t.ok(await carried(kernel, '10.1.0.2:53'), 'from an address: it goes through the TUN');
    t.equal(await askFrom(home, '10.1.0.2', 9, { device: 'cable' }), '10.1.0.1', 'a connected network is no leak');
    t.equal(await askFrom(home, 'fd01::2', 9, { device: 'cable' }), 'fd01::1');
    for (const host of HOSTS) {
      const own = host === SERVER ? '10.1.0.1' : 'fd01::1';
      t.equal(await fetch(home, host), own, 'our own sockets are bound, and get out');
      t.equal(await fetch(home, host, 80, '-x', 'http://127.0.0.1:7890'), own);
    }
    t.equal(await ask(home, SERVER, 9), '10.1.0.1');
    const set = (await around.cli('check', '-c', around.configFile, '--tun')).stdout.toString();
    t.match(set, /^set {6}ip route add broadcast default dev cable table 2023 metric \d+ protocol 78$/m);
    t.match(set, /^set {6}ip rule add priority 9004 iif lo oif modem lookup 2023 protocol 78$/m);
    t.notMatch(set, 'not set');
    // A cable that is pulled loses its routes, and a new one comes.
    await home.connect('radio', outside, 'radio');
    await home.sh('ip addr add 10.2.0.1/24 dev radio; ip link set modem down; ip link set modem up');
    const guarded = async (): Promise<boolean> => {
      const table = await home.sh('ip route show table 2023');
      return ['radio', 'modem'].every((name) => table.includes(`dev ${name} `));
    };
    await eventually(guarded, 10_000, 'guards of what has come');
    for (const device of ['radio', 'modem']) t.equal(await askFrom(home, SERVER, 80, { device }), UNREACHABLE, device);
    await home.sh('ip link del radio');
    await eventually(async () => !(await home.sh('ip rule')).includes('radio'), 10_000, 'the end of a guard');
    t.equal(await kernel.end('SIGTERM'), 0);
    t.equal(await everything(), before);
    t.notMatch(kernel.log(), /"level":"warn".*(?:followed|taken back)/);

    const killed = await around.start(config(', strict-route: true'));
    await killed.end('SIGKILL');
    t.equal(await askFrom(home, SERVER, 80, { device: 'cable' }), UNREACHABLE, 'nor after a crash');
    t.match(
      (await around.cli('check', '-c', around.configFile, '--tun')).stdout.toString(),
      /^left {5}ip route broadcast default dev cable table 2023 metric \d+$/m,
    );
    await (await around.start(config())).end('SIGTERM');
    t.equal(await everything(), before, 'the next start takes all of it away');
    t.same(await rules(), []);
  },
);

t.test('names are looked up by our own sockets, for what this machine asks comes to us', { skip, timeout: 60_000 }, async (t) => {
  const around = await prepare(t);
  const { home, outside, write } = around;
  await outside.sh('ip addr add 10.1.0.3/24 dev cable');
  await serve(outside, NAME_SERVER);
  const resolvConf = write('resolv.conf', 'nameserver 10.1.0.3\n');
  const kernel = await around.start(config('', 'log-level: debug'), {
    through: ['unshare', '-m', 'sh', '-c', `mount --bind ${resolvConf} /etc/resolv.conf && exec "$@"`, 'sh'],
  });
  t.match(await fetch(home, 'web.test', 80, '-x', 'http://127.0.0.1:7890'), /^(?:10.1.0.1|fd01::1)$/);
  t.notMatch(kernel.log(), '10.1.0.3:53', 'the question has not come through the TUN');
  await kernel.end('SIGTERM');
});

/** A SIP003 program that only carries bytes, and says whom it was told to ask. */
const PROGRAM = `#!/usr/bin/env node
const { SS_REMOTE_HOST: host, SS_REMOTE_PORT: port, SS_LOCAL_HOST: address, SS_LOCAL_PORT: local } = process.env;
require('node:fs').writeFileSync(__filename + '.told', host);
require('node:net').createServer((client) => {
  const server = require('node:net').connect(port, host);
  for (const socket of [client, server]) socket.on('error', () => socket.destroy());
  client.pipe(server).pipe(client);
}).listen(local, address);
`;

t.test('a SIP003 program reaches its server, and only that, beside the TUN', { skip: unlessNamespaces('curl', 'ss-server'), timeout: 60_000 }, async (t) => {
  const around = await prepare(t);
  const { home, outside, rules, write } = around;
  outside.spawn('ss-server', ['-s', SERVER, '-p', '8388', '-k', 'hunter2', '-m', 'aes-256-gcm']);
  await eventually(async () => (await outside.run('ss', ['-lnt'])).stdout.includes(':8388'), 10_000, 'ss-server');
  const program = write('program.cjs', PROGRAM);
  chmodSync(program, 0o755);
  const kernel = await around.start(`
plugins: [tcp, udp, ss]
hosts: { proxy.test: ${SERVER} }
tun: { enable: true, device: ${TUN} }
proxies:
  - { name: home, type: ss, server: proxy.test, port: 8388, cipher: aes-256-gcm, password: hunter2, plugin: ${program} }
rules: ["DST-PORT,81,REJECT", "MATCH,home"]
`);
  const exemption = '9002:\tfrom all to 203.0.113.1 ipproto tcp dport 8388 goto 9009';
  await eventually(async () => (await rules()).some((line) => line.startsWith(exemption)), 10_000, 'the exemption');
  t.equal(await fetch(home, SERVER), SERVER, 'through the program: the server dials itself');
  t.equal((await home.run('curl', ['-sS', '--max-time', '8', `http://${SERVER}:81/`])).code, 7, 'another port of the same server goes into the TUN');
  t.equal(readFileSync(`${program}.told`, 'utf8'), SERVER, 'it is given an address, and need not ask for one');
  await kernel.end('SIGTERM');
  t.same(await rules(), []);
});

t.test('examples/tun.yaml runs as it is', { skip, timeout: 60_000 }, async (t) => {
  const { home, start, rules } = await prepare(t);
  const kernel = await start(readFileSync(new URL('../../examples/tun.yaml', import.meta.url), 'utf8'));
  t.notMatch(kernel.log(), /"level":"(?:warn|error)"/, 'it says nothing but what it does');
  for (const host of HOSTS) {
    const own = host === SERVER ? '10.1.0.1' : 'fd01::1';
    t.equal(await fetch(home, host), own);
    t.equal(await fetch(home, host, 80, '-x', 'http://127.0.0.1:7890'), own, 'beside the proxy');
    t.equal((await home.run('ping', ['-c', '1', '-W', '5', host.replace(/[[\]]/g, '')])).code, 0);
  }
  await kernel.end('SIGTERM');
  t.same(await rules(), []);
});

t.test(
  'without the right to set routes one line says what is missing, and nothing stays',
  { skip: unlessNamespaces('setpriv'), timeout: 60_000 },
  async (t) => {
    const { home, rules } = await prepare(t);
    // A device that somebody has made for this user: it may be opened, and that is all.
    await home.sh(
      `ip tuntap add ${TUN} mode tun user 65534 group 65534; ip addr add 198.18.0.1/30 dev ${TUN}; ip link set ${TUN} mtu 9000 txqueuelen 10000 up`,
    );
    const text = `
    const { createKernel } = await import('@nekit/core');
    const { tcpPlugin: tcp } = await import('@nekit/stack-tcp');
    await createKernel({ tun: { enable: true, device: '${TUN}' } }, { plugins: [tcp] }).start().catch((error) => console.log(error.code, error.message));`;
    const caps = ['--bounding-set', '-all', '--inh-caps', '-all'];
    const { stdout, stderr } = await home.run('setpriv', [...caps, process.execPath, '--input-type=module', '-e', text], { ms: 20_000 });
    t.match(stdout.toString(), /^LISTEN_FAILED listener tun: .*not permitted: run it with sudo, or .*setcap cap_net_admin/, stderr);
    t.same(await rules(), []);
  },
);

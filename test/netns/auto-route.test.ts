// client -> rules and table of auto-route -> TUN -> direct, marked -> server, all of it real, in namespaces
import { chmodSync, readdirSync, readFileSync } from 'node:fs';
import { eventually } from '@nekit/core/testing';
import t from 'tap';
import { SERVER, SERVER_6, TUN } from '../helpers/auto-route-home.js';
import { ask, carried, config, fetch, HOSTS, prepare } from '../helpers/auto-route-probes.js';
import { type Namespace, unlessNamespaces } from '../helpers/namespace.js';
import { serve } from '../helpers/tun-home.js';

const skip = unlessNamespaces('curl', 'ping');

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

t.test('SIGKILL, and the device stays: the next start takes it over', { skip, timeout: 60_000 }, async (t) => {
  const around = await prepare(t);
  const { home, rules } = around;
  await home.sh(`ip tuntap add ${TUN} mode tun`);
  const state = async (): Promise<string> => (await around.cli('check', '-c', around.configFile, '--tun')).stdout.toString();
  for (const strict of ['false', 'true']) {
    const text = config(`, strict-route: ${strict}`);
    const killed = await around.start(text);
    const set = await rules();
    await killed.end('SIGKILL');
    const left = await state();
    t.match(left, /^left {5}ip rule priority 9000 iif tun7 goto 9009$/m);
    t.match(left, /^left {5}ip route default dev tun7 table 2022$/m);
    t.match(left, /^left {5}ip -6 route default dev tun7 table 2022$/m);
    t.notMatch(left, /^set {6}ip (?:-6 )?(?:rule|route)/m, 'nothing of it is in force for a kernel');
    if (strict === 'true') {
      await home.sh(`ip link set ${TUN} down`);
      t.match(await state(), /^left {5}ip rule priority 9000 iif tun7 goto 9009$/m, 'nobody has it open, down as up');
    }
    const next = await around.start(text);
    t.match(next.log(), /rules were removed that a kernel which was killed had left/);
    t.same(await rules(), set);
    for (const host of HOSTS) t.equal(await fetch(home, host), host === SERVER ? '10.1.0.1' : 'fd01::1');
    t.notMatch(await state(), /^(?:not set|left) /m);
    await next.end('SIGTERM');
    t.same(await rules(), []);
    t.equal(await home.sh('ip route show table 2022'), '');
  }
});

t.test('a device that is set down and up is a running kernel’s all the same', { skip, timeout: 60_000 }, async (t) => {
  const around = await prepare(t);
  const { home, rules } = around;
  const first = await around.start(config(', strict-route: true'));
  const file = around.write('second.yaml', config().replace(TUN, 'tun8').replace('7890', '7891'));
  // But for the guard of the first, which may have seen the other's device while it was there.
  const own = async (): Promise<string[]> => (await rules()).filter((rule) => !rule.includes('oif tun8'));
  for (const line of [`ip link set ${TUN} down`, `ip link set ${TUN} up`]) {
    await home.sh(line);
    const before = await own();
    const { code, stdout, stderr } = await around.cli('run', '-c', file);
    t.equal(code, 1);
    t.match(stdout.toString() + stderr, /some are taken by the kernel of tun7/);
    t.same(await own(), before, line);
  }
  await first.end('SIGTERM');
  t.same(await rules(), []);
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

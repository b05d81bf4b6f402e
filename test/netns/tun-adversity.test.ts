// A TUN in bad company and bad weather: crowds, floods, scans, loss, and what befalls the device itself.
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { eventually } from '@nekit/core/testing';
import t, { type Test } from 'tap';
import { Namespace, unlessNamespaces } from '../helpers/namespace.js';
import type { Outcome } from '../helpers/programs.js';
import { makeTunHome, SERVER, SERVER_6, serve, TUN, type TunHome } from '../helpers/tun-home.js';

const full = process.env.NEKIT_FULL === '1';

t.setTimeout(600_000);

const CONFIG = `
plugins: [tcp, udp]
interface-name: cable
tun: { enable: true, device: ${TUN}, mtu: 1500 }
rules:
  - DST-PORT,81,REJECT
  - MATCH,DIRECT
`;

/** The core of this workspace, for scripts that run elsewhere. */
const CORE = new URL('../../packages/core/dist/', import.meta.url).href;

/** 80: HTTP, so many bytes as the path says, and the SHA-256 of what was posted. 93: echo. */
const SERVERS = `
const http = require('node:http'), net = require('node:net'), { createHash } = require('node:crypto');
const web = http.createServer((request, response) => {
  if (request.method === 'GET') return response.end(Buffer.alloc(Number(request.url.slice(1)), 'nekit'));
  const hash = createHash('sha256');
  request.on('data', (part) => hash.update(part)).on('end', () => response.end(hash.digest('hex')));
});
const echo = net.createServer({ noDelay: true }, (socket) => socket.on('error', () => {}).pipe(socket));
web.listen({ port: 80, host: '::', backlog: 4096 }, () => echo.listen({ port: 93, host: '::', backlog: 4096 }, () => console.log('ready')));
`;

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const url = (path: string): string => `http://${SERVER}${path}`;

async function home(t: Test): Promise<TunHome> {
  const made = await makeTunHome();
  t.teardown(made.close);
  return made;
}

function curl(where: Namespace, ...args: readonly string[]): Promise<Outcome> {
  return where.run('curl', ['-sS', '--max-time', '60', ...args]);
}

/** Runs a module in a namespace, to its end. */
async function script(where: Namespace, text: string, ms = 120_000): Promise<string> {
  const { code, stdout, stderr } = await where.run(process.execPath, ['--input-type=module', '-e', text], { ms });
  if (code !== 0) throw new Error(`the script ended with ${code}: ${stderr}`);
  return stdout.toString().trim();
}

/** So many SYNs to a port of the server's, each from a source of its own. Settles with 'over'. */
function flood(inside: Namespace, count: number, port: number): Promise<string> {
  // A second device is the road by which they come; the namespace forwards them to ours.
  return script(
    inside,
    `const { openTunBy } = await import('${CORE}native/open-tun.js');
     const { findAddon } = await import('${CORE}native/load.js');
     const { buildPacket } = await import('${CORE}ip.js');
     const device = openTunBy(findAddon().addon)({ name: 'flood', addresses: [{ address: '100.64.0.1', prefix: 10 }], mtu: 1500, offload: false, arenaBytes: 0, warn: console.error });
     device.start({ packets() {}, failed: console.error });
     for (let i = 0; i < ${count}; ) {
       for (let n = 0; n < 200; n++, i++) {
         const syn = buildPacket({ kind: 'tcp', source: '100.' + (65 + (i >> 14)) + '.' + ((i >> 6) & 255) + '.' + (1 + (i & 63)), destination: '${SERVER}',
           sourcePort: 1024 + (i % 60000), destinationPort: ${port}, sequence: i, acknowledgment: 0, flags: 2, window: 64240, options: { mss: 1460 }, payload: new Uint8Array(0) });
         device.sink.bytes.set(syn, device.sink.reserve(syn.length, 0));
       }
       device.flush();
       await new Promise((resolve) => setTimeout(resolve, 10));
     }
     await new Promise((resolve) => setTimeout(resolve, 500));
     device.close();
     console.log('over');`,
  );
}

/** So that a namespace forwards what comes by one TUN into the other, whatever its source. */
const FORWARD = 'sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0';

/** Bytes. */
function resident(pid: number | undefined): number {
  const status = readFileSync(`/proc/${pid ?? 0}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024;
}

t.test('crowds and floods', { skip: unlessNamespaces('curl'), timeout: 300_000 }, async (t) => {
  const { home: inside, outside, start } = await home(t);
  await serve(outside, SERVERS);
  const kernel = await start(CONFIG);
  await inside.sh('sysctl -qw net.ipv4.ip_local_port_range="1024 65000"');
  await inside.sh(FORWARD);

  await t.test(`${full ? 10_000 : 1_000} connections at once, each with a say of its own`, async (t) => {
    // Each takes a descriptor here, in the kernel and in the server.
    const limit = Number((await inside.sh('ulimit -Hn')).trim());
    const count = Math.min(full ? 10_000 : 1_000, limit - 500);
    if (full && count < 10_000) t.comment(`only ${count}: this machine gives a process ${limit} descriptors`);
    const said = await script(
      inside,
      `import net from 'node:net';
       let open = 0, good = 0, bad = 0;
       const all = [];
       const began = performance.now();
       const one = (i) => new Promise((resolve) => {
         const socket = net.connect(93, i % 2 ? '${SERVER}' : '${SERVER_6}');
         all.push(socket);
         let got = '';
         socket.setEncoding('utf8').on('error', () => { bad++; resolve(); }).on('connect', () => { open++; socket.write('number ' + i + ';'); });
         socket.on('data', (text) => { got += text; if (got === 'number ' + i + ';') { good++; resolve(); } });
       });
       const waiting = new Set();
       for (let i = 0; i < ${count}; i++) {
         const p = one(i); waiting.add(p); void p.then(() => waiting.delete(p));
         if (waiting.size >= 500) await Promise.race(waiting);
       }
       await Promise.all(waiting);
       console.log([open, good, bad, all.filter((socket) => !socket.destroyed).length, Math.round(performance.now() - began)].join(' '));
       for (const socket of all) socket.destroy();
       process.exit(0);`,
    );
    const [open, good, bad, alive, ms] = said.split(' ').map(Number);
    t.strictSame([open, good, bad, alive], [count, count, 0, count]);
    t.comment(`${count} connections in ${ms} ms, RSS ${Math.round(resident(kernel.pid) / 2 ** 20)} MiB`);
  });

  await t.test('20,000 SYNs from as many sources: nothing hangs, memory is bounded, and afterwards all is as before', async (t) => {
    const before = resident(kernel.pid);
    const flooding = flood(inside, 20_000, 80);
    const times: number[] = [];
    let lost = 0;
    let isOver = false;
    void flooding.finally(() => {
      isOver = true;
    });
    while (!isOver) {
      const began = performance.now();
      const { code } = await curl(inside, '-o', '/dev/null', url('/1000'));
      times.push(performance.now() - began);
      if (code !== 0) lost++;
    }
    // In the crowd a newcomer is let in with its second SYN, a second later.
    t.equal(lost, 0, `of ${times.length} requests`);
    t.equal((await curl(inside, '-o', '/dev/null', url('/1000'))).code, 0, 'and after it all is as before');
    t.equal(await flooding, 'over');
    const grown = resident(kernel.pid) - before;
    t.comment(`${times.length} requests meanwhile, the slowest took ${Math.round(Math.max(...times))} ms; RSS grew by ${Math.round(grown / 2 ** 20)} MiB`);
    t.ok(grown < 200 * 2 ** 20, `RSS grew by ${grown}`);
    t.ok(Math.max(...times) < 10_000);
    t.equal(kernel.exitCode, null);
  });

  await t.test('one byte there and back, again and again', async (t) => {
    const count = full ? 20_000 : 2_000;
    const said = await script(
      inside,
      `import net from 'node:net';
       const socket = net.connect(93, '${SERVER}').setNoDelay(true);
       const times = [];
       let began = 0;
       const say = () => { began = performance.now(); socket.write('x'); };
       socket.on('connect', say).on('data', () => {
         times.push(performance.now() - began);
         if (times.length < ${count}) return say();
         times.sort((a, b) => a - b);
         console.log(JSON.stringify({ p50: times[${count / 2}], p99: times[${Math.floor(count * 0.99)}], most: times.at(-1) }));
         socket.end();
       });`,
    );
    const { p50, p99, most } = JSON.parse(said) as { p50: number; p99: number; most: number };
    t.comment(`${count} times: p50 ${p50.toFixed(3)} ms, p99 ${p99.toFixed(3)} ms, the longest ${most.toFixed(1)} ms`);
    t.ok(p99 < 50);
  });
});

// Each is dialled and refused at once, so that they are never many at a time.
t.test('a flood of SYNs to a closed port: when it is over, its memory is given back', { skip: unlessNamespaces('curl'), timeout: 120_000 }, async (t) => {
  const { home: inside, outside, start } = await home(t);
  await serve(outside, SERVERS);
  const kernel = await start(CONFIG);
  await inside.sh(FORWARD);
  t.equal((await curl(inside, '-o', '/dev/null', url('/1000'))).code, 0);
  const before = resident(kernel.pid);
  t.equal(await flood(inside, full ? 400_000 : 80_000, 9999), 'over');
  const after = resident(kernel.pid);
  const began = performance.now();
  // It must have rested for 30 s.
  await eventually(() => resident(kernel.pid) < before * 1.2, 60_000, `${before} bytes before, ${after} after it`);
  const left = resident(kernel.pid);
  t.comment(
    `RSS ${[before, after, left].map((bytes) => Math.round(bytes / 2 ** 20)).join(', ')} MiB: before, after, and ${Math.round(performance.now() - began)} ms later`,
  );
  t.equal((await curl(inside, '-o', '/dev/null', url('/1000'))).code, 0, 'and all is as before');
});

/** What nmap says of the ports, as { '80/tcp': 'open' }. */
async function scan(where: Namespace, kind: string, ports: string): Promise<Record<string, string>> {
  const { stdout, stderr } = await where.run('nmap', ['-n', '-Pn', kind, '-p', ports, '--max-retries', '1', '--host-timeout', '30s', '-oG', '-', SERVER]);
  const found = [...stdout.toString().matchAll(/(\d+)\/([a-z|]+)\/(tcp|udp)/g)].map(([, port, state, network]) => [`${port}/${network}`, state]);
  if (found.length === 0) throw new Error(`nmap said nothing: ${stdout.toString()} ${stderr}`);
  return Object.fromEntries(found) as Record<string, string>;
}

t.test('scanned by nmap', { skip: unlessNamespaces('nmap'), timeout: 300_000 }, async (t) => {
  const { home: inside, outside, start } = await home(t);
  await serve(outside, SERVERS);
  await serve(
    outside,
    `require('node:dgram').createSocket('udp4').on('message', function (m, r) { this.send(m, r.port, r.address); }).bind(9, '${SERVER}', () => console.log('ready'))`,
  );
  const all = async (): Promise<Record<string, Record<string, string>>> => ({
    SYN: await scan(inside, '-sS', '80,9999'),
    ACK: await scan(inside, '-sA', '80,9999'),
    FIN: await scan(inside, '-sF', '80,9999'),
    UDP: await scan(inside, '-sU', '9,9999'),
  });
  const linux = await all();
  await start(CONFIG);
  const ours = await all();
  t.strictSame(linux, {
    SYN: { '80/tcp': 'open', '9999/tcp': 'closed' },
    ACK: { '80/tcp': 'unfiltered', '9999/tcp': 'unfiltered' },
    FIN: { '80/tcp': 'open|filtered', '9999/tcp': 'closed' },
    UDP: { '9/udp': 'open', '9999/udp': 'closed' },
  });
  t.strictSame(ours, {
    ...linux,
    // Which ports listen is known only by dialling, and a FIN dials nothing: all are LISTEN, where it is dropped (RFC 9293 section 3.10.7.2).
    FIN: { '80/tcp': 'open|filtered', '9999/tcp': 'open|filtered' },
    // What becomes of a datagram is not told back: "port unreachable" of the far end ends at our socket.
    UDP: { '9/udp': 'open', '9999/udp': 'open|filtered' },
  });
  t.strictSame(await scan(inside, '-sS', '81'), { '81/tcp': 'closed' }, 'rejected by a rule');
  t.strictSame(await scan(inside, '-sU', '81'), { '81/udp': 'closed' }, 'rejected by a rule');
});

const WEATHER: readonly [name: string, cable: string, tun: string][] = [
  ['a slow road', 'delay 20ms 5ms', ''],
  ['loss outside', 'loss 1% delay 2ms', ''],
  ['loss, reordering and duplication inside', '', 'loss 1% delay 2ms reorder 25% duplicate 1%'],
  ['both', 'delay 5ms loss 0.5%', 'delay 5ms loss 0.5% corrupt 0.2%'],
];

t.test('in bad weather', { skip: unlessNamespaces('curl', 'tc'), timeout: 300_000 }, async (t) => {
  const { home: inside, outside, start } = await home(t);
  if ((await inside.run('tc', ['qdisc', 'add', 'dev', 'lo', 'root', 'netem', 'delay', '1ms'])).code !== 0) {
    t.pass('netem', { skip: 'this kernel has no netem' });
    return;
  }
  await inside.sh('tc qdisc del dev lo root');
  await serve(outside, SERVERS);
  await start(CONFIG);
  const size = full ? 20_000_000 : 2_000_000;
  const body = Buffer.alloc(size, 'weather');
  for (const [name, cable, tun] of WEATHER) {
    await t.test(name, async (t) => {
      for (const [device, weather] of [
        ['cable', cable],
        [TUN, tun],
      ]) {
        await inside.run('tc', ['qdisc', 'del', 'dev', String(device), 'root']);
        if (weather !== '') await inside.sh(`tc qdisc add dev ${device} root netem limit 10000 ${weather}`);
      }
      const began = performance.now();
      const { code, stdout, stderr } = await curl(inside, url(`/${size}`));
      t.equal(code, 0, stderr);
      t.equal(sha256(stdout), sha256(Buffer.alloc(size, 'nekit')), 'down');
      const up = await inside.run('curl', ['-sS', '--max-time', '60', '--data-binary', '@-', url('/')], { stdin: body });
      t.equal(up.stdout.toString(), sha256(body), 'up');
      t.comment(`${size} bytes both ways in ${Math.round(performance.now() - began)} ms`);
    });
  }
});

t.test('what befalls the device', { skip: unlessNamespaces('curl', 'sysctl'), timeout: 300_000 }, async (t) => {
  const { home: inside, outside, start, log } = await home(t);
  await serve(outside, SERVERS);

  await t.test('moved to another network namespace, it goes on', async (t) => {
    const [kernel, far] = [await start(CONFIG), await Namespace.make()];
    t.teardown(() => far.close());
    await inside.sh(`ip link set ${TUN} netns ${far.pid}`);
    await far.sh(
      `ip addr add 198.18.0.1/30 dev ${TUN}; ip addr add fd18::1/64 dev ${TUN} nodad; ip link set ${TUN} up; ip route add default dev ${TUN}; ip -6 route add default dev ${TUN}`,
    );
    for (const host of [SERVER, `[${SERVER_6}]`]) {
      const { code, stdout, stderr } = await curl(far, `http://${host}/3000000`);
      t.equal(code, 0, stderr);
      t.equal(sha256(stdout), sha256(Buffer.alloc(3_000_000, 'nekit')));
    }
    t.equal(kernel.exitCode, null);
    await ended(kernel, 'SIGTERM', 0);
  });

  await t.test('removed, it is told, and nothing spins', async (t) => {
    const kernel = await start(CONFIG);
    let giveUp = (): void => {};
    const until = new Promise<void>((resolve) => {
      giveUp = resolve;
    });
    const download = inside.run('curl', ['-sS', '-o', '/dev/null', '--limit-rate', '100k', url('/200000000')], { until });
    await eventually(async () => (await inside.run('ss', ['-tn'])).stdout.includes(SERVER), 10_000, 'a connection');
    await inside.sh(`ip link del ${TUN}`);
    await eventually(() => log().includes(`the TUN device ${TUN} is gone: it was removed`), 10_000, log());
    const before = ticks(kernel.pid);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const spent = ticks(kernel.pid) - before;
    t.ok(spent < 20, `${spent} of 100 ticks`);
    t.equal(log().split('is gone').length, 2, 'once');
    await ended(kernel, 'SIGTERM', 0);
    giveUp();
    t.not((await download).code, 0);
  });

  await t.test('set down and up again, it goes on', async (t) => {
    const kernel = await start(CONFIG);
    await inside.sh(`ip link set ${TUN} down`);
    await inside.sh(`ip link set ${TUN} up; ip route replace 203.0.113.0/24 dev ${TUN} metric 1`);
    t.equal((await curl(inside, url('/1000'))).stdout.length, 1000);
    await ended(kernel, 'SIGTERM', 0);
  });

  await t.test('killed in the middle of a transfer: the client does not think it complete, and a restart takes over', async (t) => {
    const kernel = await start(CONFIG);
    const download = inside.run('curl', ['-sS', '--max-time', '3', '--limit-rate', '200k', url('/200000000')]);
    await eventually(async () => (await inside.run('ss', ['-tn'])).stdout.includes(SERVER), 10_000, 'a connection');
    await ended(kernel, 'SIGKILL', null);
    const again = await start(CONFIG);
    const { stdout } = await curl(inside, url('/3000000'));
    t.equal(sha256(stdout), sha256(Buffer.alloc(3_000_000, 'nekit')));
    t.not((await download).code, 0);
    await ended(again, 'SIGTERM', 0);
  });

  await t.test('where IPv6 is switched off, IPv4 is carried, and it is said', async (t) => {
    await inside.sh('sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1');
    const kernel = await start(CONFIG, ['--log-level', 'info'], { ipv6: false });
    t.match(log(), /no IPv6 by tun7, as this system has it switched off/);
    t.equal((await curl(inside, url('/1000'))).stdout.length, 1000);
    await ended(kernel, 'SIGTERM', 0);
  });
});

/** Opens a TUN and becomes the command with it as descriptor 3. */
const PARENT = `
import fcntl, os, struct, sys
fd = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(fd, 0x400454ca, struct.pack('16sH22x', sys.argv[1].encode(), 0x0001 | 0x1000 | int(sys.argv[2])))
os.dup2(fd, 3)
if fd != 3: os.close(fd)
os.set_inheritable(3, True)
os.execvp(sys.argv[3], sys.argv[3:])
`;

t.test('a descriptor that was opened by somebody else', { skip: unlessNamespaces('curl', 'python3'), timeout: 120_000 }, async (t) => {
  const { home: inside, outside, start, log, configFile } = await home(t);
  await serve(outside, SERVERS);
  for (const [name, flags] of [
    ['with a vnet header', 0x4000],
    ['without', 0],
  ] as const) {
    await t.test(name, async (t) => {
      const config = (icmp: string): string => `
plugins: [tcp, udp]
interface-name: cable
tun: { enable: true, file-descriptor: 3, icmp: ${icmp} }
`;
      const set = `ip addr add 198.18.0.1/30 dev ${TUN}; ip link set ${TUN} mtu 1400 up`;
      const kernel = await start(config('reply'), [], { through: ['python3', '-c', PARENT, TUN, String(flags)], setUp: set });
      for (const size of [1_000, 3_000_000]) t.equal(sha256((await curl(inside, url(`/${size}`))).stdout), sha256(Buffer.alloc(size, 'nekit')));
      t.equal((await inside.run('ping', ['-c', '1', '-W', '2', SERVER])).code, 0);
      // A reload makes the inbound anew, on the same descriptor.
      writeFileSync(configFile, config('drop'));
      kernel.kill('SIGHUP');
      await eventually(() => log().includes('the new config is in force'), 10_000, log());
      t.not((await inside.run('ping', ['-c', '1', '-W', '1', SERVER])).code, 0);
      t.equal((await curl(inside, url('/1000'))).stdout.length, 1000);
      await ended(kernel, 'SIGTERM', 0);
      t.notMatch((await inside.run('ip', ['link'])).stdout.toString(), TUN, 'it has gone with the last that held it');
    });
  }
});

t.test('names by a real server', { skip: unlessNamespaces('dig', 'dnsmasq'), timeout: 60_000 }, async (t) => {
  const { home: inside, outside, start } = await home(t);
  const dns = ['--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--pid-file=', '--user=root', '--bind-interfaces'];
  outside.spawn('dnsmasq', [
    ...dns,
    `--listen-address=${SERVER},${SERVER_6}`,
    '--address=/example.test/192.0.2.55',
    `--txt-record=long.test,${Array(20).fill('x'.repeat(200)).join()}`,
  ]);
  await start(CONFIG);
  const dig = async (...args: readonly string[]): Promise<string> =>
    (await inside.run('dig', ['+short', '+tries=5', '+time=2', ...args])).stdout.toString().trim();
  for (const server of [`@${SERVER}`, `@${SERVER_6}`]) {
    t.equal(await dig(server, 'a.example.test'), '192.0.2.55', server);
    t.equal(await dig(server, '+tcp', 'b.example.test'), '192.0.2.55', `${server} by TCP`);
    t.equal((await dig(server, '+bufsize=1232', 'long.test', 'TXT')).length, 20 * 203 - 1, `${server}: cut short, then by TCP`);
  }
  const many = await Promise.all(Array.from({ length: 50 }, (_, i) => dig(`@${SERVER}`, `n${i}.example.test`)));
  t.strictSame([...new Set(many)], ['192.0.2.55']);
});

async function ended(kernel: Awaited<ReturnType<TunHome['start']>>, signal: NodeJS.Signals, expected: number | null): Promise<void> {
  const gone = new Promise<number | null>((resolve) => kernel.once('exit', resolve));
  kernel.kill(signal);
  const code = await gone;
  if (code !== expected) throw new Error(`the kernel ended with ${code}`);
}

/** Processor time, in hundredths of a second. */
function ticks(pid: number | undefined): number {
  const fields = readFileSync(`/proc/${pid ?? 0}/stat`, 'utf8').split(' ');
  return Number(fields[13]) + Number(fields[14]);
}

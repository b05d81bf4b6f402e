// Questions a second over UDP: fake answers beside dnsmasq's static ones, cached answers beside unbound's.
//
//   node bench/dns/run.mjs [--seconds 3] [--rounds 3] [--names 10000]
//
// Servers run on one core (taskset -c 0), who asks on another. Closed loop, each question from a socket of its own: 128 under way for the rate, one for the time that
// an answer takes. Rounds alternate between the servers, and the best of each counts.
import { execFile, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '3' }, rounds: { type: 'string', default: '3' }, names: { type: 'string', default: '10000' } },
});
const here = (file) => new URL(file, import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'nekit-bench-dns-'));
const children = [];

function freePort() {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1', () => {
      const { port } = socket.address();
      socket.close(() => resolve(port));
    });
  });
}

function start(command, args, { core = '0' } = {}) {
  const child = spawn('taskset', ['-c', core, command, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  return child;
}

async function dnsmasq(core) {
  const port = await freePort();
  const quiet = ['--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--pid-file=', '--user=root', '--bind-interfaces'];
  start('dnsmasq', [...quiet, '--listen-address=127.0.0.1', `--port=${port}`, '--address=/#/198.18.0.9', '--local-ttl=3600', '--dns-forward-max=10000'], {
    core,
  });
  await ready(port);
  return port;
}

async function unbound(upstream) {
  const port = await freePort();
  const file = join(folder, 'unbound.conf');
  writeFileSync(
    file,
    [
      'server:',
      ` interface: 127.0.0.1@${port}`,
      ' do-daemonize: no\n username: ""\n chroot: ""\n pidfile: ""\n use-syslog: no\n logfile: ""\n verbosity: 0\n num-threads: 1',
      ' do-not-query-localhost: no\n module-config: "iterator"\n msg-cache-size: 64m\n rrset-cache-size: 64m\n access-control: 127.0.0.0/8 allow',
      ' local-zone: "example." transparent\n outgoing-range: 512\n num-queries-per-thread: 1024',
      'forward-zone:',
      ' name: "."',
      ` forward-addr: 127.0.0.1@${upstream}`,
      'remote-control:\n control-enable: no\n',
    ].join('\n'),
  );
  start('unbound', ['-d', '-c', file]);
  await ready(port);
  return port;
}

async function ours(mode, upstream) {
  const child = start(process.execPath, [here('./ours.mjs'), mode, ...(upstream === undefined ? [] : [String(upstream)])]);
  const [line] = await new Promise((resolve, reject) => {
    child.once('exit', () => reject(new Error('our server did not start')));
    child.stdout.once('data', (bytes) => resolve(String(bytes).split('\n')));
  });
  return Number(line);
}

/** Until it answers. */
async function ready(port) {
  for (let i = 0; i < 100; i++) {
    const socket = createSocket('udp4');
    const answer = new Promise((resolve) => {
      socket.once('message', () => resolve(true));
      socket.once('error', () => resolve(false));
      setTimeout(() => resolve(false), 100);
    });
    socket.send(Buffer.from('0001010000010000000000000161076578616d706c650000010001', 'hex'), port, '127.0.0.1');
    const isThere = await answer;
    socket.close();
    if (isThere) return;
  }
  throw new Error(`nobody answers on port ${port}`);
}

async function load(port, window, warm) {
  const words = ['--port', String(port), '--seconds', values.seconds, '--names', values.names, '--window', String(window), ...(warm ? ['--warm'] : [])];
  const { stdout } = await promisify(execFile)('taskset', ['-c', '1', process.execPath, here('./load.mjs'), ...words], { timeout: 60_000 });
  return JSON.parse(stdout);
}

async function compare(title, servers) {
  const best = new Map(
    servers.map(([name]) => [
      name,
      { qps: 0, p50: Number.POSITIVE_INFINITY, p99: Number.POSITIVE_INFINITY, one50: Number.POSITIVE_INFINITY, one99: Number.POSITIVE_INFINITY },
    ]),
  );
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [name, port] of servers) {
      const many = await load(port, 128, true);
      const one = await load(port, 1, false);
      if (many.bad + one.bad + many.lost > 0) console.log(`  ${name}: ${many.bad + one.bad} bad, ${many.lost} lost`);
      const so = best.get(name);
      if (many.qps > so.qps) Object.assign(so, { qps: many.qps, p50: many.p50, p99: many.p99 });
      if (one.p99 < so.one99) Object.assign(so, { one50: one.p50, one99: one.p99 });
    }
  }
  console.log(
    `\n${title}\n${'server'.padEnd(12)}${'questions/s'.padStart(12)}${'p50 ms'.padStart(9)}${'p99 ms'.padStart(9)}${'alone p50'.padStart(11)}${'alone p99'.padStart(11)}`,
  );
  for (const [name, { qps, p50, p99, one50, one99 }] of best)
    console.log(
      `${name.padEnd(12)}${String(qps).padStart(12)}${[p50, p99].map((n) => n.toFixed(2).padStart(9)).join('')}${[one50, one99].map((n) => n.toFixed(2).padStart(11)).join('')}`,
    );
}

try {
  const fake = await ours('fake');
  const masq = await dnsmasq('0');
  await compare(`fake answers, ${values.names} names`, [
    ['ours', fake],
    ['dnsmasq', masq],
  ]);
  const upstream = await dnsmasq('1');
  const cached = await ours('cache', upstream);
  const bound = await unbound(upstream);
  await compare(`cached answers, ${values.names} names`, [
    ['ours', cached],
    ['unbound', bound],
  ]);
} finally {
  for (const child of children) child.kill();
  rmSync(folder, { recursive: true });
}

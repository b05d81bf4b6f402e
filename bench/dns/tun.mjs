// Questions a second for fake answers: by a TUN beside a UDP socket of the same server, in a network namespace of its own. Needs root.
//
//   node bench/dns/tun.mjs [--seconds 3] [--rounds 3] [--names 10000]
//
// The server runs on one core, who asks on another, as in run.mjs; rounds alternate, and the best of each counts.
import { execFile, spawn, spawnSync } from 'node:child_process';
import { parseArgs, promisify } from 'node:util';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '3' },
    names: { type: 'string', default: '10000' },
    inside: { type: 'boolean', default: false },
  },
});
const here = (file) => new URL(file, import.meta.url).pathname;

if (!values.inside) {
  const words = ['-n', 'sh', '-c', 'ip link set lo up && exec "$0" "$@"', process.execPath, here('./tun.mjs'), ...process.argv.slice(2), '--inside'];
  process.exit(spawnSync('unshare', words, { stdio: 'inherit' }).status ?? 1);
}

const server = spawn('taskset', ['-c', '0', process.execPath, here('./ours.mjs'), 'tun'], { stdio: ['ignore', 'pipe', 'inherit'] });
try {
  const port = await new Promise((resolve, reject) => {
    server.once('exit', () => reject(new Error('the server did not start')));
    server.stdout.once('data', (bytes) => resolve(Number(String(bytes).split('\n')[0])));
  });
  const ways = [
    ['socket', ['--port', String(port)]],
    ['TUN', ['--host', '198.18.0.2', '--bind', '0.0.0.0', '--port', '53']],
  ];
  const best = new Map(ways.map(([name]) => [name, { qps: 0, p50: 0, p99: 0, alone: Number.POSITIVE_INFINITY }]));
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [name, words] of ways) {
      const many = await load([...words, '--window', '128', '--warm']);
      const one = await load([...words, '--window', '1']);
      if (many.bad + one.bad + many.lost > 0) console.log(`  ${name}: ${many.bad + one.bad} bad, ${many.lost} lost`);
      const so = best.get(name);
      if (many.qps > so.qps) Object.assign(so, { qps: many.qps, p50: many.p50, p99: many.p99 });
      so.alone = Math.min(so.alone, one.p50);
    }
  }
  console.log(
    `\nfake answers, ${values.names} names\n${'way'.padEnd(10)}${'questions/s'.padStart(12)}${'p50 ms'.padStart(9)}${'p99 ms'.padStart(9)}${'alone p50'.padStart(11)}`,
  );
  for (const [name, { qps, p50, p99, alone }] of best)
    console.log(`${name.padEnd(10)}${String(qps).padStart(12)}${[p50, p99].map((n) => n.toFixed(2).padStart(9)).join('')}${alone.toFixed(2).padStart(11)}`);
  console.log(`\nTUN / socket: ${(best.get('TUN').qps / best.get('socket').qps).toFixed(2)}`);
} finally {
  server.kill();
}

async function load(words) {
  const all = [here('./load.mjs'), ...words, '--seconds', values.seconds, '--names', values.names];
  const { stdout } = await promisify(execFile)('taskset', ['-c', '1', process.execPath, ...all], { timeout: 60_000 });
  return JSON.parse(stdout);
}

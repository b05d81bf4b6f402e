// Connections that break off in every phase, many at a time, and what is left of them afterwards: nothing.
import t from 'tap';
import { unlessNamespaces } from '../helpers/namespace.js';
import { PHASES, randomFrom, runClient } from './clients.js';
import type { Counts } from './kernel-process.js';
import { soak } from './load.js';
import { openStage } from './stage.js';
import { tunSoak } from './tun-load.js';

const full = process.env.NEKIT_FULL === '1';
const total = full ? 20_000 : 2_000;
/** Measured after so many: by then every path has been taken and compiled. */
const warmUp = full ? 4_000 : 800;
const atOnce = 100;
const seed = Number(process.env.NEKIT_SEED ?? Math.floor(Math.random() * 2 ** 31));

/** Of the long test; `npm run soak` runs it for longer. */
const LOAD_MINUTES = 2;

t.test(`${total} connections, seed ${seed}`, { timeout: full ? 800_000 : 110_000 }, async (t) => {
  const stage = await openStage();
  t.teardown(() => stage.close());
  const { before, ports } = stage;

  const random = randomFrom(seed);
  let started = 0;
  let stuck = 0;
  const runUpTo = async (count: number): Promise<Counts> => {
    const worker = async (): Promise<void> => {
      while (started < count) {
        const phase = PHASES[started++ % PHASES.length] ?? 'silent';
        if (!(await runClient(phase, ports, random))) stuck++;
      }
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
    const counts = await stage.settled();
    if (counts.sessions > 0 || counts.clients > 0 || counts.timers > 0) t.fail('sessions, clients or timers are left', { counts });
    return counts;
  };

  const warm = await runUpTo(warmUp);
  const heaps = [warm.heap];
  let end = warm;
  for (let step = 1; step <= 4; step++) {
    end = await runUpTo(warmUp + Math.round(((total - warmUp) * step) / 4));
    heaps.push(end.heap);
  }
  t.comment(`${started} connections, ${end.ended} sessions, codes ${JSON.stringify(end.codes)}, without a session ${JSON.stringify(end.failed)}`);
  t.comment(
    `heap ${kib(before.heap)} at the start, ${heaps.map(kib).join(', ')} from ${warmUp} to ${total} connections; RSS ${kib(warm.rss)}, then ${kib(end.rss)}`,
  );
  t.equal(stuck, 0, 'every connection ended by itself or by a timeout of the kernel');
  t.equal(end.sessions, 0, 'no session is left');
  t.equal(end.clients, 0, 'no client connection is left');
  t.equal(end.timers, 0, 'no timer is set');
  t.same(end.warnings, [], 'no warning');
  for (const code of ['none', 'ECONNREFUSED', 'ECONNRESET', 'IDLE_TIMEOUT', 'NET_TIMEOUT', 'CLIENT_LEFT', 'HTTP_RESPONSE_TIMEOUT']) {
    t.ok((end.codes[code] ?? 0) > 0, `sessions ended with ${code}: the phase was reached`);
  }
  // A leak of one small object (100 bytes) for each connection shows; what the engine still compiles does not.
  const growth = end.heap - warm.heap;
  t.ok(growth < (total - warmUp) * 100 + 1024 * 1024, `the heap is flat: it grew by ${kib(growth)}`);
  t.ok(end.rss - warm.rss < 64 * 1024 * 1024, `and so is the RSS: it grew by ${kib(end.rss - warm.rss)}`);

  const { after, exitCode } = await stage.stop();
  t.same(after.files, before.files, 'no file descriptor is left');
  t.same(after.resources, before.resources, 'nothing that keeps a process alive is left');
  t.equal(after.timers, 0);
  t.equal(exitCode, 0, 'the process ends by itself');
});

t.test(
  `mixed load for ${LOAD_MINUTES} minutes, seed ${seed}`,
  { skip: full ? false : 'takes minutes: NEKIT_FULL=1, or npm run soak', timeout: 300_000 },
  async (t) => {
    const { failures, ...report } = await soak(LOAD_MINUTES, seed, (line) => t.comment(line));
    t.comment(JSON.stringify(report));
    t.same(failures, []);
  },
);

t.test(`mixed load through a TUN, seed ${seed}`, { skip: unlessNamespaces(), timeout: 300_000 }, async (t) => {
  const { failures, ...report } = await tunSoak(full ? LOAD_MINUTES : 0.1, seed, (line) => t.comment(line));
  t.comment(JSON.stringify(report));
  t.same(failures, []);
});

function kib(bytes: number): string {
  return `${Math.round(bytes / 1024)} KiB`;
}

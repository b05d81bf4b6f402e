// Connections that break off in every phase, many at a time, and what is left of them afterwards: nothing.
import { fork } from 'node:child_process';
import { closedPort, eventually, within } from '@nekit/core/testing';
import t from 'tap';
import { UdpPeer } from '../helpers/udp.js';
import { PHASES, type Ports, randomFrom, runClient } from './clients.js';
import type { Counts, Question } from './kernel-process.js';
import { startNeverAccepts, startObedient, startSlowProxy } from './targets.js';

const full = process.env.NEKIT_FULL === '1';
const total = full ? 20_000 : 2_000;
/** Measured after so many: by then every path has been taken and compiled. */
const warmUp = full ? 4_000 : 800;
const atOnce = 100;
const seed = Number(process.env.NEKIT_SEED ?? Math.floor(Math.random() * 2 ** 31));

/** Destination ports that rules send to the slow proxies; nothing listens there. */
const LATE = 1;
const NEVER = 2;

t.test(`${total} connections, seed ${seed}`, { timeout: full ? 800_000 : 110_000 }, async (t) => {
  const obedient = await startObedient();
  const late = await startSlowProxy(40);
  const never = await startSlowProxy(null);
  const neverAccepts = await startNeverAccepts();
  const echo = await UdpPeer.echo();
  const child = fork(new URL('./kernel-process.js', import.meta.url), { execArgv: [] });
  const exit = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
  t.teardown(async () => {
    child.kill('SIGKILL');
    neverAccepts.close();
    await echo.close();
    for (const target of [obedient, late, never]) await target.close();
  });
  const ask = (question: Question): Promise<Counts> =>
    within(
      new Promise((resolve, reject) => {
        child.once('message', (counts: Counts) => resolve(counts));
        void exit.then((code) => reject(new Error(`the kernel's process ended with ${code}`)));
        child.send(question);
      }),
      30_000,
      question.ask,
    );

  const before = await ask({ ask: 'counts' });
  const { port: proxy } = await ask({
    ask: 'start',
    config: {
      proxies: [
        { name: 'late', type: 'http', server: '127.0.0.1', port: late.port },
        { name: 'never', type: 'http', server: '127.0.0.1', port: never.port },
      ],
      rules: [`DST-PORT,${LATE},late`, `DST-PORT,${NEVER},never`, 'MATCH,DIRECT'],
    },
    timeouts: { connect: 1_500, handshake: 1_000, firstByte: 1_500, idle: 4_000, halfClose: 1_500, udpIdle: 1_000, httpPool: 500, httpKeepAlive: 1_000 },
  });
  const ports: Ports = {
    proxy,
    obedient: obedient.port,
    refused: await closedPort(),
    late: LATE,
    never: NEVER,
    neverAccepts: neverAccepts.port,
    echoUdp: echo.port,
  };

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
    let counts = await ask({ ask: 'counts' });
    await eventually(
      async () => {
        counts = await ask({ ask: 'counts' });
        return counts.sessions === 0 && counts.clients === 0 && counts.timers === 0;
      },
      20_000,
      'no session, no client and no timer',
    ).catch((error: unknown) => t.fail(String(error), { counts }));
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

  let after = await ask({ ask: 'stop' });
  await eventually(
    async () => {
      after = await ask({ ask: 'counts' }); // closing a handle takes a turn of the loop
      return after.files.length <= before.files.length && after.resources.length <= before.resources.length;
    },
    3_000,
    'the end of all handles',
  ).catch((error: unknown) => t.fail(String(error)));
  t.same(after.files, before.files, 'no file descriptor is left');
  t.same(after.resources, before.resources, 'nothing that keeps a process alive is left');
  t.equal(after.timers, 0);
  child.disconnect();
  t.equal(await within(exit, 5_000, 'the end of the process'), 0, 'the process ends by itself');
});

function kib(bytes: number): string {
  return `${Math.round(bytes / 1024)} KiB`;
}

/** A kernel under mixed load for a time, measured as it goes: what `npm run soak` and the long test run. */
import net from 'node:net';
import { EXPECTED, PHASES, type Ports, randomFrom, runClient } from './clients.js';
import { mib, riseOf, type Sample } from './rise.js';
import { openStage } from './stage.js';

const MIB = 1024 * 1024;
const SAMPLE_MS = 10_000;

/** How much the fitted line may rise over the measured time, in bytes. */
const MOST_RSS = 16 * MIB;
const MOST_HEAP = 4 * MIB;

/** At the same time: random ends in every phase, short connections, bulk through the relay thread, connections that say nothing. */
const RANDOM = 24;
const SHORT = 8;
const BULK = 2;
const IDLE = 60;

/** Bytes of one bulk connection: through it goes all that the target floods it with. */
const ORDER = { short: 'end\n', bulk: 'flood\n', idle: 'silence\n' } as const;

export interface SoakReport {
  /** Empty if all was well. */
  readonly failures: readonly string[];
  readonly connections: number;
  /** Rise of the fitted line over the measured time, in bytes. */
  readonly rssRise: number;
  readonly heapRise: number;
}

export async function soak(minutes: number, seed: number, print: (line: string) => void): Promise<SoakReport> {
  const stage = await openStage();
  try {
    const end = performance.now() + minutes * 60_000;
    const running = (): boolean => performance.now() < end;
    const random = randomFrom(seed);
    let connections = 0;
    let stuck = 0;
    const workers: Promise<void>[] = [];
    const work = (count: number, run: () => Promise<boolean>): void => {
      for (let i = 0; i < count; i++) {
        workers.push(
          (async () => {
            while (running()) {
              connections++;
              if (!(await run())) stuck++;
            }
          })(),
        );
      }
    };
    let phase = 0;
    work(RANDOM, () => runClient(PHASES[phase++ % PHASES.length] ?? 'silent', stage.ports, random));
    work(SHORT, () => plainClient(stage.ports, ORDER.short, true));
    work(BULK, () => plainClient(stage.ports, ORDER.bulk, true));
    work(IDLE, () => plainClient(stage.ports, ORDER.idle, random() < 0.5));

    const samples: Sample[] = [];
    const began = performance.now();
    while (running()) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(SAMPLE_MS, Math.max(1, end - performance.now()))));
      const counts = await stage.counts();
      const at = (performance.now() - began) / 60_000;
      samples.push({ minutes: at, counts });
      print(
        `${(at * 60).toFixed(0).padStart(5)} s  RSS ${mib(counts.rss)}  heap ${mib(counts.heap)}  descriptors ${counts.files.length}  sessions ${counts.sessions}  ended ${counts.ended}`,
      );
    }
    await Promise.all(workers);
    const settled = await stage.settled();
    const { after, exitCode } = await stage.stop();

    const rssRise = riseOf(samples, ({ rss }) => rss);
    const heapRise = riseOf(samples, ({ heap }) => heap);
    const failures: string[] = [];
    const must = (holds: boolean, otherwise: string): void => {
      if (!holds) failures.push(otherwise);
    };
    must(stuck === 0, `${stuck} connections were ended by nobody but the test, or failed as they must not`);
    must(settled.sessions === 0 && settled.clients === 0, `${settled.sessions} sessions and ${settled.clients} clients are left`);
    must(settled.timers === 0, `${settled.timers} timers are set`);
    must(settled.warnings.length === 0, `warnings: ${settled.warnings.join('; ')}`);
    must(rssRise <= MOST_RSS, `the RSS rose by ${mib(rssRise)} (${mib(MOST_RSS)} is allowed) after the first third`);
    must(heapRise <= MOST_HEAP, `the heap rose by ${mib(heapRise)} (${mib(MOST_HEAP)} is allowed) after the first third`);
    must(String(after.files) === String(stage.before.files), `descriptors: ${String(stage.before.files)} before, ${String(after.files)} after`);
    must(String(after.resources) === String(stage.before.resources), `these keep the process alive: ${String(after.resources)}`);
    must(exitCode === 0, `the process ended with ${exitCode}`);
    return { failures, connections, rssRise, heapRise };
  } finally {
    await stage.close();
  }
}

/** CONNECT, the order, everything that comes; settles when the socket is closed. `half`: it says FIN right behind its order. */
function plainClient({ proxy, obedient }: Ports, order: string, half: boolean): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host: '127.0.0.1', port: proxy, allowHalfOpen: true, noDelay: true });
    socket.setTimeout(15_000, () => socket.destroy());
    let well = true;
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (!EXPECTED.has(error.code ?? '')) well = false;
      socket.destroy();
    });
    socket.on('close', () => resolve(well));
    socket.on('end', () => socket.end());
    socket.once('data', () => {
      socket.resume();
      if (half) socket.end(order);
      else socket.write(order);
    });
    socket.write(`CONNECT 127.0.0.1:${obedient} HTTP/1.1\r\nHost: 127.0.0.1:${obedient}\r\n\r\n`);
  });
}

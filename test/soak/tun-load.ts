/** A kernel with a TUN under mixed load for a time, in namespaces: what `npm run soak -- --only tun` and the long test run. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { eventually, within } from '@nekit/core/testing';
import { makeTunHome, TUN } from '../helpers/tun-home.js';
import type { Counts, Question } from './kernel-process.js';
import type { SoakReport } from './load.js';
import { mib, riseOf, type Sample } from './rise.js';
import type { TunClientReport } from './tun-clients.js';

const SAMPLE_MS = 10_000;
/** How much the fitted line may rise over the measured time, in bytes. */
const MOST_RSS = 16 * 1024 ** 2;
const MOST_HEAP = 4 * 1024 ** 2;

export async function tunSoak(minutes: number, seed: number, print: (line: string) => void): Promise<SoakReport> {
  const home = await makeTunHome();
  const children: ChildProcess[] = [];
  const run = (pid: number, file: string, args: readonly string[]): ChildProcess => {
    // The channel is a descriptor that nsenter hands on.
    const options = { execPath: 'nsenter', execArgv: ['-t', String(pid), '-n', process.execPath] };
    const child = fork(new URL(file, import.meta.url), args, options);
    children.push(child);
    return child;
  };
  try {
    const [port] = (await within(once(run(home.outside.pid, './tun-targets.js', []), 'message'), 15_000, 'the targets')) as [number];
    const child = run(home.home.pid, './kernel-process.js', []);
    const exit = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
    const ask = async (question: Question): Promise<Counts> => {
      child.send(question);
      const gone = exit.then((code): never => {
        throw new Error(`the kernel's process ended with ${code}`);
      });
      const [counts] = (await within(Promise.race([once(child, 'message'), gone]), 30_000, question.ask)) as [Counts];
      return counts;
    };
    const before = await ask({ ask: 'counts' });
    await ask({
      ask: 'start',
      config: {
        'interface-name': 'cable',
        tun: { enable: true, device: TUN, mtu: 1500, tcp: { 'time-wait': 1_000 } },
        rules: ['MATCH,DIRECT'],
      },
      timeouts: { connect: 1_500, idle: 6_000, halfClose: 2_000, udpIdle: 1_000 },
    });
    await home.route();
    const clients = run(home.home.pid, './tun-clients.js', [String(port), String(seed)]);
    const reported = once(clients, 'message') as Promise<[TunClientReport]>;

    const samples: Sample[] = [];
    const began = performance.now();
    const end = began + minutes * 60_000;
    while (performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(SAMPLE_MS, Math.max(1, end - performance.now()))));
      const counts = await ask({ ask: 'counts' });
      const at = (performance.now() - began) / 60_000;
      samples.push({ minutes: at, counts });
      print(
        `${(at * 60).toFixed(0).padStart(5)} s  TUN  RSS ${mib(counts.rss)}  heap ${mib(counts.heap)}  descriptors ${counts.files.length}  sessions ${counts.sessions}  ended ${counts.ended}`,
      );
    }
    clients.send('stop');
    const [{ connections, wrong, why }] = await within(reported, 60_000, 'the last client');
    let settled = await ask({ ask: 'counts' });
    for (const last = performance.now() + 30_000; (settled.sessions > 0 || settled.timers > 0) && performance.now() < last; )
      settled = await ask({ ask: 'counts' });
    let after = await ask({ ask: 'stop' });
    await eventually(async () => {
      after = await ask({ ask: 'counts' }); // closing a handle takes a turn of the loop
      return String(after.files) === String(before.files);
    }, 3_000).catch(() => {}); // told below
    child.disconnect();
    const exitCode = await within(exit, 5_000, 'the end of the process');

    const rssRise = riseOf(samples, ({ rss }) => rss);
    const heapRise = riseOf(samples, ({ heap }) => heap);
    const failures: string[] = [];
    const must = (holds: boolean, otherwise: string): void => {
      if (!holds) failures.push(otherwise);
    };
    must(wrong === 0, `${wrong} connections: ${why.join('; ')}`);
    must(settled.sessions === 0, `${settled.sessions} sessions are left`);
    must(settled.timers === 0, `${settled.timers} timers are set`);
    must(settled.warnings.length === 0, `warnings: ${settled.warnings.join('; ')}`);
    must(rssRise <= MOST_RSS, `the RSS rose by ${mib(rssRise)} (${mib(MOST_RSS)} is allowed) after the first third`);
    must(heapRise <= MOST_HEAP, `the heap rose by ${mib(heapRise)} (${mib(MOST_HEAP)} is allowed) after the first third`);
    must(String(after.files) === String(before.files), `descriptors: ${String(before.files)} before, ${String(after.files)} after`);
    must(String(after.resources) === String(before.resources), `these keep the process alive: ${String(after.resources)}`);
    must(exitCode === 0, `the process ended with ${exitCode}`);
    return { failures, connections, rssRise, heapRise };
  } finally {
    for (const child of children) child.kill('SIGKILL');
    await home.close();
  }
}

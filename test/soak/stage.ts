/** What every soak needs: a kernel in a process of its own, targets and upstream proxies of every kind. */
import { fork } from 'node:child_process';
import { closedPort, eventually, within } from '@nekit/core/testing';
import { UdpPeer } from '../helpers/udp.js';
import type { Ports } from './clients.js';
import type { Counts, Question } from './kernel-process.js';
import { startNeverAccepts, startObedient, startSlowProxy } from './targets.js';

/** Destination ports that rules send to the slow proxies; nothing listens there. */
const LATE = 1;
const NEVER = 2;

export interface Stage {
  /** Of the process before the kernel was started. */
  readonly before: Counts;
  readonly ports: Ports;
  counts(): Promise<Counts>;
  /** Waits until no session, no client and no timer is left; what is there then, or after 20 s. */
  settled(): Promise<Counts>;
  /** Stops the kernel and waits for the end of its handles (3 s); then the process is let go and has to end by itself. */
  stop(): Promise<{ readonly after: Counts; readonly exitCode: number | null }>;
  /** Ends everything, however far it got. */
  close(): Promise<void>;
}

export async function openStage(): Promise<Stage> {
  const obedient = await startObedient();
  const late = await startSlowProxy(40);
  const never = await startSlowProxy(null);
  const neverAccepts = await startNeverAccepts();
  const echo = await UdpPeer.echo();
  const child = fork(new URL('./kernel-process.js', import.meta.url), { execArgv: [] });
  const exit = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
  const close = async (): Promise<void> => {
    child.kill('SIGKILL');
    neverAccepts.close();
    await echo.close();
    for (const target of [obedient, late, never]) await target.close();
  };
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
  const counts = (): Promise<Counts> => ask({ ask: 'counts' });

  const before = await counts();
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
  return {
    before,
    ports,
    counts,
    close,
    settled: async () => {
      const end = performance.now() + 20_000;
      let now = await counts();
      while ((now.sessions > 0 || now.clients > 0 || now.timers > 0) && performance.now() < end) now = await counts();
      return now;
    },
    stop: async () => {
      let after = await ask({ ask: 'stop' });
      const closed = async (): Promise<boolean> => {
        after = await counts(); // closing a handle takes a turn of the loop
        return after.files.length <= before.files.length && after.resources.length <= before.resources.length;
      };
      await eventually(closed, 3_000).catch(() => {}); // the caller compares
      child.disconnect();
      return { after, exitCode: await within(exit, 5_000, 'the end of the process') };
    },
  };
}

/** A kernel in a process of its own, so that what it holds (file descriptors, timers, heap) is counted without the test's own. */
import { readdirSync, readlinkSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Clock, type KernelInput, systemClock, type Timeouts } from '@nekit/core';
import { startKernel, type TestKernel } from '../helpers/kernel.js';

/** What the test asks for, one thing at a time. */
export type Question =
  | { readonly ask: 'start'; readonly config: KernelInput; readonly timeouts: Partial<Timeouts> }
  | { readonly ask: 'counts' }
  | { readonly ask: 'stop' };

export interface Counts {
  readonly port: number;
  readonly sessions: number;
  /** Client connections that are open. */
  readonly clients: number;
  /** Sessions so far. */
  readonly ended: number;
  /** Timers of the kernel that are set; the wheel has one while it holds deadlines. */
  readonly timers: number;
  /** Kinds of file descriptors, sorted. */
  readonly files: readonly string[];
  /** What keeps the process alive, sorted. */
  readonly resources: readonly string[];
  /** Bytes, after garbage collection. */
  readonly heap: number;
  readonly rss: number;
  /** Errors of the ended sessions by code, and of connections that no session came of. */
  readonly codes: Readonly<Record<string, number>>;
  readonly failed: Readonly<Record<string, number>>;
  readonly warnings: readonly string[];
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

let timers = 0;
const clock: Clock = {
  now: systemClock.now,
  after: (ms, run) => {
    timers++;
    let pending = true;
    const done = (): void => {
      if (pending) timers--;
      pending = false;
    };
    const cancel = systemClock.after(ms, () => {
      done();
      run();
    });
    return () => {
      done();
      cancel();
    };
  },
};

let running: TestKernel | null = null;
let clients = 0;
let ended = 0;
const codes: Record<string, number> = {};
const failed: Record<string, number> = {};
const warnings: string[] = [];

async function answer(question: Question): Promise<void> {
  if (question.ask === 'start') {
    running = await startKernel(question.config, { timeouts: question.timeouts, clock });
    const { kernel } = running;
    kernel.on('connection.accepted', () => clients++);
    kernel.on('connection.closed', () => clients--);
    kernel.on('kernel.warning', ({ message }) => warnings.push(message));
    kernel.on('request.failed', ({ code }) => count(failed, code));
    kernel.on('session.closed', ({ error }) => {
      ended++;
      count(codes, error?.code ?? 'none');
    });
  }
  if (running !== null) running.closed.length = running.failed.length = 0; // they are for short tests
  if (question.ask === 'stop') await running?.stop();
  process.send?.(counts());
}

function count(table: Record<string, number>, code: string): void {
  table[code] = (table[code] ?? 0) + 1;
}

function counts(): Counts {
  collectGarbage();
  const { heapUsed, rss } = process.memoryUsage();
  return {
    port: running?.port ?? 0,
    sessions: running?.kernel.sessions().length ?? 0,
    clients,
    ended,
    timers,
    files: fileKinds(),
    resources: process
      .getActiveResourcesInfo()
      .filter((kind) => kind !== 'CloseReq' && kind !== 'Immediate') // a file of the module loader; what is over with this turn of the loop
      .sort(),
    heap: heapUsed,
    rss,
    codes,
    failed,
    warnings,
  };
}

/** `socket:[123]` is a socket; the descriptor that lists them is not counted. */
function fileKinds(): string[] {
  return readdirSync('/proc/self/fd')
    .map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).replace(/:?\[.*\]$/, '');
      } catch (error) {
        return error instanceof Error && 'code' in error && error.code === 'ENOENT' ? '' : String(error);
      }
    })
    .filter((kind) => kind !== '')
    .sort();
}

process.on('message', (question: Question) => void answer(question));

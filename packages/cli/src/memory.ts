/**
 * Gives memory back when a crowd has come and rests, when it has gone, and when the process has grown and rests: V8 keeps what was needed for a long time, and malloc for ever.
 */
import { Session } from 'node:inspector/promises';
import { performance } from 'node:perf_hooks';
import { findAddon, type Kernel } from '@nekit/core';
import type { Logger } from 'pino';
import { Crowd } from './crowd.js';
import { Growth } from './growth.js';

/** How often it looks, in ms. */
const LOOK_MS = 1_000;

export class MemoryKeeper {
  readonly #kernel: Kernel;
  readonly #logger: Logger;
  readonly #timer: NodeJS.Timeout;
  readonly #crowd = new Crowd();
  readonly #growth = new Growth();
  #isGiving = false;
  #load = performance.eventLoopUtilization();

  constructor(kernel: Kernel, logger: Logger) {
    this.#kernel = kernel;
    this.#logger = logger;
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const load = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(load, this.#load);
    this.#load = load;
    // A connection that keeps its listener waiting is no session yet, and one of a TUN is none of a listener's.
    const count = Math.max(this.#kernel.connections, this.#kernel.sessionCount);
    const isCrowd = this.#crowd.look(count, utilization);
    const resident = residentBytes();
    const hasGrown = resident !== null && this.#growth.look(resident, utilization);
    if (isCrowd || hasGrown) void this.#giveBack();
  }

  async #giveBack(): Promise<void> {
    if (this.#isGiving) return;
    this.#isGiving = true;
    await giveBack(this.#logger);
    this.#isGiving = false;
    const resident = residentBytes();
    if (resident !== null) this.#growth.left(resident);
  }
}

/** null: it cannot be told now, for it takes a descriptor, and a crowd may have them all. */
function residentBytes(): number | null {
  try {
    return process.memoryUsage.rss();
  } catch {
    return null;
  }
}

/**
 * What V8 does when the system says that memory is low: it collects everything, shrinks its young generation and gives the pages back (some 100 ms, and
 * only the inspector's protocol can ask for it). Then malloc's turn. Never rejects.
 */
async function giveBack(logger: Logger): Promise<void> {
  const session = new Session();
  const began = performance.now();
  try {
    session.connect();
    await session.post('HeapProfiler.collectGarbage');
  } catch (error) {
    // A node without inspector: the memory stays, and who looks for the reason finds it.
    logger.debug({ err: error }, 'memory cannot be given back');
    return;
  } finally {
    session.disconnect();
  }
  findAddon().addon?.trim();
  logger.debug({ ms: Math.round(performance.now() - began) }, 'memory was given back');
}

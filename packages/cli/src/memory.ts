/** Gives memory back when a crowd has gone: V8 keeps what a crowd needed for a long time, and malloc for ever. */
import { Session } from 'node:inspector/promises';
import { findAddon, type Kernel } from '@nekit/core';
import type { Logger } from 'pino';

/** How often it looks, in ms. */
const LOOK_MS = 2_000;

/** Fewer connections than this are no crowd. */
const CROWD = 500;

/** The crowd has gone when no more than this part of it is left. */
const LEFT = 0.05;

export class MemoryKeeper {
  readonly #kernel: Kernel;
  readonly #logger: Logger;
  readonly #timer: NodeJS.Timeout;
  /** Most connections since memory was given back. */
  #peak = 0;
  #before = 0;

  constructor(kernel: Kernel, logger: Logger) {
    this.#kernel = kernel;
    this.#logger = logger;
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const now = this.#kernel.connections;
    const coming = now > this.#before;
    this.#before = now;
    this.#peak = Math.max(this.#peak, now);
    if (coming || this.#peak < CROWD || now > this.#peak * LEFT) return;
    this.#peak = now;
    void giveBack(this.#logger);
  }
}

/**
 * What V8 does when the system says that memory is low: it collects everything, shrinks its young generation and gives the pages back (some 100 ms, and
 * only the inspector's protocol can ask for it). Then malloc's turn. Never rejects.
 */
async function giveBack(logger: Logger): Promise<void> {
  const session = new Session();
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
}

import { setTimeout as pause } from 'node:timers/promises';
import { result, start, stop } from '../processes.mjs';
import { DOMAIN } from './entrants.mjs';
import { NAME_SERVER } from './home.mjs';

const NAMES = 256;
const READY_MS = 20_000;
/** V8 compiles meanwhile. */
export const WARM_SECONDS = 2;
/** The system stack of sing-box numbers its connections and keeps a number for five minutes: after some 55,000 none is free. */
const MOST_CONNECTIONS = 30_000;

/** An entrant in its home. */
export class Running {
  process = null;
  #entrant;
  #home;
  #context;
  #connections = 0;

  constructor(entrant, home, context) {
    this.#entrant = entrant;
    this.#home = home;
    this.#context = context;
  }

  get name() {
    return this.#entrant.name;
  }

  /** Without a TUN it only answers questions. */
  takesPart({ connects }) {
    return !connects || this.#entrant.nameServer === undefined;
  }

  /** Settles when a first connection has come through, or an answer. */
  async start() {
    const { folder } = this.#context;
    const command = this.#home.inside(await this.#entrant.command(folder));
    this.process = start(command, { env: { ...process.env, XDG_CACHE_HOME: folder } });
    this.process.child.stdout.resume();
    this.#connections = 0;
    for (const end = performance.now() + READY_MS; ; ) {
      const one = await this.load({ parallel: 1, connects: this.takesPart({ connects: true }) }, 1).catch((error) => error);
      if (one.names > 0) return;
      if (this.process.child.exitCode !== null) throw new Error(`it ended with ${this.process.child.exitCode}: ${this.process.said()}`);
      if (performance.now() > end) throw new Error(`nothing comes through: ${JSON.stringify(one.failures ?? one.message)} ${this.process.said()}`);
      await pause(200);
    }
  }

  async load({ parallel, connects }, seconds) {
    const { load, port } = this.#context;
    const words = [this.#entrant.nameServer ?? NAME_SERVER, DOMAIN, String(NAMES), connects ? port : '0', String(parallel), String(seconds)];
    const figures = await result(this.#home.inside([load, 'names', ...words]), (seconds + 30) * 1000);
    if (connects) this.#connections += figures.names;
    return figures;
  }

  /** Starts anew when it has carried many connections, and has it warm again. */
  async refresh(test) {
    if (this.#connections < MOST_CONNECTIONS) return;
    await stop(this.process);
    await this.start();
    await this.load(test, WARM_SECONDS);
  }

  async close() {
    await stop(this.process);
    await this.#home.close();
  }
}

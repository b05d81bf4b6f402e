import { addonWarning, type ConfigSource, createKernel, findAddon, formatProblem, isConfigError, type Kernel, type Problem } from '@nekit/core';
import { atMost } from './at-most.js';
import { banner } from './banner.js';
import { failureLines } from './failure.js';
import { EventLog, type Log, openLog } from './log.js';
import { MemoryKeeper } from './memory.js';
import { asLogLevel, type LogLevel } from './options.js';
import { prepare, type Setup, type SetupOptions, topLevel } from './setup.js';
import { startFailure } from './start-failure.js';

export interface RunOptions extends SetupOptions {
  readonly strict: boolean;
}

/** Runs a kernel until SIGINT or SIGTERM, and resolves to the exit code. Rejects if it cannot start. */
export async function serve(options: RunOptions): Promise<number> {
  const setup = await prepare(options);
  const kernel = createKernel(setup.source, { plugins: setup.plugins, strict: options.strict });
  const log = await openLog(levelOf(setup.source), process.stdout.isTTY);
  tell(kernel.warnings);
  return new KernelProcess(kernel, setup, log).run(describe(options));
}

function describe({ config, proxies = [], tun }: RunOptions): string {
  const what = config ?? (proxies.length === 0 ? 'no config, everything direct' : 'no config, everything through --proxy');
  return tun === true ? `${what}, by a TUN` : what;
}

/** A kernel with this process's signals. */
class KernelProcess {
  readonly #kernel: Kernel;
  readonly #setup: Setup;
  readonly #log: Log;
  readonly #events: EventLog;
  #exitCode = 0;
  #stopAsked = false;
  #stop: () => void = () => undefined;
  /** One reading of the config after the other. The reloads that follow are for the kernel to put in order, and for its stop to wait for. */
  #reading: Promise<void> = Promise.resolve();

  constructor(kernel: Kernel, setup: Setup, log: Log) {
    this.#kernel = kernel;
    this.#setup = setup;
    this.#log = log;
    this.#events = new EventLog(kernel, log);
  }

  async run(what: string): Promise<number> {
    const stopped = new Promise<void>((resolve) => {
      this.#stop = resolve;
    });
    process.on('SIGINT', this.#onStop).on('SIGTERM', this.#onStop).on('SIGHUP', this.#onReload).on('uncaughtException', this.#onFatal);
    // Without a listener nothing else would keep the process alive, and the next reload may bring one.
    const alive = setInterval(() => undefined, 2 ** 30);
    const memory = new MemoryKeeper(this.#kernel, this.#log.logger);
    try {
      // A signal in the middle of the start ends it: plugins may take their time.
      await Promise.race([this.#kernel.start(), stopped]).catch((error: unknown) => {
        throw startFailure(error);
      });
      const warning = addonWarning(findAddon());
      if (warning !== null) this.#log.logger.warn({ code: 'NATIVE_ABSENT' }, warning);
      if (!this.#stopAsked && levelOf(this.#setup.source) !== 'silent') process.stderr.write(`${banner(this.#kernel, what)}\n`);
      await stopped;
      await atMost(this.#reading, READ_MS);
    } finally {
      try {
        await this.#kernel.stop();
      } finally {
        process.off('SIGINT', this.#onStop).off('SIGTERM', this.#onStop).off('SIGHUP', this.#onReload).off('uncaughtException', this.#onFatal);
        await this.#log.close();
        clearInterval(alive);
        memory.stop();
        // A plugin may have left something open that keeps the process alive.
        setTimeout(() => process.exit(), LEAVE_MS).unref();
      }
    }
    return this.#exitCode;
  }

  readonly #onStop = (signal: NodeJS.Signals): void => {
    if (this.#stopAsked) {
      // Not simply gone: a process that ends closes its sockets with FIN, and what was cut off would look complete.
      for (const { id } of this.#kernel.sessions()) this.#kernel.closeSession(id);
      setTimeout(() => {
        void this.#log.close().then(() => process.exit(1));
      }, RESET_MS);
      return;
    }
    this.#stopAsked = true;
    this.#log.logger.info(`${signal}: stopping (once more: at once)`);
    this.#stop();
  };

  /** A bug of ours or of a plugin. The state is unknown, so it ends, but in order. */
  readonly #onFatal = (error: unknown): void => {
    process.stderr.write(`${failureLines(error).lines.join('\n')}\n`);
    this.#exitCode = 1;
    this.#stopAsked = true;
    this.#stop();
  };

  readonly #onReload = (): void => {
    const { reread } = this.#setup;
    if (reread === null) {
      this.#log.logger.warn('SIGHUP: there is no config file to read again');
      return;
    }
    this.#reading = this.#reading.then(async () => {
      const source = reread();
      void this.#reload(source);
      await source.catch(() => undefined); // it is told by the reload
    });
  };

  /** What is wrong is told, and the old config stays in force. Never rejects. */
  async #reload(reading: Promise<ConfigSource>): Promise<void> {
    const { logger } = this.#log;
    try {
      const source = await reading;
      const warnings = await this.#kernel.reload(source);
      this.#log.setLevel(levelOf(source));
      this.#events.follow();
      for (const problem of warnings) logger.warn({ code: problem.code }, formatProblem(problem));
      logger.info('SIGHUP: the new config is in force');
    } catch (error) {
      if (isConfigError(error))
        for (const problem of error.problems) logger[problem.severity === 'error' ? 'error' : 'warn']({ code: problem.code }, formatProblem(problem));
      else logger.error(failureLines(error).lines.join('\n'));
      logger.error('SIGHUP: the old config stays in force');
    }
  }
}

/** How long reading the config again may delay a stop, in ms. */
const READ_MS = 5_000;

/** For resets to get out before the process ends, in ms. */
const RESET_MS = 100;

/** After everything was stopped: for what a plugin left open. Unreferenced, so it delays nothing. */
const LEAVE_MS = 1_000;

/** The check has the last word on it; this is for the log alone. */
function levelOf(source: ConfigSource): LogLevel {
  return asLogLevel(topLevel(source)['log-level']) ?? 'info';
}

function tell(problems: readonly Problem[]): void {
  for (const problem of problems) process.stderr.write(`${formatProblem(problem)}\n`);
}

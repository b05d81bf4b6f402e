import { CancelSource } from '../net/cancel.js';
import { NekitError } from '../net/errors.js';
import type { Events } from '../net/events.js';
import type { Timeouts } from '../net/timeouts.js';
import type { TimerWheel } from '../net/timer-wheel.js';
import type { Plugin } from './plugin.js';
import { PluginError, reasonText } from './plugin-error.js';

export interface LifecycleOptions {
  /** In the order to start them. */
  readonly plugins: readonly Plugin[];
  readonly timers: TimerWheel;
  /** `plugin` is for one `start` or `stop`; read when it begins, because the config is checked after setup. */
  readonly timeouts: Pick<Timeouts, 'plugin'>;
  /** Gets a `kernel.warning` for every plugin that does not stop as it should. */
  readonly events: Events;
}

/** Starts plugins one after the other and stops them in reverse. No plugin can hang either. */
export class Lifecycle {
  readonly #options: LifecycleOptions;
  readonly #started: Plugin[] = [];
  /** Fires when `stop` is called, also in the middle of a start. */
  readonly #stopped = new CancelSource();
  #startup: Promise<void> | null = null;
  #shutdown: Promise<readonly PluginError[]> | null = null;

  constructor(options: LifecycleOptions) {
    this.#options = options;
  }

  /** Rejects with the PluginError of the first plugin that did not start; those before it were stopped again by then. */
  start(): Promise<void> {
    if (this.#startup !== null || this.#shutdown !== null) return Promise.reject(new NekitError('ALREADY_STARTED', 'the plugins of a kernel are started once'));
    this.#startup = this.#startAll();
    return this.#startup;
  }

  /** What went wrong, plugin by plugin; it was also reported as `kernel.warning`. Never rejects, and the second call gets the first one's result. */
  stop(): Promise<readonly PluginError[]> {
    this.#shutdown ??= this.#stopAll();
    return this.#shutdown;
  }

  async #startAll(): Promise<void> {
    for (const plugin of this.#options.plugins) {
      try {
        await this.#start(plugin);
      } catch (error) {
        await this.#stopStarted();
        throw error;
      }
      this.#started.push(plugin);
    }
  }

  async #stopAll(): Promise<readonly PluginError[]> {
    this.#stopped.cancel(new NekitError('STOPPED', 'the kernel stops'));
    await Promise.allSettled([this.#startup]); // whoever called start has its error
    return this.#stopStarted();
  }

  async #stopStarted(): Promise<readonly PluginError[]> {
    const errors: PluginError[] = [];
    for (let plugin = this.#started.pop(); plugin !== undefined; plugin = this.#started.pop()) {
      const error = await this.#stop(plugin);
      if (error !== null) errors.push(error);
    }
    return errors;
  }

  async #start(plugin: Plugin): Promise<void> {
    if (this.#stopped.reason !== null) throw this.#startError(plugin, this.#stopped.reason);
    if (plugin.start === undefined) return;
    const signal = new CancelSource(this.#stopped);
    const work = call(() => plugin.start?.(signal));
    try {
      await this.#limit(plugin, 'start', work, signal);
    } catch (error) {
      if (signal.reason !== null) this.#watchLate(plugin, work, signal.reason);
      throw error instanceof PluginError && error.plugin === plugin.name ? error : this.#startError(plugin, error);
    } finally {
      signal.release();
    }
  }

  #startError(plugin: Plugin, error: unknown): PluginError {
    const aborted = error === this.#stopped.reason;
    const code = aborted ? 'PLUGIN_START_ABORTED' : 'PLUGIN_START_FAILED';
    return new PluginError(code, plugin.name, 'start', `plugin "${plugin.name}" failed in start: ${reasonText(error)}`, { cause: error });
  }

  /** A start that was given up may still succeed: then the plugin is stopped, or what it opened would stay open. */
  #watchLate(plugin: Plugin, work: Promise<void>, given: Error): void {
    work.then(
      () => this.#stop(plugin),
      (error: unknown) => {
        if (error !== given) this.#warn('PLUGIN_START_FAILED', `plugin "${plugin.name}", whose start was given up, failed: ${reasonText(error)}`);
      },
    );
  }

  async #stop(plugin: Plugin): Promise<PluginError | null> {
    if (plugin.stop === undefined) return null;
    const signal = new CancelSource();
    try {
      await this.#limit(
        plugin,
        'stop',
        call(() => plugin.stop?.()),
        signal,
      );
      return null;
    } catch (cause) {
      const text = `plugin "${plugin.name}" failed in stop: ${reasonText(cause)}`;
      const error =
        cause === signal.reason && cause instanceof PluginError ? cause : new PluginError('PLUGIN_STOP_FAILED', plugin.name, 'stop', text, { cause });
      this.#warn(error.code, error.message);
      return error;
    }
  }

  /** Settles with `work`, or rejects with what fires `signal`: the time limit, or its parent. */
  async #limit(plugin: Plugin, hook: 'start' | 'stop', work: Promise<void>, signal: CancelSource): Promise<void> {
    const { timers, timeouts } = this.#options;
    const limitMs = timeouts.plugin;
    const deadline = timers.after(limitMs, () => {
      signal.cancel(new PluginError('PLUGIN_TIMEOUT', plugin.name, hook, `plugin "${plugin.name}": ${hook} took longer than ${limitMs} ms`));
    });
    try {
      await new Promise<void>((resolve, reject) => {
        signal.onCancel(reject); // first, so that a work which fails with the reason is told from one that fails on its own
        work.then(resolve, reject);
      });
    } finally {
      deadline.cancel();
    }
  }

  #warn(code: string, message: string): void {
    this.#options.events.emit('kernel.warning', { code, message });
  }
}

/** Also a function that throws before it returns its promise rejects. */
async function call(run: () => Promise<void> | undefined): Promise<void> {
  await run();
}

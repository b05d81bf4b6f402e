import type { Events } from '../net/events.js';
import type { Timeouts } from '../net/timeouts.js';
import type { TimerWheel } from '../net/timer-wheel.js';
import { reasonText } from '../plugin/plugin-error.js';

export interface FarewellOptions {
  readonly timers: TimerWheel;
  /** `plugin` is for one call; read when it begins. */
  readonly timeouts: Pick<Timeouts, 'plugin'>;
  /** Gets a `kernel.warning` for what does not end as it should. */
  readonly events: Events;
}

/** Stops and closes what plugins bring: listeners, adapters, sections. None of them keeps the kernel from what comes after. */
export class Farewell {
  readonly #options: FarewellOptions;

  constructor(options: FarewellOptions) {
    this.#options = options;
  }

  /** Calls `end` at once, and settles with it. Never rejects. */
  async told(what: string, end: () => void | Promise<void>): Promise<void> {
    try {
      await end();
    } catch (error) {
      this.#warn('STOP_FAILED', `${what} failed: ${reasonText(error)}`);
    }
  }

  /** The same, and waits no longer than `timeouts.plugin`. */
  limited(what: string, end: () => void | Promise<void>): Promise<void> {
    const { timers, timeouts } = this.#options;
    const limitMs = timeouts.plugin;
    return new Promise((resolve) => {
      const deadline = timers.after(limitMs, () => {
        this.#warn('STOP_TIMEOUT', `${what} took longer than ${limitMs} ms`);
        resolve();
      });
      void this.told(what, end).then(() => {
        deadline.cancel();
        resolve();
      });
    });
  }

  #warn(code: string, message: string): void {
    this.#options.events.emit('kernel.warning', { code, message });
  }
}

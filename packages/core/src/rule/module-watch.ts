import { type FSWatcher, watch } from 'node:fs';
import { dirname } from 'node:path';
import { systemClock } from '../net/clock.js';
import { errorCode } from '../net/errors.js';
import { currentStamp } from './module-file.js';

/** After the first sign of a change, in ms: files are written piece by piece. A folder in which much happens is looked at this often. */
const WAIT = 100;

/**
 * Tells when a file has changed, one change after the other. It is the folder that is watched, since editors put a new file in the place of
 * the old one. It keeps no process alive.
 */
export class ModuleWatch {
  readonly #path: string;
  readonly #changed: (stamp: string) => Promise<void>;
  readonly #failed: (code: string) => void;
  #watcher: FSWatcher | null = null;
  #stamp: string;
  #cancelTimer: (() => void) | null = null;
  #busy = false;
  #again = false;
  #closed = false;

  /** `stamp`: of the version that is known. `failed`: changes are not seen any more. */
  constructor(path: string, stamp: string, changed: (stamp: string) => Promise<void>, failed: (code: string) => void) {
    this.#path = path;
    this.#stamp = stamp;
    this.#changed = changed;
    this.#failed = failed;
    try {
      this.#watcher = watch(dirname(path), { persistent: false }, () => this.#touched());
      this.#watcher.on('error', (error) => this.#fail(error));
    } catch (error) {
      this.#fail(error);
    }
  }

  close(): void {
    this.#closed = true;
    this.#cancelTimer?.();
    this.#watcher?.close();
  }

  #touched(): void {
    if (this.#closed || this.#cancelTimer !== null) return;
    this.#cancelTimer = systemClock.after(WAIT, () => {
      this.#cancelTimer = null;
      void this.#look();
    });
  }

  async #look(): Promise<void> {
    if (this.#busy) {
      this.#again = true;
      return;
    }
    this.#busy = true;
    do {
      this.#again = false;
      const stamp = await currentStamp(this.#path);
      if (stamp === null || stamp === this.#stamp || this.#closed) continue;
      this.#stamp = stamp;
      await this.#changed(stamp);
      this.#again = true; // it may have changed while it was loaded
    } while (this.#again && !this.#closed);
    this.#busy = false;
  }

  #fail(error: unknown): void {
    if (this.#closed) return;
    this.close();
    this.#failed(errorCode(error));
  }
}

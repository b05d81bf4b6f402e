import { NetError } from './errors.js';

/**
 * "Stop, for this reason": one small object, no EventTarget (an AbortController with one listener costs 2.9 KB of RSS).
 * The inbound fires it when the client leaves while we dial, the kernel when it stops, a deadline when time is up.
 */
export interface Cancel {
  /** Why, or null while it has not fired. */
  readonly reason: Error | null;
  /** Runs `run` once, when it fires (at once if it has). The returned function takes it back and is idempotent. */
  onCancel(run: (reason: Error) => void): () => void;
  /** For APIs of the platform. Made on demand. */
  toAbortSignal(): AbortSignal;
}

const NOTHING = (): void => {};

/** Up to so many listeners are kept in an array, which is cheaper to make than a Set; each connection makes several of these. */
const FEW = 8;

interface Listener {
  readonly run: (reason: Error) => void;
}

/** The side that fires. Give others only its `Cancel` face. */
export class CancelSource implements Cancel {
  #reason: Error | null = null;
  #few: Listener[] | null = null;
  #many: Set<Listener> | null = null;
  #controller: AbortController | null = null;
  #release: () => void = NOTHING;

  /** With a parent it fires when the parent does; call `release` when done, or the parent keeps it. */
  constructor(parent?: Cancel) {
    if (parent !== undefined) this.#release = parent.onCancel((reason) => this.cancel(reason));
  }

  get reason(): Error | null {
    return this.#reason;
  }

  cancel(reason: Error): void {
    if (this.#reason !== null) return;
    this.#reason = reason;
    this.release();
    this.#controller?.abort(reason);
    const listeners = [...(this.#few ?? []), ...(this.#many ?? [])];
    this.#few = null;
    this.#many = null;
    for (const listener of listeners) listener.run(reason);
  }

  onCancel(run: (reason: Error) => void): () => void {
    if (this.#reason !== null) {
      run(this.#reason);
      return NOTHING;
    }
    const listener: Listener = { run }; // one entry per call, even for the same function
    if (this.#few === null) this.#few = [listener];
    else if (this.#few.length < FEW) this.#few.push(listener);
    else {
      this.#many ??= new Set();
      this.#many.add(listener);
    }
    return () => this.#forget(listener);
  }

  toAbortSignal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#reason !== null) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** Lets go of the parent. */
  release(): void {
    this.#release();
    this.#release = NOTHING;
  }

  #forget(listener: Listener): void {
    const few = this.#few;
    const index = few?.indexOf(listener) ?? -1;
    if (few === null || index === -1) this.#many?.delete(listener);
    else if (index === few.length - 1) few.pop();
    else few.splice(index, 1);
  }
}

/** A Cancel that never fires. */
export const never: Cancel = {
  reason: null,
  onCancel: () => NOTHING,
  toAbortSignal: () => new AbortController().signal,
};

/** Throws the reason if it has fired. */
export function throwIfCancelled(signal: Cancel): void {
  if (signal.reason !== null) throw signal.reason;
}

/** The reason that callers give when a wait ran out. */
export function timeoutError(what: string, ms: number): NetError {
  return new NetError('timeout', `${what} took longer than ${ms} ms`);
}

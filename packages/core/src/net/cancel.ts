import { NetError } from './errors.js';

/**
 * "Stop, for this reason": one small object, no EventTarget (an AbortController with one listener costs 2.9 KB of RSS).
 * The inbound fires it when the client leaves while we dial, the kernel when it stops, a deadline when time is up.
 */
export interface Cancel {
  /** Why, or null while it has not fired. */
  readonly reason: Error | null;
  /** Tells the listener once, when it fires (at once if it has). For who has an object already: it costs nothing more, where functions do. */
  add(listener: CancelListener): void;
  /** Takes it back; idempotent. */
  remove(listener: CancelListener): void;
  /** Runs `run` once, when it fires (at once if it has). The returned function takes it back and is idempotent. */
  onCancel(run: (reason: Error) => void): () => void;
  /** For APIs of the platform. Made on demand. */
  toAbortSignal(): AbortSignal;
}

const NOTHING = (): void => {};

export interface CancelListener {
  /** Never throws. */
  cancelled(reason: Error): void;
}

/** The side that fires. Give others only its `Cancel` face. */
export class CancelSource implements Cancel, CancelListener {
  #reason: Error | null = null;
  /** Each connection has several of these with one or two listeners: places of their own cost less than a collection. */
  #first: CancelListener | null = null;
  #second: CancelListener | null = null;
  #more: Set<CancelListener> | null = null;
  #controller: AbortController | null = null;
  #parent: Cancel | null;

  /** With a parent it fires when the parent does; call `release` when done, or the parent keeps it. */
  constructor(parent?: Cancel) {
    this.#parent = parent ?? null;
    parent?.add(this);
  }

  get reason(): Error | null {
    return this.#reason;
  }

  cancel(reason: Error): void {
    if (this.#reason !== null) return;
    this.#reason = reason;
    this.release();
    this.#controller?.abort(reason);
    const listeners = [this.#first, this.#second, ...(this.#more ?? [])];
    this.#first = null;
    this.#second = null;
    this.#more = null;
    for (const listener of listeners) {
      try {
        listener?.cancelled(reason);
      } catch {
        // A plugin's, as it should never throw: the others are to be told, and who fires is none of its business.
      }
    }
  }

  /** As a listener of its parent. */
  cancelled(reason: Error): void {
    this.cancel(reason);
  }

  add(listener: CancelListener): void {
    if (this.#reason !== null) listener.cancelled(this.#reason);
    else if (this.#first === null) this.#first = listener;
    else if (this.#second === null) this.#second = listener;
    else {
      this.#more ??= new Set();
      this.#more.add(listener);
    }
  }

  remove(listener: CancelListener): void {
    if (this.#first === listener) this.#first = null;
    else if (this.#second === listener) this.#second = null;
    else this.#more?.delete(listener);
  }

  onCancel(run: (reason: Error) => void): () => void {
    const listener: CancelListener = { cancelled: run }; // one entry per call, even for the same function
    this.add(listener);
    return () => this.remove(listener);
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
    this.#parent?.remove(this);
    this.#parent = null;
  }
}

/** A Cancel that never fires. */
export const never: Cancel = {
  reason: null,
  add: NOTHING,
  remove: NOTHING,
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

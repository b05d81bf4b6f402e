import { type Addon, type Engine, EVENT } from './addon.js';

/** Events of one call; a batch that has more comes in several. */
const EVENTS_AT_ONCE = 1024;

/** What one batch may bring, in bytes. */
const SLAB = 512 * 1024;

/** Bytes that one direct read may give; more comes with the next. */
const SCRATCH = 64 * 1024;

/** The low bits of an id: its slot (native/socket/slots.hh). */
const SLOT_MASK = (1 << 20) - 1;

/** Who has an id, and hears what happens to it. */
export interface Listening {
  readonly id: number;
  /** `kind` as of EVENT. */
  heard(kind: number, a: number, b: number): void;
}

/** Ids to objects, without a hash: an id's slot is an index, and an id that is not the entry's own is of something that has gone. */
class Table {
  readonly #entries: (Listening | null)[] = [];

  add(entry: Listening): void {
    const slot = entry.id & SLOT_MASK;
    while (this.#entries.length <= slot) this.#entries.push(null);
    this.#entries[slot] = entry;
  }

  find(id: number): Listening | null {
    const entry = this.#entries[id & SLOT_MASK];
    return entry !== undefined && entry !== null && entry.id === id ? entry : null;
  }

  delete(id: number): void {
    if (this.find(id) !== null) this.#entries[id & SLOT_MASK] = null;
  }
}

/** One native engine and those who listen to it. */
export class EngineLoop {
  readonly engine: Engine;
  readonly conns = new Table();
  readonly listeners = new Table();
  readonly relays = new Table();
  readonly udp = new Table();
  /** For direct reads: what is in it is gone with the next. */
  readonly scratch = new Uint8Array(SCRATCH);
  readonly slab = new Uint8Array(SLAB);
  readonly #events = new Int32Array(EVENTS_AT_ONCE * 4);
  readonly #counters = new WeakMap<Float64Array, number>();
  #later: (() => void)[] = [];
  #destroyed = false;

  constructor(addon: Addon) {
    this.engine = new addon.Engine(this.#events, this.slab, (count) => this.#dispatch(count));
  }

  /** The number under which relays write to the array. */
  countersOf(array: Float64Array): number {
    let index = this.#counters.get(array);
    if (index === undefined) {
      index = this.engine.addCounters(array);
      this.#counters.set(array, index);
    }
    return index;
  }

  /** Copies out of the slab, or out of another lent buffer. */
  copy(from: Uint8Array, start: number, length: number): Uint8Array {
    const copy = Buffer.allocUnsafe(length);
    copy.set(length === from.length ? from : from.subarray(start, start + length));
    return copy;
  }

  /** Runs it when what waits for promises has run. */
  later(run: () => void): void {
    if (this.#later.push(run) > 1) return;
    setImmediate(() => {
      const all = this.#later;
      this.#later = [];
      for (const one of all) apart(one);
    });
  }

  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.engine.destroy();
  }

  #dispatch(count: number): void {
    const events = this.#events;
    for (let at = 0; at < count * 4 && !this.#destroyed; at += 4) {
      const kind = events[at] ?? 0;
      const id = events[at + 1] ?? 0;
      const a = events[at + 2] ?? 0;
      const b = events[at + 3] ?? 0;
      try {
        this.#tell(kind, id, a, b);
      } catch (error) {
        rethrow(error);
      }
    }
  }

  #tell(kind: number, id: number, a: number, b: number): void {
    if (kind === EVENT.accepted) {
      const listener = this.listeners.find(a);
      if (listener === null)
        this.engine.close(id, true); // it was closed by an earlier event of this batch
      else listener.heard(kind, id, b);
    } else if (kind === EVENT.listenerPaused) this.listeners.find(id)?.heard(kind, a, b);
    else if (kind === EVENT.relayEnded) this.relays.find(id)?.heard(kind, a, b);
    else if (kind >= EVENT.udpReceived) this.udp.find(id)?.heard(kind, a, b);
    else this.conns.find(id)?.heard(kind, a, b);
  }
}

/** What one throws is not the others' loss: it is an uncaught exception, but a moment later. */
function apart(run: () => void): void {
  try {
    run();
  } catch (error) {
    rethrow(error);
  }
}

function rethrow(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}

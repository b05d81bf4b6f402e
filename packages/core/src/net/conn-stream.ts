import { type NetError, toNetError } from './errors.js';
import type { Chunks, NativeConn, NativeConnListener, Stream } from './stream.js';

/** What one read may give, in bytes. */
const READ = 64 * 1024;

const NOTHING = (): void => {};

/** A native conn as a Stream, its bytes passing through JavaScript: for a relay with something that its engine does not know. */
export function streamFromConn(conn: NativeConn): Stream {
  return new ConnStream(conn);
}

/** A call of the conn may fail it, and `closed` runs inside the call then: look at the error before waiting. */
class ConnStream implements Stream, NativeConnListener {
  readonly #conn: NativeConn;
  #error: NetError | null = null;
  #ended = false;
  #readable: () => void = NOTHING;
  #writable: () => void = NOTHING;

  constructor(conn: NativeConn) {
    this.#conn = conn;
    conn.listener = this;
  }

  readable(): void {
    this.#wake('read');
  }

  writable(): void {
    this.#wake('write');
  }

  closed(error: NetError | null): void {
    this.#error = error;
    this.#wake('read');
    this.#wake('write');
  }

  async read(): Promise<Chunks | null> {
    for (;;) {
      if (this.#ended) return null;
      if (this.#error !== null) throw this.#error;
      const bytes = new Uint8Array(READ);
      const count = this.#conn.receive(bytes, 0, READ);
      if (count > 0) return [count < READ / 2 ? bytes.slice(0, count) : bytes.subarray(0, count)];
      if (count < 0) this.#ended = true;
      else if (this.#error === null)
        await new Promise<void>((resolve) => {
          this.#readable = resolve;
        });
    }
  }

  async write(chunks: Chunks): Promise<void> {
    for (const chunk of chunks) {
      for (let at = 0; at < chunk.length; ) {
        if (this.#error !== null) throw this.#error;
        const taken = this.#conn.send(chunk, at, chunk.length);
        at += taken;
        if (taken === 0 && this.#error === null)
          await new Promise<void>((resolve) => {
            this.#writable = resolve;
          });
      }
    }
  }

  async closeWrite(): Promise<void> {
    this.#throwIfEnded();
    // FIN is behind what the conn has taken.
    while (this.#conn.pending > 0) {
      await new Promise<void>((resolve) => {
        this.#writable = resolve;
      });
      this.#throwIfEnded();
    }
    this.#conn.closeWrite();
  }

  #throwIfEnded(): void {
    if (this.#error !== null) throw this.#error;
  }

  abort(reason: Error): void {
    if (this.#error !== null) return;
    this.#error = toNetError(reason);
    this.#conn.abort(this.#error);
    this.#wake('read');
    this.#wake('write');
  }

  #wake(which: 'read' | 'write'): void {
    const run = which === 'read' ? this.#readable : this.#writable;
    if (which === 'read') this.#readable = NOTHING;
    else this.#writable = NOTHING;
    run();
  }
}

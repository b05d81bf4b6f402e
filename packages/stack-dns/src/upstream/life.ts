import { type Cancel, CancelSource, NetError } from '@nekit/core';

export const CLOSED = new NetError('aborted', 'the resolver is closed', { code: 'DNS_CLOSED' });

/**
 * How long what an upstream has open may stay so: while its config is in force, and then until the last question is answered, for who asked before a reload can still be answered.
 * Questions have time limits, and so it ends. One that comes later (to a rival, for the address of a server) is answered as well, and leaves nothing open either.
 */
export class Life {
  #source = new CancelSource();
  #asking = 0;
  #isOver = false;

  /** Fires when what is open now is to be closed; what is opened then has another one. */
  get signal(): Cancel {
    return this.#source;
  }

  async during<T>(ask: () => Promise<T>): Promise<T> {
    this.#asking++;
    try {
      return await ask();
    } finally {
      this.#asking--;
      this.#endIfIdle();
    }
  }

  /** The config is in force no more. */
  close(): void {
    this.#isOver = true;
    this.#endIfIdle();
  }

  #endIfIdle(): void {
    if (!this.#isOver || this.#asking > 0) return;
    const ended = this.#source;
    this.#source = new CancelSource();
    ended.cancel(CLOSED);
  }
}

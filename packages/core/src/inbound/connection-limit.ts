/** Client connections of one kernel, over all listeners. */
export class ConnectionLimit {
  readonly max: number;
  #open = 0;
  #count = 0;
  #whenEmpty: (() => void)[] = [];

  constructor(max: number) {
    this.max = max;
  }

  get open(): number {
    return this.#open;
  }

  /** A number for the new connection, counting from 1, or null when there are too many. Who got one must `leave`, once. */
  enter(): number | null {
    if (this.#open >= this.max) return null;
    this.#open++;
    return ++this.#count;
  }

  leave(): void {
    this.#open--;
    if (this.#open > 0) return;
    const waiting = this.#whenEmpty;
    this.#whenEmpty = [];
    for (const resolve of waiting) resolve();
  }

  /** Settles when no connection is open, now or later. */
  empty(): Promise<void> {
    if (this.#open === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenEmpty.push(resolve));
  }
}

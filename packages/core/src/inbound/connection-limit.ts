/** Client connections of one kernel, over all listeners. */
export class ConnectionLimit {
  readonly max: number;
  #open = 0;
  #count = 0;

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
  }
}

/** What several hold together: entries of maps, bytes of queues. */
export interface SharedBound {
  now: number;
  /** Beyond it a map keeps its last few, a queue takes nothing more. */
  readonly most: number;
}

/** What a map keeps while all together hold too much. */
const LEAST = 8;

/** A map that forgets what came first. One with a shared bound must be cleared before it is let go, or what it held stays counted. */
export class BoundedMap<K, V> extends Map<K, V> {
  readonly #most: number;
  readonly #all: SharedBound | null;
  readonly #forgotten: ((value: V) => void) | null;

  /** `most`: entries. `forgotten`: told of each value that had to go, but not of what `delete` and `clear` take. */
  constructor(most: number, all: SharedBound | null = null, forgotten: ((value: V) => void) | null = null) {
    super();
    this.#most = most;
    this.#all = all;
    this.#forgotten = forgotten;
  }

  override set(key: K, value: V): this {
    if (!this.has(key)) {
      if (this.#isFull()) this.#forget();
      if (this.#all !== null) this.#all.now++;
    }
    return super.set(key, value);
  }

  override delete(key: K): boolean {
    const isGone = super.delete(key);
    if (isGone && this.#all !== null) this.#all.now--;
    return isGone;
  }

  override clear(): void {
    if (this.#all !== null) this.#all.now -= this.size;
    super.clear();
  }

  #isFull(): boolean {
    if (this.size >= this.#most) return true;
    return this.#all !== null && this.#all.now >= this.#all.most && this.size >= LEAST;
  }

  #forget(): void {
    for (const [key, value] of this) {
      this.delete(key);
      this.#forgotten?.(value);
      return;
    }
  }
}

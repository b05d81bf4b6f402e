/** Answers that were given, for as long as they hold and a while longer. Read first: RFC 2181 section 8, RFC 8767 (stale answers). */
import type { Answer } from '../wire/answer.js';

/** A stale answer is better than none for so long, in seconds (RFC 8767 section 5: one to three days). */
const STALE = 86_400;
/** What an entry costs beside its message, in bytes. */
const OVERHEAD = 300;

export interface Entry {
  readonly answer: Answer;
  /** In ms. */
  readonly storedAt: number;
  /** It holds until then, in ms. */
  readonly until: number;
  /** Times that it was used. */
  hits: number;
  /** It is being asked anew. */
  refreshing: boolean;
}

export class AnswerCache {
  readonly #maxEntries: number;
  readonly #maxBytes: number;
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry>();
  #newest: Entry | null = null;
  #bytes = 0;

  constructor(maxEntries: number, maxBytes: number) {
    this.#maxEntries = maxEntries;
    this.#maxBytes = maxBytes;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Fresh or stale; null when there is nothing to be used. */
  get(key: string, now: number): Entry | null {
    const entry = this.#entries.get(key);
    if (entry === undefined) return null;
    if (entry.until + STALE * 1000 <= now) {
      this.#remove(key, entry);
      return null;
    }
    if (entry !== this.#newest) {
      this.#entries.delete(key);
      this.#entries.set(key, entry);
      this.#newest = entry;
    }
    return entry;
  }

  put(key: string, answer: Answer, now: number): void {
    const before = this.#entries.get(key);
    if (before !== undefined) this.#remove(key, before);
    const entry = { answer, storedAt: now, until: now + answer.ttl * 1000, hits: before?.hits ?? 0, refreshing: false };
    this.#entries.set(key, entry);
    this.#newest = entry;
    this.#bytes += costOf(key, answer);
    for (const [oldest, old] of this.#entries) {
      if (this.#entries.size <= this.#maxEntries && this.#bytes <= this.#maxBytes) break;
      this.#remove(oldest, old);
    }
  }

  clear(): void {
    this.#entries.clear();
    this.#newest = null;
    this.#bytes = 0;
  }

  #remove(key: string, entry: Entry): void {
    this.#entries.delete(key);
    if (this.#newest === entry) this.#newest = null;
    this.#bytes -= costOf(key, entry.answer);
  }
}

function costOf(key: string, { bytes }: Answer): number {
  return key.length + bytes.length + OVERHEAD;
}

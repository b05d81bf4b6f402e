import type { Stats } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Cancel } from '../net/cancel.js';
import { readFileAtMost } from './provider-store.js';

/** A list as it came, before anybody understood it. */
export interface Copy {
  readonly bytes: Uint8Array;
  /** What the source knows it by; opaque to everybody else. */
  readonly version: Version;
  /** When its source last said that this is the list, in ms since the epoch. */
  readonly updatedAt: number;
  /** Of a copy that was kept: why it may not be what was kept, for a person. */
  readonly doubt?: string;
}

export type Version = Readonly<Record<string, string>>;

/** Where the bytes of a list come from. */
export interface ListSource {
  /** It is somewhere else: it may be out of reach, and nobody waits for it when there is a copy. */
  readonly remote: boolean;
  /** A copy that was kept. null: there is none. Rejects when it is unusable. */
  kept(): Promise<Copy | null>;
  /** What there is now; null: still that `version`. Rejects when there is nothing to be had. */
  fetch(version: Version | null, signal: Cancel): Promise<Copy | null>;
  /** Keeps a copy that was understood, for the next start. */
  keep(copy: Copy): Promise<void>;
  /** The copy that is kept is still what the source has. */
  confirm(version: Version, updatedAt: number): Promise<void>;
}

/** Entries that stand in the config. */
export class InlineSource implements ListSource {
  readonly remote = false;
  readonly #payload: readonly string[];
  readonly #wallClock: () => number;

  constructor(payload: readonly string[], wallClock: () => number) {
    this.#payload = payload;
    this.#wallClock = wallClock;
  }

  kept(): Promise<null> {
    return Promise.resolve(null);
  }

  fetch(version: Version | null): Promise<Copy | null> {
    if (version !== null) return Promise.resolve(null);
    // A quoted text of JSON is one of YAML too.
    const lines = this.#payload.map((entry) => `  - ${JSON.stringify(entry)}\n`);
    const text = lines.length === 0 ? 'payload: []\n' : `payload:\n${lines.join('')}`;
    return Promise.resolve({ bytes: Buffer.from(text), version: {}, updatedAt: this.#wallClock() });
  }

  keep(): Promise<void> {
    return Promise.resolve();
  }

  confirm(): Promise<void> {
    return Promise.resolve();
  }
}

/** Differs where a file was written to or replaced. */
export function stampOf({ mtimeMs, size, ino }: Stats): string {
  return `${mtimeMs} ${size} ${ino}`;
}

/** A file of the user's: it is only read. */
export class FileSource implements ListSource {
  readonly remote = false;
  readonly #path: string;
  readonly #maxBytes: number;

  constructor(path: string, maxBytes: number) {
    this.#path = path;
    this.#maxBytes = maxBytes;
  }

  kept(): Promise<null> {
    return Promise.resolve(null);
  }

  async fetch(version: Version | null): Promise<Copy | null> {
    const stamp = stampOf(await stat(this.#path));
    if (version?.stamp === stamp) return null;
    const found = await readFileAtMost(this.#path, this.#maxBytes);
    if (found === null) throw new Error(`there is no file ${this.#path}`);
    return { bytes: found.bytes, version: { stamp }, updatedAt: found.writtenAt };
  }

  keep(): Promise<void> {
    return Promise.resolve();
  }

  confirm(): Promise<void> {
    return Promise.resolve();
  }
}

import { printable } from '../printable.js';

/** Lines that are kept, and characters of one. */
const LINES = 4;
const LINE = 160;

/** Bytes that are kept: a program that writes without end costs no more. */
const BYTES = 4 * 1024;

/** A text shorter than this says nothing worth hiding, and would be found in every other word. */
const MIN_SECRET = 4;

/** The end of what a program wrote, fit for a log: a few lines, no control characters, no secrets. */
export class OutputTail {
  #tail = Buffer.alloc(0);
  readonly #secrets: readonly string[];

  /** `secrets`: texts that are shown as "***". */
  constructor(secrets: readonly string[]) {
    // Longest first: one may hold another.
    this.#secrets = secrets.filter((secret) => secret.length >= MIN_SECRET).sort((a, b) => b.length - a.length);
  }

  add(bytes: Uint8Array): void {
    const all = Buffer.concat([this.#tail, bytes]);
    // A copy: a slice would keep all of it alive.
    this.#tail = all.length > BYTES ? Buffer.from(all.subarray(all.length - BYTES)) : all;
  }

  /** '' if nothing was written. */
  text(): string {
    let text = this.#tail.toString();
    for (const secret of this.#secrets) text = text.replaceAll(secret, '***');
    // The first line may begin in the middle, and in the middle of a secret.
    const lines = text.split('\n').slice(this.#tail.length === BYTES ? 1 : 0);
    const last = lines.map((line) => printable(line.trim(), LINE)).filter((line) => line !== '');
    return last.slice(-LINES).join(' | ');
  }
}

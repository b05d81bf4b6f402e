import { randomFillSync, randomInt } from 'node:crypto';

/** Asking for random bytes costs more than what is asked for: so many at a time. */
const POOL = 4096;

/** Random bytes for nonces, IVs and session ids, each used once. */
export class RandomBytes {
  readonly #pool = new Uint8Array(POOL);
  #taken = POOL;

  /** Fills `bytes[start, start + length)`; `length` is at most 64. */
  fill(bytes: Uint8Array, start: number, length: number): void {
    if (this.#taken + length > POOL) {
      randomFillSync(this.#pool);
      this.#taken = 0;
    }
    for (let i = 0; i < length; i++) bytes[start + i] = this.#pool[this.#taken + i] ?? 0;
    this.#taken += length;
  }
}

/** The longest padding that is made, in bytes: SIP022 has the same bound for TCP. */
export const MAX_PADDING = 900;
const DNS = 53;

/** Bytes of padding for a datagram: a DNS query or answer is known by its length, other protocols are not helped by it and would pay for it. */
export function paddingFor(port: number, length: number): number {
  return port === DNS && length < MAX_PADDING ? randomInt(1, MAX_PADDING - length + 1) : 0;
}

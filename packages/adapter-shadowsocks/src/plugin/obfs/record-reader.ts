import { BrokenObfs } from './broken-obfs.js';
import { APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, RECORD_HEADER } from './records.js';

/** A ServerHello of obfs-server has 91 bytes; nothing has to be kept of it, so the bound is only for sense. */
const MAX_HELLO = 4 * 1024;

/** What records come in this order; the last one goes on for ever. */
const SCRIPT = [
  { type: HANDSHAKE, limit: MAX_HELLO, payload: false },
  { type: CHANGE_CIPHER_SPEC, limit: 1, payload: false },
  { type: HANDSHAKE, limit: 0xffff, payload: true },
  { type: APPLICATION_DATA, limit: 0xffff, payload: true },
] as const;

type Record = (typeof SCRIPT)[number];

/** The server's records, cut anywhere; keeps at most a header. */
export class RecordReader {
  #step = 0;
  readonly #header = new Uint8Array(RECORD_HEADER);
  #headerLength = 0;
  /** Bytes of the record under way that are still to come. */
  #left = 0;

  /** Whether an end here cuts nothing: before the first byte, or between records that carry payload. */
  get atBoundary(): boolean {
    return this.#left === 0 && this.#headerLength === 0 && (this.#step === 0 || this.#step >= 3);
  }

  /** Adds the payload in `chunk` to `payload`, as slices of it. Not null: this is no obfs server. */
  open(chunk: Uint8Array, payload: Uint8Array[]): BrokenObfs | null {
    for (let at = 0; at < chunk.length; ) {
      if (this.#left > 0) {
        const end = Math.min(at + this.#left, chunk.length);
        this.#left -= end - at;
        if (this.#expected().payload) payload.push(chunk.subarray(at, end));
        at = end;
      } else {
        this.#header[this.#headerLength++] = chunk[at++] ?? 0;
        const broken = this.#judge();
        if (broken !== null) return broken;
        if (this.#headerLength < RECORD_HEADER) continue;
        this.#headerLength = 0;
        this.#left = this.#lengthOf();
      }
      if (this.#left === 0 && this.#headerLength === 0 && this.#step < SCRIPT.length - 1) this.#step++;
    }
    return null;
  }

  /** Byte by byte, so that one that is wrong is told at once and not waited behind. */
  #judge(): BrokenObfs | null {
    const { type, limit } = this.#expected();
    if (this.#header[0] !== type) return new BrokenObfs(`a record of type ${type} was due, not of type ${this.#header[0]}`);
    if (this.#headerLength > 1 && this.#header[1] !== 3) return new BrokenObfs('its records are of no version of TLS');
    if (this.#headerLength < RECORD_HEADER || this.#lengthOf() <= limit) return null;
    return new BrokenObfs(`a record of type ${type} has ${this.#lengthOf()} bytes`);
  }

  #lengthOf(): number {
    return ((this.#header[3] ?? 0) << 8) | (this.#header[4] ?? 0);
  }

  #expected(): Record {
    return SCRIPT[this.#step] ?? SCRIPT[3];
  }
}

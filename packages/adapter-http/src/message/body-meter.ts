/**
 * Read first: RFC 9112 sections 6 and 7.1.
 *
 * Where a body ends. Node's parser decodes and judges the bytes; the meter tells which of them to give it, so that those behind the
 * body stay out: on the client's side they are the next request, on the origin's side they must never answer one.
 */
export type Framing =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'until-close' };

export const NO_BODY: Framing = { kind: 'none' };

const CR = 0x0d;
const LF = 0x0a;

/** Follows one body. */
export class BodyMeter {
  readonly #framing: Framing;
  #left: number;
  #done: boolean;
  /** Chunked: what we are in. A line is a chunk's size or a trailer field. */
  #part: 'size' | 'extension' | 'trailer' = 'size';
  #size = 0;
  #lineLength = 0;

  constructor(framing: Framing) {
    this.#framing = framing;
    this.#left = framing.kind === 'length' ? framing.length : 0;
    this.#done = framing.kind === 'none' || (framing.kind === 'length' && framing.length === 0);
  }

  /** The body has ended, by its own framing. */
  get done(): boolean {
    return this.#done;
  }

  /** How many of these bytes, which follow those measured before, belong to the body. */
  measure(bytes: Uint8Array): number {
    switch (this.#framing.kind) {
      case 'none':
        return 0;
      case 'until-close':
        return bytes.length;
      case 'length': {
        const count = Math.min(this.#left, bytes.length);
        this.#left -= count;
        this.#done = this.#left === 0;
        return count;
      }
      case 'chunked':
        return this.#chunks(bytes);
    }
  }

  /*  chunk-size [ ;ext ] CRLF data CRLF  …  0 CRLF *( trailer CRLF ) CRLF  */
  #chunks(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length && !this.#done) {
      if (this.#left > 0) {
        const count = Math.min(this.#left, bytes.length - at);
        this.#left -= count;
        at += count;
        continue;
      }
      this.#line(bytes[at++] ?? 0);
    }
    return at;
  }

  #line(byte: number): void {
    if (byte === LF) this.#lineEnded();
    else if (byte !== CR) this.#lineByte(byte);
  }

  #lineByte(byte: number): void {
    this.#lineLength++;
    if (this.#part !== 'size') return;
    const digit = hexDigit(byte);
    if (digit === -1) this.#part = 'extension';
    else this.#size = this.#size * 16 + digit;
  }

  #lineEnded(): void {
    if (this.#part === 'trailer') {
      this.#done = this.#lineLength === 0;
    } else if (this.#size === 0) {
      this.#part = 'trailer';
    } else {
      this.#left = this.#size + 2; // the data and its CRLF
      this.#part = 'size';
    }
    this.#size = 0;
    this.#lineLength = 0;
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1;
}

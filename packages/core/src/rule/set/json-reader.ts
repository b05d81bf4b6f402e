/**
 * JSON, read from bytes piece by piece: for files of many megabytes, which `JSON.parse` would stop the process for. Strict (RFC 8259), but for comments
 * (`//`, `#`), which sing-box allows. What is wrong is thrown with its line.
 */
export class JsonReader {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, from: number) {
    this.#bytes = bytes;
    this.#at = from;
  }

  /** Of what comes next, for `lineAt`. */
  get position(): number {
    this.#peek();
    return this.#at;
  }

  /** Counted when it is asked for. */
  lineAt(position: number): number {
    let line = 1;
    for (let at = this.#bytes.indexOf(NEWLINE); at !== -1 && at < position; at = this.#bytes.indexOf(NEWLINE, at + 1)) line++;
    return line;
  }

  /** What comes next. */
  get kind(): 'object' | 'array' | 'string' | 'other' {
    const next = this.#peek();
    return next === CURLY ? 'object' : next === SQUARE ? 'array' : next === QUOTE ? 'string' : 'other';
  }

  open(kind: 'object' | 'array'): void {
    this.#expect(kind === 'object' ? CURLY : SQUARE);
  }

  /** Whether another member follows, with what stands in between taken; else the end is taken. `first`: none has been read. */
  more(kind: 'object' | 'array', first: boolean): boolean {
    const next = this.#peek();
    if (next === (kind === 'object' ? END_CURLY : END_SQUARE)) {
      this.#at++;
      return false;
    }
    if (!first) {
      this.#expect(COMMA);
      this.#peek();
    }
    return true;
  }

  key(): string {
    const key = this.string();
    this.#expect(COLON);
    return key;
  }

  /** Where a string without escapes stands, without its quotes, and takes it; null: it has some, or is none, and nothing was taken. */
  span(): Span | null {
    if (this.#peek() !== QUOTE) return null;
    const start = this.#at + 1;
    for (let at = start; at < this.#bytes.length; at++) {
      const byte = this.#bytes[at] ?? 0;
      if (byte === QUOTE) {
        this.#at = at + 1;
        return { start, end: at };
      }
      if (byte === BACKSLASH || byte < 0x20) return null;
    }
    return null;
  }

  string(): string {
    if (this.#peek() !== QUOTE) throw this.wrong('a text in double quotes should stand here');
    const start = this.#at;
    let end = start + 1;
    for (; end < this.#bytes.length && this.#bytes[end] !== QUOTE; end++) if (this.#bytes[end] === BACKSLASH) end++;
    const text = this.#bytes.toString('utf8', start, end + 1);
    const value = this.#parsed(text);
    if (typeof value !== 'string') throw this.wrong('a text in double quotes should stand here');
    this.#at = end + 1;
    return value;
  }

  /** A number, `true`, `false` or `null`. */
  scalar(): number | boolean | null {
    this.#peek();
    const start = this.#at;
    let end = start;
    while (end < this.#bytes.length && !ENDS.has(this.#bytes[end] ?? 0)) end++;
    const value = this.#parsed(this.#bytes.toString('latin1', start, end));
    if (typeof value !== 'number' && typeof value !== 'boolean' && value !== null) throw this.wrong('a number, true, false or null should stand here');
    this.#at = end;
    return value;
  }

  /** Whether nothing but spaces follows. */
  get ended(): boolean {
    return this.#peek() === undefined;
  }

  wrong(what: string): Error {
    return new Error(`line ${this.lineAt(this.#at)}: ${what}`);
  }

  #parsed(text: string): unknown {
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new Error(`line ${this.lineAt(this.#at)}: this is no JSON: ${text.slice(0, 40)}`, { cause: error });
    }
  }

  #expect(byte: number): void {
    if (this.#peek() !== byte) throw this.wrong(`a "${String.fromCharCode(byte)}" should stand here`);
    this.#at++;
  }

  #peek(): number | undefined {
    for (;;) {
      const byte = this.#bytes[this.#at];
      if (byte === 0x20 || byte === NEWLINE || byte === 0x0d || byte === 0x09) this.#at++;
      else if (byte === HASH || (byte === SLASH && this.#bytes[this.#at + 1] === SLASH)) {
        const end = this.#bytes.indexOf(NEWLINE, this.#at);
        this.#at = end === -1 ? this.#bytes.length : end;
      } else return byte;
    }
  }
}

export interface Span {
  readonly start: number;
  readonly end: number;
}

const NEWLINE = 0x0a;
const CURLY = 0x7b;
const END_CURLY = 0x7d;
const SQUARE = 0x5b;
const END_SQUARE = 0x5d;
const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const SLASH = 0x2f;
const HASH = 0x23;
/** What a number or a word ends at. */
const ENDS = new Set(Buffer.from(' \t\r\n,]}/#'));

/** The servers' halves of simple-obfs, as far as a client must be able to see them. */
import { type Chunks, type Stream, StreamReader } from '@nekit/core';

const HEAD = 'HTTP/1.1 101 Switching Protocols\r\nServer: nginx/1.10.9\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n';

/** Strips the request, and says its head in front of its first bytes, as obfs-server does. */
export class HttpObfsServer implements Stream {
  readonly #base: Stream;
  readonly #reader: StreamReader;
  #answered = false;
  /** The request's head, once it has come. */
  request: string | null = null;

  constructor(base: Stream) {
    this.#base = base;
    this.#reader = new StreamReader(base);
  }

  async read(): Promise<Chunks | null> {
    if (this.request !== null) return this.#base.read();
    this.request = Buffer.from(await this.#reader.until(Buffer.from('\r\n\r\n'), 4096)).toString('latin1');
    const rest = await this.#reader.peek(0);
    return rest.length > 0 ? [await this.#reader.exactly(rest.length)] : this.#base.read();
  }

  write(chunks: Chunks): Promise<void> {
    const head = this.#answered ? [] : [Buffer.from(HEAD)];
    this.#answered = true;
    return this.#base.write([...head, ...chunks]);
  }

  closeWrite(): Promise<void> {
    return this.#base.closeWrite();
  }

  abort(reason: Error): void {
    this.#base.abort(reason);
  }
}

/** Of a ClientHello: what the tests look at. */
export interface Hello {
  readonly ticket: Uint8Array;
  readonly host: string;
}

/** Reads the hello and the records behind it, and says its own hello in front of its first bytes. */
export class TlsObfsServer implements Stream {
  readonly #base: Stream;
  readonly #reader: StreamReader;
  #answered = false;
  hello: Hello | null = null;
  /** The longest record that came, in bytes. */
  longest = 0;

  constructor(base: Stream) {
    this.#base = base;
    this.#reader = new StreamReader(base);
  }

  async read(): Promise<Chunks | null> {
    for (;;) {
      if ((await this.#reader.peek(1)).length === 0) return null;
      const header = Buffer.from(await this.#reader.exactly(5));
      const length = header.readUInt16BE(3);
      this.longest = Math.max(this.longest, length);
      const body = Buffer.from(await this.#reader.exactly(length));
      if (this.hello === null) {
        if (header[0] !== 0x16) throw new Error('not a hello');
        this.hello = parseHello(body);
        if (this.hello.ticket.length > 0) return [this.hello.ticket];
        continue;
      }
      if (header[0] !== 0x17 || header.readUInt16BE(1) !== 0x0303) throw new Error(`a record of type ${header[0]}`);
      if (length > 0) return [body];
    }
  }

  write(chunks: Chunks): Promise<void> {
    const bytes = Buffer.concat(chunks);
    const records: Uint8Array[] = [];
    for (let start = 0; start < bytes.length; start += 0x4000) {
      const part = bytes.subarray(start, start + 0x4000);
      records.push(...(this.#answered ? [] : serverHello()), record(this.#answered ? 0x17 : 0x16, 0x0303, part));
      this.#answered = true;
    }
    return this.#base.write(records);
  }

  closeWrite(): Promise<void> {
    return this.#base.closeWrite();
  }

  abort(reason: Error): void {
    this.#base.abort(reason);
  }
}

export function record(type: number, version: number, body: Uint8Array): Buffer {
  const header = Buffer.alloc(5);
  header.writeUInt8(type, 0);
  header.writeUInt16BE(version, 1);
  header.writeUInt16BE(body.length, 3);
  return Buffer.concat([header, body]);
}

/** ServerHello and ChangeCipherSpec. */
export function serverHello(): Buffer[] {
  const body = Buffer.alloc(91, 7);
  body.writeUInt32BE(0x02000057, 0);
  return [record(0x16, 0x0301, body), record(0x14, 0x0303, Uint8Array.of(1))];
}

/** RFC 5246 section 7.4.1.2; throws for lengths that do not add up. */
export function parseHello(body: Buffer): Hello {
  let at = 0;
  const take = (length: number): Buffer => {
    if (at + length > body.length) throw new Error('the hello is cut');
    at += length;
    return body.subarray(at - length, at);
  };
  const number = (length: number): number => take(length).readUIntBE(0, length);
  if (number(1) !== 1) throw new Error('not a ClientHello');
  if (number(3) !== body.length - 4) throw new Error('wrong length of the handshake');
  if (number(2) !== 0x0303) throw new Error('wrong version');
  take(32);
  take(number(1)); // session id
  const suites = number(2);
  if (suites % 2 !== 0) throw new Error('half a suite');
  take(suites);
  take(number(1));
  if (number(2) !== body.length - at) throw new Error('wrong length of the extensions');
  let ticket: Uint8Array = new Uint8Array(0);
  let host = '';
  while (at < body.length) {
    const type = number(2);
    const extension = take(number(2));
    if (type === 0x23) ticket = Uint8Array.from(extension);
    if (type === 0) {
      if (extension.readUInt16BE(0) !== extension.length - 2 || extension.readUInt16BE(3) !== extension.length - 5) throw new Error('wrong lengths in SNI');
      host = extension.subarray(5).toString('latin1');
    }
  }
  return { ticket, host };
}

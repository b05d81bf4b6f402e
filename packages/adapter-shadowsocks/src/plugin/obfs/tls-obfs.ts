/**
 * simple-obfs "tls": records as TLS 1.2 has them, and nothing encrypted in them. There is no specification; this is what obfs-local and
 * obfs-server of Debian's simple-obfs 0.0.5 say to each other (names as in RFC 5246 and RFC 5077):
 *
 *   client   16 0301 len  ClientHello, whose session_ticket extension is the first bytes
 *            17 0303 len  bytes                                                             again and again
 *   server   16 0301 len  ServerHello
 *            14 0303 0001 01                                                                ChangeCipherSpec
 *            16 0303 len  its first bytes                                                   in place of the encrypted Finished
 *            17 0303 len  bytes                                                             again and again
 *
 * The server's hello comes in front of its first bytes: nothing comes before the target has spoken. Nobody waits for it before sending on.
 */
import type { Chunks, Stream } from '@nekit/core';
import { byteLength, NetError, toNetError } from '@nekit/core';
import { clientHello, MAX_TICKET } from './client-hello.js';
import { RecordReader } from './record-reader.js';
import { APPLICATION_DATA, MAX_RECORD, RECORD_HEADER } from './records.js';

/** The client's half, on a connection to the server. */
export class TlsObfsStream implements Stream {
  readonly #base: Stream;
  readonly #host: string;
  readonly #records = new RecordReader();
  #greeted = false;

  constructor(base: Stream, host: string) {
    this.#base = base;
    this.#host = host;
  }

  async read(): Promise<Chunks | null> {
    for (;;) {
      const chunks = await this.#base.read();
      if (chunks === null) {
        if (this.#records.atBoundary) return null;
        throw this.#fail(new NetError('aborted', 'the obfs server closed the connection in the middle of a record', { code: 'SS_OBFS' }));
      }
      const payload: Uint8Array[] = [];
      for (const chunk of chunks) {
        const broken = this.#records.open(chunk, payload);
        if (broken !== null) throw this.#fail(broken);
      }
      if (payload.length > 0) return payload;
    }
  }

  write(chunks: Chunks): Promise<void> {
    const length = byteLength(chunks);
    if (length === 0) return Promise.resolve();
    if (this.#greeted) return this.#base.write(seal(chunks));
    this.#greeted = true;
    const bytes = gather(chunks, length);
    const hello = clientHello(this.#host, bytes.subarray(0, MAX_TICKET));
    return this.#base.write(length <= MAX_TICKET ? [hello] : [hello, ...seal([bytes.subarray(MAX_TICKET)])]);
  }

  closeWrite(): Promise<void> {
    if (this.#greeted) return this.#base.closeWrite();
    this.#greeted = true;
    return this.#base.write([clientHello(this.#host, new Uint8Array(0))]).then(() => this.#base.closeWrite());
  }

  abort(reason: Error): void {
    this.#base.abort(reason);
  }

  #fail(reason: Error): NetError {
    const error = toNetError(reason);
    this.abort(error);
    return error;
  }
}

function gather(chunks: Chunks, length: number): Uint8Array {
  const [first] = chunks;
  return chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks, length);
}

/** Payload as records: headers of their own between slices of the chunks, no byte of which is copied. */
function seal(chunks: Chunks): Uint8Array[] {
  const records: Uint8Array[] = [];
  for (const chunk of chunks) {
    for (let start = 0; start < chunk.length; start += MAX_RECORD) {
      const end = Math.min(start + MAX_RECORD, chunk.length);
      const header = new Uint8Array(RECORD_HEADER);
      header[0] = APPLICATION_DATA;
      header[1] = 3;
      header[2] = 3;
      header[3] = (end - start) >> 8;
      header[4] = (end - start) & 0xff;
      records.push(header, chunk.subarray(start, end));
    }
  }
  return records;
}

/**
 * simple-obfs "http": a connection that begins like an upgrade to WebSocket and is plain bytes after that. There is no specification; this is
 * what obfs-local and obfs-server of Debian's simple-obfs 0.0.5 say to each other:
 *
 *   client   GET / HTTP/1.1 CRLF  Host: name[:port] CRLF  User-Agent: curl/... CRLF  Upgrade: websocket CRLF  Connection: Upgrade CRLF
 *            Sec-WebSocket-Key: base64 of 16 bytes CRLF  Content-Length: n CRLF CRLF  then the first n bytes, then everything else
 *   server   HTTP/1.1 101 Switching Protocols CRLF  ... CRLF CRLF, in front of its first bytes: nothing comes before the target has spoken
 *
 * So nobody waits for the answer before sending on, and a target that closes without a word may show as an end without a head.
 */
import { randomBytes, randomInt } from 'node:crypto';
import type { Chunks, NativeEnd, Stream } from '@nekit/core';
import { byteLength, NetError, toNetError } from '@nekit/core';
import { printable } from '../printable.js';
import { BrokenObfs } from './broken-obfs.js';

/** Of the answer's head, in bytes: what servers commonly allow for one (nginx, Apache: 8 KiB). */
const MAX_HEAD = 8 * 1024;

const END_OF_HEAD = Buffer.from('\r\n\r\n');

export interface HttpObfs {
  /** `Host` of the request: a name, with the port where it is not 80. */
  readonly host: string;
  readonly path: string;
  readonly userAgent: string;
}

/** What one adapter says to its server, over and over as one and the same program would. */
export function httpObfs(host: string, port: number, path: string): HttpObfs {
  return { host: port === 80 || /:\d+$/.test(host) ? host : `${host}:${port}`, path, userAgent: `curl/7.${randomInt(50, 89)}.${randomInt(0, 2)}` };
}

/** The client's half, on a connection to the server. After the two heads it changes no byte, and gives `native` away. */
export class HttpObfsStream implements Stream {
  readonly #base: Stream;
  readonly #obfs: HttpObfs;
  #asked = false;
  /** Of the answer's head, until it is whole; null afterwards. */
  #head: Buffer | null = EMPTY;
  /** What came behind the head, or was put back, in order. */
  #front: Uint8Array[] = [];

  constructor(base: Stream, obfs: HttpObfs) {
    this.#base = base;
    this.#obfs = obfs;
  }

  /** Once both heads are through: what follows is the base's own. */
  get native(): NativeEnd | undefined {
    const native = this.#base.native;
    if (native === undefined || !this.#asked || this.#head !== null) return undefined;
    return {
      detach: (unread) => {
        const front = this.#front;
        this.#front = [];
        return native.detach([...unread, ...front]);
      },
    };
  }

  read(): Promise<Chunks | null> {
    if (this.#front.length > 0) {
      const front = this.#front;
      this.#front = [];
      return Promise.resolve(front);
    }
    return this.#head === null ? this.#base.read() : this.#readHead();
  }

  write(chunks: Chunks): Promise<void> {
    if (this.#asked) return this.#base.write(chunks);
    const length = byteLength(chunks);
    if (length === 0) return Promise.resolve();
    return this.#base.write([this.#request(length), ...chunks]);
  }

  closeWrite(): Promise<void> {
    if (this.#asked) return this.#base.closeWrite();
    return this.#base.write([this.#request(0)]).then(() => this.#base.closeWrite());
  }

  abort(reason: Error): void {
    this.#front = [];
    this.#base.abort(reason);
  }

  unread(chunks: Chunks): void {
    this.#front.unshift(...chunks);
  }

  #request(length: number): Uint8Array {
    this.#asked = true;
    const { host, path, userAgent } = this.#obfs;
    const lines = [
      `GET ${path} HTTP/1.1`,
      `Host: ${host}`,
      `User-Agent: ${userAgent}`,
      'Upgrade: websocket',
      'Connection: Upgrade',
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
      `Content-Length: ${length}`,
    ];
    return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  }

  async #readHead(): Promise<Chunks | null> {
    for (let head = this.#head ?? EMPTY; ; ) {
      const chunks = await this.#base.read();
      if (chunks === null) {
        if (head.length === 0) return null;
        throw this.#fail(new NetError('aborted', 'the obfs server closed the connection in the middle of its answer', { code: 'SS_OBFS' }));
      }
      head = Buffer.concat([head, ...chunks]);
      const end = head.indexOf(END_OF_HEAD);
      if ((end === -1 ? head.length : end) > MAX_HEAD) throw this.#fail(new BrokenObfs(`its answer's head is longer than ${MAX_HEAD} bytes`));
      if (!mayBeHttp(head)) throw this.#fail(new BrokenObfs('it does not answer in HTTP'));
      if (end !== -1) return this.#answered(head, end);
      this.#head = head;
    }
  }

  #answered(head: Buffer, end: number): Chunks | Promise<Chunks | null> {
    const line = head.subarray(0, head.indexOf('\r\n')).toString('latin1');
    if (!UPGRADED.test(line)) throw this.#fail(new BrokenObfs(`it answers "${printable(line, 80)}"`));
    this.#head = null;
    const rest = head.subarray(end + END_OF_HEAD.length);
    return rest.length > 0 ? [rest] : this.#base.read();
  }

  #fail(reason: Error): NetError {
    const error = toNetError(reason);
    this.abort(error);
    return error;
  }
}

const EMPTY = Buffer.alloc(0);

/** 101, and what imitations of obfs-server are known to say. */
const UPGRADED = /^HTTP\/1\.[01] (?:101|20[0-9])(?: |$)/;

const VERSION = Buffer.from('HTTP/1.');

function mayBeHttp(head: Buffer): boolean {
  const length = Math.min(head.length, VERSION.length);
  return head.compare(VERSION, 0, length, 0, length) === 0;
}

/** The server's halves of v2ray-plugin: WebSockets on a port, and one sub-connection of Mux.Cool in each, if it is wanted. */
import http from 'node:http';
import https from 'node:https';
import type { Duplex } from 'node:stream';
import { type Chunks, type Stream, StreamReader } from '@nekit/core';
import { type WebSocket, WebSocketServer } from 'ws';
import { WebSocketStream } from '../../../dist/plugin/websocket/websocket-stream.js';

export interface WebSocketPeer {
  readonly port: number;
  /** Fields of the last request. */
  request(): http.IncomingMessage | null;
  /** The next WebSocket that came. */
  next(): Promise<WebSocket>;
  close(): Promise<void>;
}

export async function startWebSocketServer(tls?: { readonly key: string; readonly cert: string }): Promise<WebSocketPeer> {
  const server = tls === undefined ? http.createServer() : https.createServer(tls);
  const sockets = new Set<Duplex>();
  const websockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  const came: WebSocket[] = [];
  const waiting: ((socket: WebSocket) => void)[] = [];
  let last: http.IncomingMessage | null = null;
  server.on('connection', (socket: Duplex) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy()); // clients of tests reset on purpose
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('upgrade', (request: http.IncomingMessage, socket: Duplex, head: Buffer) => {
    last = request;
    if (request.url?.startsWith('/ws') === false) {
      socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    websockets.handleUpgrade(request, socket, head, (websocket) => {
      websocket.pause(); // until somebody takes it
      const wanted = waiting.shift();
      if (wanted === undefined) came.push(websocket);
      else wanted(websocket);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a TCP server has an address');
  return {
    port: address.port,
    request: () => last,
    next: () => {
      const first = came.shift();
      return first === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(first);
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

export function serverStream(websocket: WebSocket): Stream {
  const stream = new WebSocketStream(websocket);
  websocket.resume();
  return stream;
}

/** Numbers of Mux.Cool, written down here once more: a test that took the client's would not see that they are wrong. */
const [NEW, KEEP, END] = [1, 2, 3];

/** The server's half of the one sub-connection. */
export class MuxServer implements Stream {
  readonly #base: Stream;
  readonly #reader: StreamReader;
  #opened = false;
  #ended = false;
  #finished = false;

  constructor(base: Stream) {
    this.#base = base;
    this.#reader = new StreamReader(base);
  }

  async read(): Promise<Chunks | null> {
    while (!this.#ended) {
      if ((await this.#reader.peek(1)).length === 0) return null;
      const length = Buffer.from(await this.#reader.exactly(2)).readUInt16BE();
      const metadata = Buffer.from(await this.#reader.exactly(length));
      const [status, option] = [metadata[2], metadata[3]];
      if (metadata.readUInt16BE(0) !== 1) throw new Error('another id');
      if (this.#opened ? status !== KEEP && status !== END : status !== NEW || metadata[4] !== 1) throw new Error(`status ${status}`);
      this.#opened = true;
      this.#ended = status === END;
      if (((option ?? 0) & 1) === 0) continue;
      const size = Buffer.from(await this.#reader.exactly(2)).readUInt16BE();
      return [await this.#reader.exactly(size)];
    }
    return null;
  }

  write(chunks: Chunks): Promise<void> {
    const bytes = Buffer.concat(chunks);
    const frames: Uint8Array[] = [];
    for (let start = 0; start < bytes.length; start += 0xffff) {
      const part = bytes.subarray(start, start + 0xffff);
      frames.push(muxFrame(KEEP, part));
    }
    return frames.length === 0 ? Promise.resolve() : this.#base.write(frames);
  }

  async closeWrite(): Promise<void> {
    if (this.#finished) return;
    this.#finished = true;
    await this.#base.write([muxFrame(END)]);
  }

  abort(reason: Error): void {
    this.#base.abort(reason);
  }
}

export function muxFrame(status: number, data?: Uint8Array, { id = 1, option = 0 } = {}): Buffer {
  const head = Buffer.from([0, 4, id >> 8, id & 0xff, status, option | (data === undefined ? 0 : 1)]);
  if (data === undefined) return head;
  const length = Buffer.alloc(2);
  length.writeUInt16BE(data.length);
  return Buffer.concat([head, length, data]);
}

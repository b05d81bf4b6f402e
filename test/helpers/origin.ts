import { createHash } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import type { Duplex } from 'node:stream';

export interface Origin {
  readonly port: number;
  /** Connections that ever came. */
  connections(): number;
  /** Of each request, in order. */
  readonly requests: { readonly method: string; readonly url: string; readonly headers: http.IncomingHttpHeaders }[];
  close(): Promise<void>;
}

export type Handler = (request: http.IncomingMessage, response: http.ServerResponse) => boolean;

export interface OriginOptions {
  readonly tls?: { readonly key: string; readonly cert: string };
  /** Answers first; true: it did. */
  readonly handler?: Handler;
  readonly onUpgrade?: (request: http.IncomingMessage, socket: Duplex, head: Buffer) => void;
}

const BLOCK = Buffer.alloc(1_000_000, 'All work and no play makes a dull proxy. ');

/** What `/big/<megabytes>` sends, as a SHA-256. */
export function bigHash(megabytes: number): string {
  const hash = createHash('sha256');
  for (let i = 0; i < megabytes; i++) hash.update(BLOCK);
  return hash.digest('hex');
}

/**
 *   /hello         "hello from <Host>"
 *   /big/50        50 MB, without a length for `?chunked`
 *   /upload        how many bytes came, and their SHA-256
 */
export function originHandler(request: http.IncomingMessage, response: http.ServerResponse): void {
  const url = request.url ?? '';
  const big = /^\/big\/(\d+)/.exec(url);
  if (url.startsWith('/hello')) response.end(`hello from ${request.headers.host}`);
  else if (big !== null) sendBig(response, Number(big[1]), url.endsWith('?chunked'));
  else if (url.startsWith('/upload')) receive(request, response);
  else response.writeHead(404).end();
}

/** A web server on 127.0.0.1. */
export function startOrigin({ tls, handler, onUpgrade }: OriginOptions = {}): Promise<Origin> {
  const requests: Origin['requests'] = [];
  let connections = 0;
  const answer = (request: http.IncomingMessage, response: http.ServerResponse): void => {
    requests.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers });
    if (handler?.(request, response) !== true) originHandler(request, response);
  };
  const server = tls === undefined ? http.createServer(answer) : https.createServer(tls, answer);
  server.on('connection', () => connections++);
  if (onUpgrade !== undefined) server.on('upgrade', onUpgrade);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve({
        port: address !== null && typeof address === 'object' ? address.port : 0,
        connections: () => connections,
        requests,
        close: () =>
          new Promise((done) => {
            server.close(() => done());
            server.closeAllConnections();
          }),
      });
    });
  });
}

function sendBig(response: http.ServerResponse, megabytes: number, chunked: boolean): void {
  response.writeHead(200, { 'Content-Type': 'application/octet-stream', ...(chunked ? {} : { 'Content-Length': megabytes * BLOCK.length }) });
  let left = megabytes;
  const more = (): void => {
    while (left > 0) {
      left--;
      if (!response.write(BLOCK)) {
        response.once('drain', more);
        return;
      }
    }
    response.end();
  };
  more();
}

function receive(request: http.IncomingMessage, response: http.ServerResponse): void {
  const hash = createHash('sha256');
  let length = 0;
  request.on('data', (part: Buffer) => {
    hash.update(part);
    length += part.length;
  });
  request.on('end', () => response.end(`${length} ${hash.digest('hex')}`));
}

import type { ClientRequestArgs } from 'node:http';
import { duplexFromStream, errorCode, NetError, type Stream, toNetError } from '@nekit/core';
import { WebSocket } from 'ws';
import { printable } from '../printable.js';
import { WebSocketStream } from './websocket-stream.js';

/** Of one message, in bytes. Servers send at most what they read at once, some 64 KiB. */
const MAX_PAYLOAD = 4 * 1024 * 1024;

/** Of the answer's head, in bytes. */
const MAX_HEAD = 16 * 1024;

const OPTIONS = {
  perMessageDeflate: false,
  followRedirects: false,
  skipUTF8Validation: true, // what is said in text is taken as bytes, as v2ray does
  maxPayload: MAX_PAYLOAD,
  closeTimeout: 10_000, // from our Close to the server's, in ms
};

export interface WebSocketTarget {
  /** `Host` of the request. */
  readonly host: string;
  /** With query; begins with "/". */
  readonly path: string;
  /** More fields, none of which frames a message. */
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * The opening handshake over a stream, which belongs to it. Rejects with a NetError, and the stream is aborted then; for a time limit
 * abort the stream.
 */
export function openWebSocket(base: Stream, target: WebSocketTarget): Promise<Stream> {
  return new Promise((resolve, reject) => {
    const request: ClientRequestArgs = {
      createConnection: () => duplexFromStream(base),
      headers: { ...target.headers, Host: target.host },
      maxHeaderSize: MAX_HEAD,
      insecureHTTPParser: false,
    };
    const socket = new WebSocket(`ws://localhost${target.path}`, { ...OPTIONS, ...request });
    const fail = (error: NetError): void => {
      reject(error);
      base.abort(error);
      socket.terminate();
    };
    socket.on('error', failed);
    socket.once('unexpected-response', (_request, response) => fail(refusal(response.statusCode ?? 0, response.statusMessage ?? '')));
    socket.once('open', () => {
      const stream = new WebSocketStream(socket);
      socket.off('error', failed);
      resolve(stream);
    });
    function failed(error: Error): void {
      fail(handshakeError(error));
    }
  });
}

function refusal(status: number, text: string): NetError {
  const hint = status === 404 || status === 400 ? ' (are "path" and "host" those of the server?)' : '';
  return new NetError('protocol', `the server refuses the WebSocket: HTTP ${status} ${printable(text, 60)}${hint}`, { code: 'SS_WEBSOCKET' });
}

/** What comes without a code are words of `ws` or of Node about the answer. */
function handshakeError(error: Error): NetError {
  const code = errorCode(error);
  if (code === '' || code.startsWith('HPE_')) {
    return new NetError('protocol', `the server does not answer as a WebSocket server: ${printable(error.message, 120)}`, {
      code: 'SS_WEBSOCKET',
      cause: error,
    });
  }
  return toNetError(error);
}

import http2, { type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import net from 'node:net';

export interface H2cProxy {
  readonly port: number;
  /** Connections from clients that are open now. */
  connections(): number;
  /** Connections that ever came. */
  accepted(): number;
  close(): Promise<void>;
}

export interface H2cProxyOptions {
  /** Answers itself instead of connecting; what it returns true for is not connected. */
  readonly intercept?: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => boolean;
}

const PROXY_STATUS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection_refused',
  ENOTFOUND: 'dns_error',
  EHOSTUNREACH: 'destination_ip_unroutable',
};

/** What a client may send ahead, in bytes. The default of 64 KiB is less than our streams buffer. */
const WINDOW = 1024 * 1024;

/** An HTTP/2 proxy (cleartext, CONNECT only) on 127.0.0.1, as RFC 9113 section 8.5 wants it. Plain Node, nothing of ours: it is the other side. */
export function startH2cProxy({ intercept = () => false }: H2cProxyOptions = {}): Promise<H2cProxy> {
  const sockets = new Set<net.Socket>();
  let accepted = 0;
  const server = http2.createServer({ settings: { initialWindowSize: WINDOW } });
  server.on('session', (session) => session.setLocalWindowSize(WINDOW));
  server.on('connection', (socket: net.Socket) => {
    accepted++;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('sessionError', () => {}); // clients of tests reset on purpose; 'close' follows
  server.on('stream', (stream, headers) => {
    stream.on('error', () => stream.close());
    if (!intercept(stream, headers)) connect(stream, String(headers[':authority']));
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      if (address === null || typeof address === 'string') {
        reject(new Error('no port'));
        return;
      }
      resolve({
        port: address.port,
        connections: () => sockets.size,
        accepted: () => accepted,
        close: () =>
          new Promise((done) => {
            for (const socket of sockets) socket.destroy();
            server.close(() => done());
          }),
      });
    });
  });
}

function connect(stream: ServerHttp2Stream, authority: string): void {
  const url = new URL(`tcp://${authority}`);
  const socket = net.connect({ host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port), allowHalfOpen: true });
  socket.once('error', (error: NodeJS.ErrnoException) => {
    if (stream.headersSent) stream.close(http2.constants.NGHTTP2_CONNECT_ERROR);
    else if (!stream.destroyed)
      stream.respond({ ':status': 502, 'proxy-status': `test; error=${PROXY_STATUS[error.code ?? ''] ?? 'proxy_internal_error'}` }, { endStream: true });
  });
  socket.once('connect', () => {
    if (stream.destroyed) {
      socket.destroy();
      return;
    }
    stream.respond({ ':status': 200 });
    socket.pipe(stream);
    stream.pipe(socket);
  });
  stream.once('close', () => {
    if (stream.rstCode === http2.constants.NGHTTP2_NO_ERROR) return;
    // Not while FIN is on its way: libuv refuses that (EINVAL), and Node then never closes the socket.
    if (socket.writableEnded && !socket.writableFinished) socket.once('finish', () => socket.resetAndDestroy());
    else socket.resetAndDestroy();
  });
}

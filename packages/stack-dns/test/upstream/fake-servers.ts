/** Name servers on loopback that say what a test wants. */
import { createSocket } from 'node:dgram';
import http2 from 'node:http2';
import net from 'node:net';
import tls from 'node:tls';

export interface FakeServer {
  readonly port: number;
  /** What was asked, in order; each is a whole message. */
  readonly queries: Uint8Array[];
  /** Where UDP questions came from. */
  readonly ports: number[];
  /** TCP connections so far. */
  connections(): number;
  /** Those that are there now. */
  open(): number;
  close(): Promise<void>;
}

export type Handler = (query: Uint8Array) => readonly Uint8Array[] | Promise<readonly Uint8Array[]>;

export async function udpServer(handler: Handler, port = 0): Promise<FakeServer> {
  const socket = createSocket('udp4');
  const queries: Uint8Array[] = [];
  const ports: number[] = [];
  socket.on('message', (bytes, from) => {
    const query = Uint8Array.from(bytes);
    queries.push(query);
    ports.push(from.port);
    void Promise.resolve(handler(query)).then((replies) => {
      for (const reply of replies) socket.send(reply, from.port, from.address);
    });
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, '127.0.0.1', resolve);
  });
  return {
    port: socket.address().port,
    queries,
    ports,
    connections: () => 0,
    open: () => 0,
    close: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}

export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

/** TCP, or TLS with a certificate. `closeAfter`: the connection is closed after so many answers. */
export async function tcpServer(
  handler: Handler,
  {
    certificate,
    port = 0,
    closeAfter = Number.POSITIVE_INFINITY,
  }: { readonly certificate?: Certificate; readonly port?: number; readonly closeAfter?: number } = {},
): Promise<FakeServer> {
  const queries: Uint8Array[] = [];
  const open = new Set<net.Socket>();
  let connections = 0;
  const serve = (socket: net.Socket): void => {
    connections++;
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => socket.destroy());
    let bytes = Buffer.alloc(0);
    let answered = 0;
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      while (bytes.length >= 2 && bytes.length >= 2 + bytes.readUInt16BE(0)) {
        const query = Uint8Array.from(bytes.subarray(2, 2 + bytes.readUInt16BE(0)));
        bytes = bytes.subarray(2 + query.length);
        queries.push(query);
        void Promise.resolve(handler(query)).then((replies) => {
          for (const reply of replies) socket.write(Buffer.concat([Uint8Array.of(reply.length >> 8, reply.length), reply]));
          if (++answered >= closeAfter) socket.end();
        });
      }
    });
  };
  const server = certificate === undefined ? net.createServer(serve) : tls.createServer({ ...certificate, ALPNProtocols: ['dot'] }, serve);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return { port: portOf(server), queries, ports: [], connections: () => connections, open: () => open.size, close: () => closing(server, open) };
}

export async function httpsServer(handler: Handler, certificate: Certificate, status = 200): Promise<FakeServer> {
  const queries: Uint8Array[] = [];
  const open = new Set<http2.ServerHttp2Session>();
  let connections = 0;
  const server = http2.createSecureServer({ ...certificate });
  server.on('session', (session) => {
    connections++;
    open.add(session);
    session.on('close', () => open.delete(session));
  });
  server.on('stream', (stream, headers) => {
    const parts: Buffer[] = [];
    stream.on('data', (part: Buffer) => parts.push(part));
    stream.on('end', () => {
      const query = Uint8Array.from(Buffer.concat(parts));
      queries.push(query);
      if (headers[':path'] !== '/dns-query' || headers['content-type'] !== 'application/dns-message') {
        stream.respond({ ':status': 404 }, { endStream: true });
        return;
      }
      void Promise.resolve(handler(query)).then((replies) => {
        stream.respond({ ':status': status, 'content-type': 'application/dns-message' });
        stream.end(replies[0]);
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: portOf(server),
    queries,
    ports: [],
    connections: () => connections,
    open: () => open.size,
    close: () => {
      for (const session of open) session.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

function portOf(server: net.Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a port');
  return address.port;
}

function closing(server: net.Server, open: ReadonlySet<net.Socket>): Promise<void> {
  for (const socket of open) socket.destroy();
  return new Promise((resolve) => server.close(() => resolve()));
}

/** One by UDP and one by TCP on the same port, which the system gives for one of them only: another process may have the other. */
export async function bothServers(udpHandler: Handler, tcpHandler: Handler): Promise<{ udp: FakeServer; tcp: FakeServer }> {
  for (let tries = 1; ; tries++) {
    const udp = await udpServer(udpHandler);
    try {
      return { udp, tcp: await tcpServer(tcpHandler, { port: udp.port }) };
    } catch (error) {
      await udp.close();
      if (tries === 20 || !(error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')) throw error;
    }
  }
}

import net from 'node:net';

export interface Target {
  readonly port: number;
  /** Connections that are open now. */
  connections(): number;
  /** Connections that ever came. */
  accepted(): number;
  close(): Promise<void>;
}

/** A TCP server on 127.0.0.1, port by the OS; it closes its connections when it closes. */
export function startTarget(handle: (socket: net.Socket) => void, host = '127.0.0.1'): Promise<Target> {
  const open = new Set<net.Socket>();
  let accepted = 0;
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    accepted++;
    open.add(socket);
    socket.on('error', () => socket.destroy()); // clients of tests reset on purpose
    socket.on('close', () => open.delete(socket));
    handle(socket);
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, host, () => {
      const address = server.address();
      if (address === null || typeof address === 'string') throw new Error('a TCP server has an address');
      resolve({
        port: address.port,
        connections: () => open.size,
        accepted: () => accepted,
        close: () =>
          new Promise((done) => {
            for (const socket of open) socket.destroy();
            server.close(() => done());
          }),
      });
    });
  });
}

/** Sends back what comes, and FIN after FIN. */
export function startEcho(host?: string): Promise<Target> {
  return startTarget((socket) => {
    socket.pipe(socket);
  }, host);
}

/**
 * Says nothing, and FIN after FIN: of a reset behind FIN Node tells nothing, so a target that keeps its half open would never see that its peer is gone.
 */
export function startSilent(host?: string): Promise<Target> {
  return startTarget((socket) => socket.resume().on('end', () => socket.end()), host);
}

/** A port on 127.0.0.1 where nothing listens (it was just closed). */
export async function closedPort(): Promise<number> {
  const target = await startTarget((socket) => socket.destroy());
  await target.close();
  return target.port;
}

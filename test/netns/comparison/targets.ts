/** The two that are compared: Linux's own TCP, and ours, each with an application that a scenario leads by hand. */
import net from 'node:net';
import { NetError, type Stream, systemClock } from '@nekit/core';
import { type PacketDevice, SeededRandom, StackDriver } from '@nekit/core/ip';
import { testStackContext } from '@nekit/core/testing';
import { DEFAULT_SETTINGS, TcpStack } from '@nekit/stack-tcp';

export type Side = 'linux' | 'ours';

/** Where somebody listens; on all others a SYN is refused. */
export const LISTENED = 7_000;
export const CLOSED = 7_001;

/** The application's end of one connection. */
export interface App {
  write(length: number): void;
  /** FIN. */
  end(): void;
  /** RST (SO_LINGER with 0). */
  abort(): void;
  /** Both ways at once, as close(2). */
  close(): void;
  /** Reads from now on, if it did not yet. */
  read(): void;
}

/** Applications by the client's port. Those in `lazy` do not read until they are told. */
export class Apps {
  readonly lazy = new Set<number>();
  readonly #apps = new Map<number, App>();

  of(port: number): App {
    const app = this.#apps.get(port);
    if (app === undefined) throw new Error(`no connection of port ${port} was accepted`);
    return app;
  }

  has(port: number): boolean {
    return this.#apps.has(port);
  }

  add(port: number, app: App): void {
    this.#apps.set(port, app);
    if (!this.lazy.has(port)) app.read();
  }
}

export async function listenOnLinux(hosts: readonly string[]): Promise<{ apps: Apps; close(): void }> {
  const apps = new Apps();
  const servers = hosts.map((host) =>
    net
      .createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
        socket.on('error', () => {}); // what happened is seen on the wire
        apps.add(socket.remotePort ?? 0, {
          write: (length) => void socket.write(new Uint8Array(length).fill(0x2e)),
          end: () => void socket.end(),
          abort: () => void socket.resetAndDestroy(),
          close: () => void socket.destroy(),
          read: () => void socket.resume(),
        });
      })
      .listen({ host, port: LISTENED, backlog: 4_096 }),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.once('listening', resolve))));
  return { apps, close: () => servers.forEach((server) => void server.close()) };
}

/** Our stack on a device, and nothing else of the kernel. */
export function listenOnOurs(device: PacketDevice): { apps: Apps; stack: TcpStack; close(): void } {
  const apps = new Apps();
  const random = new SeededRandom(1);
  const driver = new StackDriver({ device, clock: systemClock });
  const context = testStackContext({
    output: driver.output,
    handleStream: async (request) => {
      const { requested, source } = request.session;
      if (requested.port !== LISTENED) return request.reject(new NetError('refused', 'nobody listens there'));
      const stream = await request.accept().catch(() => null); // what happened is seen on the wire
      if (stream !== null) apps.add(source?.port ?? 0, appOn(stream));
    },
    random: (length) => random.bytes(length),
  });
  const stack = new TcpStack(DEFAULT_SETTINGS, context);
  driver.start([stack]);
  return { apps, stack, close: () => driver.close() };
}

function appOn(stream: Stream): App {
  const ignore = (): void => {}; // what happened is seen on the wire
  const read = async (): Promise<void> => {
    for (let chunks = await stream.read(); chunks !== null; ) chunks = await stream.read();
  };
  return {
    write: (length) => void stream.write([new Uint8Array(length).fill(0x2e)]).catch(ignore),
    end: () => void stream.closeWrite().catch(ignore),
    abort: () => stream.abort(new NetError('aborted', 'the scenario cuts it off')),
    close: () => stream.abort(new NetError('aborted', 'the scenario closes it')),
    read: () => void read().catch(ignore),
  };
}

import net from 'node:net';
import { addressFamily, normaliseAddress } from '../../net/address.js';
import type { Endpoint } from '../../net/endpoint.js';
import { NetError, toNetError } from '../../net/errors.js';
import { reset, streamFromSocket } from '../../net/socket-stream.js';
import {
  type BoundListener,
  type Incoming,
  isSocketPath,
  type ListenHandlers,
  type ListenOptions,
  type SocketOptions,
  type Sockets,
} from '../../net/sockets.js';
import type { Stream } from '../../net/stream.js';
import type { UdpHandlers, UdpOptions, UdpSocket } from '../../net/udp.js';
import { NodeUdp } from './node-udp.js';

/** What `node:net` has no call for. */
const UNSUPPORTED = ['mark', 'device', 'fastOpen', 'multipath'] as const;

const UNSUPPORTED_UDP = ['mark', 'device', 'reusePort'] as const;

/** Sockets by `node:net`: where the addon is missing. */
export class NodeSockets implements Sockets {
  readonly kind = 'node';
  readonly #servers = new Set<net.Server>();

  async listen({ host, port, backlog, reusePort }: ListenOptions, handlers: ListenHandlers): Promise<BoundListener> {
    if (reusePort === true) throw notHere('reusePort');
    const path = isSocketPath(host) ? host : null;
    const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => accept(socket, handlers, path));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      const where = path === null ? { host, port, ipv6Only: host !== '::' && host.includes(':') } : { path };
      server.listen({ ...where, backlog }, () => {
        server.off('error', reject);
        resolve();
      });
    });
    server.on('error', (error) => handlers.failed(toNetError(error)));
    this.#servers.add(server);
    const address = server.address();
    return {
      port: path !== null ? 0 : address !== null && typeof address === 'object' ? address.port : port,
      close: () => {
        this.#servers.delete(server);
        server.close(); // its callback would wait for all connections; those live on
      },
    };
  }

  connect(
    address: string,
    port: number,
    options: SocketOptions,
    opened: (stream: Stream) => void,
    failed: (error: NetError) => void,
    closed?: () => void,
  ): () => void {
    const unsupported = UNSUPPORTED.find((key) => options[key] !== undefined && options[key] !== false);
    if (unsupported !== undefined) {
      let given = false;
      queueMicrotask(() => {
        if (!given) failed(notHere(unsupported));
      });
      return () => {
        given = true;
      };
    }
    const socket = net.connect({
      ...(isSocketPath(address) ? { path: address } : { host: address, port, family: addressFamily(address) }),
      allowHalfOpen: true,
      noDelay: true,
      autoSelectFamily: false,
      ...(options.sourceAddress === undefined ? {} : { localAddress: options.sourceAddress }),
      ...(options.keepAliveSeconds === undefined ? {} : { keepAlive: true, keepAliveInitialDelay: options.keepAliveSeconds * 1000 }),
    });
    let done = false;
    const fail = (error: Error): void => {
      if (done) return;
      done = true;
      reset(socket);
      failed(toNetError(error));
    };
    // Stays until the stream has its own: an error between would end the process.
    socket.on('error', fail);
    socket.once('connect', () => {
      if (done) return;
      done = true;
      const stream = streamFromSocket(socket, undefined, closed);
      socket.off('error', fail);
      opened(stream);
    });
    return () => {
      if (done) return;
      done = true;
      reset(socket);
    };
  }

  bindUdp(options: UdpOptions, handlers: UdpHandlers): UdpSocket {
    const unsupported = UNSUPPORTED_UDP.find((key) => options[key] !== undefined && options[key] !== false);
    if (unsupported !== undefined) throw notHere(unsupported);
    return new NodeUdp(options, handlers);
  }

  close(): void {
    for (const server of this.#servers) server.close();
    this.#servers.clear();
  }
}

function accept(socket: net.Socket, handlers: ListenHandlers, path: string | null): void {
  const source = path === null ? endpointOf(socket.remoteAddress, socket.remotePort) : { host: path, port: 0 };
  if (source === null) {
    socket.destroy(); // gone already
    return;
  }
  const incoming: Incoming = {
    source,
    local: () => endpointOf(socket.localAddress, socket.localPort),
    refuse: () => {
      socket.on('error', () => socket.destroy());
      reset(socket); // a FIN would leave a half-open client waiting
    },
    open: (onAbort, onClose) => streamFromSocket(socket, onAbort, onClose),
  };
  handlers.connection(incoming);
}

function endpointOf(address: string | undefined, port: number | undefined): Endpoint | null {
  if (address === undefined || port === undefined) return null;
  return { host: normaliseAddress(address) ?? address, port };
}

function notHere(what: string): NetError {
  return new NetError('protocol', `${what} needs the native addon, which is not in use`, { code: 'NATIVE_NEEDED' });
}

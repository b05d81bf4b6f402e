import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { addressFamily, normaliseAddress } from '../../net/address.js';
import { EndpointTable } from '../../net/endpoint-table.js';
import { toNetError } from '../../net/errors.js';
import { MAX_UDP_PAYLOAD, type UdpHandlers, type UdpOptions, type UdpSocket } from '../../net/udp.js';

/** What the system may hold for us each way, in bytes. It takes less where it says so. */
const KERNEL_BUFFER = 1024 * 1024;

/** What Node may hold for us before we drop, in bytes. */
const MAX_SEND_QUEUE = 1024 * 1024;

/** A UDP socket of `node:dgram`. */
export class NodeUdp implements UdpSocket {
  readonly family: 4 | 6;
  readonly port: number;
  readonly #host: string;
  readonly #socket: Socket;
  readonly #handlers: UdpHandlers;
  readonly #peers = new EndpointTable();
  #closed = false;

  /** Throws an error whose `code` is the system's. */
  constructor({ host, port }: UdpOptions, handlers: UdpHandlers) {
    this.family = addressFamily(host) === 6 ? 6 : 4;
    this.#host = host;
    this.#handlers = handlers;
    this.#socket = createSocket({
      type: this.family === 6 ? 'udp6' : 'udp4',
      ipv6Only: this.family === 6,
      lookup: literalOnly,
      recvBufferSize: KERNEL_BUFFER,
      sendBufferSize: KERNEL_BUFFER,
    });
    this.port = bindNow(this.#socket, host, port);
    this.#socket.on('message', (bytes, from) => this.#received(bytes, from));
    this.#socket.on('error', (error) => {
      this.close();
      handlers.failed(toNetError(error, 'the UDP socket'));
    });
  }

  put(bytes: Uint8Array, start: number, end: number, address: string, port: number, head?: Uint8Array): boolean {
    const length = end - start + (head?.length ?? 0);
    if (this.#closed || length > MAX_UDP_PAYLOAD || addressFamily(address) !== this.family || port === 0) return false;
    if (this.#socket.getSendQueueSize() > MAX_SEND_QUEUE) return false;
    const payload = bytes.subarray(start, end);
    this.#socket.send(head === undefined ? Buffer.from(payload) : Buffer.concat([head, payload]), port, address, this.#sent);
    return true;
  }

  flush(): number {
    return 0; // it is all on its way
  }

  send(bytes: Uint8Array, start: number, end: number, address: string, port: number): boolean {
    return this.#hasWayTo(address, port) && this.put(bytes, start, end, address, port);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
  }

  /** dgram tells a turn later that nothing could be sent. Connecting a socket sends nothing and is done, or has failed, when the call returns: as in `bindNow`. */
  #hasWayTo(address: string, port: number): boolean {
    if (this.#closed || addressFamily(address) !== this.family || port === 0) return false;
    const probe = createSocket({ type: this.family === 6 ? 'udp6' : 'udp4', lookup: literalOnly });
    try {
      bindNow(probe, this.#host, 0); // routes may go by where it comes from
    } catch {
      return true; // no descriptor is left: nobody knows
    }
    probe.on('error', () => {}); // the failure once more
    probe.connect(port, address);
    try {
      probe.remoteAddress();
      return true;
    } catch {
      return false; // not connected
    } finally {
      probe.close();
    }
  }

  readonly #sent = (error: Error | null): void => {
    if (error !== null && !this.#closed) this.#handlers.lost?.(1);
  };

  #received(bytes: Uint8Array, from: RemoteInfo): void {
    if (this.#closed) return;
    const peer = this.#peers.get(normaliseAddress(from.address) ?? from.address, from.port);
    this.#handlers.received({ length: 1, bytes, start: [0], end: [bytes.length], peer: [peer] });
  }
}

/** The real port. Since nothing is looked up, dgram binds before `bind` returns. */
function bindNow(socket: Socket, address: string, port: number): number {
  const failures: Error[] = [];
  const failed = (error: Error): number => failures.push(error);
  socket.on('error', failed);
  try {
    socket.bind({ address, port, exclusive: true });
    const [failure] = failures;
    if (failure !== undefined) throw failure;
    return socket.address().port;
  } catch (error) {
    socket.close();
    throw error;
  } finally {
    socket.off('error', failed);
  }
}

/** Only addresses get here; dgram would look each of them up, and send a turn later. */
function literalOnly(host: string, _options: unknown, callback: (error: NodeJS.ErrnoException | null, address: string, family: number) => void): void {
  callback(null, host, addressFamily(host));
}

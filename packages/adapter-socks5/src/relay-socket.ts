import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { addressFamily, type Datagram, NetError, normaliseAddress, toNetError } from '@nekit/core';
import { PeerTable } from './peer-table.js';
import { MAX_DATAGRAM, parseRelayed, RelayHeaders } from './udp-header.js';

/** What the kernel may hold for us before we drop, in bytes. */
const MAX_SEND_QUEUE = 1024 * 1024;

/** The client of an association. `port` is null until its first datagram shows it. */
interface RelayClient {
  readonly host: string;
  readonly port: number | null;
}

/**
 * The UDP socket that one association's client talks to: takes datagrams from that client alone and unwraps them, wraps the answers.
 * The port, once known, is locked: another program on the client's machine cannot join in.
 */
export class RelaySocket {
  /** A datagram of the client; `port` is where it came from. Its bytes are the callee's. */
  onDatagram: ((datagram: Datagram, port: number) => void) | null = null;
  onError: ((error: NetError) => void) | null = null;
  readonly port: number;
  readonly #socket: Socket;
  readonly #host: string;
  readonly #peers = new PeerTable();
  readonly #headers = new RelayHeaders();
  #clientPort: number | null;
  #closed = false;
  /** Datagrams of strangers, fragments, malformed ones, and answers that could not be sent. */
  dropped = 0;

  constructor(socket: Socket, client: RelayClient) {
    this.#socket = socket;
    this.#host = client.host;
    this.#clientPort = client.port;
    this.port = socket.address().port;
    socket.on('message', (bytes, from) => this.#received(bytes, from));
    socket.on('error', (error) => this.onError?.(toNetError(error, 'the UDP relay')));
  }

  /** Synchronous; how many were taken. The rest is dropped and counted. */
  send(datagrams: readonly Datagram[]): number {
    let taken = 0;
    const port = this.#clientPort;
    if (!this.#closed && port !== null) {
      for (const datagram of datagrams) if (this.#sendOne(datagram, port)) taken++;
    }
    this.dropped += datagrams.length - taken;
    return taken;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.onDatagram = null;
    this.onError = null;
    this.#socket.close();
  }

  #received(bytes: Uint8Array, from: RemoteInfo): void {
    const relayed = this.#isClient(from) ? parseRelayed(bytes, this.#peers) : null;
    if (relayed === null) {
      this.dropped++;
      return;
    }
    this.#clientPort ??= from.port;
    this.onDatagram?.({ bytes: relayed.payload, peer: relayed.peer }, from.port);
  }

  #isClient({ address, port }: RemoteInfo): boolean {
    if (this.#clientPort !== null && port !== this.#clientPort) return false;
    return address === this.#host || normaliseAddress(address) === this.#host;
  }

  #sendOne({ bytes, peer }: Datagram, port: number): boolean {
    const header = this.#headers.of(peer);
    if (header === null || header.length + bytes.length > MAX_DATAGRAM || this.#socket.getSendQueueSize() > MAX_SEND_QUEUE) return false;
    const wrapped = Buffer.allocUnsafe(header.length + bytes.length);
    wrapped.set(header);
    wrapped.set(bytes, header.length);
    this.#socket.send(wrapped, port, this.#host, this.#sent);
    return true;
  }

  readonly #sent = (error: Error | null): void => {
    if (error !== null) this.dropped++; // too long for the path, no route: UDP's answer is silence
  };
}

/** A relay socket on one address of ours and a port by the OS. Rejects with NetError. */
export function bindRelay(host: string, client: RelayClient): Promise<RelaySocket> {
  const family = addressFamily(host);
  // Bound to every address it would be open to every network that the machine is in.
  if (family === 0 || host === '0.0.0.0' || host === '::') {
    return Promise.reject(new NetError('unreachable', 'the client did not come over an address that a UDP relay could listen on', { code: 'NO_ADDRESS' }));
  }
  const socket = createSocket({ type: family === 6 ? 'udp6' : 'udp4', lookup: literalOnly });
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => {
      socket.close();
      reject(toNetError(error, 'the UDP relay'));
    };
    socket.once('error', failed);
    socket.bind({ address: host, port: 0, exclusive: true }, () => {
      socket.off('error', failed);
      resolve(new RelaySocket(socket, client));
    });
  });
}

/** Only addresses get here; dgram would look each of them up, and send a turn later. */
function literalOnly(host: string, _options: unknown, callback: (error: NodeJS.ErrnoException | null, address: string, family: number) => void): void {
  callback(null, host, addressFamily(host));
}

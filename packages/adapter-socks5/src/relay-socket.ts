import { addressFamily, type Datagram, type Endpoint, keepBatch, NetError, type Sockets, toNetError, type UdpBatch, type UdpSocket } from '@nekit/core';
import { PeerTable } from './peer-table.js';
import { parseRelayed, RelayHeaders } from './udp-header.js';

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
  /** Datagrams of the client, at least one; `port` is where they came from. Their bytes are the callee's. */
  onDatagrams: ((datagrams: readonly Datagram[], port: number) => void) | null = null;
  onError: ((error: NetError) => void) | null = null;
  readonly #socket: UdpSocket;
  readonly #host: string;
  readonly #peers = new PeerTable();
  readonly #headers = new RelayHeaders();
  #clientPort: number | null;
  #closed = false;
  /** Datagrams of strangers, fragments, malformed ones, and answers that could not be sent. */
  dropped = 0;

  /** Throws what `bindUdp` throws. */
  constructor(sockets: Pick<Sockets, 'bindUdp'>, host: string, client: RelayClient) {
    this.#host = client.host;
    this.#clientPort = client.port;
    this.#socket = sockets.bindUdp(
      { host, port: 0 },
      {
        received: (batch) => this.#received(batch),
        lost: (datagrams) => {
          this.dropped += datagrams; // too long for the path, no route: UDP's answer is silence
        },
        failed: (error) => this.onError?.(error),
      },
    );
  }

  get port(): number {
    return this.#socket.port;
  }

  /** Synchronous; how many were taken. The rest is dropped and counted. */
  send(datagrams: readonly Datagram[]): number {
    let taken = 0;
    const port = this.#clientPort;
    if (!this.#closed && port !== null) {
      for (const datagram of datagrams) if (this.#put(datagram, port)) taken++;
      taken -= this.#socket.flush();
    }
    this.dropped += datagrams.length - taken;
    return taken;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.onDatagrams = null;
    this.onError = null;
    this.#socket.close();
  }

  #received(batch: UdpBatch): void {
    const datagrams: Datagram[] = [];
    for (const { bytes, peer } of keepBatch(batch)) {
      const relayed = this.#isClient(peer) ? parseRelayed(bytes, this.#peers) : null;
      if (relayed === null) {
        this.dropped++;
        continue;
      }
      this.#clientPort ??= peer.port;
      datagrams.push({ bytes: relayed.payload, peer: relayed.peer });
    }
    if (datagrams.length > 0 && this.#clientPort !== null) this.onDatagrams?.(datagrams, this.#clientPort);
  }

  #isClient({ host, port }: Endpoint): boolean {
    return (this.#clientPort === null || port === this.#clientPort) && host === this.#host;
  }

  #put({ bytes, peer }: Datagram, port: number): boolean {
    const header = this.#headers.of(peer);
    return header !== null && this.#socket.put(bytes, 0, bytes.length, this.#host, port, header);
  }
}

/** A relay socket on one address of ours and a port by the OS. Throws NetError. */
export function bindRelay(sockets: Pick<Sockets, 'bindUdp'>, host: string, client: RelayClient): RelaySocket {
  // Bound to every address it would be open to every network that the machine is in.
  if (addressFamily(host) === 0 || host === '0.0.0.0' || host === '::') {
    throw new NetError('unreachable', 'the client did not come over an address that a UDP relay could listen on', { code: 'NO_ADDRESS' });
  }
  try {
    return new RelaySocket(sockets, host, client);
  } catch (error) {
    throw toNetError(error, 'the UDP relay');
  }
}

import {
  abortQuietly,
  addressFamily,
  attempt,
  type Datagram,
  type Deadline,
  type Endpoint,
  NetError,
  type PacketConn,
  type Stream,
  type TimerWheel,
  timeoutError,
  toNetError,
} from '@nekit/core';
import { PeerTable } from './peer-table.js';
import { parseRelayed, RelayHeaders } from './udp-header.js';

/** The first size of the buffer that a datagram is put together in; it grows to what is needed. */
const SCRATCH = 2048;

/** How long the server may take to hang up after we did, in ms. */
const LINGER = 2_000;

/** Datagrams to any peer through the relay of one SOCKS5 association. */
export class AssociatedPackets implements PacketConn {
  readonly #control: Stream;
  readonly #socket: PacketConn;
  readonly #relay: Endpoint;
  readonly #peers = new PeerTable();
  readonly #headers = new RelayHeaders();
  #scratch = new Uint8Array(SCRATCH);
  /**
   * The relay as the socket knows it, once it has answered. A relay that has a name is learned from the first datagram that comes from
   * its port, and kept; datagrams then go straight to that address, too.
   */
  #relayPeer: Endpoint | null = null;
  readonly #timers: TimerWheel;
  #lingering: Deadline | null = null;
  #closed = false;
  #error: NetError | null = null;
  #dropped = 0;

  /** `control` and `socket` belong to it from here on. */
  constructor(control: Stream, socket: PacketConn, relay: Endpoint, timers: TimerWheel) {
    this.#timers = timers;
    this.#control = control;
    this.#socket = socket;
    this.#relay = relay;
    void this.#watchControl();
  }

  get error(): NetError | null {
    return this.#error;
  }

  /** Datagrams that were not taken on the way out, or not from the relay or not valid on the way in. */
  get dropped(): number {
    return this.#dropped;
  }

  async receive(): Promise<readonly Datagram[] | null> {
    for (;;) {
      const received = this.#closed ? null : await this.#socket.receive();
      if (received === null) {
        this.#end(this.#socket.error, this.#socket.error !== null);
        return null;
      }
      const datagrams: Datagram[] = [];
      for (const { bytes, peer } of received) {
        const relayed = this.#isRelay(peer) ? parseRelayed(bytes, this.#peers) : null;
        if (relayed === null) this.#dropped++;
        else datagrams.push({ bytes: relayed.payload, peer: relayed.peer });
      }
      if (datagrams.length > 0) return datagrams;
    }
  }

  send(datagrams: readonly Datagram[]): number {
    let taken = 0;
    if (!this.#closed) {
      for (const datagram of datagrams) if (this.#sendOne(datagram)) taken++;
    }
    this.#dropped += datagrams.length - taken;
    return taken;
  }

  close(error?: NetError): void {
    this.#end(error ?? null, error !== undefined);
  }

  #sendOne({ bytes, peer }: Datagram): boolean {
    const header = this.#headers.of(peer);
    if (header === null) return false;
    const length = header.length + bytes.length;
    if (length > this.#scratch.length) this.#scratch = new Uint8Array(Math.max(length, 2 * this.#scratch.length));
    this.#scratch.set(header);
    this.#scratch.set(bytes, header.length);
    // One at a time: the socket copies what it keeps, so one buffer serves for all of them.
    return this.#socket.send([{ bytes: this.#scratch.subarray(0, length), peer: this.#relayPeer ?? this.#relay }]) === 1;
  }

  #isRelay(peer: Endpoint): boolean {
    if (peer === this.#relayPeer) return true;
    const { host, port } = this.#relayPeer ?? this.#relay;
    if (peer.port !== port || (peer.host !== host && addressFamily(host) !== 0)) return false;
    this.#relayPeer = peer;
    return true;
  }

  /** Nothing is expected on the control connection but its end. */
  async #watchControl(): Promise<void> {
    let reason: unknown = null;
    try {
      while ((await this.#control.read()) !== null);
    } catch (error) {
      reason = error;
    }
    this.#end(new NetError('aborted', 'the SOCKS5 server ended the UDP association', { code: 'SOCKS5_ASSOCIATION_ENDED', cause: reason }), false);
    this.#lingering?.cancel();
  }

  /** `reset`: RST at once. Otherwise FIN, and RST for a server that does not answer it: an association that just ends is no error to anybody. */
  #end(error: NetError | null, reset: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#error = error;
    this.#socket.close();
    const control = this.#control;
    if (reset) {
      abortQuietly(control, error ?? new NetError('aborted', 'the UDP association was closed'));
      return;
    }
    this.#lingering = this.#timers.after(LINGER, () => abortQuietly(control, timeoutError('the end of the UDP association', LINGER)));
    attempt(() => control.closeWrite()).catch((failed: unknown) => abortQuietly(control, toNetError(failed)));
  }
}

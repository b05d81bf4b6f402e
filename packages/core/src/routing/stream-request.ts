import type { Cancel } from '../net/cancel.js';
import type { Endpoint } from '../net/endpoint.js';
import type { NetError } from '../net/errors.js';
import type { PacketConn } from '../net/packet-conn.js';
import type { Session } from '../net/session.js';
import type { Stream } from '../net/stream.js';

/** A client's wish for a connection. Exactly one of `accept` and `reject` is called, once: dial first, then accept. */
export interface StreamRequest {
  readonly session: Session;
  /** Tells the client yes (SYN-ACK, 200, REP 0) and gives its stream, handshake bytes removed. Rejects with a NetError if it has left. */
  accept(): Promise<Stream>;
  /** Tells the client why not (RST, 403/502/504, REP n). Never throws. */
  reject(error: NetError): void;
}

/**
 * A client's UDP association. Its datagrams may go to many peers; each new peer is routed on its own, and all peers that one adapter
 * carries share one outgoing association (endpoint-independent mapping).
 */
export interface PacketRequest {
  /** `requested` is the peer of the datagram that it was opened for; `handlePackets` makes a session of its own per adapter, and for whatever other peers come. */
  readonly session: Session;
  /** Silence that ends what carries the client's datagrams, in ms; default: the kernel's `timeouts.udpIdle`. */
  readonly idleMs?: number;
  /** The client's side: `receive` gives what the client sent, `send` goes to the client with the peer as its source. */
  accept(): PacketConn;
  /**
   * What the last datagram to `peer` asked for was refused (ICMP, where the inbound has it: RFC 1122 section 4.1.3.1); told of each of them, so who has one answer takes no notice of the rest. Without a
   * peer: the first datagram's. The association itself goes on. Never throws.
   */
  reject(error: NetError, peer?: Endpoint): void;
}

export type HandleStream = (request: StreamRequest) => Promise<void>;
export type HandlePackets = (request: PacketRequest) => Promise<void>;

/** A session on its way: opened and routed, not yet dialled. `end` must be called, once. */
export interface RoutedStream {
  /** Names the adapter that carries it; another one after a reload. Streams of one key and one destination are alike. */
  readonly key: string;
  /** Fires when the client has left, or when this session is to be ended. */
  readonly signal: Cancel;
  /** A new stream to the session's destination through the adapter. Rejects with a NetError. */
  dial(): Promise<Stream>;
  /** Bytes so far, up at `slot`, down at `slot + 1`; the inbound adds to them. */
  readonly counters: Float64Array;
  readonly slot: number;
  /** Reports the session as ended. */
  end(error: NetError | null): void;
}

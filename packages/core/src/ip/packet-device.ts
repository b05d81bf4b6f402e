import type { NetError } from '../net/errors.js';
import type { HeldBytes } from '../net/stream.js';
import type { Arena } from './arena.js';
import type { PacketBatch } from './packet-batch.js';

/** Where packets are written: room in the device's slab. */
export interface PacketSink {
  readonly bytes: Uint8Array;
  /** The longest IP packet that leaves as it is, in bytes. */
  readonly mtu: number;
  /** The longest that may be reserved with a segment size; 0 where the device cannot cut packets. */
  readonly largest: number;
  /** The longest packet that may be lent, where that is more than `largest`. Its IP header says 0 where the length field cannot say how long it is (as Linux's BIG TCP does). */
  readonly largestLent?: number;
  /**
   * Room for one IP packet, which must be written whole before the next call: the offset in `bytes`, or -1 when it is full (drop it; TCP sends again). `segmentSize` 0: it leaves as
   * it is. Else it is a TCP or UDP packet that may be longer than the MTU, and is cut into packets with so much payload each, or handed on whole where the other side can take it.
   * The IPv4 header's checksum and those of ICMP are the writer's, those of TCP and UDP the sink's.
   */
  reserve(length: number, segmentSize: number): number;
  /**
   * The same for a TCP packet whose payload need not be copied: room for `length` bytes of headers; the payload is `bytes[from, from + more)`, and must stay there as it is until
   * `flush`. Sinks that have one have both.
   */
  lend?(length: number, from: number, more: number, segmentSize: number): number;
  /**
   * The same with bytes that are still in a socket, from `position` on, where they must stay until `flush`. What is no longer there then is not sent. -1: they cannot be had, or it is full. Sinks
   * that have it have `lend`.
   */
  lendFrom?(length: number, held: HeldBytes, position: number, more: number, segmentSize: number): number;
  /** Sends what has been reserved, now. */
  flush?(): void;
}

export interface DeviceHandlers {
  /** Packets, lent until it returns. Never called from inside of `flush`. `more`: it is called again at once, maybe with none, so that what is to be said can wait until then. */
  packets(batch: PacketBatch, more?: boolean): void;
  /** The device is gone; nothing comes any more. */
  failed(error: NetError): void;
}

/** Something that carries IP packets: a TUN, a pair in memory, a capture. */
export interface PacketDevice {
  readonly name: string;
  readonly sink: PacketSink;
  /** Memory for buffers, in the same slab as the packets where the device can: copies then allocate nothing. */
  readonly arena: Arena;
  /** Packets come from here on. Once. */
  start(handlers: DeviceHandlers): void;
  /** Sends what has been reserved since the last time, in one go. */
  flush(): void;
  /** Idempotent. */
  close(): void;
}

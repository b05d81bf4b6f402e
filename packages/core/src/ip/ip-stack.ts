import type { Arena } from './arena.js';
import type { PacketBatch } from './packet-batch.js';
import type { PacketSink } from './packet-device.js';
import type { PathMtus } from './path-mtu.js';

/**
 * What turns packets into something else. Stacks of one device are asked in their order; the first that takes a packet has it.
 * What one throws on a TUN is told once, and costs the packet. Nothing of it waits: per packet there is no promise, no event, no closure and no allocation.
 */
export interface IpStack {
  /** Looks at one packet of a batch; true: taken. The batch is lent until it returns. Writing is `flush`'s, but for what cannot wait until then. */
  input(batch: PacketBatch, index: number): boolean;
  /** Once at the end of a batch, or of several that came one after the other, after `wake`, and when the deadline has come: does what is due and writes what is to be sent. */
  flush(now: number): void;
  /** When `flush` must be called at the latest, on the clock of `now`; Infinity: not by itself. */
  nextDeadline(): number;
  /** Ends everything at once. Idempotent. */
  close(): void;
}

/** What a stack is given to speak with. */
export interface StackOutput {
  readonly sink: PacketSink;
  readonly arena: Arena;
  /** Narrower paths than the device, of packets that can be cut: all but those of TCP. */
  readonly paths: PathMtus;
  /** Asks for `flush` in this turn, once, however often it is called: a dial has finished, a socket is readable. */
  wake(): void;
  /** Monotonic milliseconds. */
  now(): number;
}

import { type Arena, FLAG, type PacketSink } from '@nekit/core/ip';
import type { OwnAddresses } from './addresses.js';
import { COUNT, Counters } from './counters.js';
import type { Flow, FlowAddress } from './flow.js';
import { RangePool } from './range-pool.js';
import type { ReceiveQueue } from './receive-queue.js';
import type { Replies } from './replies.js';
import type { TcpSettings } from './settings.js';

/** Of the arena: above the one, nothing is kept that is not in order, and what there is of it goes until no more than the other is in use. */
const FULL = 0.9;
const RELIEVED = 0.75;
/** From here on islands have to be worth their memory: less than the half from which on windows do not grow, so that islands alone do not bring that about. */
const SCARCE = 0.375;

/** What all connections of one stack share. */
export class TcpEnvironment {
  readonly settings: TcpSettings;
  readonly arena: Arena;
  readonly sink: PacketSink;
  readonly counters = new Counters();
  readonly ranges = new RangePool();
  readonly replies: Replies;
  readonly ownAddresses: OwnAddresses;
  /** Of the next packet that routers may cut. */
  identification = 0;
  /** How far our windows are shifted, where the peer can. */
  readonly windowShift: number;
  /** What one buffer may take, in bytes: less and less as the arena fills up. */
  bufferCap: number;
  /** What windows have grown by. */
  #grown = 0;
  /** Somebody could not grow: windows that others do not use any more are to be taken back. */
  isSweepDue = false;
  /** Those with islands, the oldest first. */
  readonly #holders = new Set<ReceiveQueue>();
  readonly #touch: (flow: Flow) => void;

  constructor(settings: TcpSettings, arena: Arena, sink: PacketSink, replies: Replies, ownAddresses: OwnAddresses, touch: (flow: Flow) => void) {
    this.settings = settings;
    this.arena = arena;
    this.sink = sink;
    this.replies = replies;
    this.ownAddresses = ownAddresses;
    this.bufferCap = settings.maxWindow;
    this.#touch = touch;
    let shift = 0;
    while (0xffff << shift < settings.maxWindow) shift++;
    this.windowShift = shift;
  }

  /** `flush` is to look at it. */
  touch(flow: Flow): void {
    this.#touch(flow);
  }

  /** What comes too early must show that it is worth its memory. */
  get isScarce(): boolean {
    return this.arena.used >= this.arena.size * SCARCE;
  }

  /** What memory is left is for what comes in order. */
  get isFull(): boolean {
    return this.arena.used >= this.arena.size * FULL;
  }

  /** It has islands: they go when memory is short. */
  hold(queue: ReceiveQueue): void {
    if (queue.holders !== null) return;
    queue.holders = this.#holders;
    this.#holders.add(queue);
  }

  /** Islands that wait for longest go first: the gap in front of an honest peer's is filled soon. */
  #reclaim(): void {
    for (const queue of this.#holders) {
      if (this.arena.used < this.arena.size * RELIEVED) return;
      queue.dropIslands();
    }
  }

  /** Once per flush. A buffer that is larger than its cap already stays so. */
  measurePressure(): void {
    if (this.isFull) this.#reclaim();
    const { used, size } = this.arena;
    const { maxWindow } = this.settings;
    if (used < size >> 1) this.bufferCap = maxWindow;
    else if (used < size * RELIEVED) this.bufferCap = Math.min(maxWindow, 256 * 1024);
    else if (used < size * FULL) this.bufferCap = Math.min(maxWindow, 64 * 1024);
    else this.bufferCap = Math.min(maxWindow, 8 * 1024);
  }

  get grownWindows(): number {
    return this.#grown;
  }

  /** Whether a window may grow by so much. */
  growWindow(bytes: number): boolean {
    if (bytes <= 0 || this.bufferCap < this.settings.maxWindow) return false;
    if (this.#grown + bytes > this.settings.windowBudget) {
      this.isSweepDue = true;
      return false;
    }
    this.#grown += bytes;
    return true;
  }

  /** A connection that had grown its window does not need it any more. */
  shrinkWindow(bytes: number): void {
    this.#grown -= bytes;
  }

  count(index: number): void {
    this.counters.add(index);
  }

  /** RST to who acknowledges what was never sent, with the number that it has: RFC 9293 sections 3.10.7.2 and 3.10.7.4. */
  refuseAck(flow: FlowAddress, acknowledgment: number): void {
    this.count(this.replies.segment(flow, acknowledgment, 0, FLAG.rst) ? COUNT.resetsSent : COUNT.dropReply);
  }

  /** A drop, and the segment it was. */
  received(bytes: number): void {
    this.counters.add(COUNT.segmentsIn);
    this.counters.addBytes(COUNT.bytesIn, bytes);
  }
}

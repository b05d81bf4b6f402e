import { randomBytes } from 'node:crypto';
import { BatchParser } from '../../ip/batch-parser.js';
import type { IpStack } from '../../ip/ip-stack.js';
import type { PacketBatch } from '../../ip/packet-batch.js';
import { IPV6_HEADER, LONGEST_PACKET, PROTOCOL } from '../../ip/protocol.js';
import { Reassembly } from '../../ip/reassembly.js';

/** Stands in front of the others: they see whole packets only. */
export class FragmentStack implements IpStack {
  readonly reassembly = new Reassembly();
  readonly #others: readonly IpStack[];
  readonly #now: () => number;
  /** A packet that was put together, for the time of its `input`. */
  #whole: BatchParser | null = null;

  constructor(others: readonly IpStack[], now: () => number) {
    this.#others = others;
    this.#now = now;
  }

  input(batch: PacketBatch, index: number): boolean {
    if (batch.protocol[index] !== PROTOCOL.fragment) return false;
    const packet = this.reassembly.add(
      batch.bytes,
      batch.start[index] ?? 0,
      batch.end[index] ?? 0,
      batch.transport[index] ?? 0,
      batch.version[index] ?? 0,
      this.#now(),
    );
    if (packet === null) return true;
    // Its memory is kept from the first that comes: most never see one.
    this.#whole ??= new BatchParser(new Uint8Array(IPV6_HEADER + LONGEST_PACKET), 1, randomBytes(8));
    this.#whole.clear();
    this.#whole.bytes.set(packet);
    if (!this.#whole.add(0, packet.length, 0, false)) return true;
    this.#whole.flow[0] = batch.flowOf(this.#whole, 0); // tables are by the device's hash, not by this parser's
    for (const stack of this.#others) if (stack.input(this.#whole, 0)) break;
    return true;
  }

  flush(now: number): void {
    this.reassembly.expire(now);
  }

  /** What waits too long is found when the next one comes, and is bounded: it needs no timer. */
  nextDeadline(): number {
    return Number.POSITIVE_INFINITY;
  }

  close(): void {
    this.reassembly.clear();
  }
}

import type { PacketBatch } from './packet-batch.js';

/** Arrays of each width; widest first, so that all are aligned. */
const WORDS = 7;
const HALVES = 4;
const OCTETS = 3;

/** The arrays of a batch, all in one buffer: who fills them from outside has one thing to look at before. */
export abstract class BatchArrays implements PacketBatch {
  length = 0;
  readonly bytes: Uint8Array;
  readonly start: Uint32Array;
  readonly end: Uint32Array;
  readonly transport: Uint32Array;
  readonly payload: Uint32Array;
  readonly flow: Uint32Array;
  readonly sequence: Uint32Array;
  readonly acknowledgment: Uint32Array;
  readonly sourcePort: Uint16Array;
  readonly destinationPort: Uint16Array;
  readonly window: Uint16Array;
  readonly segmentSize: Uint16Array;
  readonly version: Uint8Array;
  readonly protocol: Uint8Array;
  readonly flags: Uint8Array;
  /** That all of them lie in, but for `bytes`. */
  protected readonly buffer: ArrayBuffer;

  /** For `capacity` packets in the slab `bytes`; the first `reserved` bytes of the buffer, a multiple of 8, are somebody else's. */
  constructor(bytes: Uint8Array, capacity: number, reserved = 0) {
    const buffer = new ArrayBuffer(reserved + capacity * (4 * WORDS + 2 * HALVES + OCTETS));
    const word = (index: number): Uint32Array => new Uint32Array(buffer, reserved + capacity * 4 * index, capacity);
    const half = (index: number): Uint16Array => new Uint16Array(buffer, reserved + capacity * (4 * WORDS + 2 * index), capacity);
    const octet = (index: number): Uint8Array => new Uint8Array(buffer, reserved + capacity * (4 * WORDS + 2 * HALVES + index), capacity);
    this.bytes = bytes;
    this.buffer = buffer;
    this.start = word(0);
    this.end = word(1);
    this.transport = word(2);
    this.payload = word(3);
    this.flow = word(4);
    this.sequence = word(5);
    this.acknowledgment = word(6);
    this.sourcePort = half(0);
    this.destinationPort = half(1);
    this.window = half(2);
    this.segmentSize = half(3);
    this.version = octet(0);
    this.protocol = octet(1);
    this.flags = octet(2);
  }

  abstract flowOf(other: PacketBatch, index: number): number;
}

/** Where a packet's source address begins; the destination's follows. */
export function sourceAt(version: number, start: number): number {
  return start + (version === 4 ? 12 : 8);
}

/** Both ports of a packet as they stand in it. */
export function portsOf(batch: PacketBatch, index: number): number {
  return (((batch.sourcePort[index] ?? 0) << 16) | (batch.destinationPort[index] ?? 0)) >>> 0;
}

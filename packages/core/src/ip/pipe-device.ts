import { randomBytes } from 'node:crypto';
import { NetError } from '../net/errors.js';
import { Arena } from './arena.js';
import { BatchParser } from './batch-parser.js';
import { copyBytes } from './bytes.js';
import type { DeviceHandlers, PacketDevice, PacketSink } from './packet-device.js';
import { cutPacket, finishPacket, isSuper, PacketSlab } from './packet-slab.js';
import { LONGEST_PACKET } from './protocol.js';

export interface PipeOptions {
  /** 1500. */
  readonly mtu?: number;
  /** Packets of up to 64 KiB go across whole, and nobody computes or checks the checksums of TCP and UDP, as on a TUN with offload. */
  readonly offload?: boolean;
  /** What waits for the other end at most; more is dropped and counted. 1,000 packets and 4 MiB. */
  readonly queuePackets?: number;
  readonly queueBytes?: number;
  /** Memory for the buffers of stacks, in bytes; 16 MiB. */
  readonly arenaBytes?: number;
  /** Runs something soon, never now; setImmediate. */
  readonly defer?: (run: () => void) => void;
  /** 8 bytes for the flow hash; random. A run that is to be the same again needs the same ones. */
  readonly key?: Uint8Array;
}

/** Packets that one batch holds at most, and bytes that one `flush` sends. */
const BATCH_PACKETS = 256;
const SLAB_BYTES = 1 << 20;

/** Two devices in memory, each of which receives what the other sends. */
export function pipeDevice(options: PipeOptions = {}): [PipeEnd, PipeEnd] {
  const ends: [PipeEnd, PipeEnd] = [new PipeEnd('pipe-a', options), new PipeEnd('pipe-b', options)];
  ends[0].connect(ends[1]);
  ends[1].connect(ends[0]);
  return ends;
}

/**
 * One end. Its slab: what it sends, what it receives, and memory for buffers.
 *
 *     | sent, 1 MiB | received | arena |
 */
export class PipeEnd implements PacketDevice {
  readonly name: string;
  readonly arena: Arena;
  readonly parser: BatchParser;
  /** Packets that found the queue of the other end full. */
  dropped = 0;
  readonly #out: PacketSlab;
  readonly #room = new Uint8Array(LONGEST_PACKET);
  readonly #isOffloaded: boolean;
  readonly #defer: (run: () => void) => void;
  readonly #queueFirst: number;
  readonly #queueLimit: number;
  readonly #queueStart: Uint32Array;
  readonly #queueEnd: Uint32Array;
  readonly #queueSize: Uint16Array;
  #queueAt: number;
  #queued = 0;
  #isDue = false;
  #peer: PipeEnd | null = null;
  #handlers: DeviceHandlers | null = null;

  constructor(name: string, options: PipeOptions) {
    const { mtu = 1500, offload = false, queuePackets = 1_000, queueBytes = 4 << 20, arenaBytes = 16 << 20 } = options;
    const bytes = new Uint8Array(SLAB_BYTES + queueBytes + arenaBytes);
    this.name = name;
    this.#isOffloaded = offload;
    this.#defer = options.defer ?? setImmediate;
    this.#out = new PacketSlab(bytes, 0, SLAB_BYTES, BATCH_PACKETS, mtu, offload ? LONGEST_PACKET : 0);
    this.#queueFirst = SLAB_BYTES;
    this.#queueAt = SLAB_BYTES;
    this.#queueLimit = SLAB_BYTES + queueBytes;
    this.#queueStart = new Uint32Array(queuePackets);
    this.#queueEnd = new Uint32Array(queuePackets);
    this.#queueSize = new Uint16Array(queuePackets);
    this.arena = new Arena(bytes, SLAB_BYTES + queueBytes);
    this.parser = new BatchParser(bytes, BATCH_PACKETS, options.key ?? randomBytes(8));
  }

  get sink(): PacketSink {
    return this.#out;
  }

  /** @internal */
  connect(peer: PipeEnd): void {
    this.#peer = peer;
  }

  start(handlers: DeviceHandlers): void {
    this.#handlers = handlers;
    if (this.#queued > 0) this.#later();
  }

  flush(): void {
    const { start, end, segmentSize, bytes, count } = this.#out;
    const peer = this.#peer;
    for (let i = 0; i < count && peer !== null; i++) {
      const from = start[i] ?? 0;
      const to = end[i] ?? 0;
      const size = segmentSize[i] ?? 0;
      if (!this.#isOffloaded) finishPacket(bytes, from, to);
      peer.#enqueue(bytes, from, to, size);
    }
    this.#out.clear();
  }

  /** Puts a packet on the way to the other end as it is: what a test or a capture has. */
  inject(packet: Uint8Array): void {
    if (this.#peer !== null) this.#peer.#enqueue(packet, 0, packet.length, 0);
  }

  close(): void {
    const peer = this.#peer;
    if (peer === null) return;
    this.#peer = null;
    this.#handlers = null;
    peer.#closed();
  }

  #closed(): void {
    const handlers = this.#handlers;
    this.#peer = null;
    this.#handlers = null;
    handlers?.failed(new NetError('aborted', 'the other end of the pipe was closed', { code: 'DEVICE_GONE' }));
  }

  #enqueue(bytes: Uint8Array, start: number, end: number, segmentSize: number): void {
    const at = this.#queueAt;
    if (this.#queued === this.#queueStart.length || at + end - start > this.#queueLimit) {
      this.dropped++;
      return;
    }
    copyBytes(this.#out.bytes, at, bytes, start, end);
    this.#queueStart[this.#queued] = at;
    this.#queueEnd[this.#queued] = at + end - start;
    this.#queueSize[this.#queued] = segmentSize;
    this.#queued++;
    this.#queueAt = at + end - start;
    if (this.#handlers !== null) this.#later();
  }

  #later(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    this.#defer(this.#deliver);
  }

  readonly #deliver = (): void => {
    this.#isDue = false;
    const { parser } = this;
    const queued = this.#queued;
    for (let i = 0; i < queued; ) {
      parser.clear();
      for (; i < queued && !parser.isFull; i++) parser.add(this.#queueStart[i] ?? 0, this.#queueEnd[i] ?? 0, this.#queueSize[i] ?? 0, this.#isOffloaded);
      if (parser.length > 0) this.#handlers?.packets(parser);
    }
    // What a handler made the other end send in the meantime stands behind; move it to the front.
    const rest = this.#queued - queued;
    if (rest > 0) {
      const from = this.#queueStart[queued] ?? 0;
      const shift = from - this.#queueFirst;
      copyBytes(this.#out.bytes, this.#queueFirst, this.#out.bytes, from, this.#queueAt);
      for (let i = 0; i < rest; i++) {
        this.#queueStart[i] = (this.#queueStart[queued + i] ?? 0) - shift;
        this.#queueEnd[i] = (this.#queueEnd[queued + i] ?? 0) - shift;
        this.#queueSize[i] = this.#queueSize[queued + i] ?? 0;
      }
      this.#queueAt -= shift;
      this.#later();
    } else this.#queueAt = this.#queueFirst;
    this.#queued = rest;
  };

  /** Hands each packet of `flush` to `take`, cut and with checksums, instead of sending it: for devices that are built on this one. */
  drain(take: (packet: Uint8Array) => void): void {
    const { start, end, segmentSize, bytes, count } = this.#out;
    for (let i = 0; i < count; i++) {
      const from = start[i] ?? 0;
      const to = end[i] ?? 0;
      const size = segmentSize[i] ?? 0;
      if (isSuper(bytes, from, to, size)) cutPacket(bytes, from, to, size, this.#room, take);
      else {
        finishPacket(bytes, from, to);
        take(bytes.subarray(from, to));
      }
    }
    this.#out.clear();
  }
}

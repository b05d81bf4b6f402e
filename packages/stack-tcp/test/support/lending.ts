import { copyBytes, type PacketDevice, type PacketSink } from '@nekit/core/ip';

/** A sink that takes payloads from where they lie, as late as it may. */
export class LendingSink implements PacketSink {
  /** How many payloads it was lent. */
  lent = 0;
  readonly #sink: PacketSink;
  readonly #pending: [to: number, from: number, length: number][] = [];

  constructor(sink: PacketSink) {
    this.#sink = sink;
  }

  get bytes(): Uint8Array {
    return this.#sink.bytes;
  }

  get mtu(): number {
    return this.#sink.mtu;
  }

  get largest(): number {
    return this.#sink.largest;
  }

  reserve(length: number, segmentSize: number): number {
    return this.#sink.reserve(length, segmentSize);
  }

  lend(length: number, from: number, more: number, segmentSize: number): number {
    const at = this.#sink.reserve(length + more, segmentSize);
    if (at === -1) return -1;
    this.lent++;
    this.bytes.fill(0xee, at + length, at + length + more);
    this.#pending.push([at + length, from, more]);
    return at;
  }

  flush(): void {
    for (const [to, from, length] of this.#pending) copyBytes(this.bytes, to, this.bytes, from, from + length);
    this.#pending.length = 0;
  }
}

/** The device with such a sink. */
export function lending(device: PacketDevice): PacketDevice {
  return {
    name: device.name,
    sink: new LendingSink(device.sink),
    arena: device.arena,
    start: (handlers) => device.start(handlers),
    flush: () => device.flush(),
    close: () => device.close(),
  };
}

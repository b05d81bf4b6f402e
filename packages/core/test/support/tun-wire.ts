// One end of a pipe for stacks of a TUN, with what a client says and hears at the other.
import assert from 'node:assert/strict';
import { writeFragments } from '../../dist/ip/fragment.js';
import { buildPacket, type Packet, parsePacket } from '../../dist/ip/packet.js';
import { PacketSlab } from '../../dist/ip/packet-slab.js';
import { type PipeEnd, pipeDevice } from '../../dist/ip/pipe-device.js';
import { FakeClock, settle } from '../../dist/testing.js';

export const text = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i * 11);

export const udp = (source: string, destination: string, payload = text(30)): Packet => ({
  kind: 'udp',
  source,
  destination,
  sourcePort: 4000,
  destinationPort: 443,
  payload,
});

/** Turns of a pipe, and what comes out at its far end. */
export class Wire {
  readonly clock = new FakeClock();
  readonly near: PipeEnd;
  readonly out: Uint8Array[] = [];
  readonly #far: PipeEnd;
  #run: (() => void)[] = [];

  constructor(mtu = 1500) {
    [this.near, this.#far] = pipeDevice({ mtu, defer: (run) => this.#run.push(run), arenaBytes: 0 });
    this.#far.start({
      packets: (batch) => {
        for (let i = 0; i < batch.length; i++) this.out.push(batch.bytes.slice(batch.start[i], batch.end[i]));
      },
      failed: () => undefined,
    });
  }

  readonly defer = (run: () => void): void => void this.#run.push(run);

  send(packet: Packet | Uint8Array): void {
    this.#far.inject(packet instanceof Uint8Array ? packet : buildPacket(packet));
  }

  /** In fragments of at most `mtu` bytes, which `order` may shuffle. */
  sendFragments(packet: Packet, mtu: number, order: (parts: Uint8Array[]) => Uint8Array[] = (parts) => parts, identification = 77): void {
    const bytes = buildPacket(packet);
    const slab = new PacketSlab(new Uint8Array(100_000), 0, 100_000, 200, mtu, 0);
    assert.ok(writeFragments(slab, bytes, 0, bytes.length, identification));
    const parts = Array.from({ length: slab.count }, (_, i) => slab.bytes.slice(slab.start[i], slab.end[i]));
    for (const part of order(parts)) this.send(part);
  }

  close(): void {
    this.#far.close();
  }

  async turn(): Promise<void> {
    for (let i = 0; i < 4; i++) {
      for (const run of this.#run.splice(0)) run();
      await settle();
    }
  }

  answers(): (Packet | null)[] {
    return this.out.splice(0).map((bytes) => parsePacket(bytes));
  }
}

import { read32 } from '../../ip/bytes.js';
import type { IpStack } from '../../ip/ip-stack.js';
import type { PacketBatch } from '../../ip/packet-batch.js';
import { parseAddress } from '../../net/address.js';

/** Of a network with a longer prefix no address is its broadcast (RFC 3021). */
const LONGEST_PREFIX = 30;

/**
 * Comes first, and takes what goes to all of the device's own network or claims to come from there (RFC 1122 sections 3.2.1.3 and 3.2.2): nobody carries or answers it. Linux hands such packets to the device
 * where a program looks around.
 */
export class BroadcastStack implements IpStack {
  /** Packets that were dropped. */
  dropped = 0;
  readonly #addresses: readonly number[];

  /** IPv4 addresses with their networks, `198.18.0.1/30`; those of IPv6 have no broadcast. */
  constructor(networks: readonly string[]) {
    this.#addresses = networks.flatMap((network) => {
      const [host = '', prefix = '32'] = network.split('/');
      const bytes = parseAddress(host);
      return bytes?.length === 4 && Number(prefix) <= LONGEST_PREFIX ? [read32(bytes, 0) | (0xffffffff >>> Number(prefix))] : [];
    });
  }

  input(batch: PacketBatch, index: number): boolean {
    if (this.#addresses.length === 0 || batch.version[index] !== 4) return false;
    const start = batch.start[index] ?? 0;
    const source = read32(batch.bytes, start + 12);
    const destination = read32(batch.bytes, start + 16);
    for (const address of this.#addresses) {
      if (address !== source && address !== destination) continue;
      this.dropped++;
      return true;
    }
    return false;
  }

  flush(): void {}

  nextDeadline(): number {
    return Number.POSITIVE_INFINITY;
  }

  close(): void {}
}

import { type Endpoint, formatAddress } from '@nekit/core';
import { copyOf, MOST_QUOTED, type PacketBatch, read16, read32 } from '@nekit/core/ip';

/** What stands for an address and port in a table: a number for IPv4 (48 bits are exact), a string for IPv6. */
export type AddressKey = number | string;

/** The key of an address and a port that lie at `address` and `port` of `bytes`. */
export function keyAt(bytes: Uint8Array, version: number, address: number, port: number): AddressKey {
  if (version === 4) return (read32(bytes, address) >>> 0) * 65_536 + read16(bytes, port);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1', address, address + 16) + String.fromCharCode(read16(bytes, port));
}

/** The same as an endpoint, frozen. */
export function endpointAt(bytes: Uint8Array, version: number, address: number, port: number): Endpoint {
  return Object.freeze({ host: formatAddress(bytes.subarray(address, address + (version === 4 ? 4 : 16))), port: read16(bytes, port) });
}

/** Where the source address of a packet of a batch is; the destination's follows. */
export function sourceOf(batch: PacketBatch, index: number): number {
  return (batch.start[index] ?? 0) + (batch.version[index] === 4 ? 12 : 8);
}

/** As much of a packet as an ICMP message about it quotes. */
export function quotation(batch: PacketBatch, index: number): Uint8Array {
  const start = batch.start[index] ?? 0;
  return copyOf(batch.bytes, start, Math.min(batch.end[index] ?? 0, start + MOST_QUOTED[batch.version[index] === 4 ? 'v4' : 'v6']));
}

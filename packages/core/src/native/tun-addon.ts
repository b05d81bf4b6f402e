import type { PacketBatch } from '../ip/packet-batch.js';
import type { NetlinkCall } from './netlink.js';

/** What the addon exports for TUN devices (native/binding/tun-binding.cc). */
export interface TunAddon {
  readonly Tun: TunConstructor;
  readonly netlink: NetlinkCall;
}

/**
 * The batch is filled anew for each call of `onPackets`, which gets the number of packets and whether another call, maybe with none, follows before the loop goes on; or a negative
 * errno once: the device is gone. `drops` counts, see TUN_DROPS.
 */
export type TunConstructor = new (batch: Omit<PacketBatch, 'length' | 'flowOf'>, drops: Float64Array, onPackets: (count: number, more: boolean) => void) => Tun;

export interface Tun {
  /** 0 or a negative errno. An empty name: the kernel chooses. */
  open(name: string, offload: boolean, multiQueue: boolean): number;
  /** Works on a duplicate of a descriptor that is a TUN already; the given one stays its owner's. */
  adopt(fd: number, offload: boolean): number;
  /**
   * `records`: start, end and segment size of each packet, then where more of its payload lies and how much that is, and whose it is: 0, or what `source` said and the conn's id there, out of which it is copied
   * from that position on. How many were sent, or are a thread's to send; the others are counted.
   */
  write(bytes: Uint8Array, records: Uint32Array, count: number): number;
  /** The number by which records call an `Engine`, 0: it is none. Once for each. */
  source(engine: object): number;
  /** The hash that the batch would have for a packet: both addresses at `bytes[start, end)`, one behind the other; its ports as one number, the source's above (0 but for TCP and UDP). */
  flow(bytes: Uint8Array, start: number, end: number, ports: number, protocol: number): number;
  close(): void;
  /** Empty when it is not open. */
  readonly name: string;
  /** Bits: 1 checksums, 2 super-packets of TCP, 4 of UDP. */
  readonly offload: number;
}

/** The reasons of PARSE_DROP, and behind them one more: a packet of ours that was malformed, or that the device did not take. */
export const TUN_DROPS = 10;

/** Most packets of a batch, and the bytes that the slab must have for one (native/tun/tun-device.hh). */
export const TUN_PACKETS = 256;
export const TUN_SLAB = 256 * 1024 + 65_535 + 40;

/** The part of a loaded addon; null where it has none. */
export function tunAddon(addon: unknown): TunAddon | null {
  return typeof addon === 'object' && addon !== null && 'Tun' in addon && 'netlink' in addon ? (addon as TunAddon) : null;
}

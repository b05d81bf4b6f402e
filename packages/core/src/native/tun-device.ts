import { constants } from 'node:os';
import { Arena } from '../ip/arena.js';
import { BatchArrays, portsOf, sourceAt } from '../ip/batch-arrays.js';
import type { PacketBatch } from '../ip/packet-batch.js';
import type { DeviceHandlers, PacketDevice, PacketSink } from '../ip/packet-device.js';
import { LONGEST_PACKET } from '../ip/protocol.js';
import { errorCode, NekitError, NetError } from '../net/errors.js';
import type { HeldBytes } from '../net/stream.js';
import { systemError } from './errno.js';
import { addAddress, isWithoutIpv6, type LinkAddress, linkInfo, NET_ADMIN, setLink } from './link-config.js';
import { TUN_DROPS, TUN_PACKETS, TUN_SLAB, type Tun, type TunAddon } from './tun-addon.js';

/** Room for packets of ours between two flushes, in bytes. What is full is sent at once. */
const OUTPUT = 1024 * 1024;

/** Packets of ours between two flushes. */
const RECORDS = 1024;

/**
 * A super-packet that is written from where it lies, in bytes. With four times IP's 64 KiB the kernel's TCP, whose acknowledgments we have to read, is called four times less often. (Linux
 * takes them whole from 6.6 on, IPv4; where it does not, the addon cuts them: into four, of whole segments.)
 */
const LARGEST_LENT = 250 * 1024;

/** Bit of `Tun.offload`. */
const OFFLOADS_TCP = 2;

/** Start, end, segment size; where more payload lies, and how much; whose it is. */
const RECORD = 7;

/** Default memory for flows, in bytes. Only what is touched costs anything. */
const DEFAULT_ARENA = 256 * 1024 * 1024;

/**
 * Packets that the kernel holds for us: the sum of all windows has to fit, or it drops what it cannot (Linux's default is 500). Super-packets count as one.
 */
const QUEUE_LENGTH = 10_000;

export interface TunOptions {
  /** Empty: the kernel chooses. */
  readonly name: string;
  /** An open TUN instead (IFF_TUN, IFF_NO_PI), which stays open when the device is closed. Its interface is somebody else's to configure. */
  readonly fileDescriptor?: number;
  readonly addresses: readonly LinkAddress[];
  /** Bytes. */
  readonly mtu: number;
  /** Super-packets and checksums by the kernel, where it has them. */
  readonly offload: boolean;
  readonly multiQueue?: boolean;
  readonly arenaBytes?: number;
  /** What did not work and is not needed. */
  readonly warn: (message: string) => void;
}

/** A TUN of Linux. */
export class TunDevice implements PacketDevice {
  readonly name: string;
  readonly sink: PacketSink;
  readonly arena: Arena;
  /** Packets that were dropped, see TUN_DROPS. */
  readonly drops: Float64Array;
  /** The interface's index; 0 where nobody says (it is not ours, and in another network namespace). */
  readonly index: number;
  readonly #tun: Tun;
  readonly #batch: TunBatch;
  readonly #output: TunOutput;
  #handlers: DeviceHandlers | null = null;

  /** Throws NekitError `TUN_UNAVAILABLE`, with what to do, and leaves nothing open. */
  constructor(addon: TunAddon, options: TunOptions) {
    const slab = new Uint8Array(aligned(TUN_SLAB) + OUTPUT + (options.arenaBytes ?? DEFAULT_ARENA));
    this.#batch = new TunBatch(slab);
    this.drops = this.#batch.drops;
    this.arena = new Arena(slab, aligned(TUN_SLAB) + OUTPUT);
    this.#tun = new addon.Tun(this.#batch, this.drops, (count, more) => this.#heard(count, more));
    this.#batch.tun = this.#tun;
    const { fileDescriptor, name, offload, multiQueue = false } = options;
    const failed = fileDescriptor === undefined ? this.#tun.open(name, offload, multiQueue) : this.#tun.adopt(fileDescriptor, offload);
    if (failed !== 0) throw unavailable(-failed, options);
    this.name = this.#tun.name;
    let link: { readonly index: number; readonly mtu: number };
    try {
      link = fileDescriptor === undefined ? configure(addon, this.name, options) : adopted(addon, this.name, options);
    } catch (error) {
      this.#tun.close();
      throw new NekitError('TUN_UNAVAILABLE', `the TUN device ${this.name} cannot be set up: ${errorCode(error) === 'EPERM' ? NET_ADMIN : messageOf(error)}`, {
        cause: error,
      });
    }
    this.index = link.index;
    this.#output = new TunOutput(slab, aligned(TUN_SLAB), link.mtu, this.#tun);
    this.sink = this.#output;
  }

  start(handlers: DeviceHandlers): void {
    this.#handlers = handlers;
  }

  flush(): void {
    this.#output.flush();
  }

  close(): void {
    this.#handlers = null;
    this.#tun.close();
  }

  #heard(count: number, more: boolean): void {
    if (count >= 0) {
      this.#batch.length = count;
      this.#handlers?.packets(this.#batch, more);
    } else {
      const why = -count === constants.errno.EFAULT ? 'its memory was transferred to another thread' : 'it was removed';
      this.#handlers?.failed(new NetError('aborted', `the TUN device ${this.name} is gone: ${why}`, { code: 'DEVICE_GONE' }));
    }
  }
}

/** What the addon fills. */
class TunBatch extends BatchArrays {
  readonly drops: Float64Array;
  /** Whose batch it is: made with it, so it comes later. */
  tun: Tun | null = null;

  constructor(bytes: Uint8Array) {
    super(bytes, TUN_PACKETS, 8 * TUN_DROPS);
    this.drops = new Float64Array(this.buffer, 0, TUN_DROPS);
  }

  flowOf(other: PacketBatch, index: number): number {
    const isIPv4 = other.version[index] === 4;
    const at = sourceAt(isIPv4 ? 4 : 6, other.start[index] ?? 0);
    return this.tun?.flow(other.bytes, at, at + (isIPv4 ? 8 : 32), portsOf(other, index), other.protocol[index] ?? 0) ?? 0;
  }
}

/** Room for packets in the slab, one behind the other. */
class TunOutput implements PacketSink {
  readonly bytes: Uint8Array;
  readonly mtu: number;
  /** Where the kernel does not cut, the addon does. */
  readonly largest = LONGEST_PACKET;
  readonly largestLent: number;
  readonly #begin: number;
  readonly #tun: Tun;
  readonly #records = new Uint32Array(RECORDS * RECORD);
  readonly #sources = new WeakMap<object, number>();
  #count = 0;
  #at: number;

  constructor(bytes: Uint8Array, begin: number, mtu: number, tun: Tun) {
    this.bytes = bytes;
    this.mtu = mtu;
    this.#begin = begin;
    this.#at = begin;
    this.#tun = tun;
    this.largestLent = (tun.offload & OFFLOADS_TCP) === 0 ? LONGEST_PACKET : LARGEST_LENT;
  }

  reserve(length: number, segmentSize: number): number {
    return this.lend(length, 0, 0, segmentSize);
  }

  lend(length: number, from: number, more: number, segmentSize: number): number {
    if (length + more > (segmentSize === 0 ? this.mtu : more === 0 ? LONGEST_PACKET : this.largestLent)) return -1;
    if (this.#count === RECORDS || this.#at + length > this.#begin + OUTPUT) this.flush();
    const at = this.#at;
    const record = this.#count * RECORD;
    this.#records[record] = at;
    this.#records[record + 1] = at + length;
    this.#records[record + 2] = segmentSize;
    this.#records[record + 3] = from;
    this.#records[record + 4] = more;
    this.#records[record + 5] = 0;
    this.#count++;
    this.#at = at + aligned(length);
    return at;
  }

  lendFrom(length: number, held: HeldBytes, position: number, more: number, segmentSize: number): number {
    const source = this.#sourceOf(held.engine);
    if (source === 0) return -1;
    const at = this.lend(length, 0, more, segmentSize);
    if (at === -1) return -1;
    const record = (this.#count - 1) * RECORD;
    this.#records[record + 3] = position;
    this.#records[record + 5] = source;
    this.#records[record + 6] = held.id;
    return at;
  }

  #sourceOf(engine: object): number {
    let source = this.#sources.get(engine);
    if (source === undefined) {
      source = this.#tun.source(engine);
      this.#sources.set(engine, source);
    }
    return source;
  }

  flush(): void {
    if (this.#count === 0) return;
    this.#tun.write(this.bytes, this.#records, this.#count);
    this.#count = 0;
    this.#at = this.#begin;
  }
}

/** Cache lines. */
function aligned(length: number): number {
  return (length + 63) & ~63;
}

/** Throws with the system's code for what is needed. */
function configure(addon: TunAddon, name: string, { addresses, mtu, warn }: TunOptions): { index: number; mtu: number } {
  const { index, queueLength } = linkInfo(addon.netlink, name);
  setLink(addon.netlink, index, { mtu });
  if (queueLength < QUEUE_LENGTH) {
    try {
      setLink(addon.netlink, index, { queueLength: QUEUE_LENGTH });
    } catch (error) {
      warn(`the queue of ${name} stays at ${queueLength} packets: ${messageOf(error)}`);
    }
  }
  for (const address of addresses) {
    try {
      addAddress(addon.netlink, index, address);
    } catch (error) {
      // Where the system has IPv6 switched off, IPv4 is carried nevertheless.
      if (!address.address.includes(':') || !isWithoutIpv6(error)) throw error;
      warn(`no IPv6 by ${name}, as this system has it switched off: ${messageOf(error)}`);
    }
  }
  setLink(addon.netlink, index, { up: true });
  return { index, mtu };
}

/** What a descriptor's interface is like, where it can be asked: on Android, or from another network namespace, it cannot. */
function adopted(addon: TunAddon, name: string, { mtu, warn }: TunOptions): { index: number; mtu: number } {
  try {
    const link = linkInfo(addon.netlink, name);
    return { index: link.index, mtu: Math.min(mtu, link.mtu) };
  } catch (error) {
    warn(`the MTU of ${name} is taken to be ${mtu}, for it cannot be asked: ${messageOf(error)}`);
    return { index: 0, mtu };
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function unavailable(errno: number, { name, fileDescriptor }: TunOptions): NekitError {
  const cause = systemError(errno, 'TUN:');
  const { code } = cause as Error & { readonly code: string };
  const which = fileDescriptor !== undefined ? `file descriptor ${fileDescriptor}` : name === '' ? 'a TUN device' : `the TUN device ${name}`;
  return new NekitError('TUN_UNAVAILABLE', `${which} cannot be opened: ${ADVICE[code] ?? cause.message}`, { cause });
}

const ADVICE: Readonly<Record<string, string>> = {
  EPERM: NET_ADMIN,
  EACCES: 'not permitted: run it with sudo',
  ENOENT: 'there is no /dev/net/tun: sudo modprobe tun (in a container: --device /dev/net/tun --cap-add NET_ADMIN)',
  ENODEV: 'the kernel has no TUN: sudo modprobe tun',
  EBUSY: 'somebody else has it open: stop the other program, or choose another name with "device"',
  EBADF: 'it is not open',
  EINVAL: 'it is no TUN device, or of another kind (TAP, for several queues, or with a protocol word in front of each packet)',
  ENAMETOOLONG: 'the name is longer than 15 bytes',
  ENOSYS: 'only Linux has it here',
};

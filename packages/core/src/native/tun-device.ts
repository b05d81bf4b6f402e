import { Arena } from '../ip/arena.js';
import type { PacketBatch } from '../ip/packet-batch.js';
import type { DeviceHandlers, PacketDevice, PacketSink } from '../ip/packet-device.js';
import { LONGEST_PACKET } from '../ip/protocol.js';
import { NekitError, type NetError } from '../net/errors.js';
import { netErrorOf, systemError } from './errno.js';
import { addAddress, type LinkAddress, linkInfo, setLink } from './link-config.js';
import { TUN_DROPS, TUN_PACKETS, TUN_SLAB, type Tun, type TunAddon } from './tun-addon.js';

/** Room for packets of ours between two flushes, in bytes. What is full is sent at once. */
const OUTPUT = 1024 * 1024;

/** Packets of ours between two flushes. */
const RECORDS = 1024;

/** Start, end, segment size. */
const RECORD = 3;

/** Default memory for flows, in bytes. Only what is touched costs anything. */
const DEFAULT_ARENA = 256 * 1024 * 1024;

/**
 * Packets that the kernel holds for us: the sum of all windows has to fit, or it drops what it cannot (Linux's default is 500). Super-packets count as one.
 */
const QUEUE_LENGTH = 10_000;

export interface TunOptions {
  /** Empty: the kernel chooses. */
  readonly name: string;
  /** An open TUN instead (IFF_TUN, IFF_NO_PI). Its interface is somebody else's to configure. */
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
  readonly drops = new Float64Array(TUN_DROPS);
  /** The interface's index; 0 where it is not ours. */
  readonly index: number;
  readonly #tun: Tun;
  readonly #batch: TunBatch;
  readonly #output: TunOutput;
  #handlers: DeviceHandlers | null = null;

  /** Throws NekitError `TUN_UNAVAILABLE`, with what to do, and leaves nothing open. */
  constructor(addon: TunAddon, options: TunOptions) {
    const slab = new Uint8Array(aligned(TUN_SLAB) + OUTPUT + (options.arenaBytes ?? DEFAULT_ARENA));
    this.#batch = new TunBatch(slab);
    this.arena = new Arena(slab, aligned(TUN_SLAB) + OUTPUT);
    this.#tun = new addon.Tun(this.#batch, this.drops, (count) => this.#heard(count));
    const { fileDescriptor, name, offload, multiQueue = false } = options;
    const failed = fileDescriptor === undefined ? this.#tun.open(name, offload, multiQueue) : this.#tun.adopt(fileDescriptor);
    if (failed !== 0) throw unavailable(-failed, options);
    this.name = this.#tun.name;
    try {
      this.index = fileDescriptor === undefined ? configure(addon, this.name, options) : 0;
    } catch (error) {
      this.#tun.close();
      throw new NekitError('TUN_UNAVAILABLE', `the TUN device ${this.name} cannot be set up: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
    this.#output = new TunOutput(slab, aligned(TUN_SLAB), options.mtu, this.#tun);
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

  #heard(count: number): void {
    if (count > 0) {
      this.#batch.length = count;
      this.#handlers?.packets(this.#batch);
    } else {
      const error: NetError = netErrorOf(-count, `the TUN device ${this.name} is gone:`);
      this.#handlers?.failed(error);
    }
  }
}

/** What the addon fills. */
class TunBatch implements PacketBatch {
  length = 0;
  readonly bytes: Uint8Array;
  readonly start = new Uint32Array(TUN_PACKETS);
  readonly end = new Uint32Array(TUN_PACKETS);
  readonly transport = new Uint32Array(TUN_PACKETS);
  readonly payload = new Uint32Array(TUN_PACKETS);
  readonly version = new Uint8Array(TUN_PACKETS);
  readonly protocol = new Uint8Array(TUN_PACKETS);
  readonly flags = new Uint8Array(TUN_PACKETS);
  readonly sourcePort = new Uint16Array(TUN_PACKETS);
  readonly destinationPort = new Uint16Array(TUN_PACKETS);
  readonly flow = new Uint32Array(TUN_PACKETS);
  readonly sequence = new Uint32Array(TUN_PACKETS);
  readonly acknowledgment = new Uint32Array(TUN_PACKETS);
  readonly window = new Uint16Array(TUN_PACKETS);
  readonly segmentSize = new Uint16Array(TUN_PACKETS);

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

/** Room for packets in the slab, one behind the other. */
class TunOutput implements PacketSink {
  readonly bytes: Uint8Array;
  readonly mtu: number;
  /** Where the kernel does not cut, the addon does. */
  readonly largest = LONGEST_PACKET;
  readonly #begin: number;
  readonly #tun: Tun;
  readonly #records = new Uint32Array(RECORDS * RECORD);
  #count = 0;
  #at: number;

  constructor(bytes: Uint8Array, begin: number, mtu: number, tun: Tun) {
    this.bytes = bytes;
    this.mtu = mtu;
    this.#begin = begin;
    this.#at = begin;
    this.#tun = tun;
  }

  reserve(length: number, segmentSize: number): number {
    if (length > LONGEST_PACKET) return -1;
    if (this.#count === RECORDS || this.#at + length > this.#begin + OUTPUT) this.flush();
    const at = this.#at;
    const record = this.#count * RECORD;
    this.#records[record] = at;
    this.#records[record + 1] = at + length;
    this.#records[record + 2] = segmentSize;
    this.#count++;
    this.#at = at + aligned(length);
    return at;
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

/** The interface's index. Throws with the system's code for what is needed. */
function configure(addon: TunAddon, name: string, { addresses, mtu, warn }: TunOptions): number {
  const { index, queueLength } = linkInfo(addon.netlink, name);
  setLink(addon.netlink, index, { mtu });
  if (queueLength < QUEUE_LENGTH) {
    try {
      setLink(addon.netlink, index, { queueLength: QUEUE_LENGTH });
    } catch (error) {
      warn(`the queue of ${name} stays at ${queueLength} packets: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  for (const address of addresses) addAddress(addon.netlink, index, address);
  setLink(addon.netlink, index, { up: true });
  return index;
}

function unavailable(errno: number, { name, fileDescriptor }: TunOptions): NekitError {
  const cause = systemError(errno, 'TUN:');
  const { code } = cause as Error & { readonly code: string };
  const which = fileDescriptor !== undefined ? `file descriptor ${fileDescriptor}` : name === '' ? 'a TUN device' : `the TUN device ${name}`;
  return new NekitError('TUN_UNAVAILABLE', `${which} cannot be opened: ${ADVICE[code] ?? cause.message}`, { cause });
}

const ADVICE: Readonly<Record<string, string>> = {
  EPERM: `not permitted: run it with sudo, or give node the right with: sudo setcap cap_net_admin+ep "$(readlink -f "$(command -v node)")"`,
  EACCES: 'not permitted: run it with sudo',
  ENOENT: 'there is no /dev/net/tun: sudo modprobe tun (in a container: --device /dev/net/tun --cap-add NET_ADMIN)',
  ENODEV: 'the kernel has no TUN: sudo modprobe tun',
  EBUSY: 'somebody else has it open: stop the other program, or choose another name with "device"',
  EINVAL: 'it is no TUN device, or of another kind (TAP, or with a protocol word in front of each packet)',
  ENAMETOOLONG: 'the name is longer than 15 characters',
  ENOSYS: 'only Linux has it here',
};

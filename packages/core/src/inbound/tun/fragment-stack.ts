import { randomBytes } from 'node:crypto';
import { BatchParser } from '../../ip/batch-parser.js';
import { ErrorRate } from '../../ip/error-rate.js';
import { writeFragments } from '../../ip/fragment.js';
import { ECHO_REQUEST, ECHO_REQUEST_6, reassemblyTimeExceeded } from '../../ip/icmp.js';
import type { Identifications } from '../../ip/identifications.js';
import type { IpStack, StackOutput } from '../../ip/ip-stack.js';
import type { PacketBatch } from '../../ip/packet-batch.js';
import { IPV6_HEADER, LONGEST_PACKET, PROTOCOL } from '../../ip/protocol.js';
import { DEFAULT_LIMITS, Reassembly } from '../../ip/reassembly.js';
import { areHosts } from '../../ip/special-addresses.js';

/** Stands in front of the others: they see whole packets only. */
export class FragmentStack implements IpStack {
  readonly reassembly = new Reassembly(DEFAULT_LIMITS, (first, payload, protocol) => this.#tellLate(first, payload, protocol));
  readonly #others: readonly IpStack[];
  readonly #output: StackOutput;
  readonly #identifications: Identifications;
  readonly #errors = new ErrorRate();
  /** ICMP messages for the next flush. */
  #late: Uint8Array[] = [];
  /** A packet that was put together, for the time of its `input`. */
  #whole: BatchParser | null = null;

  constructor(others: readonly IpStack[], output: StackOutput, identifications: Identifications) {
    this.#others = others;
    this.#output = output;
    this.#identifications = identifications;
  }

  input(batch: PacketBatch, index: number): boolean {
    if (batch.protocol[index] !== PROTOCOL.fragment) return false;
    const packet = this.reassembly.add(
      batch.bytes,
      batch.start[index] ?? 0,
      batch.end[index] ?? 0,
      batch.transport[index] ?? 0,
      batch.version[index] ?? 0,
      this.#output.now(),
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
    if (this.#late.length === 0) return;
    for (const packet of this.#late) writeFragments(this.#output.sink, packet, 0, packet.length, this.#identifications.next());
    this.#late = [];
  }

  nextDeadline(): number {
    return this.reassembly.nextExpiry();
  }

  close(): void {
    this.reassembly.clear();
    this.#late = [];
  }

  /** The sender, if it is one host and wrote to one host. Of ICMP only a ping is known to be no error, which must not be answered by one (RFC 1122 section 3.2.2). */
  #tellLate(first: Uint8Array, payload: number, protocol: number): void {
    const version = (first[0] ?? 0) >>> 4 === 4 ? 4 : 6;
    if (!areHosts(first, 0, version)) return;
    const [icmp, echo] = version === 4 ? [PROTOCOL.icmp, ECHO_REQUEST] : [PROTOCOL.icmpv6, ECHO_REQUEST_6];
    if (protocol !== PROTOCOL.tcp && protocol !== PROTOCOL.udp && (protocol !== icmp || first[payload] !== echo)) return;
    if (this.#errors.take(this.#output.now())) this.#late.push(reassemblyTimeExceeded(first, 0, first.length));
  }
}

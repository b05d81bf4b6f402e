import { FLAG, fold, IPV4_HEADER, IPV6_HEADER, type PacketSink, PROTOCOL, pseudoSum, sumOf, TCP_HEADER, write16, write32 } from '@nekit/core/ip';
import type { FlowAddress } from './flow.js';
import { writeHeaders, writeIpHeader } from './headers.js';

/** Answers that wait for the end of the batch; more are dropped, and counted by the caller. */
const CAPACITY = 256;

/** What ICMP says to a SYN: type and code for both families (RFC 792, RFC 4443 section 3.1). */
const UNREACHABLE = {
  'network-unreachable': { type4: 3, code4: 0, type6: 1, code6: 0 },
  'host-unreachable': { type4: 3, code4: 1, type6: 1, code6: 3 },
} as const;
export type Unreachable = keyof typeof UNREACHABLE;

interface Reply {
  flow: FlowAddress | null;
  sequence: number;
  acknowledgment: number;
  flags: number;
  window: number;
  hasTimestamps: boolean;
  timestamp: number;
  echo: number;
  unreachable: Unreachable | null;
}

/** Segments and ICMP errors of no connection: RST to a stray segment, ACK of a tuple at rest, "unreachable" to a SYN. Objects are reused. */
export class Replies {
  readonly #queue: Reply[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** A segment without payload. false: too many wait. */
  segment(flow: FlowAddress, sequence: number, acknowledgment: number, flags: number, window = 0): boolean {
    const reply = this.#next();
    if (reply === null) return false;
    reply.flow = flow;
    reply.sequence = sequence;
    reply.acknowledgment = acknowledgment;
    reply.flags = flags;
    reply.window = window;
    reply.hasTimestamps = false;
    reply.unreachable = null;
    return true;
  }

  /** An ACK with timestamps. */
  acknowledge(flow: FlowAddress, sequence: number, acknowledgment: number, window: number, timestamp: number, echo: number): boolean {
    if (!this.segment(flow, sequence, acknowledgment, FLAG.ack, window)) return false;
    const reply = this.#queue[this.#count - 1];
    if (reply === undefined) return false;
    reply.hasTimestamps = true;
    reply.timestamp = timestamp;
    reply.echo = echo;
    return true;
  }

  /** ICMP in answer to the SYN with this sequence number. */
  icmp(flow: FlowAddress, sequence: number, unreachable: Unreachable): boolean {
    if (!this.segment(flow, sequence, 0, FLAG.syn)) return false;
    const reply = this.#queue[this.#count - 1];
    if (reply !== undefined) reply.unreachable = unreachable;
    return true;
  }

  /** Writes what waits; what finds no room stays. */
  flush(sink: PacketSink): void {
    let written = 0;
    for (; written < this.#count; written++) {
      const reply = this.#queue[written];
      if (reply?.flow == null) continue;
      const isDone = reply.unreachable === null ? writeSegment(sink, reply.flow, reply) : writeIcmp(sink, reply.flow, reply.sequence, reply.unreachable);
      if (!isDone) break;
      reply.flow = null;
    }
    for (let i = written; i < this.#count; i++) {
      const moved = this.#queue[i - written];
      const kept = this.#queue[i];
      if (written === 0 || moved === undefined || kept === undefined) break;
      this.#queue[i - written] = kept;
      this.#queue[i] = moved;
    }
    this.#count -= written;
  }

  #next(): Reply | null {
    if (this.#count === CAPACITY) return null;
    let reply = this.#queue[this.#count];
    if (reply === undefined) {
      reply = { flow: null, sequence: 0, acknowledgment: 0, flags: 0, window: 0, hasTimestamps: false, timestamp: 0, echo: 0, unreachable: null };
      this.#queue.push(reply);
    }
    this.#count++;
    return reply;
  }
}

function writeSegment(sink: PacketSink, flow: FlowAddress, reply: Reply): boolean {
  const options = reply.hasTimestamps ? 12 : 0;
  const length = (flow.version === 4 ? IPV4_HEADER : IPV6_HEADER) + TCP_HEADER + options;
  const at = sink.reserve(length, 0);
  if (at === -1) return false;
  const body = writeHeaders(sink.bytes, at, flow, length, options, reply.sequence, reply.acknowledgment, reply.flags, reply.window);
  if (reply.hasTimestamps) writeTimestamps(sink.bytes, body, reply.timestamp, reply.echo);
  return true;
}

/** NOP, NOP, timestamps: 12 bytes. */
export function writeTimestamps(bytes: Uint8Array, at: number, timestamp: number, echo: number): void {
  write32(bytes, at, 0x0101080a);
  write32(bytes, at + 4, timestamp);
  write32(bytes, at + 8, echo);
}

/** What the client's kernel needs of its own packet to find the socket: the IP header and 8 bytes (RFC 792). */
const QUOTED = 8;

function writeIcmp(sink: PacketSink, flow: FlowAddress, sequence: number, unreachable: Unreachable): boolean {
  const isIPv4 = flow.version === 4;
  const ip = isIPv4 ? IPV4_HEADER : IPV6_HEADER;
  const length = ip + 8 + ip + QUOTED + 12;
  const at = sink.reserve(length, 0);
  if (at === -1) return false;
  const { bytes } = sink;
  const { type4, code4, type6, code6 } = UNREACHABLE[unreachable];
  const icmp = writeIpHeader(bytes, at, flow, length, isIPv4 ? PROTOCOL.icmp : PROTOCOL.icmpv6);
  write32(bytes, icmp, ((isIPv4 ? type4 : type6) << 24) | ((isIPv4 ? code4 : code6) << 16));
  write32(bytes, icmp + 4, 0);
  // The client's packet, made up again from what we know of it.
  const quoted = writeIpHeader(bytes, icmp + 8, reversed(flow), ip + TCP_HEADER, PROTOCOL.tcp);
  write32(bytes, quoted, (flow.remotePort << 16) | flow.localPort);
  write32(bytes, quoted + 4, sequence);
  write32(bytes, quoted + 8, 0);
  write32(bytes, quoted + 12, (5 << 28) | (FLAG.syn << 16));
  write32(bytes, quoted + 16, 0);
  const protocol = isIPv4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
  const pseudo = isIPv4 ? 0 : pseudoSum(bytes, at, protocol, length - ip);
  write16(bytes, icmp + 2, fold(sumOf(bytes, icmp, at + length, pseudo)));
  return true;
}

function reversed(flow: FlowAddress): FlowAddress {
  return {
    version: flow.version,
    hash: flow.hash,
    remotePort: flow.localPort,
    localPort: flow.remotePort,
    remote0: flow.local0,
    remote1: flow.local1,
    remote2: flow.local2,
    remote3: flow.local3,
    local0: flow.remote0,
    local1: flow.remote1,
    local2: flow.remote2,
    local3: flow.remote3,
  };
}

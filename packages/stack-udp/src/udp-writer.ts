import type { Datagram } from '@nekit/core';
import {
  type Identifications,
  IPV4_HEADER,
  IPV6_HEADER,
  PROTOCOL,
  type StackOutput,
  UDP_HEADER,
  write16,
  writeFragments,
  writeIPv4Checksum,
  writeTransportChecksum,
} from '@nekit/core/ip';

const TTL = 64;

/** What one UDP datagram can say of its length, with header; and what IPv4 can carry of it. */
const LONGEST = 65_535;

/** Who a datagram goes to. */
export interface Receiver {
  readonly version: 4 | 6;
  readonly address: Uint8Array;
  readonly source: { readonly port: number };
}

/** Writes UDP packets to a sink: several datagrams as one super-packet where the device cuts it, long ones in fragments. */
export class UdpWriter {
  /** Payload bytes that may go as one super-packet. */
  readonly longestRun: number;
  /** Datagrams that found no room, were too long, or for port 0. */
  dropped = 0;
  readonly #output: StackOutput;
  readonly #identifications: Identifications;
  /** For what is sent in fragments. Made when the first comes. */
  #scratch: Uint8Array | null = null;

  constructor(output: StackOutput, identifications: Identifications) {
    this.#output = output;
    this.#identifications = identifications;
    this.longestRun = Math.max(0, Math.min(output.sink.largest, LONGEST) - IPV6_HEADER - UDP_HEADER);
  }

  now(): number {
    return this.#output.now();
  }

  /** Sends `datagrams[from, to)` (a run of one length, the last may be shorter) as coming from `address` and `port`. How many were taken. */
  write(to: Receiver, address: Uint8Array, port: number, datagrams: readonly Datagram[], from: number, until: number): number {
    const size = datagrams[from]?.bytes.length ?? 0;
    const { sink, paths } = this.#output;
    const head = (to.version === 4 ? IPV4_HEADER : IPV6_HEADER) + UDP_HEADER;
    // Datagrams that must be cut themselves cannot be the pieces of another.
    const mtu = to.version === 4 ? sink.mtu : Math.min(sink.mtu, paths.to(to.address, 0));
    if (head + size > mtu) return this.#writeLong(to, address, port, datagrams, from, until);
    let payload = 0;
    for (let i = from; i < until; i++) payload += datagrams[i]?.bytes.length ?? 0;
    const at = sink.reserve(head + payload, until - from > 1 ? size : 0);
    if (at === -1) {
      this.dropped += until - from;
      return 0;
    }
    writeHeaders(sink.bytes, at, to, address, port, payload, to.version === 4 ? this.#identifications.next() : 0); // who cuts a super-packet counts on
    let end = at + head;
    for (let i = from; i < until; i++) {
      const bytes = datagrams[i]?.bytes;
      if (bytes === undefined) continue;
      sink.bytes.set(bytes, end);
      end += bytes.length;
    }
    this.#output.wake();
    return until - from;
  }

  #writeLong(to: Receiver, address: Uint8Array, port: number, datagrams: readonly Datagram[], from: number, until: number): number {
    const head = (to.version === 4 ? IPV4_HEADER : IPV6_HEADER) + UDP_HEADER;
    const { sink, paths } = this.#output;
    let taken = 0;
    for (let i = from; i < until; i++) {
      const bytes = datagrams[i]?.bytes;
      if (bytes === undefined) continue;
      const whole = head + bytes.length;
      if (bytes.length + UDP_HEADER + (to.version === 4 ? IPV4_HEADER : 0) > LONGEST) continue;
      this.#scratch ??= new Uint8Array(IPV6_HEADER + LONGEST);
      const packet = this.#scratch;
      writeHeaders(packet, 0, to, address, port, bytes.length, 0);
      packet.set(bytes, head);
      writeTransportChecksum(packet, 0, PROTOCOL.udp, head - UDP_HEADER, whole);
      if (writeFragments(sink, packet, 0, whole, this.#identifications.next(), paths)) taken++;
    }
    this.dropped += until - from - taken;
    this.#output.wake();
    return taken;
  }
}

function writeHeaders(bytes: Uint8Array, at: number, to: Receiver, address: Uint8Array, port: number, payload: number, identification: number): void {
  const length = UDP_HEADER + payload;
  let udp: number;
  if (to.version === 4) {
    udp = at + IPV4_HEADER;
    bytes[at] = 0x45;
    bytes[at + 1] = 0;
    write16(bytes, at + 2, IPV4_HEADER + length);
    write16(bytes, at + 4, identification & 0xffff); // without DF, so somebody behind us may cut it (RFC 6864 section 4.1)
    write16(bytes, at + 6, 0);
    bytes[at + 8] = TTL;
    bytes[at + 9] = PROTOCOL.udp;
    bytes.set(address, at + 12);
    bytes.set(to.address, at + 16);
    writeIPv4Checksum(bytes, at);
  } else {
    udp = at + IPV6_HEADER;
    bytes[at] = 0x60;
    bytes.fill(0, at + 1, at + 4);
    write16(bytes, at + 4, length);
    bytes[at + 6] = PROTOCOL.udp;
    bytes[at + 7] = TTL;
    bytes.set(address, at + 8);
    bytes.set(to.address, at + 24);
  }
  write16(bytes, udp, port);
  write16(bytes, udp + 2, to.source.port);
  write16(bytes, udp + 4, length);
  write16(bytes, udp + 6, 0);
}
